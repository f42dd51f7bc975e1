//! The gRPC service without a host: its client calls the router.

use axum::{Router, http::Uri};
use futures_util::{StreamExt, stream};
use test_grpc::{EchoClient, MARK, Text};
use tonic::{Code, Request};

fn client() -> EchoClient<Router> {
    EchoClient::new(test_grpc::router(), Uri::from_static("http://test"))
}

#[tokio::test]
async fn a_message_comes_back_with_its_mark() {
    let mut request = Request::new(Text::new("hello"));
    request.metadata_mut().insert(MARK, "7".parse().unwrap());

    let response = client().echo(request).await.unwrap();

    assert_eq!(response.metadata().get(MARK).unwrap(), "7");
    assert_eq!(response.into_inner(), Text::new("hello"));
}

#[tokio::test]
async fn a_call_can_fail() {
    let status = client().echo(Request::new(Text::new("fail"))).await.unwrap_err();

    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "told to fail"));
}

#[tokio::test]
async fn messages_come_back_until_one_fails() {
    let messages = stream::iter(["a", "b", "fail", "c"]).map(Text::new);

    let answers = client().echo_stream(Request::new(messages)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.collect().await;

    let said: Vec<_> =
        answers.iter().filter_map(|answer| answer.as_ref().ok()).map(|text| &*text.text).collect();
    assert_eq!(said, ["a", "b"]);
    assert_eq!(answers.last().unwrap().as_ref().unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn the_service_answers_below_a_path_base() {
    let router = Router::new().nest("/base", test_grpc::router());
    let mut client = EchoClient::new(router, Uri::from_static("http://test/base"));

    let response = client.echo(Request::new(Text::new("hello"))).await.unwrap();

    assert_eq!(response.into_inner(), Text::new("hello"));
}
