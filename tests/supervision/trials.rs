//! Trials and ways back: what a new generation may do at its start, and just after it.

use std::fs;

use serde_json::Value;

use super::{rewrite, served_by, try_get};
use crate::host::{Ask, Host, Load, Model, PATIENCE, Setup, Watched, Workshop, library};

const CHANGED: &str = "configuration in force";
const REFUSED: &str = "configuration refused; the one in force stays";
const CRASHED: &str = "worker crashed, and with it the requests that it had; the next one takes over";
const TRIED_IN_VAIN: &str = "application does not start in a trial; it is refused until the next one";
const HEALTHY: Ask = Ask { path: "/healthy/plaintext", right: |body| body == "Hello, World!" };
const UNUSABLE: &str = "library cannot be used; nothing changes";

/// Puts the smallest application in place, with a constructor, and with what it does at each request.
pub(super) fn install(workshop: &Workshop, constructor: &str, request: &str, greeting: &str) {
    let source = include_str!("../../examples/c/hello.c").replace("hello from C", greeting);
    let source = source.replace("int n = ", &format!("{request}\n int n = "));
    let before = "#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) static void c(void)";
    workshop.library("new.so", &format!("{before} {{ {constructor} }}\n{source}"), &[]);
    fs::rename(workshop.path("new.so"), workshop.path("libshop.so")).unwrap();
}

/// Asks until it is answered this. Until then it may be refused, and nothing else; so often it was.
async fn refused_until_served(host: &Host, answer: &str) -> usize {
    let asking = async {
        let mut refused = 0;
        loop {
            let answer = host.get("/x").await;
            if answer.status == 200 {
                return (answer.text().to_owned(), refused);
            }
            assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "worker_crashed"));
            refused += 1;
        }
    };
    let (answered, refused) = tokio::time::timeout(PATIENCE, asking).await.expect("it is served again");
    assert_eq!(answered, answer);
    refused
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
async fn a_trial_that_hangs_is_ended_at_its_limit_and_its_reason_told() {
    let setup = |fault: &str| {
        Setup::broken(Model::InProcess, fault).application("startup_timeout = \"1s\"\npreload = true")
    };
    let host = setup("none").start().await;
    rewrite(&host, &setup("constructor-hang").text());
    let directory = host.runtime_dir();
    let reload = tokio::spawn(async move { crate::host::operator(&directory, &["reload"]).await });
    let trial = host
        .log
        .wait(|event| event["message"] == "instance started" && event["application"] == "app (trial)")
        .await;
    let trial = Watched::new(trial["pid"].as_u64().unwrap().try_into().unwrap());
    let said = reload.await.unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("app: start_timeout: ") && said.stderr.contains("within 1s"), "{said:?}");
    trial.ended().await;
    assert_eq!(host.get("/").await.text(), "ok\n");
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
async fn a_trial_that_takes_longer_than_the_time_between_two_wishes_comes_to_its_end() {
    let workshop = Workshop::new();
    install(&workshop, "", "", "one");
    let setup = Setup::library(&workshop.path("libshop.so"), Model::InProcess).server("watch = true");
    let host = setup.beside(&library("sample_app"), Model::OutOfProcess).start().await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    install(&workshop, "extern int usleep(unsigned); usleep(700000);", "", "two");
    let is_tried =
        |event: &Value| event["message"] == "instance started" && event["application"] == "app (trial)";
    host.log.wait(is_tried).await;
    // Each of them is granted before the trial is over.
    let mut granted = 0;
    while greeting(&host).await == "one: /x\n" {
        for word in ["offline", "online"] {
            assert_eq!(host.operator(&[word, "healthy"]).await.code, 0);
            granted += 1;
        }
    }
    assert_eq!(greeting(&host).await, "two: /x\n");
    assert!(granted >= 2, "nothing has come in between");
    assert_eq!(host.log.events().iter().filter(|event| is_tried(event)).count(), 1);
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
    refused_until_served(&host, "one: /x\n").await;
    host.log.times(CHANGED, 2).await;
    // What was gone back from is not taken up again with the next look; something else is.
    host.log.times(CRASHED, 1).await;
    install(&workshop, "", "", "three");
    host.log.times(CHANGED, 3).await;
    assert_eq!(greeting(&host).await, "three: /x\n");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_is_to_be_gone_back_from_crashes_no_other_worker() {
    let workshop = Workshop::new();
    // Going back to it takes a while.
    install(&workshop, "extern int usleep(unsigned); usleep(300000);", "", "one");
    let host =
        Setup::library(&workshop.path("libshop.so"), Model::InProcess).server("watch = true").start().await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    install(&workshop, "", "abort();", "two");
    host.log.times(CHANGED, 1).await;
    assert!(try_get(&host.client(), "/x").await.is_none());
    assert!(refused_until_served(&host, "one: /x\n").await > 0, "nobody has waited for it");
    host.log.times(CRASHED, 1).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn where_there_is_no_way_back_the_next_request_is_the_next_try() {
    let workshop = Workshop::new();
    let (no_way_back, well) = (workshop.path("no-way-back"), workshop.path("well"));
    install(&workshop, &format!("if (access({no_way_back:?}, F_OK) == 0) abort();"), "", "one");
    let host =
        Setup::library(&workshop.path("libshop.so"), Model::InProcess).server("watch = true").start().await;
    assert_eq!(greeting(&host).await, "one: /x\n");
    install(&workshop, "", &format!("if (access({well:?}, F_OK)) abort();"), "two");
    host.log.times(CHANGED, 1).await;
    fs::write(&no_way_back, "").unwrap();
    assert!(try_get(&host.client(), "/x").await.is_none());
    fs::write(&well, "").unwrap();
    refused_until_served(&host, "two: /x\n").await;
    assert_eq!((host.log.of(UNUSABLE).len(), host.log.of(CRASHED).len()), (1, 1));
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

#[tokio::test]
async fn an_application_that_crashed_at_its_start_is_tried_again_where_it_costs_nobody_a_request() {
    tokio::join!(crash_once("preload = true"), crash_once("preload = false"));
}

/// Its constructor crashes whenever it runs; in the worker that serves it does so once.
async fn crash_once(lines: &str) {
    let setup = |fault| {
        let setup = Setup::broken(Model::InProcess, fault).application(lines);
        setup.beside(&library("sample_app"), Model::InProcess)
    };
    let host = setup("constructor-segfault").start().await;
    // Without `preload`, this request is what starts it.
    let _lost_or_refused = try_get(&host.client(), "/").await;
    let worker = served_by(&host, 2).await;
    let mut load = Load::start(&host, HEALTHY);
    for trial in 1..=4 {
        // Requests that come at any moment do not start it in the worker.
        while host.log.of(TRIED_IN_VAIN).len() < trial {
            let answer = host.get("/").await;
            assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "worker_crashed"));
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        // Nor does an operator who will not wait for the next trial.
        host.signal("HUP");
        host.log.at_least(CHANGED, trial).await;
    }
    let told = &host.log.of(TRIED_IN_VAIN)[0];
    assert_eq!((&told["application"], &told["why"]), (&"app".into(), &"BackingOff".into()), "{told}");
    assert!(told["last"].as_str().unwrap().contains("SIGSEGV"), "{told}");
    load.answers(1).await;
    load.stop().await;
    assert_eq!((host.worker(), host.log.of(CRASHED).len()), (worker, 1));

    rewrite(&host, &setup("none").text());
    host.signal("HUP");
    let served = async { while host.get("/").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, served).await.expect("it is served when it does not crash any more");
    assert_eq!((host.worker(), host.log.of(CRASHED).len()), (worker, 1));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_application_that_starts_in_a_trial_is_served_again_by_the_worker_that_serves() {
    let workshop = Workshop::new();
    let cause = workshop.file("cause", "");
    let crash = format!("void **instance) {{\n if (access({cause:?}, F_OK) == 0) abort();");
    let source = include_str!("../../examples/c/hello.c").replace("void **instance) {", &crash);
    workshop.library("libshop.so", &format!("#include <stdlib.h>\n#include <unistd.h>\n{source}"), &[]);
    let host = Setup::library(&workshop.path("libshop.so"), Model::InProcess).start().await;
    assert!(try_get(&host.client(), "/x").await.is_none());
    let worker = served_by(&host, 2).await;
    assert_eq!(host.get("/x").await.header("cohost-failure"), "worker_crashed");
    fs::remove_file(&cause).unwrap();
    let served = async { while host.get("/x").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, served).await.expect("it is served when it does not crash any more");
    assert_eq!((host.worker(), host.log.of(CRASHED).len()), (worker, 1));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_library_that_ends_the_worker_when_it_is_loaded_is_named_and_tried_again_elsewhere() {
    tokio::join!(
        load_once("abort();", "SIGABRT"),
        load_once("*(volatile int *)8 = 1;", "SIGSEGV"),
        load_once("exit(3);", "exit code 3"),
    );
}

/// Its constructor, which the loader runs, ends the process; in the worker that serves it does so once.
async fn load_once(constructor: &str, exit: &str) {
    let workshop = Workshop::new();
    let cause = workshop.file("cause", "");
    install(&workshop, &format!("if (access({cause:?}, F_OK) == 0) {{ {constructor} }}"), "", "one");
    let setup = Setup::library(&workshop.path("libshop.so"), Model::InProcess);
    let host = setup.beside(&library("sample_app"), Model::InProcess).start().await;
    // The only one that is there by then; nothing of what comes is its doing.
    assert_eq!(host.get("/healthy/plaintext").await.text(), "Hello, World!");
    assert!(try_get(&host.client(), "/x").await.is_none());
    let worker = served_by(&host, 2).await;
    let told = host.log.message(CRASHED).await;
    assert_eq!((&told["application"], &told["request_id"]), (&"app".into(), &Value::Null), "{told}");
    assert_eq!(told["evidence"], "the thread that crashed was inside of it", "{told}");
    assert!(told["exit"].as_str().unwrap().contains(exit), "{told}");

    let mut load = Load::start(&host, HEALTHY);
    for trial in 1..=2 {
        while host.log.of(TRIED_IN_VAIN).len() < trial {
            let answer = host.get("/x").await;
            assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "worker_crashed"));
        }
        host.signal("HUP");
        host.log.at_least(CHANGED, trial).await;
    }
    fs::remove_file(&cause).unwrap();
    let served = async { while host.get("/x").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, served).await.expect("it is served when it does not crash any more");
    load.answers(1).await;
    load.stop().await;
    assert_eq!((host.worker(), host.log.of(CRASHED).len()), (worker, 1));
    assert!(host.stop().await.success());
}
