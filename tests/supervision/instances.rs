//! Processes of applications while workers come and go: they are the supervisor's, and stay.

use std::net::TcpListener;

use rustix::process::Signal;

use super::{replace_worker, rewrite, served_by, try_get};
use crate::{
    foreign::echo,
    host::{Host, Model, Setup, Watched, kill, library},
};

#[tokio::test]
async fn the_next_request_after_a_crash_of_the_worker_is_answered_by_the_same_process() {
    let host = Setup::broken(Model::InProcess, "none")
        .beside(&library("sample_app"), Model::OutOfProcess)
        .start()
        .await;
    let instance = pid(&host, "/healthy/info").await;
    kill(served_by(&host, 1).await, Signal::KILL);
    served_by(&host, 2).await;
    assert_eq!(pid(&host, "/healthy/info").await, instance);
    assert!(try_get(&host.client(), "/segfault").await.is_none());
    served_by(&host, 3).await;
    assert_eq!(pid(&host, "/healthy/info").await, instance);
    host.log.times("instance started", 1).await;
    host.log.times("application goes on in the instance that runs already", 2).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_replacement_of_the_worker_leaves_processes_as_they_are() {
    let host = Setup::sample(Model::OutOfProcess).start_preloaded().await;
    let instance = pid(&host, "/info").await;
    for round in 1..=3 {
        replace_worker(&host, round);
        served_by(&host, round + 1).await;
        host.log.wait(|_| host.log.of("worker ended").len() == round).await;
        assert_eq!(pid(&host, "/info").await, instance);
    }
    host.log.times("application started", 1).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_new_library_at_the_same_path_is_a_new_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libapp.so");
    std::fs::copy(library("sample_app"), &path).unwrap();
    let host = Setup::library(&path, Model::OutOfProcess).start_preloaded().await;
    let instance = pid(&host, "/info").await;
    let next = folder.path().join("next.so");
    // What comes after its end is of no interest to a loader.
    let mut bytes = std::fs::read(library("sample_app")).unwrap();
    bytes.push(0);
    std::fs::write(&next, bytes).unwrap();
    std::fs::rename(next, path).unwrap();
    host.signal("HUP");
    host.log.message("configuration in force").await;
    assert_ne!(pid(&host, "/info").await, instance);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_fixed_port_is_kept_through_a_crash_and_replacements_without_a_failed_request() {
    let port = fixed_port();
    let setup = |variable: &str| {
        Setup::command(&echo(&[]))
            .application(&format!("port = {port}\npreload = true\nenvironment = {{ X = {variable:?} }}"))
    };
    let host = setup("one").start().await;
    let instance = pid(&host, "/").await;
    kill(host.worker(), Signal::KILL);
    assert_eq!(pid(&host, "/").await, instance);
    let second = served_by(&host, 2).await;

    replace_worker(&host, 1);
    answered_until_ended(&host, second).await;
    assert_eq!(pid(&host, "/").await, instance);
    let third = served_by(&host, 3).await;

    // One with another environment cannot run beside it: it gets the port when the other has ended.
    rewrite(&host, &setup("two").server("threads = 3").text());
    host.signal("HUP");
    answered_until_ended(&host, third).await;
    let told = host.get("/").await.json();
    assert_eq!(told["environment"]["X"], "two");
    assert_ne!(told["pid"].as_u64().unwrap(), instance);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn ten_applications_started_at_once_all_come_up() {
    let library = library("sample_app").display().to_string();
    let more = |n: u32| {
        format!(
            "[[site.application]]\nname = \"a{n}\"\npath = \"/a{n}\"\nlibrary = {library:?}\n\
             hosting_model = \"outofprocess\"\npreload = true"
        )
    };
    let setup = Setup::sample(Model::OutOfProcess).application("preload = true");
    let host = (1..10).fold(setup, |setup, n| setup.more(&more(n))).start().await;
    host.log.times("application started", 10).await;
    let mut all = std::collections::BTreeSet::from([pid(&host, "/info").await]);
    for n in 1..10 {
        all.insert(pid(&host, &format!("/a{n}/info")).await);
    }
    assert_eq!(all.len(), 10);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_process_that_does_not_stop_in_time_is_killed_and_the_exit_code_says_so() {
    let words = ["sh", "-c", "trap '' TERM; exec \"$@\"", "sh"].into_iter().chain(echo(&[]));
    let host =
        Setup::command(&words.collect::<Vec<_>>()).application("shutdown_timeout = \"300ms\"").start().await;
    let instance = Watched::new(pid(&host, "/").await.try_into().unwrap());
    assert_eq!(host.stop().await.code(), Some(5));
    instance.ended().await;
}

#[tokio::test]
async fn what_a_process_prints_is_logged_also_after_a_crash_of_the_worker() {
    let host = Setup::broken(Model::OutOfProcess, "none").start().await;
    assert_eq!(host.get("/").await.status, 200);
    kill(host.worker(), Signal::KILL);
    assert_eq!(host.get("/log").await.status, 200);
    let told = host.log.wait(|event| event["application"] == "app" && event["request_id"].is_string()).await;
    assert!(told["target"].as_str().is_some_and(|target| !target.starts_with("cohost")), "{told}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_process_that_crashes_too_often_is_left_alone_by_the_next_worker_too() {
    let host = Setup::broken(Model::OutOfProcess, "none")
        .application("rapid_fails_per_minute = 1")
        .server("detailed_errors = true")
        .start()
        .await;
    for crash in 1..=2 {
        assert_eq!(host.get("/abort").await.header("cohost-failure"), "instance_lost");
        // Before that, a request may still find the one that is dead.
        host.log.times("instance ended; the next request starts another", crash).await;
    }
    assert_eq!(host.get("/").await.header("cohost-failure"), "fail_fast");
    kill(host.worker(), Signal::KILL);
    served_by(&host, 2).await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "fail_fast"));
    assert!((30..=60).contains(&answer.header("retry-after").parse::<u64>().unwrap()), "{answer:?}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("instance_lost") && detail.contains("SIGABRT"), "{detail}");
    assert!(host.stop().await.success());
}

/// Asks again and again until the worker has ended; each time, there has to be an answer.
async fn answered_until_ended(host: &Host, worker: u32) {
    let ended = || host.log.of("worker ended").iter().any(|event| event["pid"] == worker);
    let asking = async {
        while !ended() {
            assert_eq!(host.get("/").await.status, 200);
        }
    };
    tokio::time::timeout(crate::host::PATIENCE, asking).await.expect("it ends in time");
}

async fn pid(host: &Host, path: &str) -> u64 {
    let answer = host.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["pid"].as_u64().unwrap()
}

/// A port below those that the system gives out, and that other tests do not use.
fn fixed_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (30_000..32_000).find(free).unwrap()
}
