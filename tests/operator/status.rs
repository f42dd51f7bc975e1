//! How things are, as operators get to see it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    both_models,
    host::{Model, Setup, Watched, kill, library},
    supervision::{served_by, try_get},
};

both_models! {
    async fn an_application_is_idle_until_it_is_wanted_then_it_runs(model: Model) {
        let host = Setup::sample(model).start().await;
        let application = async || host.tells().await["sites"][0]["applications"][0].clone();
        let idle = application().await;
        assert_eq!((&idle["name"], &idle["path"], &idle["state"]), (&"app".into(), &"/".into(), &"idle".into()));
        assert_eq!(idle["hosting_model"], model.as_str());
        host.get("/plaintext").await;
        let running = application().await;
        assert_eq!(running["state"], "running");
        match model {
            Model::InProcess => assert_eq!(running["generation"], 1),
            Model::OutOfProcess => {
                let started = host.log.message("application started").await;
                assert_eq!(running["pids"][0], started["pid"]);
            }
        }
        assert!(host.stop().await.success());
    }

    async fn one_that_fails_is_shown_with_the_reason_and_when_it_is_tried_again(model: Model) {
        let host = Setup::broken(model, "constructor-error").start().await;
        assert_eq!(host.get("/").await.status, 503);
        let status = host.tells().await;
        let application = &status["sites"][0]["applications"][0];
        assert_eq!((&application["state"], &application["failed"]["code"]), (&"failed".into(), &"start_failed".into()));
        assert!(application["failed"]["retry_at"].is_string(), "{application}");
        let shown = host.operator(&["status"]).await.stdout;
        assert!(shown.contains("start_failed, 0s ago; tried again in "), "{shown}");
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn the_tree_shows_everything_and_fits_into_80_columns() {
    let host =
        Setup::sample(Model::InProcess).beside(&library("sample_app"), Model::OutOfProcess).start().await;
    host.get("/plaintext").await;
    let shown = host.operator(&["status"]).await;
    let mut text = shown.stdout;
    for (real, stable) in [
        (host.worker().to_string(), "WORKER"),
        (host.pid().to_string(), "HOST"),
        (host.address.to_string(), "ADDRESS"),
        (host.directory.path().display().to_string(), "FOLDER"),
    ] {
        text = text.replace(&real, stable);
    }
    let up = text.split_whitespace().position(|word| word == "up").unwrap();
    let up = text.split_whitespace().nth(up + 1).unwrap().to_owned();
    let text = text.replace(&format!("up {up}"), "up TIME");
    assert_eq!(
        text,
        "\
cohost 0.1.0  serving  pid HOST  up TIME
edition 1  FOLDER/cohost.toml
on http://ADDRESS

site  http://127.0.0.1:0
├── /         app      running   inprocess  generation 1
└── /healthy  healthy  idle      outofprocess

workers
└── 1  pid WORKER  serving   edition 1  up TIME
"
    );
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_worker_that_is_stuck_is_shown_as_such_within_moments() {
    let host = Setup::sample(Model::InProcess).start().await;
    let worker = host.worker();
    kill(worker, Signal::STOP);
    for _ in 0..3 {
        let began = Instant::now();
        let status = host.tells().await;
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(
            (&status["workers"][0]["pid"], &status["workers"][0]["answers"]),
            (&worker.into(), &false.into())
        );
        assert_eq!(status["sites"][0]["applications"][0]["state"], "unknown");
    }
    kill(worker, Signal::CONT);
    let answers = async { while host.tells().await["workers"][0]["answers"] != true {} };
    tokio::time::timeout(Duration::from_secs(20), answers).await.expect("it answers again");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_worker_whose_threads_are_held_by_an_application_still_tells() {
    let host = Setup::broken(Model::InProcess, "none").server("threads = 1").start().await;
    let mut held = host.wire().await;
    held.send("GET /block/600000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    host.log.wait(|event| event["message"].as_str().is_some_and(|it| it.contains("blocks a thread"))).await;
    let status = host.tells().await;
    assert_eq!(status["workers"][0]["answers"], true);
    assert_eq!(status["sites"][0]["applications"][0]["state"], "running");
    let worker = Watched::new(host.worker());
    host.signal("KILL");
    worker.ended().await;
}

#[tokio::test]
async fn workers_are_shown_with_what_they_are_for() {
    let host = Setup::broken(Model::InProcess, "none").server("standby = true").start().await;
    let first = served_by(&host, 1).await;
    let both = async {
        loop {
            let workers = host.tells().await["workers"].clone();
            if workers[1]["state"] == "waiting" {
                return workers;
            }
        }
    };
    let workers = tokio::time::timeout(Duration::from_secs(20), both).await.expect("one waits");
    assert_eq!((&workers[0]["pid"], &workers[0]["state"]), (&first.into(), &"serving".into()));
    assert!(try_get(&host.client(), "/segfault").await.is_none());
    let second = served_by(&host, 2).await;
    let serving = async { while host.tells().await["workers"][0]["pid"] != second {} };
    tokio::time::timeout(Duration::from_secs(20), serving).await.expect("the crashed one is gone");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_host_without_its_applications_in_process_says_why() {
    let host = Setup::sample(Model::InProcess).start().await;
    // By somebody whom nobody knows.
    for crash in 1..=11 {
        let worker = served_by(&host, crash).await;
        // By then it was ready, so that its end is a crash and no failed start.
        host.get("/plaintext").await;
        kill(worker, Signal::KILL);
    }
    served_by(&host, 12).await;
    let status = host.tells().await;
    let application = &status["sites"][0]["applications"][0];
    assert_eq!(
        (&application["state"], &application["failed"]["code"]),
        (&"failed".into(), &"worker_crashed".into())
    );
    let safe = |worker: &serde_json::Value| worker["safe"] == true && worker["state"] == "serving";
    assert!(status["workers"].as_array().unwrap().iter().any(safe), "{status}");
    assert!(host.stop().await.success());
}

both_models! {
    async fn requests_are_counted_and_shown_until_their_answers_have_ended(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        host.get("/").await;
        let mut busy = host.wire().await;
        busy.send("POST /slow-reader HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        busy.send_chunk(b"first").await;
        let in_flight = async |number: u64| {
            loop {
                let status = host.tells().await;
                let application = status["sites"][0]["applications"][0].clone();
                if application["in_flight"] == number {
                    return (application["requests"].clone(), status["workers"][0]["in_flight"].clone());
                }
            }
        };
        assert_eq!(in_flight(1).await, (2.into(), 1.into()));
        busy.send("0\r\n\r\n").await;
        assert_eq!(in_flight(0).await, (2.into(), 0.into()));
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn an_application_that_crashed_its_worker_is_shown_with_the_request() {
    let host = Setup::broken(Model::InProcess, "none").start().await;
    for times in 1..=2 {
        assert!(try_get(&host.client(), "/segfault").await.is_none());
        served_by(&host, times + 1).await;
        let status = host.tells().await;
        let crashed = &status["sites"][0]["applications"][0]["crashed"];
        assert_eq!((&crashed["request"], &crashed["times"]), (&"GET /segfault".into(), &times.into()));
        assert!(crashed["exit"].as_str().unwrap().contains("SIGSEGV"), "{crashed}");
    }
    let shown = host.operator(&["status"]).await.stdout;
    assert!(shown.contains("crashed its worker"), "{shown}");
    assert!(host.stop().await.success());
}
