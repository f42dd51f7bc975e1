//! Changes of protocol.

use std::convert::Infallible;

use axum::{
    Router,
    extract::{WebSocketUpgrade, ws::Message},
    response::Response,
    routing::get,
};
use cohost_app::{Context, Io, Upgrade, abi::head_flags};
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake::{App, Call, Fake};

async fn app(_: Context) -> Result<Router, Infallible> {
    Ok(Router::new()
        .route("/ws", get(websocket))
        .route("/raw", get(raw))
        .route("/plain", get(|| async { "no change" })))
}

fn start() -> App {
    Fake::new().start(cohost_app::linked_descriptor(app, "upgrades\0", "1\0")).unwrap()
}

/// As one writes it with axum, for any server.
async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["echo"]).on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message {
                let _ = socket.send(Message::Text(format!("you said {text}").into())).await;
            }
        }
    })
}

async fn raw() -> http::Response<axum::body::Body> {
    let upgrade = Upgrade::new(|mut io: Io| async move {
        let mut buffer = [0; 64];
        while let Ok(n @ 1..) = io.read(&mut buffer).await {
            buffer[..n].reverse();
            io.write_all(&buffer[..n]).await.unwrap();
        }
        io.shutdown().await.unwrap();
    });
    upgrade.into_response(HeaderValue::from_static("reverse"))
}

fn handshake(path: &'static str) -> Call {
    let headers = vec![
        ("host", "shop.test"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "echo"),
    ];
    Call { headers, flags: head_flags::UPGRADE, ..Call::get(path) }
}

/// A masked text frame; the mask is zero, which is allowed.
fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

async fn says(stream: &mut tokio::io::DuplexStream, text: &str, expected: &str) {
    stream.write_all(&text_frame(text)).await.unwrap();
    let mut answer = vec![0; 2 + expected.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[0], 0x81);
    assert_eq!(std::str::from_utf8(&answer[2..]).unwrap(), expected);
}

#[tokio::test]
async fn axums_websocket_extractor_works_as_it_is() {
    let app = start();

    let mut answer = app.call(handshake("/ws")).unwrap();

    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("echo"));
    let mut stream = answer.upgrade.take().unwrap().go();
    says(&mut stream, "ahoy", "you said ahoy").await;
    says(&mut stream, "again", "you said again").await;
}

#[tokio::test]
async fn a_websocket_over_http2_looks_like_one_over_http1() {
    let app = start();
    let headers = vec![("sec-websocket-version", "13"), ("sec-websocket-protocol", "echo")];
    let call = Call {
        method: "CONNECT",
        version: 20,
        protocol: "websocket",
        headers,
        flags: head_flags::UPGRADE,
        body: Some(Vec::new()),
        ..Call::get("/ws")
    };

    let mut answer = app.call(call).unwrap();

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("echo"));
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let mut stream = answer.upgrade.take().unwrap().go();
    says(&mut stream, "ahoy", "you said ahoy").await;
}

#[tokio::test]
async fn a_closed_stream_ends_the_websocket() {
    let app = start();
    let mut stream = app.call(handshake("/ws")).unwrap().upgrade.take().unwrap().go();

    stream.shutdown().await.unwrap();

    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[test]
fn an_upgrade_that_never_happens_leaves_nothing_behind() {
    let app = start();

    let answer = app.call(handshake("/ws")).unwrap();
    drop(answer);

    assert_eq!(app.shutdown(), cohost_app::abi::code::DONE);
}

#[test]
fn an_offer_that_is_not_taken_is_an_ordinary_request() {
    let answer = start().call(handshake("/plain")).unwrap();

    assert_eq!((answer.status, answer.text()), (200, "no change"));
    assert!(answer.upgrade.is_none());
}

#[tokio::test]
async fn a_raw_upgrade_has_the_stream_in_a_task() {
    let app = start();

    let mut answer = app.call(handshake("/raw")).unwrap();
    let mut stream = answer.upgrade.take().unwrap().go();
    stream.write_all(b"abc").await.unwrap();
    let mut back = [0; 3];
    stream.read_exact(&mut back).await.unwrap();
    stream.shutdown().await.unwrap();
    let end = stream.read(&mut [0; 1]).await.unwrap();

    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("reverse")));
    assert_eq!((&back, end), (b"cba", 0));
}
