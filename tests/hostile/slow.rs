//! Rows E1 to E4 and B6: clients that are slow, each with the time it has and not more.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{Request, Version};
use tokio::{io::AsyncReadExt as _, time::Instant};

use super::canary;
use crate::{
    both_models,
    host::{Host, Model, Setup, Wire},
};

/// Sends one byte after the other, with a pause, until the host has had enough. Returns what it said.
async fn dribble(mut wire: Wire, bytes: &[u8]) -> String {
    use tokio::io::AsyncWriteExt as _;
    for byte in bytes {
        if wire.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        let mut one = [0];
        let heard = tokio::time::timeout(Duration::from_millis(20), wire.stream.peek(&mut one));
        if heard.await.is_ok() {
            break;
        }
    }
    wire.rest().await
}

/// A connection of HTTP/2 whose client opens no window.
async fn without_a_window(host: &Host) -> SendRequest<Bytes> {
    let (send, connection) =
        Builder::new().initial_window_size(0).handshake::<_, Bytes>(host.raw().await).await.unwrap();
    tokio::spawn(connection);
    send.ready().await.unwrap()
}

fn get(host: &Host, path: &str) -> Request<()> {
    Request::get(format!("http://{}{path}", host.address)).version(Version::HTTP_2).body(()).unwrap()
}

both_models! {
    async fn a_head_that_comes_byte_by_byte_is_not_waited_for(model: Model) {
        let host = Setup::sample(model).server("header_timeout = \"400ms\"").start().await;
        canary(&host).await;
        let began = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..50 {
            clients.spawn(dribble(host.wire().await, "GET / HTTP/1.1\r\nX: ".repeat(10).into_bytes().leak()));
        }
        canary(&host).await;
        assert!(clients.join_all().await.iter().all(String::is_empty));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }

    async fn a_preface_that_stays_half_is_not_waited_for(model: Model) {
        let host = Setup::sample(model).server("header_timeout = \"300ms\"").start().await;
        for begun in ["", "PRI * HTTP/2.0\r\n\r\nSM", "GET / HTTP/1.1\r\nHost: a\r\n"] {
            assert_eq!(host.exchange(begun).await, "", "{begun}");
        }
    }

    async fn an_idle_connection_has_its_own_time(model: Model) {
        let server = "header_timeout = \"200ms\"\nkeep_alive_timeout = \"1s\"";
        let host = Setup::sample(model).server(server).start_preloaded().await;
        let mut wire = host.wire().await;
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        wire.reply().await;
        // Longer than a head may take, and not as long as it may be idle.
        assert!(tokio::time::timeout(Duration::from_millis(500), wire.stream.readable()).await.is_err());
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.reply().await.status(), 200);
        let began = Instant::now();
        assert_eq!(wire.rest().await, "");
        assert!(began.elapsed() > Duration::from_millis(800), "{:?}", began.elapsed());
    }

    async fn an_idle_connection_of_http2_ends_and_a_busy_one_does_not(model: Model) {
        let host = Setup::sample(model).server("keep_alive_timeout = \"400ms\"").start_preloaded().await;
        let (send, connection) = h2::client::handshake(host.raw().await).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut send = send.ready().await.unwrap();
        let (answer, _) = send.send_request(get(&host, "/sleep/1500"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        drop(send);
        connection.await.unwrap().unwrap();

        let (send, connection) = h2::client::handshake(host.raw().await).await.unwrap();
        let ended = tokio::spawn(connection).await.unwrap();
        drop::<SendRequest<Bytes>>(send);
        ended.unwrap();
    }

    async fn a_body_that_stops_half_way_is_408(model: Model) {
        let host = Setup::sample(model).server("body_timeout = \"300ms\"").start_preloaded().await;
        for request in [
            "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
            "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5",
            "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
        ] {
            let answer = host.exchange(request).await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{request}: {answer}");
            assert!(answer.contains("cohost-failure: body_timeout\r\n"), "{answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
        }
        canary(&host).await;
    }

    async fn who_asks_whether_to_send_and_then_does_not_is_408(model: Model) {
        let host = Setup::sample(model).server("body_timeout = \"300ms\"").start_preloaded().await;
        let request = "POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
        let answer = host.exchange(request).await;
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 "), "{answer}");
    }

    async fn a_body_of_http2_that_stops_half_way_is_408(model: Model) {
        let host = Setup::sample(model).server("body_timeout = \"300ms\"").start_preloaded().await;
        let (send, connection) = h2::client::handshake(host.raw().await).await.unwrap();
        tokio::spawn(connection);
        let mut send = send.ready().await.unwrap();
        let request = Request::post(format!("http://{}/upload", host.address)).body(()).unwrap();
        let (answer, mut body) = send.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"half"), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["cohost-failure"]), (408, &"body_timeout".parse().unwrap()));
        // The connection is as good as before.
        let (answer, _) = send.ready().await.unwrap().send_request(get(&host, "/"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    }

    async fn a_body_that_comes_too_slowly_is_408(model: Model) {
        let server = "body_timeout = \"500ms\"\nmin_body_rate = 1000";
        let host = Setup::sample(model).server(server).start_preloaded().await;
        let mut wire = host.wire().await;
        wire.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").await;
        let answer = dribble(wire, &[b'x'; 999]).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    async fn an_application_that_takes_its_time_costs_the_client_none(model: Model) {
        let host = Setup::broken(model, "none").server("body_timeout = \"200ms\"").start_preloaded().await;
        let mut wire = host.wire().await;
        let body = vec![b'x'; 500_000];
        wire.send("POST /slow-reader HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n").await;
        wire.send(&body).await;
        assert_eq!(wire.reply().await.status(), 200);
    }

    async fn a_client_that_takes_nothing_is_cut_off(model: Model) {
        let host = Setup::sample(model).server("send_timeout = \"300ms\"").start_preloaded().await;
        let mut wire = host.wire().await;
        wire.send("GET /bytes/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let record = host.log.wait(|event| event["path"] == "/bytes/1000000000").await;
        assert_eq!(record["ending"], "cancelled", "{record}");
        assert!(record["sent"].as_u64().unwrap() < 20_000_000, "{record}");
        let mut left = Vec::new();
        let _cut = wire.stream.read_to_end(&mut left).await;
        assert!(left.len() < 20_000_000);
        canary(&host).await;
    }

    async fn a_stream_without_a_window_is_cancelled_and_its_connection_is_not(model: Model) {
        let host = Setup::sample(model).server("send_timeout = \"300ms\"").start_preloaded().await;
        let mut send = without_a_window(&host).await;
        let mut answers = Vec::new();
        for _ in 0..100 {
            send = send.ready().await.unwrap();
            let (answer, _) = send.send_request(get(&host, "/bytes/1000000"), true).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            let mut body = answer.await.unwrap().into_body();
            let error = body.data().await.unwrap().unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{error}");
        }
        let (answer, _) = send.send_request(Request::head(get(&host, "/").uri()).body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}
