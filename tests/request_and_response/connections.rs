//! What one connection carries: several requests, HEAD, HTTP/1.0.

use std::collections::BTreeMap;

use crate::{
    both_models,
    host::{Model, Reply, Setup, Wire},
};

both_models! {
    async fn a_connection_is_used_again(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        for n in 1..=20 {
            wire.send("GET /counter HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(wire.reply().await.text(), format!("{n}\n"));
            wire.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n{n:04}")).await;
            assert_eq!(wire.reply().await.text(), format!("{n:04}"));
        }
        wire.send("GET /counter HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let reply = wire.reply().await;
        assert_eq!((reply.text(), reply.field("connection")), ("21\n".to_owned(), Some("close")));
        assert!(wire.rest().await.is_empty());
    }

    async fn pipelined_requests_are_answered_in_their_order(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        // The first takes longer than the second.
        wire.send(
            "GET /sleep/200 HTTP/1.1\r\nHost: a\r\n\r\nGET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
        assert_eq!(wire.reply().await.text(), "slept 200 ms\n");
        assert_eq!(wire.reply().await.text(), "Hello, World!");
        let many: String = (0..100)
            .map(|n| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{n:03}"))
            .collect();
        wire.send(many).await;
        for n in 0..100 {
            assert_eq!(wire.reply().await.text(), format!("{n:03}"));
        }
    }

    async fn a_body_that_nobody_reads_is_never_a_request(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let inner = "GET /setting/fault HTTP/1.1\r\nHost: a\r\n\r\n";
        for method in ["GET", "POST", "HEAD", "DELETE"] {
            let mut wire = host.wire().await;
            let length = inner.len();
            wire.send(format!("{method} /ignore-body HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{inner}"))
                .await;
            wire.send("GET /generation HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            let answers = wire.rest().await;
            assert!(!answers.contains("none"), "{method}: the body was taken for a request: {answers}");
        }
    }

    async fn head_has_the_fields_of_get_and_no_body(model: Model) {
        let host = Setup::sample(model).start().await;
        for path in ["/", "/plaintext", "/json", "/bytes/100000", "/file", "/stream?chunks=1&delay_ms=1"] {
            let mut wire = host.wire().await;
            send(&mut wire, "GET", path).await;
            let get = wire.reply().await;
            send(&mut wire, "HEAD", path).await;
            // What follows at once is the next answer, so that there was no body.
            send(&mut wire, "GET", "/plaintext").await;
            let head = Reply { head: wire.until("\r\n\r\n").await, body: Vec::new(), trailers: Vec::new() };
            let next = wire.reply().await;
            assert_eq!((next.status(), next.text()), (200, "Hello, World!".to_owned()), "{path}");
            assert_eq!(head.status(), 200);
            assert_eq!(fields(&head), fields(&get), "{path}");
        }
    }

    async fn head_over_http2_has_the_length_of_get(model: Model) {
        let host = Setup::sample(model).start().await;
        let client = host.client().http2();
        let request = client.request(http::Method::HEAD, "/bytes/100000");
        let answer = client.send(request.body(http_body_util::Empty::new()).unwrap()).await.unwrap();
        assert_eq!(answer.header("content-length"), "100000");
        assert!(answer.body.is_empty());
    }

    async fn http10_ends_with_the_connection_unless_asked_to_keep_it(model: Model) {
        let host = Setup::sample(model).start().await;
        let answer = host.exchange("GET /plaintext HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nHello, World!"), "{answer}");

        // Without chunks, which HTTP/1.0 does not know: the end of the connection is the end of the body.
        let answer = host.exchange("GET /stream?chunks=2&delay_ms=1 HTTP/1.0\r\n\r\n").await;
        assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nchunk 1\nchunk 2\n"), "{answer}");

        let mut wire = host.wire().await;
        for _ in 0..2 {
            wire.send("GET /plaintext HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
            let reply = wire.reply().await;
            assert_eq!(reply.text(), "Hello, World!");
            assert_eq!(reply.field("connection"), Some("keep-alive"));
        }
    }

    async fn http10_knows_no_chunked_requests(model: Model) {
        let host = Setup::sample(model).start().await;
        let answer = host
            .exchange("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            .await;
        assert!(answer.contains(" 400 "), "{answer}");
    }

    async fn many_streams_of_one_http2_connection_are_served_at_once(model: Model) {
        let host = Setup::sample(model).start().await;
        let sender = host.client().connect_http2().await;
        let began = std::time::Instant::now();
        let answers = (0..50).map(|_| {
            let request = host.client().http2().request(http::Method::GET, "/sleep/300");
            let mut sender = sender.clone();
            async move {
                let body = http_body_util::Empty::<bytes::Bytes>::new();
                sender.send_request(request.body(body).unwrap()).await.unwrap().status()
            }
        });
        let answers = futures_util::future::join_all(answers).await;
        assert!(answers.iter().all(|status| *status == 200));
        assert!(began.elapsed() < std::time::Duration::from_secs(7), "one after the other: {:?}", began.elapsed());
    }
}

async fn send(wire: &mut Wire, method: &str, path: &str) {
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
}

/// Names and values, without what changes from second to second.
fn fields(reply: &Reply) -> BTreeMap<String, String> {
    let head = String::from_utf8_lossy(&reply.head).into_owned();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let fields = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    // What a body's framing says is left out where there is no body, as RFC 9110 allows.
    fields.filter(|(name, _)| name != "date" && name != "transfer-encoding").collect()
}
