//! The other side of the service: tonic's client as it is.

use axum::body::Bytes;
use futures_util::Stream;
use http::{Uri, uri::PathAndQuery};
use http_body::Body;
use tonic::{
    Request, Response, Status, Streaming,
    client::{Grpc, GrpcService},
    codegen::StdError,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{ECHO, ECHO_STREAM, Text};

/// Calls the service.
#[derive(Clone, Debug)]
pub struct EchoClient<T>(Grpc<T>);

impl EchoClient<Channel> {
    /// A client of the service at `origin`, such as `http://127.0.0.1:8080`. A path in it is the path base.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(origin: Uri) -> Result<Self, tonic::transport::Error> {
        let channel = Endpoint::from(origin.clone()).connect().await?;
        Ok(Self::new(channel, origin))
    }
}

impl<T> EchoClient<T>
where
    T: GrpcService<tonic::body::Body, Error: Into<StdError>>,
    T::ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    /// A client over a channel, or over anything that answers requests.
    pub fn new(channel: T, origin: Uri) -> Self {
        Self(Grpc::with_origin(channel, origin))
    }

    /// Says one message.
    ///
    /// # Errors
    /// With the status of the call.
    pub async fn echo(&mut self, request: Request<Text>) -> Result<Response<Text>, Status> {
        self.ready().await?;
        self.0.unary(request, PathAndQuery::from_static(ECHO), ProstCodec::<Text, Text>::default()).await
    }

    /// Says messages, and hears them while more are said.
    ///
    /// # Errors
    /// With the status of the call, when it ends before the first message.
    pub async fn echo_stream<S>(&mut self, request: Request<S>) -> Result<Response<Streaming<Text>>, Status>
    where
        S: Stream<Item = Text> + Send + 'static,
    {
        self.ready().await?;
        let path = PathAndQuery::from_static(ECHO_STREAM);
        self.0.streaming(request, path, ProstCodec::<Text, Text>::default()).await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::from_error(error.into()))
    }
}
