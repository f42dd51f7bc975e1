//! Upgrades: the program is replaced under its clients, in the same process.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use super::{served_by, try_get};
use crate::{
    both_models,
    host::{Ask, Load, Model, OK, Setup, Workshop, library, program},
    misconduct::unruly,
};

const CRASHED: &str = "worker crashed, and with it the requests that it had; the next one takes over";
const ENDED: &str = "instance ended; the next request starts another";
const REFUSED: &str = "upgrade refused; this program goes on";

/// Between two looks.
const BRIEFLY: Duration = Duration::from_millis(5);

both_models! {
    async fn five_upgrades_cost_no_request(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let ask = Ask { path: "/plaintext", right: |body| body == "Hello, World!" };
        let (pid, mut load) = (host.pid(), Load::start(&host, ask));
        for round in 1..=5 {
            load.answers(10).await;
            host.signal("USR2");
            host.log.times("configuration in force", round).await;
            load.answers(10).await;
        }
        load.stop().await;
        assert_eq!(host.log.of("upgraded; replacing the worker").len(), 5);
        assert_eq!(host.pid(), pid);
        assert!(host.stop().await.success());
    }

    async fn what_is_in_flight_is_finished_after_an_upgrade(model: Model) {
        let host = Setup::broken(model, "none").server("shutdown_timeout = \"60s\"").start().await;
        let mut busy = host.wire().await;
        busy.send("POST /slow-reader HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        busy.send_chunk(b"first").await;
        host.signal("USR2");
        served_by(&host, 2).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        busy.send("0\r\n\r\n").await;
        assert!(busy.rest().await.contains("5 bytes"));
        host.log.message("worker ended").await;
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_program_that_cannot_take_over_is_refused_and_the_old_one_goes_on() {
    let workshop = Workshop::new();
    let copy = installed(&workshop);
    let host = Setup::broken(Model::InProcess, "none").program(&copy).start().await;
    let mut load = Load::start(&host, OK);
    type Breaks = fn(&Path);
    let broken: [(&str, Breaks, &str); 3] = [
        ("it says no", |path| put(path, b"#!/bin/sh\necho not today >&2; exit 1\n"), "not today"),
        ("it is no program", |path| put(path, b"\x7fELF no more"), "Exec format error"),
        ("it is gone", |path| std::fs::remove_file(path).unwrap(), "No such file"),
    ];
    for (round, (what, breaks, why)) in broken.into_iter().enumerate() {
        breaks(&copy);
        host.signal("USR2");
        host.log.times(REFUSED, round + 1).await;
        let told = host.log.of(REFUSED)[round].clone();
        assert!(told["why"].as_str().unwrap().contains(why), "{what}: {told}");
        assert!(told["why"].as_str().unwrap().contains(copy.to_str().unwrap()), "{what}: {told}");
        load.answers(5).await;
    }
    std::fs::copy(program(), &copy).unwrap();
    host.signal("USR2");
    served_by(&host, 2).await;
    load.answers(5).await;
    load.stop().await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_operator_upgrades_and_hears_what_comes_of_it() {
    let workshop = Workshop::new();
    let next = installed(&workshop);
    let host = Setup::broken(Model::InProcess, "none").start().await;
    let mut load = Load::start(&host, OK);
    let said = host.operator(&["upgrade", next.to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("serves in place of"), "{said:?}");
    assert_eq!(host.tells().await["host"]["upgraded"]["worker"], "done");
    let program = std::fs::read_link(format!("/proc/{}/exe", host.pid())).unwrap();
    assert_eq!(program, next);
    load.answers(5).await;

    put(&next, b"#!/bin/sh\necho not today >&2; exit 1\n");
    let said = host.operator(&["upgrade", next.to_str().unwrap()]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("not today"), "{said:?}");
    load.answers(5).await;
    load.stop().await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_socket_that_was_handed_over_survives_an_upgrade() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = Setup::broken(Model::InProcess, "none").given(socket).start().await;
    for nth in 2..=3 {
        host.signal("USR2");
        served_by(&host, nth).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_crash_after_an_upgrade_is_made_good() {
    let host = Setup::broken(Model::InProcess, "none").start().await;
    host.signal("USR2");
    let worker = served_by(&host, 2).await;
    host.log.message("worker ended").await;
    crate::host::kill(worker, rustix::process::Signal::KILL);
    served_by(&host, 3).await;
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert!(host.stop().await.success());
}

/// A copy of the program, to be replaced.
fn installed(workshop: &Workshop) -> PathBuf {
    let copy = workshop.path("cohost");
    std::fs::copy(program(), &copy).unwrap();
    copy
}

/// Puts another file there, as an installation does: the old one goes on under its own inode.
fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn what_counts_against_an_application_counts_on_after_an_upgrade() {
    for (model, ended) in [(Model::InProcess, CRASHED), (Model::OutOfProcess, ENDED)] {
        let setup = Setup::broken(model, "none").application("rapid_fails_per_minute = 2");
        let host = setup.beside(&library("sample_app"), model).start().await;
        let crash = async |nth| {
            while try_get(&host.client(), "/").await.is_none_or(|answer| answer.status != 200) {}
            // Its answer is a failure, or none.
            let _lost = try_get(&host.client(), "/segfault").await;
            host.log.times(ended, nth).await;
        };
        let upgrade = async |nth| {
            host.signal("USR2");
            host.log.times("configuration in force", nth).await;
        };
        crash(1).await;
        crash(2).await;
        upgrade(1).await;
        crash(3).await;
        for round in 2..=3 {
            let answer = host.get("/").await;
            assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "fail_fast"));
            assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
            upgrade(round).await;
        }
        if model == Model::InProcess {
            let crashed = &host.tells().await["sites"][0]["applications"][0]["crashed"];
            assert_eq!((&crashed["times"], &crashed["request"]), (&3.into(), &"GET /segfault".into()));
        }
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_signal_while_no_program_listens_waits_for_the_next_one() {
    let workshop = Workshop::new();
    let (begun, go) = (workshop.path("begun"), workshop.path("go"));
    // Something that takes its time between two programs.
    let source = format!(
        "#define _POSIX_C_SOURCE 200809L\n#include <fcntl.h>\n#include <string.h>\n#include <time.h>\n\
         #include <unistd.h>\nint main(int count, char **words) {{\n\
         for (int n = 0; n < count; n++)\n\
         if (!strcmp(words[n], \"--resume-check\")) return execv({program:?}, words);\n\
         close(open({begun:?}, O_CREAT | O_WRONLY, 0600));\n\
         while (access({go:?}, F_OK)) {{ struct timespec t = {{0, 5000000}}; nanosleep(&t, NULL); }}\n\
         return execv({program:?}, words);\n}}\n",
        program = program()
    );
    let next = workshop.compile("next", &source, &[]);
    let mut host = Setup::sample(Model::InProcess).start().await;
    let directory = host.runtime_dir();
    let path = next.display().to_string();
    let upgrading = tokio::spawn(async move { crate::host::operator(&directory, &["upgrade", &path]).await });
    let taken_over = async {
        while !begun.exists() {
            tokio::time::sleep(BRIEFLY).await;
        }
    };
    tokio::time::timeout(crate::host::PATIENCE / 2, taken_over).await.expect("it takes over");
    host.signal("TERM");
    std::fs::write(go, "").unwrap();
    host.log.message("stopping: finishing what is in flight; a second signal hurries").await;
    assert!(host.ended().await.success());
    assert_ne!(upgrading.await.unwrap().code, 0);
}

#[tokio::test]
async fn one_thread_of_a_supervisor_hears_signals_before_and_after_an_upgrade() {
    let workshop = Workshop::new();
    let program = installed(&workshop);
    let host = Setup::sample(Model::OutOfProcess).program(&program).start_preloaded().await;
    for _ in 0..2 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
        let hears = |thread: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).ok()?;
            let word = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let blocked = u64::from_str_radix(word("SigBlk:")?, 16).ok()?;
            let terminate = 1 << (Signal::TERM.as_raw() - 1);
            (blocked & terminate == 0).then(|| word("Name:").unwrap_or_default().to_owned())
        };
        assert_eq!(threads.filter_map(hears).collect::<Vec<_>>(), ["cohost-signals"]);
        assert_eq!(host.operator(&["upgrade"]).await.code, 0);
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_line_that_is_being_printed_is_not_cut_by_an_upgrade() {
    let host = unruly(&[]).start().await;
    assert_eq!(host.get("/begin").await.status, 200);
    host.signal("USR2");
    host.log.message("configuration in force").await;
    assert_eq!(host.get("/end").await.status, 200);
    for line in ["out: begun, ended", "err: begun, ended"] {
        assert_eq!(host.log.message(line).await["application"], "app");
    }
    assert!(host.stop().await.success());
}
