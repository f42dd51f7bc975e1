//! Trials and ways back: what a new generation may do at its start, and just after it.

use std::fs;

use super::rewrite;
use crate::host::{Ask, Host, Load, Model, Setup, Workshop};

const CHANGED: &str = "configuration in force";
const REFUSED: &str = "configuration refused; the one in force stays";
const UNUSABLE: &str = "library cannot be used; nothing changes";

/// Puts the smallest application in place, with a constructor, and with what it does at each request.
fn install(workshop: &Workshop, constructor: &str, request: &str, greeting: &str) {
    let source = include_str!("../../examples/c/hello.c").replace("hello from C", greeting);
    let source = source.replace("int n = ", &format!("{request}\n int n = "));
    let before = "#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) static void c(void)";
    workshop.library("new.so", &format!("{before} {{ {constructor} }}\n{source}"), &[]);
    fs::rename(workshop.path("new.so"), workshop.path("libshop.so")).unwrap();
}

async fn greeting(host: &Host) -> String {
    host.get("/x").await.text().to_owned()
}

#[tokio::test]
async fn a_library_that_crashes_exits_or_hangs_when_it_is_loaded_does_so_elsewhere() {
    let workshop = Workshop::new();
    install(&workshop, "", "", "one");
    let setup = Setup::library(&workshop.path("libshop.so"), Model::InProcess).server("watch = true");
    let host = setup.application("startup_timeout = \"2s\"").start().await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    for (n, body) in
        ["abort();", "_exit(0);", "*(volatile int *)8 = 1;", "for (;;) pause();"].iter().enumerate()
    {
        install(&workshop, body, "", "two");
        host.log.times(UNUSABLE, n + 1).await;
        assert_eq!(greeting(&host).await, "one: /x\n");
    }
    install(&workshop, "", "", "three");
    host.log.times(CHANGED, 1).await;
    assert_eq!(greeting(&host).await, "three: /x\n");
    assert_eq!(host.log.of("worker starts").len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn settings_with_which_an_application_crashes_are_refused_as_a_whole() {
    let setup = |fault: &str, value: &str| {
        Setup::broken(Model::InProcess, fault).server("watch = true").settings(&format!("value = {value:?}"))
    };
    let host = setup("none", "old").start_preloaded().await;
    rewrite(&host, &setup("constructor-segfault", "new").text());
    let told = host.log.message(REFUSED).await;
    assert_eq!(told["why"], "Trial", "{told}");
    assert_eq!(host.log.message("application did not change").await["application"], "app");
    assert_eq!(host.get("/setting/value").await.text(), "old");
    rewrite(&host, &setup("none", "newer").text());
    host.log.times(CHANGED, 1).await;
    assert_eq!(host.get("/setting/value").await.text(), "newer");
    assert_eq!((host.log.of("worker starts").len(), host.log.of(REFUSED).len()), (1, 1));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_generation_that_crashes_right_after_it_came_is_gone_back_from() {
    let workshop = Workshop::new();
    install(&workshop, "", "", "one");
    let host =
        Setup::library(&workshop.path("libshop.so"), Model::InProcess).server("watch = true").start().await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    // It starts, and crashes with the first request.
    install(&workshop, "", "abort();", "two");
    host.log.times(CHANGED, 1).await;
    let client = host.client();
    super::try_get(&client, "/x").await;
    let told =
        host.log.wait(|event| event["message"].as_str().is_some_and(|it| it.contains("going back"))).await;
    assert_eq!(told["application"], "app");
    host.log.times(CHANGED, 2).await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    // What was gone back from is not taken up again with the next look; something else is.
    host.log.times("worker crashed, and with it the requests that it had; the next one takes over", 1).await;
    install(&workshop, "", "", "three");
    host.log.times(CHANGED, 3).await;
    assert_eq!(greeting(&host).await, "three: /x\n");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_operator_goes_back_to_the_generation_before_and_forward_again() {
    for model in [Model::InProcess, Model::OutOfProcess] {
        let workshop = Workshop::new();
        install(&workshop, "", "", "one");
        let host = Setup::library(&workshop.path("libshop.so"), model).start().await;
        assert_eq!(greeting(&host).await, "one: /x\n");
        let said = host.operator(&["rollback", "app"]).await;
        assert_eq!((said.code, said.stderr.contains("no generation before")), (1, true), "{said:?}");

        install(&workshop, "", "", "two");
        assert_eq!(host.operator(&["reload"]).await.code, 0);
        assert_eq!(greeting(&host).await, "two: /x\n");
        let load = Load::start(&host, Ask { path: "/x", right: |body| body.ends_with(": /x\n") });
        for back in ["one: /x\n", "two: /x\n"] {
            let said = host.operator(&["rollback", "app"]).await;
            assert_eq!(said.code, 0, "{said:?}");
            assert_eq!(greeting(&host).await, back);
            let application = host.tells().await["sites"][0]["applications"][0].clone();
            assert_eq!(application["rolled_back"], true, "{application}");
        }
        install(&workshop, "", "", "three");
        assert_eq!(host.operator(&["reload"]).await.code, 0);
        assert_eq!(greeting(&host).await, "three: /x\n");
        assert_eq!(host.tells().await["sites"][0]["applications"][0].get("rolled_back"), None);
        load.stop().await;
        assert!(host.stop().await.success());
    }
}
