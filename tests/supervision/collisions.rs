//! Two things at once: what somebody wants while something else is under way, or crashes, or ends.

use std::{net::TcpStream, time::Duration};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{replace_worker, rewrite, served_by, trials::install, try_get};
use crate::host::{Host, Model, PATIENCE, Setup, Workshop, operator};

const CHANGED: &str = "configuration in force";
/// Its answer ends the connection.
const BUSY: &str =
    "POST /slow-reader HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Runs a command beside the test.
fn begin(host: &Host, words: &'static [&str]) -> tokio::task::JoinHandle<crate::host::Said> {
    let directory = host.runtime_dir();
    tokio::spawn(async move { operator(&directory, words).await })
}

#[tokio::test]
async fn a_way_back_after_a_demotion_leads_to_the_library_before() {
    let workshop = Workshop::new();
    let put = |greeting: &str| install(&workshop, "", "", greeting);
    put("one");
    let host = Setup::library(&workshop.path("libshop.so"), Model::InProcess).start_preloaded().await;
    put("two");
    assert_eq!(host.operator(&["recycle", "app"]).await.code, 0);
    assert_eq!(host.get("/x").await.text(), "two: /x\n");
    assert_eq!(host.operator(&["demote", "app"]).await.code, 0);
    assert_eq!(host.operator(&["rollback", "app"]).await.code, 0);
    assert_eq!(host.get("/x").await.text(), "one: /x\n");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_crash_right_after_a_new_library_and_a_promotion_takes_back_the_library_only() {
    let workshop = Workshop::new();
    let put = |greeting: &str| install(&workshop, "", "", greeting);
    put("one");
    let host = Setup::library(&workshop.path("libshop.so"), Model::OutOfProcess).start().await;
    put("two");
    assert_eq!(host.operator(&["recycle", "app"]).await.code, 0);
    assert_eq!(host.operator(&["promote", "app"]).await.code, 0);
    crate::host::kill(served_by(&host, 1).await, rustix::process::Signal::KILL);
    served_by(&host, 2).await;
    host.log.times(CHANGED, 3).await;
    assert_eq!(host.get("/x").await.text(), "one: /x\n");
    let status = host.tells().await;
    assert_eq!(status["sites"][0]["applications"][0]["hosting_model"], "inprocess", "{status}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_crash_right_after_a_promotion_is_no_reason_to_go_back() {
    let host = Setup::sample(Model::OutOfProcess).start().await;
    assert_eq!(host.operator(&["promote", "app"]).await.code, 0);
    crate::host::kill(served_by(&host, 1).await, rustix::process::Signal::KILL);
    served_by(&host, 2).await;
    let back =
        "the worker crashed right after a change of this application; going back to the generation before";
    assert!(host.log.of(back).is_empty(), "{:?}", host.log.of(back));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn who_waits_for_an_end_hears_that_it_is_served_again() {
    let setup = Setup::broken(Model::OutOfProcess, "none").application("shutdown_timeout = \"25s\"");
    let host = setup.start_preloaded().await;
    let mut busy = host.wire().await;
    busy.send(BUSY).await;
    busy.send_chunk(b"first").await;
    let offline = begin(&host, &["offline", "app"]);
    host.log.times(CHANGED, 1).await;
    assert_eq!(host.operator(&["online", "app"]).await.code, 0);
    let said = tokio::time::timeout(PATIENCE / 3, offline).await.expect("it hears of it").unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("served again"), "{said:?}");
    busy.send("0\r\n\r\n").await;
    assert!(busy.rest().await.contains("5 bytes"));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_stop_while_something_is_tried_does_not_wait_for_it_and_listens_to_nobody() {
    let setup = |fault: &str| Setup::broken(Model::InProcess, fault).application("shutdown_timeout = \"2s\"");
    let mut host = setup("none").start_preloaded().await;
    let mut busy = host.wire().await;
    busy.send(BUSY).await;
    busy.send_chunk(b"first").await;
    rewrite(&host, &setup("constructor-hang").text());
    let reload = begin(&host, &["reload"]);
    host.log.wait(|event| event["application"] == "app (trial)").await;
    host.signal("TERM");
    let said = tokio::time::timeout(Duration::from_secs(2), reload).await.expect("at once").unwrap();
    assert!(said.code == 1 && said.stderr.contains("the host is ending"), "{said:?}");
    host.log.message("stopping: finishing what is in flight; a second signal hurries").await;
    // Its worker closes the socket as well, as soon as it has heard of the stop.
    let refused = async {
        while TcpStream::connect(host.address).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE / 3, refused).await.expect("nobody listens any more");
    busy.send("0\r\n\r\n").await;
    assert!(busy.rest().await.contains("5 bytes"));
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn a_change_is_made_again_after_a_crash_of_somebody_else() {
    let workshop = Workshop::new();
    install(&workshop, "", "", "one");
    let shop = workshop.path("libshop.so").display().to_string();
    let host = Setup::broken(Model::InProcess, "none")
        .more(&format!(
            "[[site.application]]\nname = \"shop\"\npath = \"/shop\"\nlibrary = {shop:?}\npreload = true\n\
             trial = false"
        ))
        .start()
        .await;
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert_eq!(host.get("/shop").await.text(), "one: /\n");
    install(&workshop, "sleep(1);", "", "two");
    let recycle = begin(&host, &["recycle", "shop"]);
    let changing = |event: &serde_json::Value| {
        event["message"] == "application is to change" && event["application"] == "shop"
    };
    host.log.wait(changing).await;
    assert!(try_get(&host.client(), "/segfault").await.is_none());
    assert_eq!(recycle.await.unwrap().code, 0);
    assert_eq!(host.get("/shop").await.text(), "two: /\n");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_stop_in_the_middle_of_an_upgrade_is_heard() {
    let mut host = Setup::broken(Model::InProcess, "none").start().await;
    served_by(&host, 1).await;
    let mut door = tokio::net::UnixStream::connect(host.runtime_dir().join("cohost.sock")).await.unwrap();
    door.write_all(b"POST /v1/upgrade HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    // Its last word.
    assert!(door.read(&mut [0; 1024]).await.unwrap() > 0);
    host.signal("TERM");
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn a_crash_of_a_worker_that_ends_is_told_with_who_did_it() {
    let host = Setup::broken(Model::InProcess, "none").server("shutdown_timeout = \"25s\"").start().await;
    let mut busy = host.wire().await;
    busy.send(BUSY).await;
    busy.send_chunk(b"first").await;
    let mut other = host.wire().await;
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(other.until("ok\n").await.ends_with(b"ok\n"));
    replace_worker(&host, 1);
    served_by(&host, 2).await;
    other.send("GET /segfault HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let told =
        host.log.message("worker crashed while it ended, and with it the requests that it still had").await;
    assert_eq!((&told["application"], &told["path"]), (&"app".into(), &"/segfault".into()), "{told}");
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert!(host.stop().await.success());
}
