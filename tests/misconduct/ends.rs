//! Processes that end when they should not.

use super::{the_other_is_well, unruly};
use crate::host::{Model, Setup};

const ENDED: &str = "instance ended; the next request starts another";

#[tokio::test]
async fn a_process_that_ends_within_a_request_is_named_and_the_next_request_is_answered() {
    let host = unruly(&[]).application("rapid_fails_per_minute = 100").start().await;
    for (nth, (path, cause)) in
        [("/segfault", "SIGSEGV"), ("/abort", "SIGABRT"), ("/exit", "code 0")].into_iter().enumerate()
    {
        let answer = host.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (502, "instance_lost"));
        the_other_is_well(&host).await;
        // Before that, a request may still find the one that is dead.
        host.log.times(ENDED, nth + 1).await;
        assert_eq!(host.get("/").await.status, 200);
        let told = &host.log.of(ENDED)[nth];
        assert_eq!(told["application"], "app");
        assert!(told["exit"].as_str().unwrap().contains(cause), "{told}");
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn the_end_of_a_process_is_told_with_the_requests_that_it_had() {
    let host = Setup::broken(Model::OutOfProcess, "none").start().await;
    assert_eq!(host.get("/").await.status, 200);
    let mut slow = host.wire().await;
    let body = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    slow.send(format!("POST /slow-reader?secret=1 HTTP/1.1\r\nHost: a\r\n{body}\r\n")).await;
    // The application has it by then.
    assert!(slow.head().await.contains("100 Continue"));
    assert_eq!(host.get("/segfault").await.header("cohost-failure"), "instance_lost");
    let told = host.log.message(ENDED).await;
    let requests: Vec<_> = told["requests"].as_str().unwrap().split(", ").collect();
    let lines: Vec<_> = requests.iter().map(|line| line.split_once(" (").unwrap()).collect();
    assert_eq!((lines[0].0, lines[1].0, lines.len()), ("POST /slow-reader", "GET /segfault", 2), "{told}");
    assert!(lines.iter().all(|(_, id)| id.len() == 17), "{told}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_process_without_memory_ends_alone() {
    let limited = "ulimit -v 300000; exec \"$0\"";
    let program = super::UNRULY.1.to_str().unwrap();
    let host = Setup::command(&["sh", "-c", limited, program])
        .beside(&crate::host::library("sample_app"), crate::host::Model::InProcess)
        .start()
        .await;
    assert_eq!(host.get("/memory").await.header("cohost-failure"), "instance_lost");
    the_other_is_well(&host).await;
    let told = host.log.message(ENDED).await;
    assert_eq!(host.get("/").await.status, 200);
    assert_eq!(told["application"], "app");
    assert!(told["exit"].as_str().unwrap().contains("SIGABRT"), "{told}");
    assert_eq!(host.log.of("worker starts").len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn one_that_dies_whenever_it_has_come_up_is_paused_with_the_reason() {
    let host = unruly(&["--die"])
        .application("rapid_fails_per_minute = 2")
        .server("detailed_errors = true")
        .start()
        .await;
    let paused = async {
        loop {
            let answer = host.get("/").await;
            assert!([502, 503].contains(&answer.status.as_u16()), "{answer:?}");
            if answer.header("cohost-failure") == "fail_fast" {
                return answer;
            }
            the_other_is_well(&host).await;
        }
    };
    let answer = tokio::time::timeout(crate::host::PATIENCE, paused).await.expect("paused in time");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("code 0"), "{detail}");
    assert!(host.stop().await.success());
}
