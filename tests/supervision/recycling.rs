//! Behaviour 20: applications that are replaced by fresh ones although nothing is wrong, as the configuration says.

use crate::{
    both_models,
    host::{Ask, Host, Load, Model, OK, PATIENCE, Setup, Watched, Workshop},
    supervision::served_by,
};

/// Waits until an application was recycled so often for a reason that is told so.
async fn recycled(host: &Host, times: usize, reason: &str) {
    let why = format!("it is recycled: {reason}");
    let count = || {
        let changes = host.log.of("application is to change");
        changes.iter().filter(|event| event["why"].as_str().is_some_and(|it| it.starts_with(&why))).count()
    };
    host.log.wait(|_| count() >= times).await;
}

async fn pid(host: &Host) -> u32 {
    let asking = async {
        loop {
            // A worker that has no time for a second is told of without its applications.
            let pids = &host.tells().await["sites"][0]["applications"][0]["pids"];
            if let Some(pid) = pids[0].as_u64() {
                return pid.try_into().unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE / 2, asking).await.expect("a process in time")
}

both_models! {
    async fn an_application_is_recycled_after_so_many_requests_and_none_of_them_fails(model: Model) {
        // Not so few that some clients get a worker's fill of generations recycled before others had their answers.
        let recycle = "recycle = { requests = 300, interval = \"20ms\" }";
        let host = Setup::broken(model, "none").application(recycle).start_preloaded().await;
        let first = if model == Model::OutOfProcess { Some(Watched::new(pid(&host).await)) } else { None };
        let mut load = Load::start(&host, OK);
        recycled(&host, 2, "it has had ").await;
        load.answers(20).await;
        load.stop().await;
        if let Some(first) = first {
            first.ended().await;
        }
        assert_eq!(host.log.of("worker starts").len(), 1);
        assert!(host.log.of("configuration refused; the one in force stays").is_empty());
        assert!(host.stop().await.success());
    }

    async fn an_application_is_recycled_at_an_age_and_no_request_fails(model: Model) {
        let recycle = "recycle = { age = \"300ms\" }";
        let host = Setup::broken(model, "none").application(recycle).start_preloaded().await;
        let mut load = Load::start(&host, OK);
        recycled(&host, 2, "it has run for ").await;
        load.answers(10).await;
        load.stop().await;
        assert!(host.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_too_much_memory_is_replaced_once_and_no_request_fails() {
    let recycle = "recycle = { memory = \"300MB\", interval = \"20ms\" }";
    let host = Setup::broken(Model::OutOfProcess, "none").application(recycle).start_preloaded().await;
    let first = pid(&host).await;
    let ending = Watched::new(first);
    let mut load = Load::start(&host, OK);
    load.answers(10).await;
    assert_eq!(pid(&host).await, first, "it has little memory yet");
    assert_eq!(host.get("/keep/400").await.text(), "kept 400 MB\n");
    recycled(&host, 1, "it has ").await;
    ending.ended().await;
    load.answers(10).await;
    load.stop().await;
    assert_ne!(pid(&host).await, first);
    assert_eq!(host.log.of("application is to change").len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_has_too_much_memory_is_replaced_whole_and_no_request_fails() {
    let host = Setup::broken(Model::InProcess, "none")
        .server("recycle_memory = \"300MB\"")
        .application("recycle = { requests = 1000000, interval = \"20ms\" }")
        .start_preloaded()
        .await;
    let mut load = Load::start(&host, OK);
    assert_eq!(host.get("/keep/350").await.text(), "kept 350 MB\n");
    host.log.message("recycling the worker").await;
    assert_ne!(served_by(&host, 2).await, served_by(&host, 1).await);
    load.answers(10).await;
    load.stop().await;
    assert_eq!(host.log.of("recycling the worker").len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_does_not_start_again_is_left_alone_and_the_old_one_goes_on() {
    let recycle = "recycle = { requests = 3, interval = \"20ms\" }";
    let directory = tempfile::tempdir().unwrap();
    let lock = directory.path().join("lock");
    let once =
        format!("set -C; : > {lock:?} || exit 1; exec python3 -m http.server \"$PORT\" --bind 127.0.0.1");
    let host = Setup::command(&["sh", "-c", &once])
        .application(recycle)
        .application("rapid_fails_per_minute = 1000")
        .start_preloaded()
        .await;
    for _ in 0..3 {
        assert_eq!(host.get("/").await.status, 200);
    }
    recycled(&host, 1, "it has had 3 requests").await;
    host.log.message("configuration refused; the one in force stays").await;
    for _ in 0..5 {
        assert_eq!(host.get("/").await.status, 200);
    }
    assert_eq!(host.log.of("application is to change").len(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_worker_that_has_loaded_64_libraries_in_vain_is_replaced() {
    let workshop = Workshop::new();
    let fails =
        include_str!("../../examples/c/hello.c").replace("return COHOST_DONE;", "return COHOST_E_APP;");
    let library = workshop.library("libfails.so", &fails, &[]);
    let more = |n: usize| {
        let library = library.display().to_string();
        format!(
            "[[site.application]]\nname = \"a{n}\"\npath = \"/a{n}\"\nlibrary = {library:?}\n\
             hosting_model = \"inprocess\""
        )
    };
    let setup = Setup::sample(Model::InProcess);
    let host = (1..=LIBRARIES + 1).fold(setup, |setup, n| setup.more(&more(n))).start().await;
    let mut load = Load::start(&host, PLAIN);
    for n in 1..=LIBRARIES {
        assert_eq!(host.get(&format!("/a{n}")).await.header("cohost-failure"), "start_failed");
    }
    assert_eq!(host.log.of(RECYCLING).len(), 0);
    // Whoever comes next finds it full.
    host.get(&format!("/a{}", LIBRARIES + 1)).await;
    let told = host.log.message(RECYCLING).await;
    assert_eq!(told["libraries"], LIBRARIES, "{told}");
    served_by(&host, 2).await;
    load.answers(10).await;
    load.stop().await;
    host.log.message("worker ended").await;
    assert_eq!(host.log.of(RECYCLING).len(), 1);
    assert!(host.stop().await.success());
}

const PLAIN: Ask = Ask { path: "/plaintext", right: |body| body == "Hello, World!" };
const RECYCLING: &str = "recycling the worker";

/// In vain, until the worker is replaced.
const LIBRARIES: usize = 64;
