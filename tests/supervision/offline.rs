//! Behaviours 23 and 24: `app_offline.htm`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use crate::{
    both_models,
    host::{Ask, Host, Load, Model, Setup},
};

const CHANGED: &str = "configuration in force";

fn file(host: &Host) -> PathBuf {
    host.directory.path().join("app_offline.htm")
}

both_models! {
    async fn the_file_takes_the_application_offline_and_its_removal_brings_it_back(model: Model) {
        let host = Setup::sample(model).server("watch = true").start_preloaded().await;
        assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
        fs::write(file(&host), "<p>back at noon").unwrap();
        host.log.times(CHANGED, 1).await;
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (503, "<p>back at noon"));
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cohost-failure"), "offline");
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        // Another page.
        fs::write(file(&host), "<p>back at one").unwrap();
        host.log.times(CHANGED, 2).await;
        assert_eq!(host.get("/plaintext").await.text(), "<p>back at one");
        fs::remove_file(file(&host)).unwrap();
        host.log.times(CHANGED, 3).await;
        assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
        assert!(host.stop().await.success());
    }

    async fn so_it_is_without_a_supervisor(model: Model) {
        let host =
            Setup::sample(model).server("watch = true").option("--no-supervisor").start_preloaded().await;
        assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
        fs::write(file(&host), "<p>back at noon").unwrap();
        host.log.message("application goes offline; it finishes what it has").await;
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (503, "<p>back at noon"));
        assert_eq!(answer.header("cohost-failure"), "offline");
        fs::remove_file(file(&host)).unwrap();
        host.log.message("application is online again").await;
        assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
        assert!(host.stop().await.success());
    }

    async fn a_hundred_times_under_load_every_answer_is_the_applications_or_503(model: Model) {
        let host = Setup::sample(model).server("watch = true").start_preloaded().await;
        let ask = Ask { path: "/plaintext", right: |body| body == "Hello, World!" };
        let mut load = Load::start_with(&host, ask, |answer| {
            answer.status == 503 && answer.header("cohost-failure") == "offline"
        });
        load.answers(1).await;
        for _ in 0..100 {
            fs::write(file(&host), "<p>later").unwrap();
            host.get("/plaintext").await;
            fs::remove_file(file(&host)).unwrap();
            host.get("/plaintext").await;
        }
        fs::write(file(&host), "<p>last").unwrap();
        let last = async { while host.get("/plaintext").await.status != 503 {} };
        tokio::time::timeout(std::time::Duration::from_secs(5), last).await.expect("offline in the end");
        load.answers(1).await;
        load.stop().await;
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_file_that_was_there_before_counts_even_if_it_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app_offline.htm");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    let root = format!("content_root = {:?}\npreload = true", folder.path().display().to_string());
    let host = Setup::sample(Model::InProcess).server("watch = true").application(&root).start().await;
    let answer = host.get("/plaintext").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "offline"));
    fs::remove_file(&file).unwrap();
    host.log.times(CHANGED, 1).await;
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert!(host.stop().await.success());
}
