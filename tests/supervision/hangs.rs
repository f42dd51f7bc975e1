//! Applications that do not give back a thread: told with the function they are in, and replaced while the others go on.

use std::time::Duration;

use super::{served_by, try_get};
use crate::{
    both_models,
    host::{Host, Model, Setup, Wire},
};

const HANGS: &str = "application hangs: it has not given back a thread that serves connections";

fn setup(model: Model) -> Setup {
    Setup::broken(model, "none")
        .application("hang_timeout = \"300ms\"")
        .server("threads = 2\nshutdown_timeout = \"1s\"")
}

/// Asks for something that never ends.
async fn hanging(host: &Host) -> Wire {
    let mut wire = host.wire().await;
    wire.send("GET /block/600000?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wire
}

both_models! {
    async fn a_hang_is_told_with_the_request_and_the_function_that_the_thread_is_in(model: Model) {
        let host = setup(model).start_preloaded().await;
        let _hanging = hanging(&host).await;
        let told = host.log.message(HANGS).await;
        assert_eq!(told["application"], "app");
        assert_eq!((&told["method"], &told["path"]), (&"GET".into(), &"/block/600000".into()), "{told}");
        assert_eq!(told["request_id"].as_str().unwrap().len(), 16);
        assert!(told["held_ms"].as_u64().unwrap() >= 300);
        let stack = told["stack"].as_str().unwrap();
        assert!(stack.contains("keep_thread (waiting.rs:"), "{stack}");
        assert!(!stack.contains("on_signal"), "what shows the stack is no part of it: {stack}");
        assert_eq!(host.log.of(HANGS).len(), 1);
        // Whoever comes later is answered, by the one that takes its place.
        let answered = async { while try_get(&host.client(), "/").await.is_none_or(|it| it.status != 200) {} };
        tokio::time::timeout(Duration::from_secs(10), answered).await.expect("in time");
    }
}

#[tokio::test]
async fn a_worker_with_a_hang_is_replaced_and_serves_on_until_then() {
    let host = setup(Model::InProcess).start_preloaded().await;
    let stuck = served_by(&host, 1).await;
    let _hanging = hanging(&host).await;
    // On the thread that is left.
    for _ in 0..10 {
        assert_eq!(host.get("/").await.text(), "ok\n");
    }
    let told = host.log.message("worker is replaced, because an application hangs in it").await;
    assert_eq!((&told["application"], &told["pid"]), (&"app".into(), &stuck.into()));
    assert_ne!(served_by(&host, 2).await, stuck);
    for _ in 0..10 {
        assert_eq!(host.get("/").await.text(), "ok\n");
    }
    host.log.wait(|event| event["message"] == "worker ended" && event["pid"] == stuck).await;
    assert_eq!(host.log.of("worker starts").len(), 2);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_hang_that_holds_several_threads_counts_once() {
    let setup = Setup::broken(Model::InProcess, "none").automatic();
    let setup = setup.application("demote_after = 2\nhang_timeout = \"2s\"\nshutdown_timeout = \"500ms\"");
    let host = setup.server("threads = 3\nshutdown_timeout = \"1s\"").start_preloaded().await;
    let stuck = served_by(&host, 1).await;
    let _hanging = tokio::join!(hanging(&host), hanging(&host));
    // Both, before one of them is a hang: after that, the next worker would get the other.
    let both = async { while host.tells().await["sites"][0]["applications"][0]["in_flight"] != 2 {} };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both are on their way");
    host.log.times(HANGS, 2).await;
    host.log.wait(|event| event["message"] == "worker ended" && event["pid"] == stuck).await;
    assert_eq!(host.log.of("worker is replaced, because an application hangs in it").len(), 1);
    assert_eq!(host.tells().await["sites"][0]["applications"][0]["hosting_model"], "inprocess");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_instance_with_a_hang_is_aborted_and_replaced() {
    let host = setup(Model::OutOfProcess).start_preloaded().await;
    let mut lost = hanging(&host).await;
    let ended = host.log.message("instance ended; the next request starts another").await;
    assert!(ended["exit"].as_str().unwrap().contains("SIGABRT"), "{ended}");
    assert!(lost.until("instance_lost").await.starts_with(b"HTTP/1.1 502"));
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert!(host.stop().await.success());
}

both_models! {
    async fn an_application_may_be_allowed_to_keep_its_threads(model: Model) {
        for (limit, hangs_after_ms) in [("", Some(90_000)), ("hang_timeout = \"none\"", None)] {
            let host = Setup::broken(model, "none").application(limit).start().await;
            assert_eq!(host.get("/block/1500").await.text(), "blocked for 1500 ms\n");
            let blocks = |event: &serde_json::Value| {
                event["message"].as_str().is_some_and(|it| it.starts_with("application blocks a thread"))
            };
            let told = host.log.wait(blocks).await;
            assert_eq!(told["hangs_after_ms"].as_u64(), hangs_after_ms, "{told}");
            assert_eq!(host.log.of(HANGS).len(), 0);
            assert!(host.stop().await.success());
        }
    }
}
