//! From a head to a request, from a response to an answer.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router, body::Body, extract::Request, http::HeaderMap, response::IntoResponse, routing::any,
};
use bytes::Bytes;
use cohost_app::{
    Context, Facts, File, InformError,
    abi::{body_kind, code},
};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;

use crate::fake::{App, Call, Fake, Handled, Piece, Pulled};

async fn app(_: Context) -> Result<Router, Infallible> {
    Ok(Router::new()
        .route("/hello", any(|| async { "hello" }))
        .route("/empty", any(|| async { StatusCode::NO_CONTENT }))
        .route("/see", any(see))
        .route("/facts", any(facts))
        .route("/yield", any(yields))
        .route("/timer", any(timer))
        .route("/echo", any(async |request: Request| Body::new(request.into_body())))
        .route("/collect", any(async |body: Bytes| body))
        .route("/trailers", any(trailers))
        .route("/declared/{pieces}", any(declared))
        .route("/broken", any(broken))
        .route("/slow/{mark}", any(slow))
        .route("/file", any(file))
        .route("/inform", any(inform)))
}

fn start() -> App {
    Fake::new().start(cohost_app::linked_descriptor(app, "demo\0", "1\0")).unwrap()
}

async fn see(request: Request) -> String {
    let headers: Vec<String> =
        request.headers().iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
    format!("{} {} {:?} {}", request.method(), request.uri(), request.version(), headers.join(" "))
}

async fn facts(Extension(facts): Extension<Facts>) -> String {
    let tls = facts.tls().unwrap();
    let chain: Vec<_> = tls.client_chain().map(String::from_utf8_lossy).collect();
    format!(
        "{} {} {} {} {} {} {} {} {} {:?} {:?} {:?} {:?}",
        facts.peer().unwrap(),
        facts.local().unwrap(),
        facts.connection_id(),
        facts.binding(),
        facts.request_id(),
        facts.scheme(),
        facts.authority(),
        String::from_utf8_lossy(facts.target()),
        facts.path_base(),
        String::from_utf8_lossy(facts.path_decoded()),
        tls.sni(),
        chain.join("+"),
        facts.trace().unwrap().flags,
    )
}

async fn yields() -> &'static str {
    tokio::task::yield_now().await;
    "later"
}

async fn timer() -> String {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let thread = tokio::spawn(async { std::thread::current().name().map(str::to_owned) }).await;
    thread.unwrap().unwrap_or_default()
}

async fn trailers() -> impl IntoResponse {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = http_body_util::Full::new(Bytes::from_static(b"data"));
    Body::new(body.with_trailers(async move { Some(Ok(trailers)) }))
}

/// Four bytes each, of which the head tells the length of one.
async fn declared(axum::extract::Path(pieces): axum::extract::Path<usize>) -> impl IntoResponse {
    let pieces = (0..pieces).map(|_| Ok::<_, Infallible>("data"));
    ([(http::header::CONTENT_LENGTH, "4")], Body::from_stream(futures_util::stream::iter(pieces)))
}

async fn broken() -> Body {
    let frames = [Ok(Bytes::from_static(b"part")), Err(std::io::Error::other("the disk is gone"))];
    Body::from_stream(futures_util::stream::iter(frames))
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

async fn slow(axum::extract::Path(mark): axum::extract::Path<u64>) {
    struct Mark(u64);
    impl Drop for Mark {
        fn drop(&mut self) {
            // Needs the runtime, and the runtime is there.
            let _ = tokio::runtime::Handle::current();
            DROPPED.store(self.0, Ordering::Relaxed);
        }
    }
    let _mark = Mark(mark);
    std::future::pending::<()>().await;
}

async fn file() -> impl IntoResponse {
    let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).await.unwrap();
    (Extension(file), "not this")
}

async fn inform(Extension(facts): Extension<Facts>) -> String {
    let send = move || facts.inform(StatusCode::EARLY_HINTS, &HeaderMap::new());
    let first = send();
    let elsewhere = tokio::task::spawn_blocking(send).await.unwrap();
    assert_eq!(elsewhere, Err(InformError::OutsideOfRequest));
    format!("{first:?}")
}

#[test]
fn a_ready_response_is_given_during_the_call() {
    let app = start();

    let Handled::Answered(answer) = app.handle(Call::get("/hello")) else { panic!("not at once") };

    assert_eq!((answer.status, answer.kind, answer.text()), (200, body_kind::BYTES, "hello"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("content-length"), None, "the host knows the length");
}

#[test]
fn a_response_without_a_body_is_empty() {
    let answer = start().call(Call::get("/empty")).unwrap();

    assert_eq!((answer.status, answer.kind), (204, body_kind::EMPTY));
}

#[test]
fn an_answer_to_head_keeps_the_length_of_what_it_does_not_carry() {
    let answer = start().call(Call { method: "HEAD", ..Call::get("/hello") }).unwrap();

    assert_eq!((answer.kind, answer.header("content-length")), (body_kind::EMPTY, Some("5")));
}

#[test]
fn the_request_is_what_it_would_be_under_hyper() {
    let app = start();
    let headers = vec![("host", "shop.test"), ("x-custom", "a"), ("cookie", "b"), ("cookie", "c")];

    let http1 = app.call(Call { headers: headers.clone(), ..Call::get("/see?x=1%20") }).unwrap();
    let http2 = app.call(Call { version: 20, method: "PURGE", ..Call::get("/see") }).unwrap();

    assert_eq!(http1.text(), "GET /see?x=1%20 HTTP/1.1 host=shop.test x-custom=a cookie=b cookie=c");
    assert_eq!(http2.text(), "PURGE https://shop.test/see HTTP/2.0 ");
}

#[test]
fn repeated_requests_of_one_shape_keep_their_own_values() {
    let app = start();

    for value in ["one", "two", "three"] {
        let headers = vec![("host", "a"), ("accept", value), ("user-agent", "")];
        let answer = app.call(Call { headers, ..Call::get("/see") }).unwrap();
        assert_eq!(answer.text(), format!("GET /see HTTP/1.1 host=a accept={value} user-agent="));
    }
}

#[test]
fn the_facts_are_those_of_the_head() {
    let answer = start().call(Call::get("/facts")).unwrap();

    let expected = "127.0.0.1:4000 127.0.0.1:80 11 https://*:443 7 https shop.test /base/facts /base \
                    \"/facts\" \"shop.test\" \"first+second\" 1";
    assert_eq!(answer.text(), expected);
}

#[test]
fn a_future_that_waits_is_polled_by_the_host() {
    let app = start();

    let Handled::Pending(pending) = app.handle(Call::get("/yield")) else { panic!("nothing to wait for") };

    assert_eq!(pending.finish().unwrap().text(), "later");
}

#[test]
fn timers_and_tasks_belong_to_the_applications_runtime() {
    assert_eq!(start().call(Call::get("/timer")).unwrap().text(), "demo-rt");
}

#[test]
fn a_dropped_task_drops_its_future_with_the_runtime_entered() {
    let app = start();
    let Handled::Pending(pending) = app.handle(Call::get("/slow/77")) else { panic!("it never answers") };

    drop(pending);

    assert_eq!(DROPPED.load(Ordering::Relaxed), 77);
}

#[test]
fn a_request_body_streams_through() {
    let app = start();
    let body = vec![Piece::Data(b"one "), Piece::Wait];

    let mut answer = app.call(Call { method: "POST", body: Some(body), ..Call::get("/echo") }).unwrap();
    let stream = answer.stream.as_mut().unwrap();
    assert_eq!(stream.next(), Pulled::Data(b"one ".to_vec()));
    let feeder = std::thread::scope(|scope| {
        let next = scope.spawn(|| stream.next());
        app.feed(&[Piece::Data(b"two"), Piece::Trailer("x-sum", "9")]);
        next.join().unwrap()
    });

    assert_eq!(feeder, Pulled::Data(b"two".to_vec()));
    assert_eq!(stream.next(), Pulled::Trailers(vec![("x-sum".into(), "9".into())]));
    drop(answer);
    assert!(app.fake.bodies.lock().unwrap().is_empty(), "the body was given back");
}

#[test]
fn a_collected_body_is_answered_in_one_piece() {
    let body = Some(vec![Piece::Data(b"a"), Piece::Data(b"b")]);
    let call = Call { method: "POST", body, content_length: 2, ..Call::get("/collect") };

    assert_eq!(start().call(call).unwrap().text(), "ab");
}

#[test]
fn a_request_body_that_was_cut_is_an_error_of_the_extractor() {
    let body = Some(vec![Piece::Data(b"a"), Piece::Fail(code::E_TOO_LARGE)]);

    let answer = start().call(Call { method: "POST", body, ..Call::get("/collect") }).unwrap();

    assert_eq!(answer.status, 400);
}

#[test]
fn trailers_follow_the_data() {
    let mut answer = start().call(Call::get("/trailers")).unwrap();

    let stream = answer.stream.as_mut().unwrap();
    assert_eq!(stream.next(), Pulled::Data(b"data".to_vec()));
    assert_eq!(stream.next(), Pulled::Trailers(vec![("grpc-status".into(), "0".into())]));
}

#[test]
fn a_stream_of_one_piece_that_is_all_its_head_declares_crosses_whole() {
    let answer = start().call(Call::get("/declared/1")).unwrap();

    assert_eq!((answer.kind, answer.text()), (body_kind::BYTES, "data"));
    assert_eq!(answer.header("content-length"), None, "the host knows the length");
}

#[test]
fn a_stream_longer_than_its_head_declares_is_left_for_the_host_to_judge() {
    let mut answer = start().call(Call::get("/declared/2")).unwrap();

    let stream = answer.stream.as_mut().unwrap();
    assert_eq!(stream.length(), 4);
    assert_eq!(stream.next(), Pulled::Data(b"data".to_vec()));
    assert_eq!(stream.next(), Pulled::Data(b"data".to_vec()));
}

#[test]
fn a_response_body_that_fails_is_cut_and_logged() {
    let app = start();
    let mut answer = app.call(Call::get("/broken")).unwrap();
    let stream = answer.stream.as_mut().unwrap();

    assert_eq!(stream.length(), cohost_app::abi::NO_LENGTH);
    assert_eq!(stream.next(), Pulled::Data(b"part".to_vec()));
    assert_eq!(stream.next(), Pulled::Failed(code::E_APP));
    assert_eq!(app.fake.lines_with("the disk is gone").len(), 1);
}

#[test]
fn a_file_goes_to_the_host_as_a_descriptor() {
    let answer = start().call(Call::get("/file")).unwrap();

    let file = answer.file.unwrap();
    assert_eq!(file.flags, cohost_app::abi::file_flags::CLOSE);
    assert_eq!(file.length, include_bytes!("../../Cargo.toml").len() as u64);
    assert_eq!(answer.header("content-length"), None);
}

#[test]
fn an_informational_response_is_sent_from_inside_the_request_only() {
    let fake = Fake::with_informational(true);
    let app = fake.start(cohost_app::linked_descriptor(app, "demo\0", "1\0")).unwrap();

    assert_eq!(app.call(Call::get("/inform")).unwrap().text(), "Ok(())");
    assert_eq!(*fake.informed.lock().unwrap(), [103]);
}

#[test]
fn a_host_without_informational_responses_says_so() {
    assert_eq!(start().call(Call::get("/inform")).unwrap().text(), "Err(Unsupported)");
}

/// A service of its own kind: not ready at once, with a body that is neither `Unpin` nor of known length.
#[derive(Clone)]
struct Gate(Arc<AtomicBool>);

impl tower_service::Service<http::Request<cohost_app::Body>> for Gate {
    type Response = http::Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        if self.0.swap(true, Ordering::Relaxed) {
            return std::task::Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }

    fn call(&mut self, request: http::Request<cohost_app::Body>) -> Self::Future {
        if request.uri().path() == "/fail" {
            return std::future::ready(Err("out of order"));
        }
        let body = http_body_util::Full::new(Bytes::from_static(b"through")).map_err(|never| match never {});
        std::future::ready(Ok(http::Response::new(body.boxed_unsync())))
    }
}

async fn gate(_: Context) -> Result<Gate, Infallible> {
    Ok(Gate(Arc::default()))
}

#[test]
fn a_service_that_is_not_ready_is_waited_for() {
    let app = Fake::new().start(cohost_app::linked_descriptor(gate, "gate\0", "1\0")).unwrap();

    assert_eq!(app.call(Call::get("/")).unwrap().text(), "through");
}

#[test]
fn a_service_that_fails_is_an_application_error_in_the_log() {
    let app = Fake::new().start(cohost_app::linked_descriptor(gate, "gate\0", "1\0")).unwrap();

    assert_eq!(app.call(Call::get("/fail")).err(), Some(code::E_APP));
    assert_eq!(app.fake.lines_with("out of order")[0].request_id, 7);
}
