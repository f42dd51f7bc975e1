//! Behaviour 37: bodies stream both ways at once, and the slower side sets the pace.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use crate::{
    both_models,
    host::{Host, Model, Setup},
};

const HEAD: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

both_models! {
    async fn an_echo_comes_back_piece_by_piece(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        wire.send(HEAD).await;
        wire.send("5\r\nfirst\r\n").await;
        // The answer begins long before the request has ended.
        assert!(wire.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(wire.chunk().await.unwrap(), b"first");
        for n in 0..50 {
            wire.send(format!("4\r\n{n:04}\r\n")).await;
            assert_eq!(wire.chunk().await.unwrap(), format!("{n:04}").as_bytes());
        }
        wire.send("0\r\n\r\n").await;
        assert_eq!(wire.chunk().await, None);
        assert_eq!(wire.trailers().await, b"");
    }

    async fn an_echo_comes_back_piece_by_piece_over_http2(model: Model) {
        let host = Setup::sample(model).start().await;
        let (pieces, body) = channel();
        let client = host.client().http2();
        pieces.send("first".into()).await.unwrap();
        let answer = client.begin(client.request(Method::POST, "/echo").body(body).unwrap()).await.unwrap();
        let mut answer = answer.into_body();
        let mut next = async || Some(answer.frame().await?.unwrap().into_data().unwrap());
        assert_eq!(next().await.unwrap(), "first");
        for n in 0..50 {
            pieces.send(format!("{n:04}").into()).await.unwrap();
            assert_eq!(next().await.unwrap(), format!("{n:04}"));
        }
        drop(pieces);
        // HTTP/2 may end with an empty piece.
        assert!(next().await.is_none_or(|last| last.is_empty()));
    }

    async fn an_answer_begins_before_the_body_is_read(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut wire = host.wire().await;
        wire.send("POST /answer-first HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(wire.chunk().await.unwrap(), b"first the answer\n");
        wire.send("0123456789").await;
        assert_eq!(wire.chunk().await.unwrap(), b"10 bytes\n");
        assert_eq!(wire.chunk().await, None);
    }

    async fn an_answer_ends_while_the_body_still_arrives(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut wire = host.wire().await;
        wire.send("POST /ignore-body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nthe beginning").await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.text()), (200, "the body stays unread\n".to_owned()));

        let (pieces, body) = channel();
        let client = host.client().http2();
        pieces.send("the beginning".into()).await.unwrap();
        let answer = client.send(client.request(Method::POST, "/ignore-body").body(body).unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "the body stays unread\n"));
        drop(pieces);
    }

    async fn byte_by_byte_is_as_good_as_at_once(model: Model) {
        let host = Setup::sample(model).start().await;
        for request in [
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        ] {
            let mut wire = host.wire().await;
            wire.stream.set_nodelay(true).unwrap();
            for byte in request.as_bytes() {
                wire.send([*byte]).await;
            }
            assert_eq!(wire.reply().await.text(), "hello");
        }
    }

    async fn a_slow_reader_stops_the_writer(model: Model) {
        let host = Setup::sample(model).application("max_request_body = \"none\"").start().await;
        host.get("/plaintext").await;
        let before = host.status("VmRSS");
        let (mut reads, writes) = narrow(&host).await;
        let (sent, writing) = write_as_much_as_goes(writes);
        let stuck = settled(sent).await;
        // What lies between the client and itself are buffers of sockets and little else.
        assert!(stuck < BODY / 2, "{stuck} of {BODY} bytes were taken, and none given back");
        let grown = host.status("VmRSS").saturating_sub(before);
        assert!(grown < 32 * 1024, "the host grew by {grown} kB");
        // And as soon as somebody reads, everything comes.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(reads.read_u8().await.unwrap());
        }
        let mut buffer = vec![0; 256 * 1024];
        let mut read = 0;
        while read < BODY {
            let n = reads.read(&mut buffer).await.unwrap();
            assert!(n > 0, "closed after {read} bytes");
            assert!(buffer[..n].iter().enumerate().all(|(at, byte)| *byte == pattern(read + at)));
            read += n;
        }
        drop(writing.await.unwrap());
    }

    async fn who_does_not_read_a_body_stops_its_writer(model: Model) {
        let host = Setup::broken(model, "none").application("max_request_body = \"none\"").start().await;
        host.get("/").await;
        let before = host.status("VmRSS");
        let mut wire = host.wire().await;
        wire.send(format!("POST /hold-body HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n")).await;
        let (_reads, writes) = wire.stream.into_split();
        let (sent, writing) = write_as_much_as_goes(writes);
        let stuck = settled(sent).await;
        assert!(stuck < BODY / 2, "{stuck} of {BODY} bytes were taken, and read by nobody");
        let grown = host.status("VmRSS").saturating_sub(before);
        assert!(grown < 32 * 1024, "the host grew by {grown} kB");
        writing.abort();
    }

    async fn a_large_body_takes_no_memory_either_way(model: Model) {
        let host = Setup::broken(model, "none")
            .application("max_request_body = \"none\"")
            .more(&crate::request_and_response::sample_at("/sample", model))
            .start()
            .await;
        host.get("/").await;
        host.get("/sample/plaintext").await;
        let before = host.status("VmRSS");
        let mut wire = host.wire().await;
        wire.send(format!("POST /slow-reader HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n")).await;
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..LARGE / piece.len() {
            wire.send(&piece).await;
        }
        assert!(wire.reply().await.text().starts_with(&format!("{LARGE} bytes in ")));
        wire.send(format!("GET /sample/bytes/{LARGE} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        wire.head().await;
        for _ in 0..LARGE / piece.len() {
            assert_eq!(wire.exactly(piece.len()).await, piece);
        }
        let grown = host.status("VmHWM").saturating_sub(before);
        assert!(grown < 32 * 1024, "the host grew by {grown} kB");
    }
}

/// More than all buffers of sockets between a client and itself can hold.
const BODY: usize = 64 << 20;
/// Much more than anybody wants in memory.
const LARGE: usize = 256 << 20;

fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

/// A body that is written piece by piece.
fn channel() -> (
    mpsc::Sender<Bytes>,
    StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Unpin>,
) {
    let (pieces, rest) = mpsc::channel(1);
    let stream = futures_util::stream::unfold(rest, async |mut rest: mpsc::Receiver<Bytes>| {
        Some((Ok(Frame::data(rest.recv().await?)), rest))
    });
    (pieces, StreamBody::new(Box::pin(stream)))
}

/// A connection with small buffers, and an echo that has begun on it. Its answer is delimited by its length.
async fn narrow(host: &Host) -> (OwnedReadHalf, OwnedWriteHalf) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    socket.set_send_buffer_size(32 * 1024).unwrap();
    let mut stream = socket.connect(host.address).await.unwrap();
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.into_split()
}

/// Writes the body; tells after every piece how much was taken.
fn write_as_much_as_goes(
    mut writes: OwnedWriteHalf,
) -> (mpsc::UnboundedReceiver<usize>, tokio::task::JoinHandle<OwnedWriteHalf>) {
    let (tell, sent) = mpsc::unbounded_channel();
    let writing = tokio::spawn(async move {
        let mut at = 0;
        while at < BODY {
            let piece: Vec<u8> = (at..BODY.min(at + 64 * 1024)).map(pattern).collect();
            let n = writes.write(&piece).await.unwrap();
            at += n;
            let _ = tell.send(at);
        }
        // Kept open: a client that closes its side is one that goes away.
        writes
    });
    (sent, writing)
}

/// Waits until nothing more is taken for a while; returns how much was.
async fn settled(mut sent: mpsc::UnboundedReceiver<usize>) -> usize {
    const A_WHILE: Duration = Duration::from_secs(1);
    let began = Instant::now();
    let mut last = 0;
    while let Ok(more) = tokio::time::timeout(A_WHILE, sent.recv()).await {
        let Some(more) = more else { break };
        last = more;
        assert!(began.elapsed() < crate::host::PATIENCE, "never settles");
    }
    last
}
