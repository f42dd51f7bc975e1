//! Commands that change something: the effect is there when they end, or they say why not.

use std::time::Duration;

use crate::{
    both_models,
    host::{Model, Setup, Watched},
    supervision::rewrite,
};

both_models! {
    async fn a_reload_ends_when_the_new_configuration_is_in_force(model: Model) {
        let setup = |value: &str| Setup::broken(model, "none").settings(&format!("value = {value:?}"));
        let host = setup("old").start_preloaded().await;
        rewrite(&host, &setup("new").application("preload = true").text());
        let said = host.operator(&["reload"]).await;
        assert_eq!((said.code, &*said.stdout), (0, "edition 2 is in force\n"), "{said:?}");
        let status = host.tells().await;
        assert_eq!(status["host"]["edition"], 2);
        assert_eq!(status["sites"][0]["applications"][0]["state"], "running");
        assert!(host.stop().await.success());
    }

    async fn a_stop_ends_with_the_host(model: Model) {
        let mut host = Setup::sample(model).start_preloaded().await;
        let worker = Watched::new(host.worker());
        let said = host.operator(&["stop"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        worker.ended().await;
        assert!(host.ended().await.success());
    }
}

#[tokio::test]
async fn a_reload_of_a_configuration_with_faults_ends_with_all_of_them() {
    let host = Setup::sample(Model::InProcess).start().await;
    let site =
        "[[site]]\nname = \"a\"\nbindings = [\"http://*:80\"]\n[[site.application]]\nlibrary = \"x\"\n";
    rewrite(&host, &format!("{site}preload = 1\nqueue_limit = 0\n"));
    let said = host.operator(&["reload"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stderr.contains("cohost.toml:6:11: site.a.application./.preload: must be true or false"));
    assert!(said.stderr.contains("cohost.toml:7:15: site.a.application./.queue_limit: must be at least 1"));
    assert_eq!(host.tells().await["host"]["edition"], 1);
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_reload_of_what_does_not_start_ends_with_the_reason_and_the_old_goes_on() {
    let host = Setup::broken(Model::InProcess, "none").start().await;
    rewrite(
        &host,
        &Setup::broken(Model::InProcess, "constructor-error").application("preload = true").text(),
    );
    let said = host.operator(&["reload"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("\napp: start_failed: "), "{said:?}");

    rewrite(
        &host,
        &Setup::broken(Model::InProcess, "constructor-abort").application("preload = true").text(),
    );
    let said = host.operator(&["reload"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("SIGABRT"), "{said:?}");
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_reload_that_a_newer_one_overtakes_is_refused() {
    let setup = |fault| Setup::broken(Model::InProcess, fault).log("level = \"debug\"");
    let slow = setup("constructor-hang").application("preload = true");
    let host = setup("none").start().await;
    rewrite(&host, &slow.text());
    let first = tokio::spawn({
        let directory = host.runtime_dir();
        async move { crate::host::operator(&directory, &["reload"]).await }
    });
    host.log.message("application starting").await;
    rewrite(&host, &setup("none").text());
    let second = host.operator(&["reload"]).await;
    assert_eq!(second.code, 0, "{second:?}");
    let first = first.await.unwrap();
    assert!(first.code == 1 && first.stderr.contains("a newer configuration came"), "{first:?}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_one_at_once_does_not() {
    let host = Setup::broken(Model::InProcess, "none").server("shutdown_timeout = \"60s\"").start().await;
    let mut busy = host.wire().await;
    busy.send("POST /slow-reader HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    busy.send_chunk(b"first").await;
    let directory = host.runtime_dir();
    let patient = tokio::spawn({
        let directory = directory.clone();
        async move { crate::host::operator(&directory, &["stop"]).await }
    });
    host.log.message("stopping, as an operator wants: finishing what is in flight").await;
    assert_eq!(host.tells().await["host"]["state"], "stopping");
    let reload = host.operator(&["reload"]).await;
    assert!(reload.code == 1 && reload.stderr.contains("the host is ending"), "{reload:?}");
    let hasty = tokio::time::timeout(Duration::from_secs(20), host.operator(&["stop", "--at-once"])).await;
    assert_eq!(hasty.expect("in time").code, 5);
    assert_eq!(patient.await.unwrap().code, 5);
    let mut host = host;
    assert_eq!(host.ended().await.code(), Some(5));
}
