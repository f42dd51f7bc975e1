//! What processes start and leave behind, and what becomes of it when the host ends.

use std::collections::BTreeMap;

use super::{the_other_is_well, unruly};
use crate::{
    both_models,
    host::{Host, Model, Setup, Watched, library, status_of},
};

/// Has the program start all that it can, and watches over it.
async fn remains(host: &Host) -> Vec<Watched> {
    let mut all = Vec::new();
    for path in ["/", "/child", "/orphan"] {
        let pid = host.get(path).await.text().parse().unwrap();
        all.push(Watched::new(pid));
    }
    assert_eq!(host.get("/zombies").await.status, 200);
    assert_eq!(host.get("/threads").await.status, 200);
    the_other_is_well(host).await;
    assert_eq!(host.get("/").await.status, 200);
    all
}

#[tokio::test]
async fn a_stop_ends_all_that_a_process_has_started() {
    let host = unruly(&[]).start().await;
    let all = remains(&host).await;
    assert!(host.stop().await.success());
    for it in all {
        it.ended().await;
    }
}

#[tokio::test]
async fn a_stop_ends_all_that_does_not_want_to() {
    let host = unruly(&["--ignore-term"]).application("shutdown_timeout = \"300ms\"").start().await;
    let all = remains(&host).await;
    assert_eq!(host.stop().await.code(), Some(5));
    for it in all {
        it.ended().await;
    }
}

#[tokio::test]
async fn the_end_of_a_supervisor_that_is_killed_is_the_end_of_all() {
    let mut host = unruly(&["--ignore-term"]).start().await;
    let all = remains(&host).await;
    host.signal("KILL");
    host.ended().await;
    for it in all {
        it.ended().await;
    }
}

both_models! {
    async fn what_a_library_has_started_ends_with_the_host(model: Model) {
        let host = Setup::broken(model, "none").beside(&library("sample_app"), model).start().await;
        let daemon = Watched::new(host.get("/daemon").await.text().trim().parse().unwrap());
        the_other_is_well(&host).await;
        assert!(host.stop().await.success());
        daemon.ended().await;
    }
}

both_models! {
    async fn a_thousand_threads_and_zombies_cost_nobody_else_and_end_with_their_process(model: Model) {
        let host = Setup::broken(model, "none").beside(&library("sample_app"), model).start_preloaded().await;
        let (process, recycle) = match model {
            Model::InProcess => (host.worker(), &["recycle"][..]),
            Model::OutOfProcess => {
                let pid = &host.log.message("application started").await["pid"];
                (pid.as_u64().unwrap().try_into().unwrap(), &["recycle", "app"][..])
            }
        };
        assert_eq!(host.get("/threads/1000").await.text(), "1000 threads\n");
        assert_eq!(host.get("/zombies/1000").await.text(), "1000 zombies\n");
        assert!(status_of(process, "Threads") > 1000);
        host.until_descendants(|all| zombies(all) == 1000).await;
        the_other_is_well(&host).await;
        assert_eq!(host.get("/").await.text(), "ok\n");
        assert_eq!(host.tells().await["sites"][0]["applications"][0]["state"], "running");

        let process = Watched::new(process);
        assert_eq!(host.operator(recycle).await.code, 0);
        process.ended().await;
        // Whoever gets them has them go.
        host.until_descendants(|all| zombies(all) == 0).await;
        the_other_is_well(&host).await;
        assert!(host.stop().await.success());
    }
}

fn zombies(all: &BTreeMap<u32, char>) -> usize {
    all.values().filter(|state| **state == 'Z').count()
}

// Not in process: there, it becomes the supervisor's child, and when that is killed, nobody knows it any more.
#[tokio::test]
async fn what_a_library_has_started_ends_with_a_supervisor_that_is_killed() {
    let model = Model::OutOfProcess;
    let mut host = Setup::broken(model, "none").beside(&library("sample_app"), model).start().await;
    let daemon = Watched::new(host.get("/daemon").await.text().trim().parse().unwrap());
    the_other_is_well(&host).await;
    host.signal("KILL");
    host.ended().await;
    daemon.ended().await;
}
