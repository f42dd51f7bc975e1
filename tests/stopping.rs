//! Behaviours 31 to 33, and the edges of 36 and 37 that an end shows: what is in flight when the host has to stop.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use http_body_util::{
    BodyExt as _, Empty,
    channel::{Channel, Sender},
};
use hyper::{Response, body::Incoming};

use crate::{
    both_models,
    host::{Answer, Host, Model, Setup, Workshop},
};

const STOPPING: &str = "stopping: finishing what is in flight; a second signal hurries";

both_models! {
    async fn sigterm_finishes_requests_in_flight_and_exits_with_0(model: Model) {
        let host = Setup::sample(model).server("shutdown_timeout = \"60s\"").start().await;
        let mut in_flight = Vec::new();
        for client in [host.client(), host.client().http2()] {
            in_flight.push(echo(&host, client).await);
        }
        host.signal("TERM");
        host.log.message(STOPPING).await;
        refuses_connections(&host).await;
        for (mut source, answer) in in_flight {
            source.send_data("last".into()).await.unwrap();
            drop(source);
            assert_eq!(Answer::of(answer).await.unwrap().text(), "last");
        }
        assert_eq!(ended(host).await, Some(0));
    }

    async fn an_answer_after_the_signal_says_that_the_connection_ends(model: Model) {
        let host = Setup::broken(model, "none").server("shutdown_timeout = \"60s\"").start().await;
        let mut idle = host.wire().await;
        idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(!idle.head().await.contains("connection: close"));
        assert_eq!(idle.until("ok\n").await, b"ok\n");
        let mut busy = host.wire().await;
        busy.send("POST /slow-reader HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        busy.send_chunk(b"first").await;

        host.signal("TERM");
        // A client that goes on sending is told with its next answer, and loses none.
        loop {
            idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let head = idle.head().await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            if head.contains("connection: close\r\n") {
                break;
            }
            assert_eq!(idle.until("ok\n").await, b"ok\n");
        }
        assert_eq!(idle.rest().await, "ok\n");
        busy.send("0\r\n\r\n").await;
        let head = busy.head().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("connection: close\r\n"), "{head}");
        assert!(busy.rest().await.contains("5 bytes"));
        assert_eq!(ended(host).await, Some(0));
    }

    async fn who_had_connected_before_the_signal_is_answered(model: Model) {
        let host = Setup::sample(model).server("threads = 1").start().await;
        host.get("/plaintext").await;
        let mut clients = Vec::new();
        for _ in 0..100 {
            let mut client = host.wire().await;
            client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n").await;
            clients.push(client);
        }
        // Most of them wait in the system's queue.
        host.signal("TERM");
        for client in clients {
            let answer = client.rest().await;
            assert!(answer.ends_with("Hello, World!"), "{answer:?}");
        }
        assert_eq!(ended(host).await, Some(0));
    }

    async fn a_second_signal_hurries(model: Model) {
        let host = Setup::broken(model, "none")
            .server("shutdown_timeout = \"60s\"")
            .application("shutdown_timeout = \"300ms\"")
            .start()
            .await;
        let mut in_flight = begin_hanging(&host).await;
        host.signal("TERM");
        host.log.message(STOPPING).await;
        host.signal("TERM");
        assert_eq!(ended(host).await, Some(5));
        assert!(in_flight.frame().await.is_none_or(|frame| frame.is_err()));
    }

    async fn what_takes_longer_than_the_limit_is_cut(model: Model) {
        let host = Setup::broken(model, "none")
            .server("shutdown_timeout = \"300ms\"")
            .application("shutdown_timeout = \"300ms\"")
            .start()
            .await;
        let mut stream = begin_hanging(&host).await;
        let client = host.client().http2();
        let request = client.request(Method::GET, "/hang-stream").body(Empty::<Bytes>::new()).unwrap();
        let mut http2 = client.begin(request).await.unwrap();
        assert_eq!(http2.frame().await.unwrap().unwrap().into_data().unwrap(), "the first piece\n");
        let mut raw = host.wire().await;
        raw.send("GET /hang-stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
        raw.until("the first piece\n").await;

        host.signal("TERM");
        // Cut in sight of the client: no last chunk, no end of the stream.
        assert!(matches!(stream.frame().await, Some(Err(_))));
        assert!(matches!(http2.frame().await, Some(Err(_))));
        assert_eq!(raw.rest().await, "\r\n");
        assert_eq!(ended(host).await, Some(5));
    }

    async fn an_application_that_asks_for_the_stop_in_a_request_answers_it(model: Model) {
        let mut host = Setup::broken(model, "none").start().await;
        let answer = host.get(&format!("/terminate/{}", host.pid())).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "exit status: 0\n"));
        assert!(host.ended().await.success());
    }

    async fn an_endless_answer_ends_by_the_notice(model: Model) {
        let host = Setup::broken(model, "none").server("shutdown_timeout = \"60s\"").start().await;
        let mut answers = Vec::new();
        for client in [host.client(), host.client().http2()] {
            let request = client.request(Method::GET, "/until-drain").body(Empty::<Bytes>::new()).unwrap();
            let mut answer = client.begin(request).await.unwrap();
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "tick\n");
            answers.push(answer);
        }
        host.signal("TERM");
        for answer in answers {
            assert!(Answer::of(answer).await.unwrap().text().ends_with("drained\n"));
        }
        assert_eq!(ended(host).await, Some(0));
    }

    async fn an_application_is_not_ended_while_it_is_being_told(model: Model) {
        let workshop = Workshop::new();
        let library = workshop.library("libslow.so", SLOW_TO_DRAIN, &[]);
        let host = Setup::library(&library, model).start().await;
        assert_eq!(host.get("/").await.text(), "");
        assert!(host.stop().await.success());
    }

    async fn a_client_that_goes_away_in_the_middle_leaves_nothing_to_wait_for(model: Model) {
        let host = Setup::sample(model)
            .server("shutdown_timeout = \"60s\"")
            .application("shutdown_timeout = \"60s\"")
            .start()
            .await;
        // The application reads: that is what the 100 says.
        let mut upload = host.wire().await;
        upload.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n").await;
        assert!(upload.head().await.starts_with("HTTP/1.1 100 "));
        upload.send("half of it").await;
        let over_http2 = echo(&host, host.client().http2()).await;
        let over_http1 = echo(&host, host.client()).await;
        drop(upload);
        drop(over_http1);
        drop(over_http2);
        let cancelled = |event: &serde_json::Value| event["target"] == "cohost::access";
        host.log.wait(|event| cancelled(event) && event["path"] == "/upload").await;

        let began = Instant::now();
        assert_eq!(host.stop().await.code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    async fn slow_uploads_stand_in_nobodys_way(model: Model) {
        let host = Setup::sample(model).server("threads = 1").start().await;
        let mut uploads = Vec::new();
        for _ in 0..10 {
            let mut upload = host.wire().await;
            let head = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
            upload.send(head).await;
            uploads.push(upload);
        }
        for byte in 0..20_u8 {
            for upload in &mut uploads {
                upload.send_chunk(&[byte]).await;
            }
            assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
        }
        let finish = uploads.into_iter().map(|mut upload| async move {
            upload.send("0\r\n\r\n").await;
            upload.rest().await
        });
        for answer in join_all(finish).await {
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"size\":20"), "{answer}");
        }
        assert!(host.stop().await.success());
    }
}

/// Waits for the end that was asked for.
#[tokio::test]
async fn a_second_signal_hurries_a_process_that_takes_its_time() {
    let workshop = Workshop::new();
    let unruly = workshop.compile("unruly", include_str!("programs/unruly.c"), &["-pthread"]);
    let host = Setup::command(&[unruly.to_str().unwrap(), "--ignore-term"])
        .application("shutdown_timeout = \"60s\"")
        .start_preloaded()
        .await;
    host.signal("TERM");
    host.log.message(STOPPING).await;
    host.signal("TERM");
    assert_eq!(ended(host).await, Some(5));
}

async fn ended(mut host: Host) -> Option<i32> {
    host.ended().await.code()
}

/// An echo that has begun: what was sent has come back, and more may be sent.
async fn echo(host: &Host, client: crate::host::Client) -> (Sender<Bytes>, Response<Incoming>) {
    let (mut source, body) = Channel::<Bytes>::new(1);
    let request = client.request(Method::POST, "/echo").body(body).unwrap();
    source.send_data("first".into()).await.unwrap();
    let mut answer = client.begin(request).await.unwrap();
    let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(piece, "first", "{}", host.log.text());
    (source, answer)
}

/// An answer that has begun and does not end.
async fn begin_hanging(host: &Host) -> Response<Incoming> {
    let client = host.client();
    let request = client.request(Method::GET, "/hang-stream").body(Empty::<Bytes>::new()).unwrap();
    let mut answer = client.begin(request).await.unwrap();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "the first piece\n");
    answer
}

/// Tries to connect until that is refused.
async fn refuses_connections(host: &Host) {
    let refused = async {
        while tokio::net::TcpStream::connect(host.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("refused in time");
}

/// An application that takes its time to hear of its end, and does not bear to be ended meanwhile.
const SLOW_TO_DRAIN: &str = "
#define _POSIX_C_SOURCE 200809L
#include \"cohost.h\"
#include <stdlib.h>
#include <time.h>
static volatile int draining;
static cohost_code init(const cohost_host *host, const cohost_init *about, cohost_err *err, void **instance) {
  (void)about, (void)err;
  *instance = (void *)host;
  return COHOST_DONE;
}
static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
  (void)head, (void)waker, (void)task;
  cohost_response response = { .size = sizeof response, .status = 200 };
  return ((const cohost_host *)instance)->respond(req, &response);
}
static void drain(void *instance) {
  (void)instance;
  draining = 1;
  nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
  draining = 0;
}
static cohost_code stop(void *instance, uint64_t deadline_ns) {
  (void)instance, (void)deadline_ns;
  if (draining) abort();
  return COHOST_DONE;
}
COHOST_NOTE(0, 0);
const cohost_app cohost_app_v1 = {
  .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .init = init, .handle = handle,
  .drain = drain, .shutdown = stop,
};
";
