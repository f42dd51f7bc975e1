//! The cases, and how one is started.

use std::{fmt::Debug, future::Future, path::PathBuf, pin::pin, time::Duration};

use bytes::Bytes;
use cohost::{
    Body,
    dispatcher::in_process::{Dispatcher, Generation, Library, Start},
};
use cohost_app::abi;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tower_service::Service;

use crate::{
    asked::{Asked, MEGABYTE},
    c_application, rust_service, sdk_application,
    wait::wait,
};

/// One request to one handler.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) asked: Asked,
    /// Bytes of the answer's body.
    pub(crate) answer: u64,
    start: fn() -> Run,
}

/// Sends one request, and gives back how many bytes the answer had.
pub(crate) type Run = Box<dyn FnMut(Request<Body>) -> u64>;

impl Case {
    /// Starts what answers.
    pub(crate) fn start(&self) -> Run {
        (self.start)()
    }
}

/// All cases, each next to its baseline.
pub(crate) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    let mut case = |name: String, asked: Asked, answer: u64, start: fn() -> Run| {
        all.push(Case { name, asked, answer, start });
    };
    let short = rust_service::HELLO.len() as u64;
    for (fields, unit) in [(0, "fields"), (1, "field"), (12, "fields")] {
        let get = || Asked::get("/plaintext", fields);
        case(format!("seam_static_get_{fields}_{unit}"), get(), short, || called(rust_service::Get));
        case(format!("seam_c_get_{fields}_{unit}"), get(), short, || hosted(&c_application::GET));
        case(format!("seam_axum_static_get_{fields}_{unit}"), get(), short, || {
            called(sdk_application::router())
        });
        case(format!("seam_sdk_axum_get_{fields}_{unit}"), get(), short, || hosted(&sdk_application::APP));
    }

    let get = || Asked::get("/bytes", 1);
    case("seam_static_get_1mb_in_frames".into(), get(), MEGABYTE, || called(rust_service::Download));
    case("seam_c_get_1mb_in_frames".into(), get(), MEGABYTE, || hosted(&c_application::DOWNLOAD));
    case("seam_axum_static_get_1mb_in_frames".into(), get(), MEGABYTE, || called(sdk_application::router()));
    case("seam_sdk_axum_get_1mb_in_frames".into(), get(), MEGABYTE, || hosted(&sdk_application::APP));

    let post = || Asked::post("/upload");
    case("seam_static_post_1mb".into(), post(), short, || called(rust_service::Upload));
    case("seam_c_post_1mb".into(), post(), short, || hosted(&c_application::UPLOAD));
    case("seam_axum_static_post_1mb".into(), post(), short, || called(sdk_application::router()));
    case("seam_sdk_axum_post_1mb".into(), post(), short, || hosted(&sdk_application::APP));

    let get = || Asked::get("/plaintext", 1);
    case("seam_static_get_from_thread".into(), get(), short, || called(rust_service::FromThread::start()));
    case("seam_c_get_from_thread".into(), get(), short, || hosted(&c_application::FROM_THREAD));
    all
}

/// The service itself, without a seam.
fn called<S, B>(mut service: S) -> Run
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug, Future: Future> + 'static,
    B: http_body::Body<Data = Bytes, Error: Debug>,
{
    Box::new(move |request| {
        wait(async {
            let response = service.call(request).await.expect("the handler answers");
            size(response.into_body()).await
        })
    })
}

/// The application of that descriptor, behind the seam.
fn hosted(app: &'static abi::App) -> Run {
    let library = Library::linked(app).expect("the descriptor is sound");
    let start = Start {
        name: "bench".into(),
        content_root: PathBuf::from("/"),
        path_base: "".into(),
        settings: serde_json::Value::Null,
        runtime_threads: 1,
        startup_timeout: Duration::from_secs(20),
        max_request_body: None,
        blocking_threads: 1,
        hang_timeout: None,
    };
    let started = tokio::runtime::Handle::current().block_on(Generation::start(library, start));
    let running = started.expect("the application starts");
    let run = called(Dispatcher::new(&running));
    // Not ended: there may be nobody left to wait for it when the process ends.
    std::mem::forget(running);
    run
}

async fn size<B: http_body::Body<Data = Bytes, Error: Debug>>(body: B) -> u64 {
    let mut body = pin!(body);
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame.expect("the body is whole").data_ref().map_or(0, Bytes::len) as u64;
    }
    size
}
