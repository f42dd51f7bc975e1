//! Behaviours 1, 2, 4, 5, 6, 9, 10 and 15: when an application is started, how often, and what requests hear of it.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Empty;

use crate::{
    both_models,
    foreign::echo,
    host::{Answer, Host, Model, Setup, Workshop, library},
    supervision::rewrite,
};

// ---- 1: once, and not before it is wanted

both_models! {
    async fn nothing_of_an_application_runs_before_its_first_request(model: Model) {
        let workshop = Workshop::new();
        let host = Setup::sample(model).beside(&workshop.hello(), model).start().await;
        // Whatever would have begun with the host has begun by now.
        assert_eq!(host.get("/healthy/x").await.status, 200);
        assert!(host.log.of(SAMPLE_STARTS).is_empty());

        assert_eq!(host.get("/plaintext").await.status, 200);
        host.log.message(SAMPLE_STARTS).await;
    }

    async fn a_preloaded_application_starts_with_the_host(model: Model) {
        let host = Setup::sample(model).application("preload = true").start().await;
        host.log.message(SAMPLE_STARTS).await;
        host.log.message("application started").await;
        assert_eq!(host.get("/plaintext").await.status, 200);
        host.log.times(SAMPLE_STARTS, 1).await;
    }

    async fn a_hundred_first_requests_start_it_once_and_all_are_answered(model: Model) {
        let host = Setup::sample(model).start().await;
        for answer in at_once(&host, 100, "/plaintext").await {
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "Hello, World!"));
        }
        host.log.times(SAMPLE_STARTS, 1).await;
        host.log.times("application started", 1).await;
    }
}

// ---- 10: the first requests are the host's own

both_models! {
    async fn paths_to_warm_up_are_asked_for_before_anybody_elses_requests(model: Model) {
        let warmup = "warmup = [\"/counter\", \"/counter?again\"]\nwarmup_authority = \"shop.example\"";
        let host = Setup::sample(model).application("path = \"/shop\"").application(warmup).start().await;
        assert_eq!(host.get("/shop/counter").await.text(), "3\n");
        assert_eq!(host.get("/shop/counter").await.text(), "4\n");
    }

    async fn a_path_to_warm_up_that_fails_or_hangs_fails_the_start(model: Model) {
        for (path, said) in [("/status/503", "503"), ("/hang", "startup_timeout")] {
            let warmup = format!("warmup = [\"/\", {path:?}]\nstartup_timeout = \"1s\"");
            let host = Setup::broken(model, "none").application(&warmup).start().await;
            let answer = host.get("/").await;
            assert_eq!(answer.header("cohost-failure"), "warmup_failed");
            let told = host.log.message("application did not start").await["detail"].to_string();
            assert!(told.contains(path) && told.contains(said), "{told}");
        }
    }
}

// ---- 11: any number of applications share a worker

#[tokio::test]
async fn more_than_a_hundred_applications_of_one_file_are_served_in_process() {
    let workshop = Workshop::new();
    let file = workshop.hello();
    let more = |n: usize| {
        let file = file.display().to_string();
        format!(
            "[[site.application]]\nname = \"a{n}\"\npath = \"/a{n}\"\nlibrary = {file:?}\nhosting_model = \"inprocess\""
        )
    };
    let host = (1..=100)
        .fold(Setup::library(&file, Model::InProcess), |setup, n| setup.more(&more(n)))
        .start()
        .await;
    for n in 1..=100 {
        assert_eq!(host.get(&format!("/a{n}/x")).await.text(), "hello from C: /x\n");
    }
    assert_eq!(host.get("/x").await.text(), "hello from C: /x\n");
    assert!(host.stop().await.success());
}

// ---- 2: requests wait while it starts

both_models! {
    async fn requests_wait_for_a_slow_start_as_long_as_there_is_room(model: Model) {
        let host = Setup::broken(model, "slow-start")
            .settings("start_ms = 1500")
            .application("queue_limit = 5")
            .start()
            .await;
        let (served, refused): (Vec<_>, Vec<_>) =
            at_once(&host, 12, "/").await.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((served.len(), refused.len()), (5, 7));
        for answer in refused {
            refused_with(&answer, "queue_full");
        }
        assert_eq!(host.get("/").await.status, 200);
        host.log.times("application started", 1).await;
    }

    async fn a_start_that_takes_too_long_is_given_up(model: Model) {
        let host = Setup::broken(model, "slow-start")
            .settings("start_ms = 60000")
            .application("startup_timeout = \"300ms\"")
            .start()
            .await;
        for answer in at_once(&host, 3, "/").await {
            refused_with(&answer, "start_timeout");
        }
        host.log.times(DID_NOT_START, 1).await;
        assert!(host.stop().await.success());
    }
}

// ---- 4: a failed start is tried again, but not by every request

both_models! {
    async fn a_failed_start_is_tried_again_after_a_while_that_grows(model: Model) {
        let host = Setup::broken(model, "constructor-error").start().await;
        for (tries, wait) in [(1, 1), (2, 2)] {
            for _ in 0..20 {
                assert_eq!(refused_with(&host.get("/").await, "start_failed"), wait);
            }
            host.log.times(DID_NOT_START, tries).await;
            come_back_after(wait).await;
        }
    }

    async fn whoever_sees_to_one_that_failed_too_often_has_it_tried_again_at_once(model: Model) {
        let folder = tempfile::tempdir().unwrap();
        let (needs, library) = (folder.path().join("needs"), library("test_apps"));
        let settings = format!("needs = {:?}", needs.display().to_string());
        let setup = |line: &str| {
            let more = |name: &str, line: &str| {
                format!(
                    "[[site.application]]\nname = {name:?}\npath = \"/{name}\"\nlibrary = {library:?}\n\
                     hosting_model = {:?}\nrapid_fails_per_minute = 1\n{line}\n\
                     [site.application.settings]\nfault = \"needs-file\"\n{settings}",
                    model.as_str()
                )
            };
            let root = format!("content_root = {:?}", folder.path().display().to_string());
            let setup = Setup::broken(model, "needs-file").settings(&settings).server("watch = true");
            setup.application("rapid_fails_per_minute = 1").more(&more("b", &root)).more(&more("c", line))
        };
        let host = setup("").start().await;
        let all = ["/", "/b/", "/c/"];
        for path in all {
            refused_with(&host.get(path).await, "start_failed");
        }
        come_back_after(1).await;
        for _ in 0..2 {
            for path in all {
                refused_with(&host.get(path).await, "fail_fast");
            }
            // Nobody looks after what applications need.
            std::fs::write(&needs, "").unwrap();
        }
        assert_eq!(host.operator(&["recycle", "app"]).await.code, 0);
        assert_eq!(host.get("/").await.text(), "ok\n");
        refused_with(&host.get("/b/").await, "fail_fast");
        let offline = folder.path().join("app_offline.htm");
        std::fs::write(&offline, "").unwrap();
        host.log.times(CHANGED, 2).await;
        std::fs::remove_file(offline).unwrap();
        host.log.times(CHANGED, 3).await;
        assert_eq!(host.get("/b/").await.text(), "ok\n");
        refused_with(&host.get("/c/").await, "fail_fast");
        rewrite(&host, &setup("queue_limit = 7").text());
        host.log.times(CHANGED, 4).await;
        assert_eq!(host.get("/c/").await.text(), "ok\n");
        assert!(host.stop().await.success());
    }

    async fn a_file_that_was_repaired_is_served_after_a_while(model: Model) {
        let workshop = Workshop::new();
        let file = workshop.file("libshop.so", "not yet\n");
        let host = Setup::library(&file, model).start().await;
        let answer = host.get("/x").await;
        refused_with(&answer, "not_a_library");

        std::fs::rename(workshop.hello(), &file).unwrap();
        come_back_after(refused_with(&host.get("/x").await, "not_a_library")).await;
        assert_eq!(host.get("/x").await.text(), "hello from C: /x\n");
    }
}

// ---- 5: what is shown of a failure

both_models! {
    async fn a_failure_is_told_as_a_page_or_as_a_problem_in_detail_where_that_is_wanted(model: Model) {
        let host = Setup::broken(model, "constructor-error").server("detailed_errors = true").start().await;
        let said = "could not start: the database is not there: connection refused";

        let page = browse(&host, "/").await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text().starts_with("<!doctype html>") && page.text().contains(said), "{}", page.text());

        let problem = host.get("/").await;
        assert_eq!(problem.header("content-type"), "application/problem+json");
        let problem = problem.json();
        assert!(problem["detail"].as_str().unwrap().ends_with(said), "{problem}");
        assert_eq!(problem["status"], 503);
    }

    async fn a_page_of_a_failure_links_to_where_the_operator_sends_people(model: Model) {
        let link = "error_link = \"https://help.example/?a=1&b=2\"";
        let host = Setup::broken(model, "constructor-error").server(link).start().await;
        let page = browse(&host, "/").await;
        assert!(page.text().contains("<a href=\"https://help.example/?a=1&amp;b=2\">"), "{}", page.text());
    }

    async fn a_failure_says_nothing_of_the_inside_otherwise(model: Model) {
        let host = Setup::broken(model, "constructor-error").start().await;
        for answer in [browse(&host, "/").await, host.get("/").await] {
            refused_with(&answer, "start_failed");
            for inside in ["database", "test_apps", "/deps/"] {
                assert!(!answer.text().contains(inside), "{}", answer.text());
            }
        }
    }

    async fn a_failure_has_no_body_where_no_page_is_wanted(model: Model) {
        let setup = Setup::broken(model, "constructor-error");
        let host = setup.server("error_page = false\ndetailed_errors = true").start().await;
        for answer in [browse(&host, "/").await, host.get("/").await] {
            refused_with(&answer, "start_failed");
            assert!(answer.body.is_empty() && !answer.headers.contains_key("content-type"));
        }
    }
}

#[tokio::test]
async fn the_last_output_of_an_instance_that_failed_is_in_the_log_and_on_a_detailed_page() {
    let print_and_fail = || Setup::broken(Model::OutOfProcess, "print-and-fail");
    let host = print_and_fail().server("detailed_errors = true").start().await;
    let problem = host.get("/").await.json();
    assert!(problem["detail"].as_str().unwrap().ends_with("it printed 64 KB, and then it failed"));
    let output = problem["output"].as_str().unwrap();
    assert!(output.contains("line 0000001023") && !output.contains("line 0000000000"));
    assert!(output.len() <= 30 * 1024);
    let page = browse(&host, "/").await;
    assert!(page.text().contains("<h2>What the application printed last</h2>"));
    assert!(page.text().contains("line 0000001023"));
    host.log
        .wait(|event| event["message"].as_str().is_some_and(|text| text.contains("line 0000001023")))
        .await;

    let host = print_and_fail().start().await;
    assert!(!host.get("/").await.text().contains("line 0"));
    assert!(!browse(&host, "/").await.text().contains("line 0"));
}

// ---- 6: many at once, and what they are given

both_models! {
    async fn ten_applications_that_are_wanted_at_the_same_moment_all_come_up(model: Model) {
        let workshop = Workshop::new();
        let hello = workshop.hello();
        let others = (1..10).fold(Setup::library(&hello, model), |setup, number| {
            setup.more(&format!(
                "[[site.application]]\nname = \"app{number}\"\npath = \"/{number}\"\nlibrary = {:?}\n\
                 hosting_model = {:?}",
                hello.display().to_string(),
                model.as_str(),
            ))
        });
        let host = others.start().await;
        let client = host.client();
        let paths = (0..10).map(|number| if number == 0 { "/x".to_owned() } else { format!("/{number}/x") });
        let answers = paths.map(|path| async move { client.get(&path).await });
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.text(), "hello from C: /x\n");
        }
        host.log.times("application started", 10).await;
        assert!(host.stop().await.success());
    }

    async fn variables_of_the_environment_are_put_into_paths_and_settings(model: Model) {
        let workshop = Workshop::new();
        let library = std::path::Path::new("${LIBRARIES}/libsample_app.so");
        let libraries = crate::host::library("sample_app");
        std::fs::create_dir(workshop.path("root")).unwrap();
        std::fs::write(workshop.path("root/text"), "in its root\n").unwrap();
        let host = Setup::library(library, model)
            .application("content_root = \"${ROOT}/root\"")
            .settings("file = \"${FILE}\"")
            .variable("LIBRARIES", libraries.parent().unwrap().to_str().unwrap())
            .variable("ROOT", workshop.path("").to_str().unwrap().trim_end_matches('/'))
            .variable("FILE", "text")
            .start()
            .await;
        assert_eq!(host.get("/file").await.text(), "in its root\n");
    }
}

#[tokio::test]
async fn configured_variables_win_over_inherited_ones_and_the_hosts_own_never_leak_in() {
    let long = "x".repeat(100_000);
    let host = Setup::command(&echo(&[]))
        .application(&format!(
            "environment = {{ BOTH = \"configured\", LIST = \"${{LIST}}:more\", LONG = \"{long}\" }}"
        ))
        .variable("BOTH", "inherited")
        .variable("LIST", "first")
        .variable("INHERITED", "two words")
        .variable("PORT", "1")
        .variable("COHOST_TOKEN", "of another host")
        .variable("ASPNETCORE_TOKEN", "of another host")
        .variable("NOTIFY_SOCKET", "/of/another/host")
        .variable("LISTEN_FDS", "3")
        .start()
        .await;
    let environment = &host.get("/").await.json()["environment"];
    for (name, value) in [
        ("BOTH", "configured"),
        ("LIST", "first:more"),
        ("LONG", &*long),
        ("INHERITED", "two words"),
        ("COHOST_APPLICATION", "app"),
    ] {
        assert_eq!(environment[name], value, "{name}");
    }
    assert_ne!(environment["PORT"], "1");
    assert_eq!(environment["COHOST_TOKEN"].as_str().unwrap().len(), 64);
    assert_eq!(environment["ASPNETCORE_TOKEN"], environment["COHOST_TOKEN"]);
    assert!(environment["NOTIFY_SOCKET"].is_null() && environment["LISTEN_FDS"].is_null());
}

#[tokio::test]
async fn nothing_is_inherited_where_that_is_not_wanted() {
    let host = Setup::command(&echo(&[]))
        .application("inherit_environment = false\nenvironment = { PATH = \"${PATH}\", OWN = \"1\" }")
        .variable("INHERITED", "1")
        .start()
        .await;
    let environment = &host.get("/").await.json()["environment"];
    assert_eq!(environment["OWN"], "1");
    assert!(environment["INHERITED"].is_null() && environment["PATH"].is_string());
}

// ---- 9: an application that listens by itself

both_models! {
    async fn an_application_that_listens_by_itself_is_noticed(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let address = host.get("/listen").await.text().trim().to_owned();
        let event = host.log.wait(|event| event["address"] == *address).await;
        assert_eq!((&event["level"], &event["application"]), (&"WARN".into(), &"app".into()), "{event}");
        assert!(event["message"].as_str().unwrap().starts_with("application listens by itself"), "{event}");
        // Neither the host's sockets nor those of its runners are meant.
        let noticed = host.log.events().into_iter().filter(|event| event["address"].is_string());
        assert_eq!(noticed.count(), 1, "{}", host.log.text());
    }
}

// ---- 15: an application that fails too often is left alone

both_models! {
    async fn starts_that_fail_too_often_are_paused_with_the_reason(model: Model) {
        let host = Setup::broken(model, "constructor-error")
            .application("rapid_fails_per_minute = 1")
            .server("detailed_errors = true")
            .start()
            .await;
        refused_with(&host.get("/").await, "start_failed");
        come_back_after(refused_with(&host.get("/").await, "start_failed")).await;

        refused_with(&host.get("/").await, "fail_fast");
        let answer = host.get("/").await;
        let after = refused_with(&answer, "fail_fast");
        assert!((30..=60).contains(&after), "{after}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("the last time: start_failed: "), "{detail}");
        assert!(detail.contains("the database is not there"), "{detail}");
        host.log.times(DID_NOT_START, 2).await;
    }
}

#[tokio::test]
async fn an_instance_that_crashes_too_often_is_paused_with_the_reason() {
    let host = Setup::broken(Model::OutOfProcess, "none")
        .application("rapid_fails_per_minute = 1")
        .server("detailed_errors = true")
        .start()
        .await;
    for crash in 1..=2 {
        let answer = host.get("/abort").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (502, "instance_lost"));
        host.log.times("instance ended; the next request starts another", crash).await;
    }
    let answer = host.get("/").await;
    refused_with(&answer, "fail_fast");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("instance_lost") && detail.contains("SIGABRT"), "{detail}");
    host.log.times("application started", 2).await;
}

// ---- around them

/// That many requests side by side.
async fn at_once(host: &Host, count: usize, path: &str) -> Vec<Answer> {
    let client = host.client();
    futures_util::future::join_all((0..count).map(|_| async move { client.get(path).await })).await
}

/// A request of a browser.
async fn browse(host: &Host, path: &str) -> Answer {
    let request: Request<Empty<bytes::Bytes>> = host
        .client()
        .request(Method::GET, path)
        .header("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
        .body(Empty::new())
        .unwrap();
    host.client().send(request).await.unwrap()
}

/// That a request was refused for now; when to come back, in seconds.
fn refused_with(answer: &Answer, code: &str) -> u64 {
    let found = (answer.status.as_u16(), answer.header("cohost-failure"));
    assert_eq!(found, (503, code), "{}", String::from_utf8_lossy(&answer.body));
    answer.header("retry-after").parse().unwrap()
}

/// Does as a client does that was told when to come back: there is no event to wait for.
async fn come_back_after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const SAMPLE_STARTS: &str = "the sample application starts";
const DID_NOT_START: &str = "application did not start";
const CHANGED: &str = "configuration in force";
