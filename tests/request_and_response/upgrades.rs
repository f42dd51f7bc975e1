//! Behaviour 40: WebSockets, over an upgraded connection of HTTP/1.1 and over a stream of HTTP/2 (RFC 8441).

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use h2::{RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Method, Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use crate::{
    both_models,
    host::{Host, Model, Setup},
};

both_models! {
    async fn a_web_socket_echoes(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut socket = web_socket(&host, "/ws").await.unwrap();
        converse(&mut socket).await;
    }

    async fn a_web_socket_carries_many_messages_and_large_ones(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut socket = web_socket(&host, "/ws").await.unwrap();
        many_and_large(&mut socket).await;
    }

    async fn a_web_socket_over_http2_echoes(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut socket = over_http2(&host, "/ws").await.unwrap();
        converse(&mut socket).await;
    }

    async fn a_web_socket_over_http2_carries_many_messages_and_large_ones(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut socket = over_http2(&host, "/ws").await.unwrap();
        many_and_large(&mut socket).await;
    }

    async fn web_sockets_work_below_a_path_base(model: Model) {
        let host = Setup::sample(model).application("path = \"/shop\"").start().await;
        let mut socket = web_socket(&host, "/shop/ws").await.unwrap();
        converse(&mut socket).await;
        let mut socket = over_http2(&host, "/shop/ws").await.unwrap();
        converse(&mut socket).await;
    }

    async fn a_hundred_web_sockets_are_open_at_once(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut sockets = Vec::new();
        for _ in 0..100 {
            sockets.push(web_socket(&host, "/ws").await.unwrap());
        }
        for (n, socket) in sockets.iter_mut().enumerate() {
            socket.send(Message::text(n.to_string())).await.unwrap();
        }
        for (n, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(n.to_string()));
        }
    }

    async fn bytes_right_behind_the_request_are_not_lost(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        // A masked text frame, "hi", in the same segment as the request.
        let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        wire.send([UPGRADE.as_bytes(), &frame].concat()).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let fields = head.to_lowercase();
        assert!(fields.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(fields.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert_eq!(wire.exactly(4).await, [0x81, 2, b'h', b'i']);
    }

    async fn an_upgrade_that_is_refused_is_a_plain_response(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        // The application knows no such path; takes no upgrade there; does not speak this version.
        for (request, status) in [
            (UPGRADE.replace("/ws", "/nowhere"), 404),
            (UPGRADE.replace("/ws", "/plaintext"), 200),
            (UPGRADE.replace("Version: 13", "Version: 12"), 400),
            (UPGRADE.replace("GET /ws", "POST /ws"), 405),
        ] {
            wire.send(&request).await;
            let reply = wire.reply().await;
            assert_eq!(reply.status(), status, "{request}: {reply:?}");
            assert_eq!(reply.field("cohost-failure"), None, "{request}");
            // The connection is still one of HTTP.
            wire.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(wire.reply().await.text(), "Hello, World!");
        }
        // To the client of a CONNECT, 200 would mean that there is a tunnel: such an answer is a fault.
        for (path, status) in [("/nowhere", 404), ("/plaintext", 500)] {
            assert_eq!(over_http2(&host, path).await.unwrap_err().status(), status, "{path}");
        }
    }

    async fn http_itself_is_no_protocol_to_change_to(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        wire.send(
            "GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.text()), (200, "Hello, World!".to_owned()));
    }

    async fn a_client_that_goes_away_ends_its_web_socket(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut socket = web_socket(&host, "/ws").await.unwrap();
        socket.send(Message::text("here")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("here"));
        drop(socket);
        // A stop waits for upgraded connections: it is graceful because there is none any more.
        assert!(host.stop().await.success());
    }
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Every kind of message, and the end.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::text("\u{e4}\u{1f600}"),
        Message::binary(vec![0, 1, 0xff]),
        Message::binary(vec![]),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "that is all".into() };
    socket.close(Some(goodbye)).await.unwrap();
    let Message::Close(Some(answer)) = socket.next().await.unwrap().unwrap() else { panic!("no close") };
    assert_eq!(answer.code, CloseCode::Normal);
    assert!(socket.next().await.is_none(), "a message behind the close");
}

async fn many_and_large<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    for n in 0..100 {
        socket.feed(Message::text(format!("message {n}"))).await.unwrap();
    }
    socket.flush().await.unwrap();
    for n in 0..100 {
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(format!("message {n}")));
    }
    let large: Vec<u8> = (0..4 << 20).map(|n: usize| (n % 251) as u8).collect();
    socket.send(Message::binary(large.clone())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap().into_data();
    assert!(answer == large, "{} bytes came back, and not those that were sent", answer.len());
}

async fn web_socket(host: &Host, path: &str) -> tungstenite::Result<WebSocketStream<TcpStream>> {
    let (socket, response) = client_async(format!("ws://{}{path}", host.address), host.raw().await).await?;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    Ok(socket)
}

/// A WebSocket on a stream of HTTP/2, or the answer that it is none.
async fn over_http2(host: &Host, path: &str) -> Result<WebSocketStream<DuplexStream>, Response<RecvStream>> {
    let mut sender = http2(host).await;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{}{path}", host.address))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (answer, sending) = sender.send_request(request, false).unwrap();
    let answer = answer.await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer);
    }
    assert!(!answer.headers().contains_key("sec-websocket-accept"), "HTTP/2 has no handshake of its own");
    assert!(!answer.headers().contains_key("connection"), "{:?}", answer.headers());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (reads, writes) = tokio::io::split(theirs);
    tokio::spawn(receive(answer.into_body(), writes));
    tokio::spawn(send(reads, sending));
    Ok(WebSocketStream::from_raw_socket(ours, Role::Client, None).await)
}

/// A connection that has heard from the host that it knows extended CONNECT.
async fn http2(host: &Host) -> SendRequest<Bytes> {
    let (sender, mut connection) = h2::client::handshake(host.raw().await).await.unwrap();
    // The host's settings come first of all.
    let mut sender = sender;
    let settings = async {
        loop {
            tokio::select! {
                biased;
                ended = &mut connection => panic!("{ended:?}"),
                ready = sender.clone().ready() => sender = ready.unwrap(),
            }
            if sender.is_extended_connect_protocol_enabled() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::host::PATIENCE, settings).await.expect("extended CONNECT is offered");
    tokio::spawn(connection);
    sender
}

async fn receive(mut from: RecvStream, mut to: impl AsyncWrite + Unpin) {
    while let Some(Ok(data)) = from.data().await {
        if to.write_all(&data).await.is_err() {
            return;
        }
        from.flow_control().release_capacity(data.len()).unwrap();
    }
    let _ = to.shutdown().await;
}

async fn send(mut from: impl AsyncRead + Unpin, mut to: SendStream<Bytes>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let mut rest = Bytes::copy_from_slice(&buffer[..n]);
        while !rest.is_empty() {
            to.reserve_capacity(rest.len());
            let Some(Ok(room)) = std::future::poll_fn(|cx| to.poll_capacity(cx)).await else { return };
            if to.send_data(rest.split_to(room.min(rest.len())), false).is_err() {
                return;
            }
        }
    }
    let _ = to.send_data(Bytes::new(), true);
}
