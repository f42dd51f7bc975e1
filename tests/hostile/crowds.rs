//! Row E5: more connections than there are places.

use std::time::Duration;

use tokio::time::Instant;

use super::canary;
use crate::{
    both_models,
    host::{Host, Model, Setup, Wire},
};

const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";

/// A host with four places.
async fn four(model: Model) -> Host {
    Setup::sample(model).server("max_connections = 4").start_preloaded().await
}

/// A connection that has had an answer, and waits.
async fn idle(host: &Host) -> Wire {
    let mut wire = host.wire().await;
    answered(&mut wire).await;
    // So that somebody has waited longest.
    tokio::time::sleep(Duration::from_millis(5)).await;
    wire
}

async fn answered(wire: &mut Wire) {
    wire.send(GET).await;
    assert_eq!(wire.reply().await.text(), "Hello, World!");
}

both_models! {
    async fn who_has_waited_longest_leaves_for_a_new_one(model: Model) {
        let host = four(model).await;
        let [first, mut second, third, mut fourth] =
            [idle(&host).await, idle(&host).await, idle(&host).await, idle(&host).await];
        // Nobody waits longer than it does by now, but for the first and the third.
        answered(&mut second).await;
        let began = Instant::now();
        let mut new = Vec::new();
        for leaves in [first, third] {
            new.push(idle(&host).await);
            assert_eq!(leaves.rest().await, "");
        }
        for wire in [&mut second, &mut fourth].into_iter().chain(&mut new) {
            answered(wire).await;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(host.log.of("there are max_connections; those that wait longest for their clients are closed for new ones").len(), 1);
    }

    async fn who_has_said_nothing_yet_leaves_and_who_is_being_answered_stays(model: Model) {
        let host = four(model).await;
        let mut busy = [host.wire().await, host.wire().await, host.wire().await];
        for wire in &mut busy {
            wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await;
            wire.until("ab").await;
        }
        let silent = host.wire().await;
        assert_eq!(host.get("/plaintext").await.status, 200);
        assert_eq!(silent.rest().await, "");
        for mut wire in busy {
            wire.send("cd").await;
            wire.until("cd").await;
        }
    }

    async fn one_of_http2_without_requests_leaves_and_hears_so(model: Model) {
        let host = four(model).await;
        let (send, connection) = h2::client::handshake(host.raw().await).await.unwrap();
        let ended = tokio::spawn(connection);
        let mut send = send.ready().await.unwrap();
        let request = http::Request::get(format!("http://{}/plaintext", host.address)).body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        let (_, mut body) = answer.await.unwrap().into_parts();
        while body.data().await.is_some() {}
        let _others = [idle(&host).await, idle(&host).await, idle(&host).await];
        assert_eq!(host.get("/plaintext").await.status, 200);
        assert!(ended.await.unwrap().is_ok(), "it was told");
        drop(send);
    }

    async fn nobody_waits_for_those_who_only_wait(model: Model) {
        let host = four(model).await;
        let mut crowd = Vec::new();
        for _ in 0..40 {
            crowd.push(host.wire().await);
        }
        // Somewhere among the others, which the system accepts for the host.
        canary(&host).await;
        drop(crowd);
        canary(&host).await;
    }
}
