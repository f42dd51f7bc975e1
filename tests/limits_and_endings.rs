//! Behaviours 17, 19 and 42 to 45: how much, how long, and what an ending looks like from outside.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, channel::Channel};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    both_models,
    host::{Answer, Client, Host, Model, Setup, library},
};

// ---- 42: bodies that are too large

both_models! {
    async fn a_declared_length_over_the_limit_is_refused_before_the_application_runs(model: Model) {
        let host = Setup::sample(model).start().await;
        for length in ["30000001", "4611686018427387904"] {
            let mut socket = host.wire().await;
            socket.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
            let answer = socket.head().await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
            assert!(answer.contains("cohost-failure: body_too_large\r\n"), "{answer}");
        }
        let (_unsent, body) = Channel::<Bytes>::new(1);
        let request = host.client().http2().request(Method::POST, "/upload");
        let request = request.header("content-length", 30_000_001).body(body).unwrap();
        assert_eq!(host.client().http2().begin(request).await.unwrap().status(), 413);

        // Nothing of it has run, not even its constructor.
        assert!(host.log.of("application started").is_empty());
        assert_eq!(host.client().post("/upload", vec![0; 30_000_000]).await.json()["size"], 30_000_000);
    }

    async fn a_body_without_a_length_is_refused_when_it_crosses_the_limit(model: Model) {
        let host = Setup::sample(model).application("max_request_body = \"100kB\"").start().await;
        let mut socket = host.wire().await;
        socket.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        socket.send_chunk(&[0; 60_000]).await;
        socket.send_chunk(&[0; 40_001]).await;
        let answer = socket.head().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("cohost-failure: body_too_large\r\n"), "{answer}");

        for client in [host.client(), host.client().http2()] {
            let endless = StreamBody::new(futures_util::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[0; 4096])))
            }));
            let request = client.request(Method::POST, "/upload").body(endless).unwrap();
            // Over HTTP/1.1, the answer races with the end of a connection on which the client still sends.
            match client.begin(request).await {
                Ok(answer) => assert_eq!(answer.status(), 413),
                Err(error) => assert!(!error.is_timeout() && !error.is_parse(), "{error:?}"),
            }
            assert_eq!(chunked(client, "/upload", 100_000).await.json()["size"], 100_000);
        }
    }

    async fn each_application_has_a_limit_of_its_own(model: Model) {
        let host = Setup::sample(model)
            .application("max_request_body = \"none\"")
            .more(&second_application(model, "/small", "max_request_body = 10"))
            .start()
            .await;
        assert_eq!(host.client().post("/upload", vec![0; 30_000_001]).await.json()["size"], 30_000_001);
        assert_eq!(chunked(host.client(), "/upload", 30_000_001).await.json()["size"], 30_000_001);
        assert_eq!(host.client().post("/small/upload", "eleven byte").await.status, 413);
        assert_eq!(host.client().post("/small/upload", "ten bytes.").await.status, 200);
    }

    async fn an_upgraded_connection_has_no_limit(model: Model) {
        let host = Setup::sample(model).application("max_request_body = 10").start().await;
        let stream = host.raw().await;
        let (mut socket, _) = tokio_tungstenite::client_async("ws://a/ws", stream).await.unwrap();
        let message = Message::binary(vec![7; 100_000]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
        socket.close(None).await.unwrap();
    }
}

/// Posts `size` bytes, and does not say beforehand how many.
async fn chunked(client: Client, path: &str, size: usize) -> Answer {
    let pieces = (0..size).step_by(8192).map(move |sent| {
        let piece = Bytes::from_static(&[0; 8192]).slice(..(size - sent).min(8192));
        Ok::<_, std::io::Error>(Frame::data(piece))
    });
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    client.send(client.request(Method::POST, path).body(body).unwrap()).await.unwrap()
}

fn second_application(model: Model, path: &str, lines: &str) -> String {
    let (library, model) = (library("sample_app").display().to_string(), model.as_str());
    format!(
        "[[site.application]]\nname = \"second\"\npath = {path:?}\nlibrary = {library:?}\n\
         hosting_model = {model:?}\n{lines}"
    )
}

// ---- 43: answers as the application means them

both_models! {
    async fn a_status_that_has_no_body_has_none_and_no_length(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        for (path, first) in [("/status/204", "HTTP/1.1 204 "), ("/status/304", "HTTP/1.1 304 ")] {
            let mut socket = host.wire().await;
            // A body would stand where the second answer begins.
            for _ in 0..2 {
                socket.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
                let head = socket.head().await;
                assert!(head.starts_with(first), "{head}");
                assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
            }
            let answer = host.client().http2().get(path).await;
            assert_eq!((answer.headers.get("content-length"), &*answer.body), (None, &b""[..]), "{path}");
        }
    }

    async fn a_head_request_gets_the_fields_of_a_get(model: Model) {
        let host = Setup::sample(model).start().await;
        for client in [host.client(), host.client().http2()] {
            for path in ["/plaintext", "/bytes/100000", "/file", "/json", "/stream?chunks=1&delay_ms=1"] {
                let get = client.get(path).await;
                let head = client.request(Method::HEAD, path).body(Empty::<Bytes>::new()).unwrap();
                let mut head = client.send(head).await.unwrap();
                assert_eq!((head.status, &*head.body), (get.status, &b""[..]), "{path}");
                let mut fields = get.headers;
                for moving in ["date", "transfer-encoding"] {
                    fields.remove(moving);
                    head.headers.remove(moving);
                }
                assert_eq!(head.headers, fields, "{path}");
            }
        }
    }

    async fn any_status_passes_with_the_body_of_the_application(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        for status in [200, 201, 299, 400, 404, 413, 418, 499, 500, 502, 503, 504, 599, 999] {
            for client in [host.client(), host.client().http2()] {
                let answer = client.get(&format!("/status/{status}")).await;
                assert_eq!(answer.status.as_u16(), status);
                assert_eq!(answer.text(), "a body of the application's\n");
                assert_eq!(answer.headers.get("cohost-failure"), None);
            }
        }
    }
}

// ---- 44: answers that were cut

both_models! {
    async fn an_answer_cut_short_never_looks_whole(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        for path in ["/cut", "/panic-mid-stream", "/short"] {
            let mut socket = host.wire().await;
            socket.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
            let answer = socket.rest().await;
            assert!(is_cut(&answer), "{path}: {answer:?}");
            for client in [host.client(), host.client().http2()] {
                let request = client.request(Method::GET, path).body(Empty::<Bytes>::new()).unwrap();
                match client.send(request).await {
                    Ok(answer) => assert_eq!(answer.header("cohost-failure"), "instance_lost", "{path}"),
                    Err(error) => assert!(!error.is_parse_status() && !error.is_timeout(), "{path}: {error:?}"),
                }
            }
        }
        assert_eq!(host.get("/").await.text(), "ok\n");
    }

    async fn a_length_that_is_exceeded_is_kept_and_nothing_follows(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        // Five bytes were declared and ten came. The rest would be read as the next answer.
        let mut socket = host.wire().await;
        socket.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = socket.head().await;
        socket.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let rest = socket.rest().await;
        assert!(!rest.contains("wrong"), "{head}{rest}");
        assert!(!head.starts_with("HTTP/1.1 200") || rest == "right" || rest.starts_with("rightHTTP/1.1 200 OK"));
        assert_eq!(host.get("/").await.text(), "ok\n");
    }

    async fn a_cut_stream_leaves_the_others_of_its_connection_alone(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut connection = host.client().http2().connect_http2().await;
        let request = |path| host.client().http2().request(Method::GET, path).body(Empty::<Bytes>::new()).unwrap();
        let mut held = connection.send_request(request("/hang-stream")).await.unwrap();
        assert_eq!(piece(&mut held).await, "the first piece\n");
        match connection.send_request(request("/cut")).await {
            Ok(cut) if cut.status() == 200 => assert!(cut.into_body().collect().await.is_err()),
            Ok(cut) => assert_eq!(cut.headers()["cohost-failure"], "instance_lost"),
            // The stream was reset before its head had left.
            Err(error) => assert!(!connection.is_closed(), "{error:?}"),
        }
        let whole = connection.send_request(request("/")).await.unwrap();
        assert_eq!(Answer::of(whole).await.unwrap().text(), "ok\n");
        assert!(!http_body::Body::is_end_stream(held.body()));
    }
}

/// Whether what is on the socket cannot be taken for a whole answer of the application's: there is none, or it has neither
/// its last chunk nor the length that it declares; or it says itself what happened.
fn is_cut(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return answer.is_empty() };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length.map(|length| length.parse::<usize>().unwrap()) {
        _ if head.contains("cohost-failure: instance_lost") => true,
        Some(length) => body.len() < length,
        None => head.contains("chunked") && !body.ends_with("0\r\n\r\n"),
    }
}

#[tokio::test]
async fn an_instance_killed_within_an_answer_cuts_it_and_is_replaced() {
    for http2 in [false, true] {
        let host = Setup::broken(Model::OutOfProcess, "none").start().await;
        let client = if http2 { host.client().http2() } else { host.client() };
        let request = client.request(Method::GET, "/hang-stream").body(Empty::<Bytes>::new()).unwrap();
        let mut answer = client.begin(request).await.unwrap();
        assert_eq!(piece(&mut answer).await, "the first piece\n");
        let started =
            host.log.wait(|event| event["message"] == "application started" && event["pid"].is_u64()).await;
        kill(started["pid"].as_u64().unwrap());
        assert!(matches!(answer.frame().await, Some(Err(_))));
        host.log.message("instance ended; the next request starts another").await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert!(host.stop().await.success());
    }
}

fn kill(pid: u64) {
    let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

/// The next piece of an answer's body.
async fn piece(answer: &mut http::Response<Incoming>) -> String {
    let frame = tokio::time::timeout(crate::host::PATIENCE, answer.frame()).await.expect("in time");
    String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap()
}

// ---- 45: events as they happen

both_models! {
    async fn an_event_arrives_before_the_next_is_produced(model: Model) {
        let host = Setup::sample(model).start().await;
        for client in [host.client(), host.client().http2()] {
            let (mut source, events) = Channel::<Bytes>::new(1);
            let request = client.request(Method::POST, "/echo").header("content-type", "text/event-stream");
            let mut answer = client.begin(request.body(events).unwrap()).await.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            for n in 0..20 {
                let event = format!("data: {n}\n\n");
                source.send_data(event.clone().into()).await.unwrap();
                let mut seen = String::new();
                while seen.len() < event.len() {
                    seen += &piece(&mut answer).await;
                }
                assert_eq!(seen, event);
            }
            drop(source);
            while let Some(frame) = answer.frame().await {
                assert!(frame.unwrap().into_data().unwrap().is_empty());
            }
        }
    }
}

// ---- 17: panics

both_models! {
    async fn a_panic_before_the_head_is_one_500_that_the_log_explains(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        for (path, said) in [
            ("/panic", "the handler was told to panic"),
            ("/panic-after-wait", "the handler was told to panic after a wait"),
            ("/panic-payload", "payload"),
        ] {
            for client in [host.client(), host.client().http2()] {
                let answer = client.get(path).await;
                assert_eq!(answer.status, 500, "{path}");
                assert_eq!(answer.header("cohost-failure"), "application_panicked", "{path}");
                let problem = answer.json();
                assert_eq!(problem["code"], "application_panicked");
                let id = problem["request_id"].as_str().unwrap().to_owned();
                explained(&host, &id, &[said, "crash.rs:"]).await;
                host.log.wait(|event| event["failure"] == "application_panicked" && event["request_id"] == id).await;
            }
        }
        // Once each, although two processes may know of it.
        host.log.times("request failed", 6).await;
        host.log.times("application started", 1).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert!(host.stop().await.success());
    }

    async fn a_panic_after_the_head_is_explained_too(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let client = host.client();
        let request = client.request(Method::GET, "/panic-mid-stream").body(Empty::<Bytes>::new()).unwrap();
        assert!(client.send(request).await.is_err());
        let record = host.log.wait(|event| event["path"] == "/panic-mid-stream").await;
        assert_eq!((&record["status"], &record["ending"]), (&200.into(), &"cut".into()));
        explained(&host, record["request_id"].as_str().unwrap(), &["the stream was told to panic", "crash.rs:"]).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
    }
}

/// Waits for a line about that request which has all these words.
async fn explained(host: &Host, request: &str, words: &[&str]) {
    let has = |event: &serde_json::Value| {
        let message = event["message"].as_str().unwrap_or_default();
        (event["request_id"] == request || message.contains(request))
            && words.iter().all(|word| message.contains(word))
    };
    host.log.wait(has).await;
}

// ---- 19: time

both_models! {
    async fn a_request_that_takes_too_long_is_answered_and_its_work_cancelled(model: Model) {
        let host = Setup::broken(model, "none").application("request_timeout = \"300ms\"").start_preloaded().await;
        for (client, cancelled) in [(host.client(), 1), (host.client().http2(), 2)] {
            let answer = client.get("/hang").await;
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(answer.header("cohost-failure"), "request_timeout");
            until_cancelled(&host, cancelled).await;
        }
    }

    async fn an_answer_that_has_begun_may_take_as_long_as_it_likes(model: Model) {
        let host = Setup::sample(model).application("request_timeout = \"300ms\"").start_preloaded().await;
        let answer = host.get("/stream?chunks=5&delay_ms=100").await;
        assert_eq!((answer.status.as_u16(), answer.text().lines().count()), (200, 5));
    }

    async fn a_client_that_goes_away_cancels_the_work(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        for (count, path) in ["/hang", "/hang-stream", "/sleep/3600000"].into_iter().enumerate() {
            let mut socket = host.wire().await;
            socket.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            until(&host, "pending", 1).await;
            drop(socket);
            until_cancelled(&host, count as u64 + 1).await;
        }
        // A stream of HTTP/2 is reset while its connection goes on.
        let mut connection = host.client().http2().connect_http2().await;
        for count in [4, 5] {
            let request = host.client().http2().request(Method::POST, "/hang");
            let answer = connection.send_request(request.body(Full::new(Bytes::from("body"))).unwrap());
            let answer = tokio::spawn(answer);
            until(&host, "pending", 1).await;
            answer.abort();
            until_cancelled(&host, count).await;
        }
    }
}

#[tokio::test]
async fn an_instance_that_does_not_begin_to_answer_in_time_is_cancelled() {
    let setup = Setup::broken(Model::OutOfProcess, "none");
    let host = setup.application("first_byte_timeout = \"300ms\"").start_preloaded().await;
    let answer = host.get("/hang").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.header("cohost-failure"), "first_byte_timeout");
    until_cancelled(&host, 1).await;
}

async fn until_cancelled(host: &Host, count: u64) {
    until(host, "cancelled", count).await;
    until(host, "pending", 0).await;
}

/// Asks the application until it counts that many.
async fn until(host: &Host, what: &str, count: u64) {
    let asking = async {
        while host.get("/cancelled").await.json()[what] != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.expect("counted in time");
}
