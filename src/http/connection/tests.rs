//! Connections, from the bytes of a client.

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

use super::*;
use crate::{
    body::BodyError,
    facts::{End, empty_base},
    stop::Stopping,
};

/// Answers by the path: at once, never, with a body that does not end, or one that is cut.
#[derive(Clone)]
struct Paths;

impl Service<Request<Body>> for Paths {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let begun = futures_util::stream::iter([Ok::<_, BodyError>(http_body::Frame::data("begun".into()))]);
        let body = match request.uri().path() {
            "/never" => return Box::pin(std::future::pending()),
            "/endless" => {
                let silence = futures_util::stream::pending();
                Body::new(StreamBody::new(futures_util::StreamExt::chain(begun, silence)))
            }
            "/cut" => {
                let cut = futures_util::stream::iter([Err("cut".into())]);
                Body::new(StreamBody::new(futures_util::StreamExt::chain(begun, cut)))
            }
            "/large" => Bytes::from(vec![b'x'; 100_000]).into(),
            _ => "ok".into(),
        };
        Box::pin(async {
            // hyper closes a connection behind an answer to a body that is not here yet.
            let _ = http_body_util::BodyExt::collect(request.into_body()).await;
            Ok(Response::new(body))
        })
    }
}

/// One end of a pipe that counts what is written to it.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A client, with the number of writes to it so far.
fn client(pipe: usize) -> (DuplexStream, Arc<AtomicUsize>, Stopping) {
    client_of(pipe, Paths)
}

fn client_of(pipe: usize, service: impl Handler) -> (DuplexStream, Arc<AtomicUsize>, Stopping) {
    let (client, server) = tokio::io::duplex(pipe);
    let (stopping, writes) = (Stopping::new(), Arc::<AtomicUsize>::default());
    let limits = Limits::default();
    let around =
        Around::new(crate::http::ErrorPage::default(), false, crate::forwarded::Trust::nobody(), &limits);
    let connections = Connections::new(service, around, &limits, Duration::from_millis(500));
    let connection = Connection::new(End::Unknown, End::Unknown, empty_base(), None);
    tokio::spawn(connections.serve(
        TokioIo::new(Counted(server, Arc::clone(&writes))),
        connection,
        stopping.watch(),
    ));
    (client, writes, stopping)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

async fn send(client: &mut DuplexStream, requests: &[String]) {
    client.write_all(requests.concat().as_bytes()).await.unwrap();
}

/// Reads up to the `n`th `end`.
async fn until(client: &mut DuplexStream, n: usize, end: &str) -> String {
    let mut seen = Vec::new();
    while memchr::memmem::find_iter(&seen, end).count() < n {
        let read = tokio::time::timeout(Duration::from_secs(20), client.read_buf(&mut seen)).await;
        assert!(matches!(read, Ok(Ok(1..))), "{read:?} after {}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn answers_to_pipelined_requests_leave_together() {
    let (mut client, writes, _stopping) = client(1 << 20);
    for _ in 0..10 {
        writes.store(0, Ordering::Relaxed);
        send(&mut client, &vec![get("/"); 64]).await;
        assert_eq!(until(&mut client, 64, "\r\n\r\nok").await.matches("200 OK").count(), 64);
        assert!(writes.load(Ordering::Relaxed) <= 16, "{writes:?}");
    }
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_one_behind_it() {
    for last in ["/never", "/endless"] {
        for behind in [&[][..], &[get("/")]] {
            for before in [1, 2, 15, 16, 17, 40] {
                let (mut client, _writes, _stopping) = client(1 << 20);
                send(&mut client, &[&vec![get("/"); before], &[get(last)][..], behind].concat()).await;
                let seen = match last {
                    "/endless" => until(&mut client, 1, "begun\r\n").await,
                    _ => until(&mut client, before, "\r\n\r\nok").await,
                };
                assert_eq!(seen.matches("\r\n\r\nok").count(), before);
            }
        }
    }
}

#[tokio::test]
async fn answers_before_one_that_is_cut_are_whole() {
    let (mut client, _writes, _stopping) = client(1 << 20);
    send(&mut client, &[get("/"), get("/"), get("/"), get("/cut"), get("/")]).await;
    let mut seen = String::new();
    client.read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen.matches("\r\n\r\nok").count(), 3, "{seen}");
}

#[tokio::test]
async fn answers_before_a_refusal_come_first() {
    let (mut client, _writes, _stopping) = client(1 << 20);
    send(&mut client, &[get("/"), get("/"), get("/"), "no HTTP\r\n\r\n".to_owned()]).await;
    let mut seen = String::new();
    client.read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen.matches("\r\n\r\nok").count(), 3, "{seen}");
    assert!(seen.contains("\r\n\r\nokHTTP/1.1 400 Bad Request\r\n"), "{seen}");
}

#[tokio::test]
async fn what_the_client_waits_for_is_not_withheld() {
    let (mut client, _writes, _stopping) = client(1 << 20);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    send(&mut client, &[get("/"), get("/"), post.to_owned()]).await;
    until(&mut client, 2, "\r\n\r\nok").await;
}

#[tokio::test]
async fn large_answers_and_small_ones_keep_their_order() {
    let (mut client, _writes, _stopping) = client(1000);
    let requests = [get("/"), get("/large"), get("/"), get("/"), get("/large"), get("/")];
    send(&mut client, &requests).await;
    let seen = until(&mut client, 6, "HTTP/1.1 200 OK").await;
    let lengths: Vec<_> = seen.lines().filter_map(|line| line.strip_prefix("content-length: ")).collect();
    assert_eq!(lengths[..5], ["2", "100000", "2", "2", "100000"]);
}

// Paused: time goes on only while nothing can run, so a connection that does not rest would stop it.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_costs_no_work_and_loses_nothing() {
    let (mut client, writes, _stopping) = client(256);
    let sent = vec![get("/"); 200].concat();
    let (mut reading, mut writing) = tokio::io::split(&mut client);
    let sending = async { writing.write_all(sent.as_bytes()).await.unwrap() };
    let looking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = writes.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(writes.load(Ordering::Relaxed), before);
        let mut seen = Vec::new();
        while memchr::memmem::find_iter(&seen, "\r\n\r\nok").count() < 200 {
            assert_ne!(reading.read_buf(&mut seen).await.unwrap(), 0);
        }
    };
    tokio::join!(sending, looking);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_say_what_he_speaks_is_not_waited_for() {
    for first in ["", "PRI * HT"] {
        let (mut client, _writes, _stopping) = client(64);
        client.write_all(first.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        assert!(seen.is_empty());
    }
}

/// The same, and tells how many there are of it.
#[derive(Clone)]
struct Kept(Paths, #[expect(dead_code, reason = "is counted")] Arc<()>);

impl Service<Request<Body>> for Kept {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Paths as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

const A_WHILE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_for_a_client_that_is_silent_and_it_is_served_as_before() {
    let kept = Arc::new(());
    let (mut client, _writes, _stopping) = client_of(1 << 20, Kept(Paths, Arc::clone(&kept)));
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab".to_owned();
    for request in [get("/"), post, get("/")] {
        send(&mut client, &[request]).await;
        until(&mut client, 1, "\r\n\r\nok").await;
        assert_eq!(Arc::strong_count(&kept), 3, "ours, the connection's, and the one that answers");
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(Arc::strong_count(&kept), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_too_long_is_left_no_later_than_another() {
    let (mut client, _writes, _stopping) = client(1 << 20);
    send(&mut client, &[get("/")]).await;
    until(&mut client, 1, "\r\n\r\nok").await;
    let began = tokio::time::Instant::now();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn who_was_silent_when_the_server_stops_is_answered_and_hears_that_it_was_the_last() {
    let (mut client, _writes, stopping) = client(1 << 20);
    send(&mut client, &[get("/")]).await;
    until(&mut client, 1, "\r\n\r\nok").await;
    tokio::time::sleep(A_WHILE).await;
    stopping.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    send(&mut client, &[get("/")]).await;
    let mut seen = String::new();
    client.read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("connection: close\r\n") && seen.ends_with("\r\n\r\nok"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_yet_is_not_lost_when_the_client_is_silent() {
    let (mut client, _writes, _stopping) = client(1000);
    send(&mut client, &[get("/large")]).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(until(&mut client, 100_000, "x").await.matches('x').count(), 100_000);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    #[test]
    fn however_requests_are_cut_each_is_answered_once(
        requests in proptest::collection::vec(0_usize..4, 1..8),
        cuts in proptest::collection::vec((1_usize..60, proptest::bool::ANY), 0..40),
    ) {
        let forms = [
            get("/"),
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n".to_owned(),
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n".to_owned(),
        ];
        let sent: String = requests.iter().map(|form| forms[*form].as_str()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let (mut client, _writes, _stopping) = client(1 << 20);
            let mut rest = sent.as_bytes();
            for (length, pause) in cuts {
                let (now, later) = rest.split_at(length.min(rest.len()));
                client.write_all(now).await.unwrap();
                rest = later;
                tokio::time::sleep(Duration::from_millis(if pause { 700 } else { 1 })).await;
            }
            client.write_all(rest).await.unwrap();
            until(&mut client, requests.len(), "\r\n\r\nok").await;
            tokio::time::sleep(A_WHILE).await;
            // Whoever is still there answers once more, and has nothing else to say.
            send(&mut client, &[get("/")]).await;
            assert_eq!(until(&mut client, 1, "\r\n\r\nok").await.matches("HTTP/1.1").count(), 1);
        });
    }
}
