//! Replacements: the next worker serves before the old one ends, and clients cannot tell when that was.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{replace_worker, rewrite, served_by};
use crate::{
    both_models,
    host::{Answer, Ask, Load, Model, OK, Setup, library},
};

const REFUSED: &str = "configuration refused; the one in force stays";

both_models! {
    async fn what_a_worker_is_started_with_needs_another_worker(model: Model) {
        let setup = |value: &str| Setup::broken(model, "none").settings(&format!("value = {value:?}"));
        let host = setup("old").start().await;
        let old = served_by(&host, 1).await;
        assert_eq!(host.get("/setting/value").await.text(), "old");

        rewrite(&host, &setup("new").server("threads = 3").text());
        host.signal("HUP");
        host.log.message("configuration in force").await;
        assert_ne!(served_by(&host, 2).await, old);
        // Until it has closed its sockets, the old one may still be the one who accepts.
        host.log.wait(|event| event["message"] == "worker ended" && event["pid"] == old).await;
        assert_eq!(host.get("/setting/value").await.text(), "new");
        assert!(host.stop().await.success());
    }

    async fn replacing_a_worker_five_times_costs_no_request(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let mut load = Load::start(&host, Ask { path: "/plaintext", right: |body| body == "Hello, World!" });
        for round in 1..=5 {
            load.answers(20).await;
            replace_worker(&host, round);
            served_by(&host, round + 1).await;
        }
        load.answers(20).await;
        load.stop().await;
        host.log.times("configuration in force", 5).await;
        assert!(host.stop().await.success());
    }

    async fn what_runs_is_started_in_the_next_worker_before_that_takes_over(model: Model) {
        let host = Setup::broken(model, "none").beside(&library("sample_app"), model).start().await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        served_by(&host, 1).await;
        assert_eq!(host.operator(&["recycle"]).await.code, 0);
        let events = host.log.events();
        let place = |message: &str, n: usize| {
            let mut those = events.iter().enumerate().filter(|(_, event)| event["message"] == message);
            those.nth(n).unwrap_or_else(|| panic!("{message}")).0
        };
        let runs = match model {
            Model::InProcess => place("application started", 1),
            Model::OutOfProcess => place("application goes on in the instance that runs already", 0),
        };
        assert!(runs < place("worker serves", 1), "{}", host.log.text());
        assert!(host.log.of("application started").iter().all(|event| event["application"] == "app"));
        assert!(host.stop().await.success());
    }

    async fn what_is_in_flight_is_finished_by_the_worker_that_has_it(model: Model) {
        let host = Setup::broken(model, "none").server("shutdown_timeout = \"60s\"").start().await;
        let mut busy = host.wire().await;
        busy.send("POST /slow-reader HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        busy.send_chunk(b"first").await;
        replace_worker(&host, 1);
        served_by(&host, 2).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        busy.send("0\r\n\r\n").await;
        assert!(busy.rest().await.contains("5 bytes"));
        host.log.message("worker ended").await;
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn what_would_go_on_for_ever_is_told_that_its_worker_ends() {
    // One out of process is not told: it goes on for the next worker.
    let host = Setup::broken(Model::InProcess, "none").server("shutdown_timeout = \"60s\"").start().await;
    let client = host.client();
    let request: Request<Empty<bytes::Bytes>> =
        client.request(Method::GET, "/until-drain").body(Empty::new()).unwrap();
    let mut endless = client.begin(request).await.unwrap();
    endless.frame().await.unwrap().unwrap();
    replace_worker(&host, 1);
    assert!(Answer::of(endless).await.unwrap().text().ends_with("drained\n"));
    host.log.message("worker ended").await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_configuration_with_faults_changes_nothing_and_all_of_them_are_told() {
    let host = Setup::sample(Model::InProcess).start().await;
    let worker = host.worker();
    let site =
        "[[site]]\nname = \"a\"\nbindings = [\"http://*:80\"]\n[[site.application]]\nlibrary = \"x\"\n";
    rewrite(&host, &format!("{site}preload = 1\nqueue_limit = 0\n"));
    host.signal("HUP");
    host.log.times(REFUSED, 2).await;
    let told: Vec<_> = host.log.of(REFUSED).iter().map(|event| event["fault"].to_string()).collect();
    assert!(
        told[0].contains("cohost.toml:6:11: site.a.application./.preload: must be true or false"),
        "{told:?}"
    );
    assert!(
        told[1].contains("cohost.toml:7:15: site.a.application./.queue_limit: must be at least 1"),
        "{told:?}"
    );
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert_eq!(host.worker(), worker);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_configuration_whose_port_is_taken_changes_nothing() {
    let host = Setup::sample(Model::InProcess).start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = Setup::sample(Model::InProcess).text();
    let bindings = format!("bindings = [\"http://{}\", ", taken.local_addr().unwrap());
    rewrite(&host, &text.replace("bindings = [", &bindings));
    host.signal("HUP");
    let told = host.log.message(REFUSED).await;
    assert!(told["fault"].as_str().unwrap().contains("stop what listens there"), "{told}");
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_worker_that_does_not_get_ready_is_refused_once_and_the_old_one_goes_on() {
    for (fault, why) in [("constructor-error", "PreloadFailed"), ("constructor-abort", "Crashed")] {
        let host = Setup::broken(Model::InProcess, "none").start_preloaded().await;
        let worker = host.worker();
        let broken = Setup::broken(Model::InProcess, fault).application("preload = true\ntrial = false");
        rewrite(&host, &broken.server("threads = 3").text());
        host.signal("HUP");
        let told = host.log.message(REFUSED).await;
        assert!(told["why"].as_str().unwrap().contains(why), "{told}");
        host.log
            .wait(|event| {
                let message = event["message"].as_str().unwrap_or_default();
                event["worker"] == 2 && (message == "worker ended" || message.starts_with("worker crashed"))
            })
            .await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert_eq!(host.worker(), worker);
        assert_eq!(host.log.of("worker starts").len(), 2, "it is not tried again");
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_new_configuration_ends_a_crash_loop() {
    let setup = |fault| Setup::broken(Model::InProcess, fault).application("preload = true");
    let host = setup("constructor-segfault").start().await;
    served_by(&host, 2).await;
    assert_eq!(host.get("/").await.header("cohost-failure"), "worker_crashed");
    rewrite(&host, &setup("none").text());
    host.signal("HUP");
    host.log.message("configuration in force").await;
    // The worker hears a moment later that the past does not count any more.
    let served = async { while host.get("/").await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it is tried at once");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn bindings_come_and_go_with_the_configuration() {
    let host = Setup::sample(Model::InProcess).start().await;
    let socket = host.directory.path().join("a.sock");
    let text = Setup::sample(Model::InProcess).text();
    rewrite(&host, &text.replace("bindings = [", &format!("bindings = [\"unix:{}\", ", socket.display())));
    host.signal("HUP");
    host.log.times("configuration in force", 1).await;
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(b"GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("Hello, World!"), "{answer}");
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");

    rewrite(&host, &text);
    host.signal("HUP");
    host.log.times("configuration in force", 2).await;
    let refused = async { while UnixStream::connect(&socket).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("refused in time");
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn several_reloads_at_once_end_in_one_state() {
    let setup = |n: u32| Setup::broken(Model::InProcess, "none").settings(&format!("value = \"{n}\""));
    let host = setup(0).start().await;
    let mut load = Load::start(&host, OK);
    for n in 1..=20 {
        rewrite(&host, &setup(n).text());
        host.signal("HUP");
        load.answers(1).await;
    }
    let last = async { while host.get("/setting/value").await.text() != "20" {} };
    tokio::time::timeout(Duration::from_secs(20), last).await.expect("the last one is in force");
    load.stop().await;
    assert!(host.stop().await.success());
}
