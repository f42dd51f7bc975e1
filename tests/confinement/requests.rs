//! Requests at a time: the others wait for their turn, a bounded number of them.

use std::time::Duration;

use crate::{
    both_models,
    host::{Model, Setup},
};

both_models! {
    async fn one_request_at_a_time_one_waits_and_the_next_is_refused(model: Model) {
        let host = Setup::broken(model, "none")
            .application("max_concurrent_requests = 1\nrequest_queue = 1")
            .beside(&crate::host::library("sample_app"), model)
            .start()
            .await;
        let mut first = host.wire().await;
        first.send("GET /hang-stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(first.head().await.starts_with("HTTP/1.1 200 "));
        // Its answer has begun, and is not complete.
        let get = || { let client = host.client(); tokio::spawn(async move { client.get("/").await }) };
        let (mut one, mut other) = (get(), get());
        let (refused, waits) = tokio::select! {
            refused = &mut one => (refused.unwrap(), other),
            refused = &mut other => (refused.unwrap(), one),
        };
        assert_eq!(refused.status, 503);
        assert_eq!(refused.headers["cohost-failure"], "queue_full");
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(host.get("/healthy/plaintext").await.status, 200, "others are not concerned");
        assert!(!waits.is_finished());
        drop(first);
        assert_eq!(waits.await.unwrap().text(), "ok\n");
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert!(host.stop().await.success());
    }

    async fn waiting_ends_with_the_clients_leaving_and_with_the_deadline(model: Model) {
        let host = Setup::broken(model, "none")
            .application("max_concurrent_requests = 1\nrequest_queue = 1\nrequest_timeout = \"1s\"")
            .start_preloaded()
            .await;
        let mut first = host.wire().await;
        first.send("GET /hang-stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(first.head().await.starts_with("HTTP/1.1 200 "));
        let leaves = loop {
            let mut waits = host.wire().await;
            waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            // Once it waits, others are refused; if the other was faster, it is the one that was refused.
            if host.get("/").await.header("cohost-failure") == "queue_full" {
                break waits;
            }
        };
        drop(leaves);
        // Once it has left, they wait in its place, and not for ever.
        let answer = loop {
            let answer = host.get("/").await;
            if answer.headers["cohost-failure"] != "queue_full" {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!((answer.status, &answer.headers["cohost-failure"]), (504.try_into().unwrap(), &"request_timeout".parse().unwrap()));
        drop(first);
        while host.get("/").await.status != 200 {}
        assert!(host.stop().await.success());
    }
}
