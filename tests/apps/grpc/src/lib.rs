//! A gRPC service without generated code: an echo, in one piece and as a stream both ways.
//!
//! `message Text { string text = 1; }`, `service cohost.test.Echo`: `Echo(Text) returns (Text)`, and
//! `EchoStream(stream Text) returns (stream Text)`. The text `fail` is answered with a status instead.

mod client;

use axum::{Router, body::Body, extract::Request, response::Response, routing::post};
use futures_util::{Stream, StreamExt};
use tonic::{Status, Streaming, server::Grpc};
use tonic_prost::ProstCodec;
use tower::service_fn;

pub use client::EchoClient;

/// Path of the unary method.
pub const ECHO: &str = "/cohost.test.Echo/Echo";

/// Path of the method that streams both ways.
pub const ECHO_STREAM: &str = "/cohost.test.Echo/EchoStream";

/// Metadata that is sent back in the head and, for the stream, is all that tells one call from another.
pub const MARK: &str = "x-mark";

/// The message of both methods.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Text {
    /// What is said back.
    #[prost(string, tag = "1")]
    pub text: String,
}

impl Text {
    /// A message.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Itself, or the status that it asks for.
    fn answer(self) -> Result<Self, Status> {
        if self.text == "fail" { Err(Status::failed_precondition("told to fail")) } else { Ok(self) }
    }
}

/// The service, at the paths that gRPC gives it.
pub fn router() -> Router {
    Router::new().route(ECHO, post(unary)).route(ECHO_STREAM, post(streaming))
}

async fn unary(request: Request) -> Response {
    let method = service_fn(async |request: tonic::Request<Text>| {
        let (metadata, _, message) = request.into_parts();
        Ok::<_, Status>(marked(&metadata, message.answer()?))
    });
    Grpc::new(ProstCodec::default()).unary(method, request).await.map(Body::new)
}

async fn streaming(request: Request) -> Response {
    let method = service_fn(async |request: tonic::Request<Streaming<Text>>| {
        let (metadata, _, messages) = request.into_parts();
        Ok::<_, Status>(marked(&metadata, answers(messages)))
    });
    Grpc::new(ProstCodec::default()).streaming(method, request).await.map(Body::new)
}

/// Each message is answered as it comes.
fn answers(messages: Streaming<Text>) -> impl Stream<Item = Result<Text, Status>> + Send + 'static {
    messages.map(|message| message.and_then(Text::answer))
}

fn marked<T>(metadata: &tonic::metadata::MetadataMap, message: T) -> tonic::Response<T> {
    let mut response = tonic::Response::new(message);
    if let Some(mark) = metadata.get(MARK) {
        response.metadata_mut().insert(MARK, mark.clone());
    }
    response
}
