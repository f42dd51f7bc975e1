//! Behaviour 39 with an unmodified client: gRPC, one message and streams, through both models.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all, stream};
use http::{Method, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full, channel::Channel};
use test_grpc::{ECHO, ECHO_STREAM, EchoClient, MARK, Text};
use tonic::{Code, Request, transport::Endpoint};
use tonic_prost::ProstCodec;

use crate::{
    both_models,
    host::{Host, Model, Setup},
};

both_models! {
    async fn a_unary_call_has_its_answer_metadata_and_status(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        for path in ["", "/grpc"] {
            let mut client = EchoClient::connect(origin(&host, path)).await.unwrap();
            let mut request = Request::new(Text::new("hello"));
            request.metadata_mut().insert(MARK, "seven".parse().unwrap());
            let answer = client.echo(request).await.unwrap();
            assert_eq!(answer.metadata().get(MARK).unwrap(), "seven");
            assert_eq!(answer.into_inner(), Text::new("hello"));

            let status = client.echo(Request::new(Text::new("fail"))).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "told to fail"));
        }
    }

    async fn the_status_of_a_call_is_a_trailer(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let client = host.client().http2();
        let request = client.request(Method::POST, ECHO).header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(Full::new(MESSAGE)).unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &MESSAGE));
        assert_eq!(answer.header("content-type"), "application/grpc");
        assert_eq!(answer.headers.get("grpc-status"), None);
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    }

    async fn messages_go_both_ways_at_once(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut client = EchoClient::connect(origin(&host, "")).await.unwrap();
        let (said, heard) = tokio::sync::mpsc::channel(1);
        let mut request = Request::new(tokio_stream(heard));
        request.metadata_mut().insert(MARK, "eight".parse().unwrap());
        let answer = client.echo_stream(request).await.unwrap();
        assert_eq!(answer.metadata().get(MARK).unwrap(), "eight");
        let mut answers = answer.into_inner();
        // Each comes back before the next is said.
        for n in 0..50 {
            said.send(Text::new(n.to_string())).await.unwrap();
            assert_eq!(answers.message().await.unwrap(), Some(Text::new(n.to_string())));
        }
        said.send(Text::new("x".repeat(1_000_000))).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().text.len(), 1_000_000);
        drop(said);
        assert_eq!(answers.message().await.unwrap(), None);
    }

    async fn a_stream_can_end_with_a_status(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut client = EchoClient::connect(origin(&host, "")).await.unwrap();
        let messages = stream::iter(["a", "b", "fail", "c"]).map(Text::new);
        let mut answers = client.echo_stream(Request::new(messages)).await.unwrap().into_inner();
        for said in ["a", "b"] {
            assert_eq!(answers.message().await.unwrap(), Some(Text::new(said)));
        }
        let status = answers.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "told to fail"));
    }

    async fn a_hundred_calls_share_a_connection(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let client = EchoClient::connect(origin(&host, "")).await.unwrap();
        let calls = (0..100).map(|n| {
            let mut client = client.clone();
            async move {
                let said = Text::new(format!("{n}"));
                assert_eq!(client.echo(Request::new(said.clone())).await.unwrap().into_inner(), said);
                let messages = (0..10).map(move |m| Text::new(format!("{n}.{m}")));
                let answers = client.echo_stream(Request::new(stream::iter(messages.clone()))).await.unwrap();
                let answers: Vec<_> = answers.into_inner().map(Result::unwrap).collect().await;
                assert!(answers.into_iter().eq(messages));
            }
        });
        join_all(calls).await;
    }

    async fn a_deadline_of_the_client_cancels_the_call(model: Model) {
        let host = Setup::broken(model, "none").start_preloaded().await;
        let mut request = Request::new(Text::new("never answered"));
        request.set_timeout(Duration::from_millis(300));
        let status = call(&host, "/hang", request).await.unwrap_err();
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
        cancelled(&host).await;
    }

    async fn a_deadline_of_the_host_ends_the_call(model: Model) {
        let host = Setup::broken(model, "none").application("request_timeout = \"300ms\"").start_preloaded().await;
        let status = call(&host, "/hang", Request::new(Text::new("never answered"))).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(status.metadata().get("cohost-failure").unwrap(), "request_timeout");
        cancelled(&host).await;
    }

    async fn a_call_that_is_dropped_frees_its_stream(model: Model) {
        let host = Setup::broken(model, "none").server("shutdown_timeout = \"60s\"").start().await;
        let mut client = EchoClient::connect(origin(&host, "")).await.unwrap();
        let (mut source, messages) = Channel::<Bytes, std::io::Error>::new(1);
        let request = host.client().http2().request(Method::POST, ECHO_STREAM);
        let request = request.header("content-type", "application/grpc").body(messages).unwrap();
        source.send_data(MESSAGE).await.unwrap();
        let mut answer = host.client().http2().begin(request).await.unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), MESSAGE);
        source.abort(std::io::Error::other("the client has lost interest"));
        drop(answer);
        host.log.wait(|event| event["ending"] == "cancelled").await;
        // The connection goes on, and nothing is left to wait for at the end.
        assert_eq!(client.echo(Request::new(Text::new("next"))).await.unwrap().into_inner(), Text::new("next"));
        assert!(host.stop().await.success());
    }
}

/// Not compressed, four bytes of length, and field 1 with two letters.
const MESSAGE: Bytes = Bytes::from_static(b"\0\0\0\0\x04\x0a\x02hi");

fn origin(host: &Host, path: &str) -> Uri {
    format!("http://{}{path}", host.address).parse().unwrap()
}

/// Messages as they are sent.
fn tokio_stream(
    heard: tokio::sync::mpsc::Receiver<Text>,
) -> impl futures_util::Stream<Item = Text> + Send + 'static {
    stream::unfold(heard, async |mut heard| heard.recv().await.map(|text| (text, heard)))
}

/// Calls what is no method.
async fn call(host: &Host, path: &'static str, request: Request<Text>) -> Result<(), tonic::Status> {
    let channel = Endpoint::from(origin(host, "")).connect().await.unwrap();
    let mut client = tonic::client::Grpc::with_origin(channel, origin(host, ""));
    client.ready().await.unwrap();
    let codec = ProstCodec::<Text, Text>::default();
    client.unary(request, PathAndQuery::from_static(path), codec).await.map(drop)
}

/// Asks the application until the one call has been cancelled.
async fn cancelled(host: &Host) {
    while host.get("/cancelled").await.json() != serde_json::json!({ "pending": 0, "cancelled": 1 }) {
        tokio::task::yield_now().await;
    }
}
