//! Changes: one application in place of another while the worker, and all other applications, go on.

use std::path::Path;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{rewrite, served_by};
use crate::{
    both_models,
    host::{Answer, Ask, Host, Load, Model, OK, Setup, library},
};

/// Its answer ends the connection.
const BUSY: &str =
    "POST /slow-reader HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

const CHANGED: &str = "configuration in force";
const REFUSED: &str = "configuration refused; the one in force stays";

both_models! {
    async fn an_application_that_is_the_same_keeps_its_streams_and_its_process(model: Model) {
        let setup = |value: &str| {
            Setup::broken(model, "none")
                .settings(&format!("value = {value:?}"))
                .beside(&library("sample_app"), model)
        };
        let host = setup("old").start().await;
        let worker = host.worker();
        assert_eq!(host.get("/setting/value").await.text(), "old");
        let pid = host.get("/healthy/info").await.json()["pid"].clone();
        let mut socket = web_socket(&host, "/healthy/ws").await;
        converse(&mut socket).await;

        reload(&host, &setup("new").text(), 1).await;
        assert_eq!(host.get("/setting/value").await.text(), "new");
        converse(&mut socket).await;
        assert_eq!(host.get("/healthy/info").await.json()["pid"], pid);
        assert_eq!(host.worker(), worker);
        let started = host.log.of("application started");
        let started = started.iter().filter(|event| event["application"] != "app (trial)");
        assert_eq!(started.count(), 3, "only what changed has started again");
        assert!(host.stop().await.success());
    }

    async fn what_is_in_flight_is_finished_by_the_application_that_has_it(model: Model) {
        let setup = |value: &str| {
            Setup::broken(model, "none")
                .settings(&format!("value = {value:?}"))
                .application("shutdown_timeout = \"25s\"")
        };
        let host = setup("old").start().await;
        let mut busy = host.wire().await;
        busy.send(BUSY).await;
        busy.send_chunk(b"first").await;
        let client = host.client();
        let request: Request<Empty<bytes::Bytes>> =
            client.request(Method::GET, "/until-drain").body(Empty::new()).unwrap();
        let mut endless = client.begin(request).await.unwrap();
        endless.frame().await.unwrap().unwrap();

        reload(&host, &setup("new").text(), 1).await;
        // It is told that its end is near, so it ends by itself.
        assert!(Answer::of(endless).await.unwrap().text().ends_with("drained\n"));
        assert_eq!(host.get("/setting/value").await.text(), "new");
        busy.send("0\r\n\r\n").await;
        assert!(busy.rest().await.contains("5 bytes"));
        assert!(host.stop().await.success());
    }

    async fn ten_changes_under_load_cost_no_request(model: Model) {
        let setup = |n: usize| {
            Setup::broken(model, "none").application("preload = true").settings(&format!("value = {n}"))
        };
        let host = setup(0).start().await;
        let mut load = Load::start(&host, OK);
        for n in 1..=10 {
            load.answers(20).await;
            reload(&host, &setup(n).text(), n).await;
        }
        load.answers(20).await;
        load.stop().await;
        assert_eq!(host.get("/setting/value").await.text(), "10");
        assert_eq!(host.log.of("worker starts").len(), 1);
        assert!(host.stop().await.success());
    }

    async fn an_application_that_does_not_start_anew_leaves_the_old_one_serving(model: Model) {
        let setup = |fault: &str| Setup::broken(model, fault);
        let host = setup("none").start_preloaded().await;
        let worker = host.worker();
        rewrite(&host, &setup("constructor-error").text());
        host.signal("HUP");
        let told = host.log.message(REFUSED).await;
        // In process it does not come that far.
        let why = if model == Model::InProcess { "Trial" } else { "NotChanged" };
        assert_eq!(told["why"], why, "{told}");
        let failed = host.log.message("application did not change").await;
        assert_eq!((&failed["application"], &failed["failure"]), (&"app".into(), &"start_failed".into()));
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert_eq!((host.worker(), host.log.of(REFUSED).len()), (worker, 1));

        // And a good one is taken after that.
        reload(&host, &setup("none").settings("value = 1").text(), 1).await;
        assert_eq!(host.get("/setting/value").await.text(), "1");
        assert!(host.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hosting_model_is_switched_both_ways_under_load() {
    let setup = |model| Setup::sample(model).application("preload = true");
    let host = setup(Model::InProcess).start().await;
    let worker = host.worker();
    let ask = Ask { path: "/plaintext", right: |body| body == "Hello, World!" };
    let mut load = Load::start(&host, ask);
    for (n, model) in [Model::OutOfProcess, Model::InProcess].into_iter().cycle().take(10).enumerate() {
        load.answers(20).await;
        reload(&host, &setup(model).text(), n + 1).await;
        let inside = host.get("/info").await.json()["pid"] == worker;
        assert_eq!(inside, model == Model::InProcess);
    }
    load.stop().await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_new_library_comes_in_and_one_that_is_none_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("libapp.so");
    let put = |from: &Path| {
        std::fs::copy(from, folder.path().join("new")).unwrap();
        std::fs::rename(folder.path().join("new"), &installed).unwrap();
    };
    put(&library("sample_app"));
    let host = Setup::library(&installed, Model::InProcess).start_preloaded().await;
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");

    let none = folder.path().join("none");
    std::fs::write(&none, "no library").unwrap();
    put(&none);
    host.signal("HUP");
    let told = host.log.message("library cannot be used; nothing changes").await;
    assert!(told["why"].as_str().unwrap().contains("is not an ELF file but a text"), "{told}");
    host.log.times(CHANGED, 1).await;
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");

    put(&library("test_apps"));
    host.signal("HUP");
    host.log.times(CHANGED, 2).await;
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert_eq!(host.log.of("worker starts").len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn applications_come_and_go_while_the_others_stay() {
    let alone = Setup::broken(Model::InProcess, "none");
    let host = alone.start().await;
    let alone = Setup::broken(Model::InProcess, "none").text();
    let both =
        Setup::broken(Model::InProcess, "none").beside(&library("sample_app"), Model::OutOfProcess).text();
    assert_eq!(host.get("/healthy/plaintext").await.status, 404);
    reload(&host, &both, 1).await;
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    let pid = host.get("/healthy/info").await.json()["pid"].as_u64().unwrap();
    let gone = crate::host::Watched::new(pid.try_into().unwrap());
    reload(&host, &alone, 2).await;
    assert_eq!(host.get("/healthy/plaintext").await.status, 404);
    gone.ended().await;
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert!(host.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_run_twice_starts_after_the_old_one_and_costs_no_request() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/echo.py");
    let setup = |value: usize| {
        Setup::command(&["python3", echo])
            .application(&format!("port = {free}\npreload = true\nenvironment = {{ VALUE = \"{value}\" }}"))
    };
    let host = setup(0).start().await;
    host.log.message("application started").await;
    let mut load = Load::start(&host, Ask { path: "/", right: |_| true });
    for n in 1..=3 {
        load.answers(5).await;
        reload(&host, &setup(n).text(), n).await;
        host.log.times("application started", n + 1).await;
    }
    load.stop().await;
    assert!(host.log.of("application did not start").is_empty());
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_worker_that_has_loaded_too_many_generations_is_replaced() {
    let setup = |n: usize| {
        Setup::broken(Model::InProcess, "none")
            .application("preload = true")
            .settings(&format!("value = {n}"))
    };
    let host = setup(0).start().await;
    host.log.message("application started").await;
    for n in 1..=17 {
        reload(&host, &setup(n).text(), n).await;
    }
    served_by(&host, 2).await;
    host.log.message("worker ended").await;
    assert_eq!(host.get("/setting/value").await.text(), "17");
    assert_eq!(host.log.of("worker starts").len(), 2);
    assert!(host.stop().await.success());
}

/// Has the host read a new configuration, and waits until it is in force, as the `nth` new one.
async fn reload(host: &Host, text: &str, nth: usize) {
    rewrite(host, text);
    host.signal("HUP");
    host.log.times(CHANGED, nth).await;
}

async fn web_socket(host: &Host, path: &str) -> WebSocketStream<tokio::net::TcpStream> {
    client_async(format!("ws://{}{path}", host.address), host.raw().await).await.unwrap().0
}

async fn converse(socket: &mut WebSocketStream<tokio::net::TcpStream>) {
    socket.send(Message::text("are you there?")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("are you there?"));
}
