//! Behaviour 20: instances that nobody asks for anything, and the request that comes just then.

use std::time::Duration;

use crate::host::{Host, Model, Setup, Watched};

const STARTED: &str = "application started";
const STOPPED: &str = "instance has had no requests; the next one starts another";

fn setup(idle_stop: &str) -> Setup {
    Setup::broken(Model::OutOfProcess, "none").application(&format!("idle_stop = {idle_stop:?}"))
}

fn at(event: &serde_json::Value) -> jiff::Timestamp {
    event["timestamp"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_requests_is_stopped_and_the_next_request_starts_another() {
    let host = setup("300ms").start().await;
    // A request that lasts longer than that is one all the while.
    let client = host.client();
    let slow = tokio::spawn(async move { client.get("/sleep/500").await });
    let started = host.log.message(STARTED).await;
    let process = Watched::new(started["pid"].as_u64().unwrap().try_into().unwrap());
    assert_eq!(slow.await.unwrap().text(), "slept 500 ms\n");
    let stopped = host.log.message(STOPPED).await;
    assert_eq!(stopped["pid"], started["pid"]);
    let lasted = at(&stopped).duration_since(at(&started));
    assert!(lasted.as_millis() >= 799, "it was stopped after {lasted:?}");
    process.ended().await;
    assert_eq!(host.tells().await["sites"][0]["applications"][0]["state"], "idle");
    assert_eq!(host.get("/").await.text(), "ok\n");
    host.log.times(STARTED, 2).await;
    assert!(host.log.of("instance ended; the next request starts another").is_empty(), "it was no crash");
    assert!(host.stop().await.success());
}

/// Asks with pauses that are about as long as it takes to be idle.
async fn ask_at_the_last_moment(host: &Host) {
    for round in 0..15 {
        assert_eq!(host.get("/").await.text(), "ok\n");
        let pause = Duration::from_millis(10) + Duration::from_micros(400) * round;
        tokio::time::sleep(pause).await;
    }
    assert!(!host.log.of(STOPPED).is_empty(), "it was stopped at times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_at_the_moment_of_an_idle_stop_is_answered() {
    let host = setup("10ms").start().await;
    ask_at_the_last_moment(&host).await;
    assert!(host.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_in_one_process() {
    let host = setup("10ms").option("--no-supervisor").start().await;
    ask_at_the_last_moment(&host).await;
    assert!(host.stop().await.success());
}
