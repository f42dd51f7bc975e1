//! Applications that break the contract: each fault has its code in the answer and a line in the log, and the next
//! request is fine. The faults are in `tests/apps/raw`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use http_body_util::{BodyExt as _, Empty};

use crate::{
    both_models,
    host::{Host, Model, Setup, library},
};

// Codes of the contract, as the application reports them.
const DONE: i32 = 0;
const E_INVALID: i32 = -1;
const E_GONE: i32 = -3;
const E_STATE: i32 = -4;
const E_BUSY: i32 = -9;
const E_TIMEOUT: i32 = -10;
const E_DRAINING: i32 = -14;

// ---- answers

/// What the client gets: an answer of the application's, or a failure.
enum Expected {
    Text(&'static str),
    Failure(u16, &'static str),
}

use Expected::{Failure, Text};

const INVALID: Expected = Failure(500, "invalid_response");
const NONE: Expected = Failure(500, "no_response");
const FAILED: Expected = Failure(500, "application_failed");

const FAULTS: &[(&str, Expected)] = &[
    // No answer, or not only one.
    ("/none", NONE),
    ("/code/1", NONE),
    ("/code/2", NONE),
    ("/code/77", NONE),
    ("/code/-2", Failure(500, "application_panicked")),
    ("/code/-6", Failure(413, "body_too_large")),
    ("/code/-9", Failure(503, "application_unavailable")),
    ("/code/-10", Failure(504, "request_timeout")),
    ("/code/-11", FAILED),
    ("/code/-12", Failure(503, "application_unavailable")),
    ("/code/-14", Failure(503, "draining")),
    ("/unknown-code", FAILED),
    ("/answer-and-fail", FAILED),
    ("/twice", Text("the first\n")),
    // Answers that are not HTTP.
    ("/bad-status/0", INVALID),
    ("/bad-status/99", INVALID),
    ("/bad-status/100", INVALID),
    ("/bad-status/101", INVALID),
    ("/bad-status/1000", INVALID),
    ("/bad-header", INVALID),
    ("/bad-name", INVALID),
    ("/bad-length", INVALID),
    ("/bad-kind", INVALID),
    ("/bad-size", INVALID),
    ("/bad-file", INVALID),
    ("/huge-length", INVALID),
    ("/null-response", INVALID),
    ("/null-headers", INVALID),
    ("/null-field", INVALID),
    ("/null-body", INVALID),
    ("/null-stream", INVALID),
    ("/null-sink", INVALID),
    ("/null-file", INVALID),
    ("/null-functions-stream", INVALID),
    ("/unread-stream", INVALID),
    ("/bad-then-good", Text("the better one\n")),
    ("/framing", Text("body\n")),
    // Tasks.
    ("/task", Text("answered by a task\n")),
    ("/pending-without-task", NONE),
    ("/null-functions-task", NONE),
    ("/none-task", NONE),
    ("/unknown-code-task", NONE),
    ("/failed-task", FAILED),
    ("/unavailable-task", Failure(503, "application_unavailable")),
    ("/answer-and-pend", NONE),
    ("/keep-waker", Text("kept\n")),
    ("/wake-stale", Text("1 wakers\n")),
    // Tokens.
    ("/early", Text("early\n")),
    ("/late/20", Text("late\n")),
    ("/late-twice", Text("the first\n")),
    ("/late-drop/-2", Failure(500, "application_panicked")),
    ("/late-drop/-12", Failure(503, "application_unavailable")),
    ("/late-drop/77", NONE),
    ("/late-bad-status", INVALID),
    ("/detached-without-token", NONE),
    ("/done-with-token", NONE),
    ("/consume", Text("consumed: -4\n")),
    ("/detach-twice", Text("detached once\n")),
    ("/detach-after-answer", Text("answered\n")),
    ("/answer-after-detach", Text("through the token\n")),
    // Sinks.
    ("/push-in-call", Text("at once\n")),
    ("/push-after-end", Text("")),
];

both_models! {
    async fn each_fault_has_its_code_and_harms_nobody(model: Model) {
        let host = Setup::raw(model).start().await;
        let client = host.client();
        let mut connection = client.connect().await;
        for (path, expected) in FAULTS {
            // All on one connection: what one leaves behind, the next would find.
            let request = client.request(Method::GET, path).body(Empty::<Bytes>::new()).unwrap();
            connection.ready().await.unwrap();
            let answer = crate::host::Answer::of(connection.send_request(request).await.unwrap()).await.unwrap();
            match expected {
                Text(text) => assert_eq!((answer.status.as_u16(), answer.text()), (200, *text), "{path}"),
                Failure(status, code) => {
                    assert_eq!(answer.status.as_u16(), *status, "{path}: {answer:?}");
                    assert_eq!(answer.header("cohost-failure"), *code, "{path}");
                    assert_eq!(answer.json()["code"], *code, "{path}");
                    assert_eq!(answer.headers.get("x-injected"), None);
                    let id = answer.json()["request_id"].clone();
                    if *status == 413 {
                        continue; // the client's fault, which is told at the level of debugging
                    }
                    let line = host.log.wait(|event| event["failure"] == *code && event["request_id"] == id).await;
                    assert!(line["message"].as_str().unwrap().starts_with("request "), "{line}");
                }
            }
            assert_eq!(host.get("/").await.text(), "ok\n", "after {path}");
        }
        balanced(&host).await;
        assert!(host.stop().await.success());
    }

    async fn an_answer_that_breaks_off_is_cut_in_sight_of_the_client(model: Model) {
        let host = Setup::raw(model).start().await;
        for path in [
            "/short-stream", "/error-stream", "/unknown-code-stream", "/positive-code-stream", "/push-abort",
            "/push-too-much", "/push-too-little",
        ] {
            for client in [host.client(), host.client().http2()] {
                let request = client.request(Method::GET, path).body(Empty::<Bytes>::new()).unwrap();
                match client.send(request).await {
                    // Nothing of it had left the instance.
                    Ok(answer) => assert_eq!(answer.header("cohost-failure"), "instance_lost", "{path}: {answer:?}"),
                    Err(error) => assert!(!error.is_timeout(), "{path}: {error:?}"),
                }
            }
            assert_eq!(host.get("/").await.text(), "ok\n", "after {path}");
        }
        // What is more than was declared is not sent.
        let answer = host.exchange("GET /long-stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(!answer.contains("FIVE") || !answer.contains("five"), "{answer}");
        balanced(&host).await;
    }

    async fn a_second_answer_is_refused_and_logged(model: Model) {
        let host = Setup::raw(model).start().await;
        reports(&host, "/twice", "twice", &[DONE, E_STATE]).await;
        host.log.message("application answered a request twice; the second answer is dropped").await;
        reports(&host, "/late-twice", "late-twice", &[DONE, E_STATE, 0]).await;
        let doubled = "application completed a request with a token that is not (any more) one; nothing was done";
        host.log.message(doubled).await;
        reports(&host, "/late-drop/-12", "late-drop", &[DONE, E_STATE]).await;
        reports(&host, "/late-bad-status", "late-bad-status", &[E_INVALID, E_STATE]).await;
        reports(&host, "/bad-then-good", "bad-then-good", &[E_INVALID, DONE]).await;
        reports(&host, "/detach-twice", "detach-twice", &[1, 0]).await;
        reports(&host, "/detach-after-answer", "detach-after-answer", &[0]).await;
        reports(&host, "/answer-after-detach", "answer-after-detach", &[E_STATE]).await;
    }

    async fn invented_handles_touch_nothing(model: Model) {
        let host = Setup::raw(model).start().await;
        for _ in 0..10 {
            let answer = host.get("/forged").await;
            for line in answer.text().lines() {
                let (what, codes) = line.split_once(": ").unwrap();
                let expected = if what == "token_head" || what == "token_take_body" { "0" } else { "-4" };
                assert!(codes.split(' ').all(|code| code == expected), "{line}");
            }
        }
        let answer = host.client().post("/body-twice", "body").await;
        assert_eq!(answer.text(), "body-twice: 1 0 0 -4\n");
        let answer = host.client().post("/body-after-drop", "body").await;
        assert_eq!(answer.text(), "body-after-drop: 0 -4 -4\n");
        assert_eq!(host.get("/consume").await.text(), "consumed:\n");
    }

    async fn a_token_that_is_kept_can_be_answered_at_any_time(model: Model) {
        let host = Setup::raw(model).start().await;
        let mut kept = host.wire().await;
        kept.send("GET /leak HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until(async || count(&host, "kept").await == 1).await;
        assert_eq!(host.get("/consume").await.text(), "consumed: 0\n");
        assert!(kept.until("consumed\n").await.starts_with(b"HTTP/1.1 200 "));
    }
}

/// Waits until the application has reported that.
async fn reports(host: &Host, path: &str, what: &str, codes: &[i32]) {
    host.get(path).await;
    let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
    let expected = format!("{what}: {}\n", codes.join(" "));
    let mut seen = String::new();
    // A thread of the application's may write it after the answer.
    for _ in 0..1000 {
        host.get("/report").await.text().clone_into(&mut seen);
        if seen == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(seen, expected);
}

/// A counter of the application's.
async fn count(host: &Host, name: &str) -> i64 {
    let counts = host.get("/counts").await;
    let mut lines = counts.text().lines().filter_map(|line| line.split_once(' '));
    lines.find(|(is, _)| *is == name).unwrap().1.parse().unwrap()
}

/// Waits until everything that was given to the host has been given back.
async fn balanced(host: &Host) {
    for (given, back) in [("given", "released"), ("streams", "stream_drops"), ("tasks", "task_drops")] {
        until(async || count(host, given).await == count(host, back).await).await;
    }
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.expect("in time");
}

/// The head of an answer.
async fn begin(host: &Host, path: &str) -> http::Response<hyper::body::Incoming> {
    let client = host.client();
    client.begin(client.request(Method::GET, path).body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
}

// ---- requests that are never answered

both_models! {
    async fn what_is_never_answered_ends_at_the_deadline(model: Model) {
        let host = Setup::raw(model).application("request_timeout = \"300ms\"").start_preloaded().await;
        for path in ["/leak", "/stalled-task", "/cancel-notice"] {
            let answer = host.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (504, "request_timeout"));
        }
        until(async || count(&host, "cancelled").await == 1).await;
        assert_eq!(count(&host, "cancel_reason").await, i64::from(E_TIMEOUT));
        // It is too late, and the code says why.
        assert_eq!(host.get("/consume").await.text(), format!("consumed: {E_TIMEOUT} {E_TIMEOUT}\n"));
        assert_eq!(count(&host, "cancelled").await, 1);
        balanced(&host).await;
    }

    async fn a_client_that_goes_away_is_told_of_once(model: Model) {
        let host = Setup::raw(model).start().await;
        for (path, counter) in [("/cancel-notice", "kept"), ("/stalled-task", "tasks")] {
            let mut socket = host.wire().await;
            socket.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            until(async || count(&host, counter).await == 1).await;
            drop(socket);
        }
        until(async || count(&host, "cancelled").await == 1).await;
        assert_eq!(count(&host, "cancel_reason").await, i64::from(E_GONE));
        balanced(&host).await;
        assert_eq!(host.get("/consume").await.text(), format!("consumed: {E_GONE}\n"));
        assert_eq!(count(&host, "cancelled").await, 1);
    }

    async fn a_stalled_stream_ends_with_its_client(model: Model) {
        let host = Setup::raw(model).start().await;
        let mut answer = begin(&host, "/stalled-stream").await;
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "five\n");
        drop(answer);
        balanced(&host).await;
        assert_eq!(count(&host, "streams").await, 1);
    }
}

// ---- bodies from threads

both_models! {
    async fn a_push_waits_for_its_reader(model: Model) {
        let host = Setup::raw(model).start().await;
        for path in ["/push/8192", "/push-blocking/8192", "/push-greedy/1024"] {
            let client = host.client().http2();
            let request = client.request(Method::GET, path).body(Empty::<Bytes>::new()).unwrap();
            let answer = crate::host::Answer::of(client.begin(request).await.unwrap()).await.unwrap();
            let kilobytes: usize = path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(answer.body.len(), kilobytes * 1024, "{path}");
            assert!(answer.body.iter().all(|byte| *byte == b'p'));
            assert_eq!(answer.trailers.unwrap()["x-end"], "here");
        }
        assert!(count(&host, "waits").await > 0);
        balanced(&host).await;
    }

    async fn a_push_ends_with_its_client(model: Model) {
        let host = Setup::raw(model).start().await;
        for path in ["/push/1000000000", "/push-blocking/1000000000"] {
            let mut answer = begin(&host, path).await;
            answer.frame().await.unwrap().unwrap();
            drop(answer);
            let gone = format!("push: {E_GONE} {E_GONE}\n");
            until(async || host.get("/report").await.text() == gone).await;
            reports(&host, "/twice", "twice", &[DONE, E_STATE]).await;
        }
        balanced(&host).await;
    }

    async fn who_waits_for_room_is_told_once_when_the_body_ends(model: Model) {
        let host = Setup::raw(model).start().await;
        let ends = [("wait-and-end", DONE), ("wait-and-abort", DONE), ("wait-and-write-too-much", E_INVALID)];
        for (waited, (path, code)) in (1..).zip(ends) {
            // Read to its end, where there is room again.
            let client = host.client();
            let request = client.request(Method::GET, &format!("/{path}")).body(Empty::<Bytes>::new()).unwrap();
            let whole = client.send(request).await.is_ok_and(|answer| answer.status == 200);
            assert_eq!(whole, path == "wait-and-end", "{path}");
            let codes = [DONE, E_BUSY, code, E_STATE].map(|code| code.to_string()).join(" ");
            assert_eq!(host.get("/report").await.text(), format!("{path}: {codes}\n"));
            assert_eq!(count(&host, "writable").await, waited, "after {path}");
        }
        let blocked = host.client().request(Method::GET, "/block-and-abort").body(Empty::<Bytes>::new()).unwrap();
        let whole = host.client().send(blocked).await.is_ok_and(|answer| answer.status == 200);
        assert!(!whole);
        assert_eq!(host.get("/report").await.text(), format!("block-and-abort: {DONE} {E_STATE}\n"));
        balanced(&host).await;
    }

    async fn writing_to_what_was_cancelled_says_why_as_long_as_the_sink_is_kept(model: Model) {
        let host = Setup::raw(model)
            .server("shutdown_timeout = \"300ms\"")
            .application("request_timeout = \"1s\"")
            .start_preloaded()
            .await;
        assert_eq!(host.get("/push-and-pend").await.header("cohost-failure"), "request_timeout");
        let mut gone = begin(&host, "/push-leak").await;
        gone.frame().await.unwrap().unwrap();
        drop(gone);
        let both = format!("kept: {E_TIMEOUT} {E_GONE}\n");
        until(async || host.get("/write-to-kept").await.text() == both).await;
        let mut stays = begin(&host, "/push-leak").await;
        stays.frame().await.unwrap().unwrap();
        host.signal("TERM");
        // Written when all leave to call the application is gone.
        let at_the_end = format!("at the end, kept: {E_TIMEOUT} {E_GONE} {E_DRAINING}\n");
        host.log.message(&at_the_end).await;
    }

    async fn a_body_is_read_by_waiting_and_by_callback(model: Model) {
        let host = Setup::raw(model).start().await;
        for path in ["/body-blocking", "/body-callback"] {
            let answer = host.client().post(path, vec![0; 1_000_000]).await;
            assert_eq!(answer.text(), "1000000 bytes, then 3\n", "{path}");
        }
        // On a thread that serves others, nobody may wait.
        let answer = host.client().post("/body-blocking-in-call", "body").await;
        assert_eq!(answer.text(), "body-blocking-in-call: -4 0\n");
        assert_eq!(host.client().post("/body-leak", "body").await.text(), "the body is kept\n");
        let answer = host.client().post("/body-after-answer", "body").await;
        assert_eq!(answer.text(), "answered before the body was read\n");
        until(async || host.get("/report").await.text() == "body-after-answer: 4 3\n").await;
    }

    async fn who_waits_for_a_body_is_told_once_when_it_is_dropped(model: Model) {
        let host = Setup::raw(model).start().await;
        let told = [
            ("body-drop-while-called-back", vec![DONE, E_BUSY, E_BUSY, DONE, E_STATE, 0]),
            ("body-drop-while-waiting", vec![DONE, E_STATE]),
        ];
        for (path, codes) in told {
            // Neither sends more nor leaves.
            let mut client = host.wire().await;
            client.send(format!("POST /{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")).await;
            let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
            assert_eq!(client.reply().await.text(), format!("{path}: {}\n", codes.join(" ")));
        }
    }
}

// ---- threads that are kept

both_models! {
    async fn an_application_that_keeps_a_thread_is_named(model: Model) {
        // In the handler, and in a body that is asked for its next piece.
        for path in ["/block/2000", "/block-stream/2000"] {
            let host = Setup::broken(model, "none").start().await;
            assert_eq!(host.get(path).await.text(), "blocked for 2000 ms\n");
            let blocks = |event: &serde_json::Value| {
                event["message"].as_str().is_some_and(|text| text.starts_with("application blocks a thread"))
            };
            let warning = host.log.wait(blocks).await;
            let record = host.log.wait(|event| event["path"] == path).await;
            assert_eq!(warning["application"], "app");
            assert_eq!(warning["request_id"], record["request_id"], "{path}");
            assert_eq!(host.log.events().into_iter().filter(blocks).count(), 1);
        }
    }

    async fn an_application_that_says_that_it_blocks_stands_in_nobodys_way(model: Model) {
        let sample = library("sample_app").display().to_string();
        let host = Setup::library(&blocking(), model)
            .server("threads = 1")
            .more(&format!("[[site.application]]\nname = \"other\"\npath = \"/other\"\nlibrary = {sample:?}"))
            .start()
            .await;
        let blocked = (0..20).map(|_| host.get("/block"));
        let release = async {
            until(async || host.get("/").await.text() == "blocked 20, read 0\n").await;
            assert_eq!(host.get("/other/plaintext").await.text(), "Hello, World!");
            assert_eq!(host.client().post("/read", vec![0; 100_000]).await.text(), "blocked 20, read 100000\n");
            host.get("/release").await
        };
        let (blocked, _) = tokio::join!(join_all(blocked), release);
        assert!(blocked.iter().all(|answer| answer.status == 200));
        let warned = |event: &serde_json::Value| {
            event["message"].as_str().is_some_and(|text| text.starts_with("application blocks a thread"))
        };
        assert!(!host.log.events().iter().any(warned), "it said that it would");
        assert!(host.stop().await.success());
    }
}

/// An application in C, built once.
fn blocking() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let build = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = directory.join(format!("blocking-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args([
            "-std=c11",
            "-Wall",
            "-Werror",
            "-fPIC",
            "-shared",
            "-fvisibility=hidden",
            "-pthread",
            "-I",
        ]);
        cc.arg(root.join("abi/include")).arg("-o").arg(&library).arg(root.join("tests/programs/blocking.c"));
        assert!(cc.status().unwrap().success(), "a C compiler is needed for this test");
        library
    };
    BUILT.get_or_init(build).clone()
}
