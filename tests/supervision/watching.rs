//! Behaviours 26 to 28, without a command: what a host does by itself when files change, and what it does not.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::rewrite;
use crate::{
    both_models,
    host::{Ask, Host, Load, Model, Setup, Workshop},
};

const CHANGED: &str = "configuration in force";
const REFUSED: &str = "configuration refused; the one in force stays";
const UNUSABLE: &str = "library cannot be used; nothing changes";

/// Puts the library that answers `greeting` in place of the one at `installed`, in one step.
fn install(workshop: &Workshop, greeting: &str, installed: &Path) {
    fs::rename(workshop.greeter("new.so", greeting), installed).unwrap();
}

fn greeter(workshop: &Workshop, model: Model) -> Setup {
    Setup::library(&workshop.path("libshop.so"), model).server("watch = true")
}

async fn greeting(host: &Host) -> String {
    host.get("/x").await.text().to_owned()
}

both_models! {
    async fn a_new_library_is_taken_up_by_itself_and_costs_no_request(model: Model) {
        let workshop = Workshop::new();
        let installed = workshop.greeter("libshop.so", "one");
        let host = greeter(&workshop, model).start().await;
        let mut load = Load::start(&host, Ask { path: "/x", right: |body| ["one: /x\n", "two: /x\n"].contains(&body) });
        load.answers(10).await;
        install(&workshop, "two", &installed);
        host.log.times(CHANGED, 1).await;
        assert_eq!(greeting(&host).await, "two: /x\n");
        load.answers(10).await;
        load.stop().await;
        assert_eq!(host.log.message("application is to change").await["why"], "its library has changed");
        assert_eq!(host.log.of("worker starts").len(), 1);
        assert!(host.stop().await.success());
    }

    async fn what_is_overwritten_does_not_mix_with_what_runs(model: Model) {
        let workshop = Workshop::new();
        let installed = workshop.greeter("libshop.so", "one");
        let host = greeter(&workshop, model).start().await;
        // Before the first request, which is what starts it.
        fs::write(&installed, "no library any more").unwrap();
        host.log.message(UNUSABLE).await;
        assert_eq!(greeting(&host).await, "one: /x\n");
        assert!(host.stop().await.success());
    }

    async fn a_broken_library_changes_nothing_and_is_told_of_once(model: Model) {
        let workshop = Workshop::new();
        let installed = workshop.greeter("libshop.so", "one");
        let host = greeter(&workshop, model).start().await;
        assert_eq!(greeting(&host).await, "one: /x\n");
        let whole = fs::read(workshop.greeter("new.so", "two")).unwrap();
        fs::write(&installed, &whole[..whole.len() / 2]).unwrap();
        let told = host.log.message(UNUSABLE).await;
        assert_eq!((&told["application"], &told["library"]), (&"app".into(), &installed.to_str().unwrap().into()));
        assert_eq!(greeting(&host).await, "one: /x\n");
        // The same once more, and then another one.
        fs::write(&installed, &whole[..whole.len() / 2]).unwrap();
        host.signal("HUP");
        host.log.times(CHANGED, 1).await;
        fs::write(&installed, &whole[..whole.len() - 1]).unwrap();
        host.log.wait(|_| host.log.of(UNUSABLE).len() >= 2).await;
        fs::write(&installed, &whole).unwrap();
        host.log.times(CHANGED, 2).await;
        assert_eq!(greeting(&host).await, "two: /x\n");
        assert_eq!(host.log.of(UNUSABLE).len(), 2, "once for each content");
        assert!(host.stop().await.success());
    }

    async fn a_library_that_was_missing_is_served_once_it_is_there(model: Model) {
        let workshop = Workshop::new();
        let host = greeter(&workshop, model).start().await;
        assert_eq!(host.get("/x").await.header("cohost-failure"), "file_missing");
        workshop.greeter("libshop.so", "one");
        host.log.times(CHANGED, 1).await;
        assert_eq!(greeting(&host).await, "one: /x\n");
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_link_that_is_moved_on_the_way_to_a_library_is_a_change() {
    let workshop = Workshop::new();
    for release in ["one", "two"] {
        fs::create_dir(workshop.path(release)).unwrap();
        fs::rename(workshop.greeter("new.so", release), workshop.path(release).join("libshop.so")).unwrap();
    }
    symlink("one", workshop.path("current")).unwrap();
    let host = Setup::library(&workshop.path("current/libshop.so"), Model::InProcess)
        .server("watch = true")
        .start()
        .await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    symlink("two", workshop.path("next")).unwrap();
    fs::rename(workshop.path("next"), workshop.path("current")).unwrap();
    host.log.times(CHANGED, 1).await;
    assert_eq!(greeting(&host).await, "two: /x\n");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_is_touched_or_written_again_is_no_change() {
    let workshop = Workshop::new();
    let installed = workshop.greeter("libshop.so", "one");
    let host = greeter(&workshop, Model::InProcess).start().await;
    fs::write(&installed, fs::read(&installed).unwrap()).unwrap();
    let text = greeter(&workshop, Model::InProcess).text();
    rewrite(&host, &text);
    host.log.message("worker serves").await;
    // What comes after it shows that it was looked at.
    rewrite(&host, &greeter(&workshop, Model::InProcess).settings("value = 1").text());
    host.log.times(CHANGED, 1).await;
    let changes = host.log.of("application is to change");
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["why"], "its configuration has changed");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_configuration_that_is_written_is_in_force_or_told_of_once() {
    let setup = |value: &str| {
        Setup::broken(Model::InProcess, "none").server("watch = true").settings(&format!("value = {value}"))
    };
    let host = setup("1").start().await;
    rewrite(&host, &setup("2").text());
    host.log.times(CHANGED, 1).await;
    assert_eq!(host.get("/setting/value").await.text(), "2");
    rewrite(&host, &setup("3").server("colour = 1").text());
    host.log.message(REFUSED).await;
    assert_eq!(host.get("/setting/value").await.text(), "2");
    rewrite(&host, &setup("4").text());
    host.log.times(CHANGED, 2).await;
    assert_eq!(host.get("/setting/value").await.text(), "4");
    assert_eq!(host.log.of(REFUSED).len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn without_watch_files_are_looked_at_when_somebody_says_so() {
    let workshop = Workshop::new();
    let installed = workshop.greeter("libshop.so", "one");
    let host = Setup::library(&installed, Model::InProcess).server("watch = false").start().await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    install(&workshop, "two", &installed);
    assert_eq!(greeting(&host).await, "one: /x\n");
    host.signal("HUP");
    host.log.times(CHANGED, 1).await;
    assert_eq!(greeting(&host).await, "two: /x\n");
    assert!(host.stop().await.success());
}
