//! Behaviour 38: 100 when the application first reads, and never before; other interim answers.

use std::time::{Duration, Instant};

use crate::{
    both_models,
    host::{Host, Model, Setup, Wire},
};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

both_models! {
    async fn a_client_that_waits_is_told_to_go_on_when_the_application_reads(model: Model) {
        let host = Setup::sample(model).start().await;
        for expectation in ["100-continue", "100-Continue"] {
            let mut wire = expecting(&host, "/upload", &format!("Content-Length: 5\r\nExpect: {expectation}")).await;
            assert_eq!(wire.head().await, CONTINUE);
            wire.send("hello").await;
            let reply = wire.reply().await;
            assert_eq!((reply.status(), &reply.json()["size"]), (200, &5.into()));
            // Nothing is left over: the connection goes on.
            wire.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(wire.reply().await.text(), "Hello, World!");
        }
    }

    async fn a_chunked_body_is_waited_for_too(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = expecting(&host, "/upload", "Transfer-Encoding: chunked\r\nExpect: 100-continue").await;
        assert_eq!(wire.head().await, CONTINUE);
        wire.send("5\r\nhello\r\n0\r\n\r\n").await;
        assert_eq!(wire.reply().await.json()["size"], 5);
    }

    async fn the_application_decides_when(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        // So that what is measured is the application and not its start.
        host.get("/").await;
        let began = Instant::now();
        let mut wire =
            expecting(&host, "/slow-reader?ms=300", "Content-Length: 5\r\nExpect: 100-continue").await;
        assert_eq!(wire.head().await, CONTINUE);
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        wire.send("hello").await;
        assert!(wire.reply().await.text().starts_with("5 bytes in "));
    }

    async fn who_does_not_read_asks_for_nothing(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        for path in ["/ignore-body", "/no-such-path", "/status/403"] {
            let mut wire = expecting(&host, path, "Content-Length: 5\r\nExpect: 100-continue").await;
            let head = wire.head().await;
            assert!(!head.contains(" 100 "), "{path}: {head}");
            let answer = wire.rest().await;
            // What would come next is a body or a request, and nobody knows which: the host closes.
            assert!(!answer.contains("HTTP"), "{path}: more than one answer");
        }
    }

    async fn who_does_not_wait_needs_no_answer(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        let head = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        wire.send(format!("{head}hello")).await;
        let reply = wire.reply().await;
        // With or without a 100 before: RFC 9110 leaves it open when the body is there already.
        let reply = if reply.status() == 100 { wire.reply().await } else { reply };
        assert_eq!((reply.status(), &reply.json()["size"]), (200, &5.into()));
    }

    async fn a_client_of_http10_gets_no_interim_answer(model: Model) {
        let host = Setup::sample(model).start().await;
        let request = "POST /upload HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
        let answer = host.exchange(request).await;
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        assert!(answer.contains("\"size\":5"), "{answer}");
    }

    async fn early_hints_are_not_carried_and_the_request_goes_on(model: Model) {
        let host = Setup::sample(model).start().await;
        for client in [host.client(), host.client().http2()] {
            let answer = client.get("/early-hints").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.text(), "103 was not sent: this connection cannot carry informational responses\n");
        }
    }
}

async fn expecting(host: &Host, path: &str, fields: &str) -> Wire {
    let mut wire = host.wire().await;
    wire.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).await;
    wire
}
