//! Crashes of workers: what was in flight is lost, and nothing else.

use std::time::Duration;

use rustix::process::Signal;

use super::{served_by, started, try_get};
use crate::host::{Model, Setup, Watched, kill, library};

const REFUSED: &str = "application refused until then, because of its crashes; the others are served";
const CRASHED: &str = "worker crashed, and with it the requests that it had; the next one takes over";

#[tokio::test]
async fn a_worker_that_is_killed_costs_nobody_the_connection() {
    let host = Setup::sample(Model::InProcess).start().await;
    let client = host.client();
    let mut lost = 0;
    for round in 0..200 {
        if round % 50 == 25 {
            kill(host.worker(), Signal::KILL);
        }
        match try_get(&client, "/plaintext").await {
            Some(answer) => assert_eq!(answer.text(), "Hello, World!"),
            None => lost += 1,
        }
    }
    // At most the one that was sent to a worker in its last moment.
    assert!(lost <= 4, "{lost} requests were lost by 4 crashes");
    host.log.times(CRASHED, 4).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_crash_is_logged_with_its_signal_or_exit_code_and_the_next_request_is_answered() {
    let host = Setup::broken(Model::InProcess, "none").start().await;
    for (crash, (path, said)) in [
        ("/segfault", "SIGSEGV"),
        ("/abort", "SIGABRT"),
        ("/exit", "exit code 0"),
        ("/stack-overflow", "signal"),
    ]
    .into_iter()
    .enumerate()
    {
        let worker = served_by(&host, crash + 1).await;
        assert!(try_get(&host.client(), path).await.is_none(), "{path}");
        assert_eq!(host.get("/").await.text(), "ok\n");
        host.log.wait(|_| host.log.of(CRASHED).len() > crash).await;
        let told = &host.log.of(CRASHED)[crash];
        assert!(told["exit"].as_str().unwrap().contains(said), "{told}");
        assert_eq!(told["pid"], worker);
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_standby_takes_over_that_was_loaded_before() {
    let host = Setup::broken(Model::InProcess, "none")
        .server("standby = true")
        .application("preload = true")
        .start()
        .await;
    // Both have loaded the application by then.
    host.log.wait(|_| host.log.of("application started").len() == 2).await;
    let standby = started(&host, 2).await;
    assert_eq!(served_by(&host, 1).await, started(&host, 1).await);

    assert!(try_get(&host.client(), "/segfault").await.is_none());
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert_eq!(served_by(&host, 2).await, standby);
    // And another one waits for the next crash.
    host.log.wait(|_| host.log.of("application started").len() == 3).await;
    started(&host, 3).await;
    assert_eq!(host.log.of("worker serves").len(), 2);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_standby_that_is_killed_is_replaced_and_nobody_notices() {
    let host = Setup::sample(Model::InProcess).server("standby = true").start().await;
    let standby = started(&host, 2).await;
    let (gone, client) = (Watched::new(standby), host.client());
    kill(standby, Signal::KILL);
    gone.ended().await;
    for _ in 0..20 {
        assert_eq!(client.get("/plaintext").await.text(), "Hello, World!");
    }
    started(&host, 3).await;
    assert_eq!(host.log.of("worker serves").len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn without_trials_an_application_that_ends_workers_when_it_starts_is_tried_again_by_requests() {
    let host = Setup::broken(Model::InProcess, "constructor-segfault")
        .application("preload = true\ntrial = false")
        .beside(&library("sample_app"), Model::InProcess)
        .start()
        .await;
    // The next worker does not even start it.
    served_by(&host, 2).await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "worker_crashed"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    let told = &host.log.of(REFUSED)[0];
    assert_eq!((&told["application"], &told["why"]), (&"app".into(), &"BackingOff".into()), "{told}");
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");

    // It is tried again by the requests that come later, and meanwhile everybody else is served.
    let again = async {
        while host.log.of(CRASHED).len() < 2 {
            let _refused_or_lost = try_get(&host.client(), "/").await;
            let _lost_at_most_once = try_get(&host.client(), "/healthy/plaintext").await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("it is tried again");
    host.log.times(REFUSED, 2).await;
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    assert_eq!(host.get("/").await.header("cohost-failure"), "worker_crashed");
    let ended = tokio::time::timeout(Duration::from_secs(20), host.stop()).await.expect("in time");
    assert!(ended.success());
}

#[tokio::test]
async fn an_application_that_crashes_too_often_is_refused_and_the_others_are_served_throughout() {
    let host = Setup::broken(Model::InProcess, "none")
        .application("rapid_fails_per_minute = 2")
        .beside(&library("sample_app"), Model::InProcess)
        .server("standby = true\ndetailed_errors = true")
        .start()
        .await;
    for crash in 1..=3 {
        served_by(&host, crash).await;
        assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert!(try_get(&host.client(), "/segfault").await.is_none());
        host.log.wait(|_| host.log.of(CRASHED).len() >= crash).await;
    }
    let worker = served_by(&host, 4).await;
    for path in ["/", "/segfault", "/"] {
        let answer = host.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "fail_fast"));
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("SIGSEGV") && detail.contains("GET /segfault"), "{detail}");
        assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    }
    assert_eq!(host.log.of("worker serves").last().unwrap()["pid"], worker);

    // A change of somebody else is no new chance, but whoever asks for it gets one.
    assert_eq!(host.operator(&["recycle", "healthy"]).await.code, 0);
    assert_eq!(host.get("/").await.header("cohost-failure"), "fail_fast");
    host.signal("HUP");
    host.log.times("configuration in force", 2).await;
    let open = async { while host.get("/").await.text() != "ok\n" {} };
    tokio::time::timeout(Duration::from_secs(10), open).await.expect("it is served again");
    assert!(host.stop().await.success());
}
