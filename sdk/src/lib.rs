//! Applications for cohost.
//!
//! An application is a function that makes a tower service, and one line that exports it:
//!
//! ```
//! # extern crate cohost_app;
//! async fn app(cx: cohost_app::Context) -> Result<axum::Router, std::io::Error> {
//!     let root = cx.content_root().to_owned();
//!     Ok(axum::Router::new().route("/", axum::routing::get(move || async move { root.display().to_string() })))
//! }
//!
//! cohost_app::export!(app);
//! # fn main() {}
//! ```
//!
//! Built as a `cdylib`, that is an application library: the host loads it, and calls it for each request on the thread
//! that has the connection. The application has a tokio runtime of its own, entered around every call: timers, sockets
//! and `tokio::spawn` work, and belong to it. The service's future is dropped when the client goes away.
//!
//! What the host knows of a request is an extension of it, [`Facts`]. The crate has no `unsafe` in what the macro
//! expands to: an application may `#![forbid(unsafe_code)]`.

mod body;
mod clock;
mod context;
mod facts;
mod ffi;
mod file;
mod handshake;
mod inform;
mod instance;
mod io;
#[cfg(feature = "tracing")]
mod logs;
mod names;
mod panics;
mod request;
mod scope;
mod shapes;
#[cfg(feature = "testing")]
pub mod testing;
mod translate;
mod upgrade;

use std::{error::Error, fmt::Write};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

pub use cohost_abi as abi;

pub use self::{
    body::{Body, BodyError},
    context::{Context, SettingsError, Shutdown},
    facts::{Facts, Tls, Trace},
    ffi::{descriptor, linked_descriptor},
    file::File,
    inform::InformError,
    io::Io,
    upgrade::Upgrade,
};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A service that can be an application: an `axum::Router`, or any other of this shape. Implemented for all of them.
pub trait Application:
    Service<Request<Body>, Response = Response<Self::Body>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> Application for S
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// Exports the application that `async fn app(cx: Context) -> Result<impl Service, impl Into<BoxError>>` makes.
///
/// Once in a library: it defines the symbol `cohost_app_v1`, and the ELF note by which the host knows the library
/// without running it. The name and the version are those of the calling package.
///
/// An application that cannot live with hosts before a minor version of the ABI says `export!(app, min_host_minor = 1)`;
/// they refuse it then, and name both versions.
#[macro_export]
macro_rules! export {
    ($app:expr $(,)?) => {
        $crate::export!($app, min_host_minor = 0);
    };
    ($app:expr, min_host_minor = $minor:expr $(,)?) => {
        /// What the host looks for.
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, reason = "the name is the contract's")]
        pub static cohost_app_v1: $crate::abi::App = $crate::abi::App {
            min_host_minor: $minor,
            ..$crate::descriptor(
                $app,
                ::core::concat!(::core::env!("CARGO_PKG_NAME"), "\0"),
                ::core::concat!(::core::env!("CARGO_PKG_VERSION"), "\0"),
            )
        };

        const _: () = {
            #[used]
            #[unsafe(link_section = ".note.cohost")]
            static NOTE: $crate::abi::Note = $crate::abi::Note { min_host_minor: $minor, ..$crate::NOTE };
        };
    };
}

/// The note that goes with [`descriptor`].
#[doc(hidden)]
pub const NOTE: abi::Note = abi::Note::new(ffi::FLAGS, 0);

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// The Rust code in README.md is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
