//! Calls an application in a unit test: no host, no socket, no library file, but the same seam.
//!
//! The application is constructed and called through its descriptor by the very dispatcher that the host uses, so a
//! test sees what a client would see: facts, panics that become a 500, streamed bodies.
//!
//! ```
//! # async fn app(_: cohost_app::Context) -> Result<axum::Router, std::io::Error> {
//! #     Ok(axum::Router::new().route("/", axum::routing::get(|| async { "Hello" })))
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cohost_app::BoxError> {
//! let app = cohost_app::testing::host(app).settings(serde_json::json!({ "greeting": "Hi" })).start().await?;
//!
//! let answer = app.get("/").await?;
//!
//! assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"Hello"[..]));
//! # Ok(()) }
//! ```

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use cohost::dispatcher::in_process::{Dispatcher, Ended, Generation, Library, Running, Start};
pub use cohost::{Failure, dispatcher::in_process::LoadError};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower_service::Service;

use crate::{Application, BoxError, Context, linked_descriptor};

/// Describes how to host the application that `make` constructs: what stands in `export!`.
pub fn host<M, Fut, S, E>(make: M) -> Builder
where
    M: Fn(Context) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<S, E>>,
    S: Application,
    E: Into<BoxError>,
{
    Builder {
        // As small as a library's own, which also stays for as long as the process.
        app: Box::leak(Box::new(linked_descriptor(make, "test\0", "0\0"))),
        start: Start {
            name: "test".into(),
            content_root: PathBuf::from("."),
            path_base: "".into(),
            settings: serde_json::Value::Null,
            runtime_threads: 1,
            startup_timeout: Duration::from_secs(60),
            max_request_body: None,
            blocking_threads: 8,
            hang_timeout: None,
        },
    }
}

/// How the application is hosted in a test.
#[derive(Debug)]
pub struct Builder {
    app: &'static cohost_abi::App,
    start: Start,
}

impl Builder {
    /// Its name; `test` by default.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.start.name = name.into();
        self
    }

    /// Its path prefix, empty by default. Paths of requests do not begin with it.
    #[must_use]
    pub fn path_base(mut self, base: &str) -> Self {
        self.start.path_base = base.into();
        self
    }

    /// Directory of its files; the current one by default.
    #[must_use]
    pub fn content_root(mut self, directory: impl Into<PathBuf>) -> Self {
        self.start.content_root = directory.into();
        self
    }

    /// Its settings: an object.
    #[must_use]
    pub fn settings(mut self, settings: serde_json::Value) -> Self {
        self.start.settings = settings;
        self
    }

    /// Constructs the application.
    ///
    /// # Errors
    /// Its constructor returned an error, or panicked.
    pub async fn start(self) -> Result<Hosted, LoadError> {
        let running = Generation::start(Library::linked(self.app)?, self.start).await?;
        Ok(Hosted { dispatcher: Dispatcher::new(&running), running })
    }
}

/// An application that runs. Dropping it leaves it running until the test's process ends.
#[derive(Debug)]
pub struct Hosted {
    dispatcher: Dispatcher,
    running: Running,
}

impl Hosted {
    /// Sends a GET, and reads the whole answer.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn get(&self, path: &str) -> Result<Response<Bytes>, BoxError> {
        self.send(Request::get(path).body(Bytes::new())?).await
    }

    /// Sends a request, and reads the whole answer.
    ///
    /// # Errors
    /// The application gave no answer (a [`Failure`], whose code says why), or cut it short.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        let request = request.map(|bytes| cohost::Body::new(Full::new(bytes)));
        let (parts, body) = self.call(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }

    /// Sends a request whose body streams, and returns with the head of the answer.
    ///
    /// # Errors
    /// The application gave no answer.
    pub async fn call(&self, request: Request<cohost::Body>) -> Result<Response<cohost::Body>, Failure> {
        self.dispatcher.clone().call(request).await
    }

    /// Drains the application and shuts it down; whether that was done within ten seconds.
    pub async fn stop(self) -> bool {
        drop(self.dispatcher);
        self.running.end(Duration::from_secs(10)).await == Ended::Gracefully
    }
}
