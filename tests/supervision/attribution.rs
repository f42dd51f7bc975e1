//! Who ended a worker: the line in the log names the application and the request, however many others there were.

use rustix::process::Signal;
use serde_json::Value;

use super::{served_by, try_get};
use crate::host::{Host, Model, Setup, Wire, Workshop, kill, library};

const CRASHED: &str = "worker crashed, and with it the requests that it had; the next one takes over";

/// The application with a switch per fault, and the sample beside it, in process as well.
fn two() -> Setup {
    Setup::broken(Model::InProcess, "none").beside(&library("sample_app"), Model::InProcess)
}

/// What the log says of the `nth` crash.
async fn told(host: &Host, nth: usize) -> Value {
    host.log.wait(|_| host.log.of(CRASHED).len() >= nth).await;
    host.log.of(CRASHED)[nth - 1].clone()
}

/// Asks for something that others are busy with meanwhile.
async fn busy(host: &Host, path: &str) -> Wire {
    let mut wire = host.wire().await;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    wire
}

#[tokio::test]
async fn a_crash_is_told_with_the_application_and_the_request_that_did_it() {
    let host = two().start().await;
    for (nth, (path, signal, address)) in [
        ("/segfault?secret=1", "SIGSEGV", Some("0x8")),
        ("/abort", "SIGABRT", None),
        ("/trap", "SIGTRAP", None),
        // Rust's own handler, which runs after the note, says so on stderr and aborts.
        ("/stack-overflow", "SIGABRT", None),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
        let _idle = busy(&host, "/hang").await;
        assert!(try_get(&host.client(), path).await.is_none(), "{path}");
        let told = told(&host, nth + 1).await;
        assert_eq!(told["application"], "app", "{told}");
        assert_eq!(told["method"], "GET");
        assert_eq!(
            told["path"],
            path.split('?').next().unwrap(),
            "without the query, which is nobody's business"
        );
        assert_eq!(told["request_id"].as_str().unwrap().len(), 16);
        assert!(told["generation"].as_u64().unwrap() >= 1);
        assert!(told["exit"].as_str().unwrap().contains(signal), "{told}");
        assert_eq!(told["evidence"], "the thread that crashed was inside of it");
        if let Some(address) = address {
            assert_eq!(told["address"], address);
        }
        served_by(&host, nth + 2).await;
    }
    assert!(host.log.text().contains("has overflowed its stack"), "Rust's own word for it stays");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_body_is_its_requests() {
    let host = two().start().await;
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    let cut = busy(&host, "/segfault-mid-stream").await;
    assert!(cut.rest().await.contains("the first piece"));
    let told = told(&host, 1).await;
    assert_eq!((&told["application"], &told["path"]), (&"app".into(), &"/segfault-mid-stream".into()));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_thread_of_an_applications_own_is_known_by_its_code() {
    let host = two().start().await;
    for (nth, (path, evidence)) in [
        ("/segfault-in-thread", "the thread that crashed executed its code"),
        ("/abort-in-thread", "the thread that crashed was called by its code"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
        assert!(try_get(&host.client(), path).await.is_none(), "{path}");
        let told = told(&host, nth + 1).await;
        assert_eq!((&told["application"], &told["evidence"]), (&"app".into(), &evidence.into()), "{told}");
        assert_eq!(told["path"], Value::Null, "the request only waited");
        served_by(&host, nth + 2).await;
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_the_host_calls_later_is_told_with_the_request_it_was_for() {
    let workshop = Workshop::new();
    let later = workshop.library("liblater.so", include_str!("../programs/later.c"), &[]);
    let host = Setup::library(&later, Model::InProcess).beside(&library("sample_app"), Model::InProcess);
    let host = host.start().await;
    for (nth, path) in ["/release", "/waker", "/callback"].into_iter().enumerate() {
        assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
        let mut wire = host.wire().await;
        let body = "Content-Length: 5\r\nExpect: 100-continue\r\n";
        wire.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{body}\r\n")).await;
        if path != "/release" {
            // The application waits for the body by then.
            assert!(wire.head().await.contains("100 Continue"));
            wire.send("hello").await;
        }
        let told = told(&host, nth + 1).await;
        assert_eq!((&told["application"], &told["path"]), (&"app".into(), &path.into()), "{told}");
        assert_eq!((&told["method"], told["request_id"].as_str().unwrap().len()), (&"POST".into(), 16));
        assert_eq!(told["evidence"], "the thread that crashed was inside of it", "{told}");
        served_by(&host, nth + 2).await;
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_call_of_exit_is_told_with_who_called_it() {
    let host = two().start().await;
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    assert!(try_get(&host.client(), "/exit").await.is_none());
    let told = told(&host, 1).await;
    assert_eq!((&told["application"], &told["path"]), (&"app".into(), &"/exit".into()), "{told}");
    assert_eq!(
        (&told["exit"], &told["perhaps"]),
        (&"exit code 0".into(), &"the application called exit".into())
    );
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_constructor_that_crashes_is_named_although_there_is_no_request() {
    let host = Setup::broken(Model::InProcess, "constructor-abort")
        .beside(&library("sample_app"), Model::InProcess)
        .start()
        .await;
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    assert!(try_get(&host.client(), "/").await.is_none());
    let told = told(&host, 1).await;
    assert_eq!((&told["application"], &told["request_id"]), (&"app".into(), &Value::Null), "{told}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn nobody_is_to_blame_for_a_worker_that_was_killed_while_all_were_idle() {
    let host = two().start().await;
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    assert_eq!(host.get("/").await.text(), "ok\n");
    kill(host.worker(), Signal::KILL);
    let told = told(&host, 1).await;
    assert_eq!(told["application"], Value::Null, "{told}");
    assert_eq!(told["unattributed"], "which application it was is not known");
    assert_eq!(told["suspects"], "app, healthy");
    assert!(told["perhaps"].as_str().unwrap().contains("want of memory"));
    assert!(host.stop().await.success());
}
