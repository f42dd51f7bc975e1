//! Commands that change something: the effect is there when they end, or they say why not.

use std::time::Duration;

use crate::{
    both_models,
    host::{Load, Model, OK, Setup, Watched, library},
    supervision::{rewrite, served_by},
};

both_models! {
    async fn a_reload_ends_when_the_new_configuration_is_in_force(model: Model) {
        let setup = |value: &str| Setup::broken(model, "none").settings(&format!("value = {value:?}"));
        let host = setup("old").start_preloaded().await;
        rewrite(&host, &setup("new").application("preload = true").text());
        let said = host.operator(&["reload"]).await;
        assert_eq!((said.code, &*said.stdout), (0, "edition 2 is in force\n"), "{said:?}");
        for _ in 0..20 {
            assert_eq!(host.get("/setting/value").await.text(), "new");
        }
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
async fn a_reload_that_a_newer_one_overtakes_comes_to_the_same() {
    let slow = Setup::broken(Model::InProcess, "constructor-hang").application("preload = true");
    let host = Setup::broken(Model::InProcess, "none").start().await;
    rewrite(&host, &slow.text());
    let first = tokio::spawn({
        let directory = host.runtime_dir();
        async move { crate::host::operator(&directory, &["reload"]).await }
    });
    // It is being tried, and will not come to an end.
    host.log
        .wait(|event| event["message"] == "instance started" && event["application"] == "app (trial)")
        .await;
    rewrite(&host, &Setup::broken(Model::InProcess, "none").text());
    let second = host.operator(&["reload"]).await;
    assert_eq!(second.code, 0, "{second:?}");
    let first = first.await.unwrap();
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(host.log.of("worker starts").len(), 1);
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

both_models! {
    async fn a_recycled_application_is_another_one_and_no_request_fails(model: Model) {
        let host = Setup::broken(model, "none").start_preloaded().await;
        let mut load = Load::start(&host, OK);
        let application = async || host.tells().await["sites"][0]["applications"][0].clone();
        let mut before = application().await;
        for edition in 2..=4 {
            load.answers(10).await;
            let said = host.operator(&["recycle", "app"]).await;
            assert_eq!((said.code, said.stdout), (0, format!("edition {edition} is in force\n")));
            let after = application().await;
            if model == Model::OutOfProcess {
                assert_ne!(after["pids"], before["pids"]);
            }
            before = after;
        }
        load.answers(10).await;
        load.stop().await;
        assert!(host.stop().await.success());
    }

    async fn what_is_offline_has_ended_and_is_answered_with_its_page_until_it_is_online(model: Model) {
        let host = Setup::sample(model).beside(&library("sample_app"), model).start().await;
        let page = host.directory.path().join("later.html");
        std::fs::write(&page, "<h1>later</h1>").unwrap();
        let before = host.get("/info").await.json()["pid"].as_u64().unwrap();
        let before = Watched::new(before.try_into().unwrap());
        let said = host.operator(&["offline", "app", "--page", page.to_str().unwrap()]).await;
        assert_eq!(said.code, 0, "{said:?}");
        if model == Model::OutOfProcess {
            assert!(before.has_ended(), "it is drained by then");
        }
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (503, "<h1>later</h1>"));
        assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
        assert_eq!(host.tells().await["sites"][0]["applications"][0]["state"], "offline");

        // It stays so.
        assert_eq!(host.operator(&["reload"]).await.code, 0);
        assert_eq!(host.get("/plaintext").await.status, 503);
        assert_eq!(host.operator(&["online", "app"]).await.code, 0);
        assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
        assert!(host.stop().await.success());
    }
}

both_models! {
    async fn taking_an_application_offline_ends_when_it_has_finished_what_it_had(model: Model) {
        let host = Setup::broken(model, "none").application("shutdown_timeout = \"25s\"").start().await;
        let mut busy = host.wire().await;
        let head = "POST /slow-reader HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        busy.send(&format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
        busy.send_chunk(b"first").await;
        let begun = async { while host.tells().await["workers"][0]["in_flight"] != 1 {} };
        begun.await;
        let directory = host.runtime_dir();
        let offline =
            tokio::spawn(async move { crate::host::operator(&directory, &["offline", "app"]).await });
        host.log.message("configuration in force").await;
        assert_eq!(host.get("/").await.header("cohost-failure"), "offline");
        assert!(!offline.is_finished());
        busy.send("0\r\n\r\n").await;
        assert!(busy.rest().await.contains("5 bytes"));
        assert_eq!(offline.await.unwrap().code, 0);
        assert!(host.stop().await.success());
    }
}

both_models! {
    async fn what_was_still_starting_has_ended_when_it_is_offline(model: Model) {
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        let settings = format!("gate = {:?}", gate.display().to_string());
        let setup = Setup::broken(model, "gated-start").settings(&settings);
        let host = setup.application("shutdown_timeout = \"25s\"").start().await;
        let mut waiting = host.wire().await;
        waiting.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let state = async || host.tells().await["sites"][0]["applications"][0]["state"].clone();
        while state().await != "starting" {}
        let process = match model {
            Model::InProcess => None,
            Model::OutOfProcess => {
                let pid = host.log.message("instance started").await["pid"].as_u64().unwrap();
                Some(Watched::new(pid.try_into().unwrap()))
            }
        };
        let directory = host.runtime_dir();
        let offline =
            tokio::spawn(async move { crate::host::operator(&directory, &["offline", "app"]).await });
        host.log.message("application is still starting; that is called off").await;
        assert!(waiting.rest().await.starts_with("HTTP/1.1 503"));
        if model == Model::InProcess {
            // Nobody can end a constructor, so its end is waited for.
            assert!(!offline.is_finished());
            std::fs::write(&gate, "").unwrap();
        }
        assert_eq!(offline.await.unwrap().code, 0);
        assert!(process.is_none_or(|process| process.has_ended()));
        assert_eq!(state().await, "offline");
        assert_eq!(host.log.of("application did not start").len(), 0);
        std::fs::write(&gate, "").unwrap();
        assert_eq!(host.operator(&["online", "app"]).await.code, 0);
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_constructor_that_never_returns_is_left_behind_when_it_is_offline() {
    let setup = Setup::broken(Model::InProcess, "constructor-hang");
    let host = setup.application("shutdown_timeout = \"300ms\"").start().await;
    let mut waiting = host.wire().await;
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    while host.tells().await["sites"][0]["applications"][0]["state"] != "starting" {}
    assert_eq!(host.operator(&["offline", "app"]).await.code, 0);
    let left = "application left behind: its start was called off, and has not come to an end";
    assert_eq!(host.log.of(left).len(), 1);
    assert!(waiting.rest().await.starts_with("HTTP/1.1 503"));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_application_moves_out_of_the_worker_and_back_and_no_request_fails() {
    let host = Setup::broken(Model::InProcess, "none").start_preloaded().await;
    let mut load = Load::start(&host, OK);
    for (command, model) in [("demote", "outofprocess"), ("promote", "inprocess"), ("demote", "outofprocess")]
    {
        let said = host.operator(&[command, "app"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        load.answers(10).await;
        let status = host.tells().await;
        let application = &status["sites"][0]["applications"][0];
        assert_eq!(application["hosting_model"], model);
        assert_eq!(application["configured_hosting_model"], "inprocess");
        // A second time, there is nothing to do.
        let again = host.operator(&[command, "app"]).await;
        assert_eq!(again.stdout, said.stdout);
    }
    load.stop().await;
    let shown = host.operator(&["status"]).await.stdout;
    assert!(shown.contains("outofprocess (configured: inprocess)"), "{shown}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_was_decided_by_command_holds_after_a_restart_until_the_opposite_is_decided() {
    let state = tempfile::tempdir().unwrap();
    let setup = || {
        let sample = library("sample_app");
        let setup = Setup::sample(Model::InProcess).beside(&sample, Model::InProcess);
        setup.variable("STATE_DIRECTORY", state.path().to_str().unwrap())
    };
    let host = setup().start().await;
    let page = host.directory.path().join("later.html");
    std::fs::write(&page, "<h1>later</h1>").unwrap();
    assert_eq!(host.operator(&["offline", "app", "--page", page.to_str().unwrap()]).await.code, 0);
    assert_eq!(host.operator(&["demote", "healthy"]).await.code, 0);
    // Whatever its end is like.
    drop(host);

    let host = setup().start().await;
    let told = host.log.message("application stays offline, until it is taken online").await;
    assert_eq!((&told["application"], &told["why"]), (&"app".into(), &"an operator's command".into()));
    assert!(told["since"].as_str().unwrap().ends_with('Z'), "{told}");
    host.log.message("application stays in a process of its own, until it is promoted").await;
    let answer = host.get("/plaintext").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "<h1>later</h1>"));
    let applications = host.tells().await["sites"][0]["applications"].clone();
    assert_eq!(applications[1]["hosting_model"], "outofprocess");
    assert_eq!(host.operator(&["online", "app"]).await.code, 0);
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert_eq!(host.operator(&["promote", "healthy"]).await.code, 0);
    assert!(!state.path().join("decisions.json").exists(), "there is nothing left to remember");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_recycle_without_a_name_replaces_the_worker() {
    let host = Setup::sample(Model::InProcess).start_preloaded().await;
    let old = served_by(&host, 1).await;
    assert_eq!(host.operator(&["recycle"]).await.code, 0);
    assert_ne!(served_by(&host, 2).await, old);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_fresh_one_that_does_not_start_is_refused_and_the_old_one_goes_on() {
    let workshop = crate::host::Workshop::new();
    let library = workshop.hello();
    let host = Setup::library(&library, Model::InProcess).start_preloaded().await;
    let broken = workshop.file("broken", "no library");
    std::fs::rename(broken, &library).unwrap();
    let said = host.operator(&["recycle", "app"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("\napp: not_a_library: "), "{said:?}");
    assert_eq!(host.get("/x").await.text(), "hello from C: /x\n");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn wishes_that_come_together_are_all_granted() {
    let host = Setup::sample(Model::InProcess).beside(&library("sample_app"), Model::InProcess).start().await;
    let directory = host.runtime_dir();
    let wishes = [["recycle", "app"], ["offline", "healthy"], ["demote", "app"], ["recycle", "healthy"]];
    let said =
        futures_util::future::join_all(wishes.iter().map(|words| crate::host::operator(&directory, words)));
    assert!(said.await.iter().all(|said| said.code == 0));
    let status = host.tells().await;
    assert!(status["host"]["edition"].as_u64().unwrap() <= 5);
    let applications = &status["sites"][0]["applications"];
    assert_eq!(applications[0]["hosting_model"], "outofprocess");
    assert_eq!(applications[1]["state"], "offline");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_reason() {
    let host = Setup::sample(Model::InProcess).start().await;
    for command in ["recycle", "offline", "online", "promote", "demote"] {
        let said = host.operator(&[command, "ap"]).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert_eq!(said.stderr, "cohost: there is no application ap; did you mean app?\n");
    }
    assert_eq!(host.tells().await["host"]["edition"], 1);
    assert!(host.stop().await.success());
}
