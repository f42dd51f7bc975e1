//! The door itself: where it is, whose it is, and whoever comes there.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::Command,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::host::{Model, Setup, operator, program};

const NO_DOOR: &str = "no door for operators: `cohost status` and its like will not find this host; name a \
                       directory with --runtime-dir";

#[tokio::test]
async fn the_socket_and_its_directory_are_for_the_hosts_user_alone() {
    let host = Setup::sample(Model::InProcess).start().await;
    let directory = host.runtime_dir().metadata().unwrap();
    let socket = host.runtime_dir().join("cohost.sock").metadata().unwrap();
    assert_eq!(directory.permissions().mode() & 0o7777, 0o700);
    assert_eq!(socket.permissions().mode() & 0o7777, 0o600);
    let ours = host.directory.path().metadata().unwrap().uid();
    assert_eq!((directory.uid(), socket.uid()), (ours, ours));
    let path = host.runtime_dir();
    assert!(host.stop().await.success());
    assert!(!path.join("cohost.sock").exists());
}

#[tokio::test]
async fn other_programs_ask_it_in_plain_http() {
    let host = Setup::sample(Model::InProcess).start().await;
    let asked = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "20", "--unix-socket"])
        .arg(host.runtime_dir().join("cohost.sock"))
        .arg("http://cohost/v1/status")
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let status: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(status["host"]["pid"], host.pid());
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn of_two_hosts_with_one_directory_the_second_serves_without_a_door() {
    let first = Setup::sample(Model::InProcess).start().await;
    let shared = first.directory.path().to_str().unwrap();
    let second = Setup::sample(Model::InProcess).variable("XDG_RUNTIME_DIR", shared).start().await;
    let told = second.log.message(NO_DOOR).await;
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains(&first.runtime_dir().display().to_string()), "{told}");
    assert_eq!(second.get("/plaintext").await.text(), "Hello, World!");
    assert_eq!(first.tells().await["host"]["pid"], first.pid());
    assert!(second.stop().await.success());
    assert_eq!(first.tells().await["host"]["pid"], first.pid());
    assert!(first.stop().await.success());
}

#[tokio::test]
async fn a_directory_that_is_named_is_had_or_the_host_does_not_start() {
    let host = Setup::sample(Model::InProcess).start().await;
    let second = Command::new(program())
        .arg("run")
        .arg(host.directory.path().join("cohost.toml"))
        .arg("--runtime-dir")
        .arg(host.runtime_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another host runs in"), "{said}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_costs_the_door_and_nothing_else() {
    let host = Setup::sample(Model::InProcess).variable("XDG_RUNTIME_DIR", "/dev/null").start().await;
    let reason = host.log.message(NO_DOOR).await["reason"].to_string();
    assert!(reason.contains("cannot make the directory /dev/null/cohost"), "{reason}");
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_a_killed_host_has_left_is_taken_over() {
    let mut former = Setup::sample(Model::InProcess).start().await;
    former.signal("KILL");
    former.ended().await;
    assert!(former.runtime_dir().join("cohost.sock").exists());
    let nobody = former.operator(&["status"]).await;
    assert_eq!(nobody.code, 6, "{nobody:?}");

    let shared = former.directory.path().to_str().unwrap();
    let host = Setup::sample(Model::InProcess).variable("XDG_RUNTIME_DIR", shared).start().await;
    assert_eq!(former.tells().await["host"]["pid"], host.pid());
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn where_no_host_is_the_directory_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["status", "reload", "stop"] {
        let said = operator(folder.path(), &[command]).await;
        assert_eq!(said.code, 6, "{said:?}");
        assert!(said.stderr.contains(&format!("no host runs in {}", folder.path().display())), "{said:?}");
    }
}

#[tokio::test]
async fn clients_that_say_nothing_or_garbage_hold_up_nobody() {
    let host = Setup::sample(Model::InProcess).start().await;
    let socket = host.runtime_dir().join("cohost.sock");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(&socket).await.unwrap());
    }
    let mut garbage = UnixStream::connect(&socket).await.unwrap();
    garbage.write_all(b"\0\x01garbage\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    garbage.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(host.tells().await["host"]["state"], "serving");
    assert!(host.stop().await.success());
}
