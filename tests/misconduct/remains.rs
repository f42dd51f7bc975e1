//! What processes start and leave behind, and what becomes of it when the host ends.

use super::{the_other_is_well, unruly};
use crate::{
    both_models,
    host::{Host, Model, Setup, Watched, library},
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
