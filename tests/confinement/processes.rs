//! Processes of applications: as whom they run, with which rights, and how much of the machine they may take.

use crate::{
    foreign::echo,
    host::{Host, Model, Setup, library, status_of},
};

/// A server that runs `script` before it serves, so that what that prints is in the log.
fn saying(script: &str) -> Setup {
    let script = format!("{script}\nexec \"$@\"");
    let words: Vec<_> = ["sh", "-c", &script, "sh"].into_iter().chain(echo(&[])).collect();
    Setup::command(&words)
}

fn printed(host: &Host) -> Vec<String> {
    let lines = host.log.events().into_iter().filter(|event| event["target"] == "cohost::output");
    lines.map(|line| line["message"].as_str().unwrap().replace('\t', " ")).collect()
}

/// Whether this can be tried here. Says so if it cannot.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: only root can start processes as somebody else");
    }
    root
}

#[tokio::test]
async fn limits_umask_and_rights_are_those_that_are_written() {
    let host = saying("umask; ulimit -n; ulimit -c; ulimit -v; ulimit -t; grep NoNewPrivs /proc/self/status")
        .application("umask = \"027\"")
        .application("limits = { open_files = 100, core = 0, memory = \"4GiB\", cpu_time = \"10m\" }")
        .start()
        .await;
    assert_eq!(host.get("/").await.status, 200);
    assert_eq!(printed(&host)[..6], ["0027", "100", "0", "4194304", "600", "NoNewPrivs: 1"]);
    // The host itself is as it was, and so is what it starts to guard the process.
    assert!(status_of(host.worker(), "NoNewPrivs") == 0);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn more_rights_can_be_had_where_that_is_written() {
    let host = saying("grep NoNewPrivs /proc/self/status").application("no_new_privs = false").start().await;
    assert_eq!(host.get("/").await.status, 200);
    let ours = status_of(std::process::id(), "NoNewPrivs");
    assert_eq!(printed(&host)[0], format!("NoNewPrivs: {ours}"));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_process_runs_as_the_user_that_is_written_and_can_use_what_is_its_own() {
    if !is_root() {
        return;
    }
    let who = "user = \"daemon\"\ngroup = 54321";
    let host = Setup::library(&library("sample_app"), Model::OutOfProcess).application(who).start().await;
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    let pid = host.log.message("application started").await["pid"].as_u64().unwrap().try_into().unwrap();
    assert_eq!((status_of(pid, "Uid"), status_of(pid, "Gid")), (1, 54321));
    // The guard is still the host's, or it could not end what it guards.
    assert_eq!(status_of(status_of(pid, "PPid").try_into().unwrap(), "Uid"), 0);
    assert!(host.stop().await.success());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_user_that_is_not_there_is_named_with_what_to_do() {
    let host = saying("").application("user = \"no-such-user\"").start().await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "spawn_failed"));
    let told = host.log.message("application did not start").await;
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("no-such-user") && detail.contains("create it"), "{detail}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_process_that_takes_too_much_memory_fails_alone() {
    let host = saying("python3 -c 'bytearray(1_000_000_000)'; echo it ended with $?")
        .application("limits = { memory = \"500MB\" }")
        .beside(&library("sample_app"), Model::InProcess)
        .start()
        .await;
    assert_eq!(host.get("/").await.status, 200);
    let printed = printed(&host);
    assert!(printed.iter().any(|line| line == "MemoryError"), "{printed:?}");
    assert!(printed.iter().any(|line| line == "it ended with 1"), "{printed:?}");
    assert_eq!(host.get("/healthy/plaintext").await.status, 200);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn limits_that_nobody_can_keep_here_are_told_once_with_what_to_do() {
    // Where they can be kept, this process would be moved to another group, and a test is not to do that.
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let Ok(controllers) = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers") else {
        eprintln!("SKIPPED: control groups of version 2 are in use here: {groups}");
        return;
    };
    assert!(!controllers.contains("memory"), "{controllers}");
    let host = saying("")
        .application("limits = { memory_max = \"100MB\", cpu_max = 0.5, pids_max = 50 }")
        .start()
        .await;
    assert_eq!(host.get("/").await.status, 200);
    let told = host
        .log
        .message("memory_max, cpu_max and pids_max have no effect; applications run without them")
        .await;
    assert!(told["advice"].as_str().unwrap().contains("Delegate=yes"), "{told}");
    assert!(told["reason"].as_str().unwrap().contains("lacks the controllers memory cpu pids"), "{told}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_process_that_takes_too_much_time_is_ended_by_a_signal_that_says_so() {
    let host = saying("while :; do :; done").application("limits = { cpu_time = \"1s\" }").start().await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "instance_exited"));
    let told = host.log.message("application did not start").await;
    assert!(told["detail"].as_str().unwrap().contains("SIGXCPU"), "{told}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_bomb_of_processes_is_bounded_and_nobody_else_notices() {
    if !is_root() {
        return;
    }
    let bomb = "python3 -c '
import os, time
for n in range(1000):
    try:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
    except BlockingIOError:
        print(\"no more after\", n, flush=True)
        break
'";
    let host = saying(bomb)
        .application("user = 54322\ngroup = 54322\nlimits = { processes = 20 }")
        .beside(&library("sample_app"), Model::InProcess)
        .start()
        .await;
    let client = host.client();
    let starting = tokio::spawn(async move { client.get("/").await });
    assert_eq!(host.get("/healthy/plaintext").await.status, 200);
    let bounded = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|message| message.starts_with("no more after 1"))
    };
    host.log.wait(bounded).await;
    starting.abort();
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_process_has_no_descriptors_but_its_own() {
    let host = saying("ls -l /proc/$$$$/fd").start().await;
    assert_eq!(host.get("/").await.status, 200);
    let descriptors: Vec<_> = printed(&host).into_iter().filter(|line| line.contains(" -> ")).collect();
    let targets: Vec<_> = descriptors.iter().map(|line| line.split(" -> ").nth(1).unwrap()).collect();
    assert_eq!(targets.len(), 3, "{descriptors:?}");
    assert_eq!(targets[0], "/dev/null");
    assert!(targets[1..].iter().all(|target| target.starts_with("pipe:")), "{descriptors:?}");
    assert!(host.stop().await.success());
}
