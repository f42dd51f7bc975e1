//! Applications with `hosting_model = "auto"`: in process, until they have crashed too often for that.

use super::{served_by, started, try_get};
use crate::host::{Host, Model, Setup, Watched, Wire, library};

const DEMOTED: &str = "application demoted: it crashed too often in the host's process, and gets one of its own until it is promoted";
const CRASHED: &str = "worker crashed, and with it the requests that it had; the next one takes over";
const HANGS: &str = "worker is replaced, because an application hangs in it";

fn setup() -> Setup {
    Setup::broken(Model::InProcess, "none").automatic().application("demote_after = 2")
}

/// Where the application ran that was started last. It has been told by now, but perhaps not read.
async fn model(host: &Host) -> String {
    host.log.wait(|event| event["message"] == "application started" && event["application"] == "app").await;
    let started = host.log.of("application started");
    let own: Vec<_> = started.iter().filter(|event| event["application"] == "app").collect();
    own.last().unwrap()["hosting_model"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn after_enough_crashes_it_gets_a_process_of_its_own_and_keeps_it_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let place = state.path().to_str().unwrap();
    let host = setup()
        .variable("STATE_DIRECTORY", place)
        .beside(&library("sample_app"), Model::InProcess)
        .start()
        .await;
    for crash in 1..=2 {
        served_by(&host, crash).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert_eq!(model(&host).await, "inprocess");
        assert!(try_get(&host.client(), "/segfault").await.is_none());
        host.log.wait(|_| host.log.of(CRASHED).len() >= crash).await;
    }
    let told = host.log.message(DEMOTED).await;
    assert_eq!(told["application"], "app");
    assert!(told["last"].as_str().unwrap().contains("SIGSEGV"), "{told}");
    host.log.message("configuration in force").await;
    // Those who came too early for that have drained.
    let last = host.log.of("worker starts").len();
    served(&host, last).await;
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert_eq!(model(&host).await, "outofprocess");

    // From now on it harms nobody else.
    let worker = host.worker();
    for _ in 0..3 {
        let answer = host.get("/segfault").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (502, "instance_lost"));
        assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    }
    assert_eq!(host.worker(), worker);
    assert!(host.stop().await.success());

    let again = setup().variable("STATE_DIRECTORY", place).start().await;
    let told = again.log.message("application stays in a process of its own, until it is promoted").await;
    assert!(told["why"].as_str().unwrap().contains("GET /segfault"), "{told}");
    assert_eq!(again.get("/").await.text(), "ok\n");
    assert_eq!(model(&again).await, "outofprocess");
    assert!(again.stop().await.success());
}

#[tokio::test]
async fn hangs_count_like_crashes() {
    let host = setup()
        .application("hang_timeout = \"300ms\"")
        .server("threads = 2\nshutdown_timeout = \"1s\"")
        .beside(&library("sample_app"), Model::InProcess)
        .start()
        .await;
    for hang in 1..=2 {
        let worker = served_by(&host, hang).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert_eq!(model(&host).await, "inprocess");
        let _hanging = hanging(&host).await;
        host.log.wait(|event| event["message"] == HANGS && event["pid"] == worker).await;
        // Only then nobody gets to it any more.
        host.log.wait(|event| event["message"] == "worker ended" && event["pid"] == worker).await;
    }
    let told = host.log.message(DEMOTED).await;
    assert!(told["last"].as_str().unwrap().starts_with("a hang at GET /block/600000 (request "), "{told}");
    host.log.message("configuration in force").await;
    served(&host, host.log.of("worker starts").len()).await;
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert_eq!(model(&host).await, "outofprocess");

    let worker = host.worker();
    assert!(hanging(&host).await.rest().await.contains("instance_lost"));
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert_eq!((host.worker(), host.log.of(HANGS).len()), (worker, 2));
    assert!(host.stop().await.success());
}

/// Asks for something that never ends.
async fn hanging(host: &Host) -> Wire {
    let mut wire = host.wire().await;
    wire.send("GET /block/600000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    wire
}

/// Waits until only the worker that was started last is left.
async fn served(host: &Host, last: usize) {
    let last = started(host, last).await;
    for worker in host.workers() {
        if worker != last {
            Watched::new(worker).ended().await;
        }
    }
}

#[tokio::test]
async fn without_enough_crashes_it_stays_where_it_is() {
    let host = setup().start().await;
    assert!(try_get(&host.client(), "/segfault").await.is_none());
    served_by(&host, 2).await;
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert_eq!(model(&host).await, "inprocess");
    assert_eq!(host.log.of(DEMOTED).len(), 0);
    assert!(host.stop().await.success());
}
