//! Behaviour 41: when a client goes away, its request's work ends at once; nobody else notices.

use http::{Method, Request};
use http_body_util::Empty;

use crate::{
    both_models,
    host::{Host, Model, Setup, Wire},
};

both_models! {
    async fn a_client_that_closes_cancels_its_request(model: Model) {
        let host = start(model).await;
        let wire = begun(&host, "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
        drop(wire);
        counted(&host, 0, 1).await;
        logged_once(host).await;
    }

    async fn a_client_that_resets_its_connection_cancels_its_request(model: Model) {
        let host = start(model).await;
        let wire = begun(&host, "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
        reset(wire);
        counted(&host, 0, 1).await;
        logged_once(host).await;
    }

    async fn a_client_with_a_body_that_was_not_read_cancels_its_request(model: Model) {
        let host = start(model).await;
        let wire = begun(&host, "POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        drop(wire);
        counted(&host, 0, 1).await;
        logged_once(host).await;
    }

    async fn a_client_whose_body_is_held_but_not_read_cancels_its_request(model: Model) {
        let host = start(model).await;
        for length in [5, 500] {
            let request = format!("POST /hold-body HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello");
            let (_, cancelled) = state(&host).await;
            drop(begun(&host, &request).await);
            counted(&host, 0, cancelled + 1).await;
        }
        let request = "POST /hold-body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        drop(begun(&host, request).await);
        counted(&host, 0, 3).await;
    }

    async fn a_client_in_the_middle_of_its_body_cancels_its_request(model: Model) {
        let host = start(model).await;
        let wire = begun(&host, "POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nhello").await;
        drop(wire);
        counted(&host, 0, 1).await;
        logged_once(host).await;
    }

    async fn an_upload_that_breaks_off_is_recorded_as_a_bad_request(model: Model) {
        let host = Setup::sample(model).start().await;
        // The application reads: that is what the 100 says.
        let mut upload = host.wire().await;
        upload.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n").await;
        assert!(upload.head().await.starts_with("HTTP/1.1 100 "));
        upload.send("half of it").await;
        drop(upload);
        let record = host.log.wait(|event| event["target"] == "cohost::access" && event["path"] == "/upload").await;
        assert_eq!(record["status"], 400, "{record}");
    }

    async fn a_client_in_the_middle_of_an_answer_ends_it(model: Model) {
        let host = start(model).await;
        let mut wire = begun(&host, "GET /hang-stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
        wire.head().await;
        assert_eq!(wire.chunk().await.unwrap(), b"the first piece\n");
        drop(wire);
        counted(&host, 0, 1).await;
    }

    async fn a_timer_does_not_keep_a_request_alive(model: Model) {
        let host = start(model).await;
        drop(begun(&host, "GET /sleep/3600000 HTTP/1.1\r\nHost: a\r\n\r\n").await);
        counted(&host, 0, 1).await;
        logged_once(host).await;
    }

    async fn a_stream_of_http2_that_is_reset_cancels_its_request_alone(model: Model) {
        let host = start(model).await;
        let mut sender = host.client().connect_http2::<Empty<bytes::Bytes>>().await;
        let request = |path: &str| host.client().http2().request(Method::GET, path).body(Empty::new()).unwrap();
        let hanging = sender.send_request(request("/hang"));
        let sleeping = sender.send_request(request("/sleep/1000"));
        let hanging = tokio::spawn(hanging);
        let sleeping = tokio::spawn(sleeping);
        counted(&host, 2, 0).await;
        hanging.abort();
        counted(&host, 1, 1).await;
        assert_eq!(sleeping.await.unwrap().unwrap().status(), 200);
        counted(&host, 0, 1).await;
        logged_once(host).await;
    }

    async fn a_connection_of_http2_that_ends_cancels_all_its_requests(model: Model) {
        let host = start(model).await;
        // hyper's client would leave the connection to a task of its own.
        let (mut sender, connection) = h2::client::handshake(host.raw().await).await.unwrap();
        let connection = tokio::spawn(connection);
        let hanging: Vec<_> = (0..5)
            .map(|_| {
                let request = Request::get(format!("http://{}/hang", host.address)).body(()).unwrap();
                sender.send_request(request, true).unwrap()
            })
            .collect();
        counted(&host, 5, 0).await;
        connection.abort();
        counted(&host, 0, 5).await;
        drop(hanging);
    }

    async fn a_request_that_is_cancelled_touches_no_other(model: Model) {
        let host = start(model).await;
        let mut others = Vec::new();
        for _ in 0..5 {
            others.push(begun(&host, "GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n").await);
        }
        counted(&host, 5, 0).await;
        for n in 1..=20 {
            let mut wire = host.wire().await;
            wire.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
            if n % 2 == 0 {
                reset(wire);
            }
        }
        for mut other in others {
            assert_eq!(other.reply().await.text(), "slept 1000 ms\n");
        }
        let state = host.get("/cancelled").await.json();
        assert_eq!(state["pending"], 0, "{state}");
    }
}

async fn start(model: Model) -> Host {
    let host = Setup::broken(model, "none").log("level = \"info,cohost=debug\"").start().await;
    assert_eq!(state(&host).await, (0, 0));
    host
}

/// Sends a request and returns once the application has it.
async fn begun(host: &Host, request: &str) -> Wire {
    let (pending, cancelled) = state(host).await;
    let mut wire = host.wire().await;
    wire.send(request).await;
    counted(host, pending + 1, cancelled).await;
    wire
}

/// Waits until so many requests hang, and so many were cancelled.
async fn counted(host: &Host, pending: u64, cancelled: u64) {
    let began = std::time::Instant::now();
    loop {
        let now = state(host).await;
        if now == (pending, cancelled) {
            return;
        }
        let late = began.elapsed() > std::time::Duration::from_secs(10);
        assert!(!late, "{now:?} requests hang and were cancelled, not {:?}", (pending, cancelled));
    }
}

async fn state(host: &Host) -> (u64, u64) {
    let state = host.get("/cancelled").await.json();
    (state["pending"].as_u64().unwrap(), state["cancelled"].as_u64().unwrap())
}

/// Ends a connection with RST instead of FIN.
fn reset(wire: Wire) {
    wire.stream.set_zero_linger().unwrap();
    drop(wire);
}

/// One line about it for developers, none for operators.
async fn logged_once(host: Host) {
    let log = host.log.clone();
    assert!(host.stop().await.success());
    let lines = log.of("request cancelled");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["level"], "DEBUG");
    assert_eq!(lines[0]["application"], "app");
    let loud = log.events();
    let loud: Vec<_> =
        loud.iter().filter(|event| matches!(event["level"].as_str(), Some("WARN" | "ERROR"))).collect();
    assert!(loud.is_empty(), "{loud:?}");
}
