//! Upgrades and extended CONNECT.

use http::{Method, StatusCode, header};
use hyper::ext::Protocol;
use tokio::time::timeout;

use super::*;

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\nhello";

/// Both ends of an upgraded connection.
async fn upgraded() -> (Wire<DuplexStream>, Wire) {
    let fake = Fake::listen();
    let mut client = front(&fake.foreign());
    client.say(HANDSHAKE).await;
    let mut wire = fake.accept().await;
    wire.answer(SWITCHED).await;
    timeout(SOON, client.until("hello")).await.unwrap();
    (client, wire)
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let fake = Fake::listen();
    let mut client = front(&fake.foreign());
    client.say(HANDSHAKE).await;
    let mut wire = fake.accept().await;
    let head = wire.answer(SWITCHED).await;
    assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-key: x3jjhmbdl1ezlkh9gbhxdw==\r\n"), "{head}");

    let head = timeout(SOON, client.until("\r\n\r\nhello")).await.unwrap();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("sec-websocket-accept"), "{head}");
    client.say("ping").await;
    timeout(SOON, wire.until("ping")).await.unwrap();
    wire.say("pong").await;
    timeout(SOON, client.until("pong")).await.unwrap();
}

#[tokio::test]
async fn each_side_of_an_upgraded_connection_may_end_first() {
    let (mut client, mut wire) = upgraded().await;

    client.stream.shutdown().await.unwrap();
    timeout(SOON, wire.closed()).await.unwrap();
    wire.say("last words").await;

    timeout(SOON, client.until("last words")).await.unwrap();
    drop(wire);
    timeout(SOON, client.closed()).await.unwrap();
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_an_ordinary_answer() {
    let fake = Fake::listen();
    let mut client = front(&fake.foreign());
    client.say(HANDSHAKE).await;

    fake.accept().await.answer("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno").await;

    assert!(timeout(SOON, client.until("\r\n\r\nno")).await.unwrap().starts_with("http/1.1 403"));
}

#[tokio::test]
async fn h2c_is_never_offered_to_an_instance() {
    let fake = Fake::listen();
    let mut client = front(&fake.foreign());
    client
        .say(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;

    let head = fake.accept().await.answer(OK).await;

    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
    assert!(timeout(SOON, client.until("ok")).await.unwrap().starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_client_that_leaves_an_upgraded_connection_closes_the_instances() {
    let (client, mut wire) = upgraded().await;

    drop(client);

    timeout(SOON, wire.closed()).await.unwrap();
}

/// Opens a tunnel through a front that forwards, in HTTP/2.
async fn tunnel(forwarder: &Forwarder) -> (StatusCode, Wire<TokioIo<hyper::upgrade::Upgraded>>) {
    let io = TokioIo::new(front(forwarder).stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://shop.example/chat")
        .extension(Protocol::from_static("websocket"))
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .body(Body::empty())
        .unwrap();
    let mut answer = timeout(SOON, sender.send_request(request)).await.unwrap().unwrap();
    assert!(!answer.headers().contains_key(header::SEC_WEBSOCKET_ACCEPT));
    let upgraded = hyper::upgrade::on(&mut answer).await.unwrap();
    (answer.status(), Wire { stream: TokioIo::new(upgraded), read: Vec::new() })
}

#[tokio::test]
async fn extended_connect_reaches_the_runner_as_it_is() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    fake.serve(|mut request| async move {
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(request.uri().path(), "/chat");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        Response::new(Body::empty())
    });

    let (status, mut client) = tunnel(&forwarder).await;
    client.say("echo").await;

    assert_eq!(status, 200);
    timeout(SOON, client.until("echo")).await.unwrap();
    timeout(SOON, client.closed()).await.unwrap();
}

#[tokio::test]
async fn extended_connect_becomes_an_upgrade_for_a_program_that_speaks_http_1() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let instance = async {
        let mut wire = fake.accept().await;
        let head = wire.answer(SWITCHED).await;
        assert!(head.starts_with("get /chat http/1.1\r\n"), "{head}");
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        assert!(head.contains("host: shop.example\r\n") && head.contains("sec-websocket-key: "), "{head}");
        wire.until("ping").await;
        wire
    };
    let client = async {
        let (status, mut client) = tunnel(&forwarder).await;
        assert_eq!(status, 200);
        client.until("hello").await;
        client.say("ping").await;
        client
    };

    timeout(SOON, futures_util::future::join(instance, client)).await.unwrap();
}

#[tokio::test]
async fn connect_without_a_protocol_is_refused() {
    let fake = Fake::listen();
    let mut request = get("/");
    *request.method_mut() = Method::CONNECT;

    let failure = fake.foreign().forward(request).await.unwrap_err();

    assert_eq!(failure.code.status(), 400);
    assert!(!fake.was_called_again());
}
