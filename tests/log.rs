//! The host's own log: its level, and readers who stop reading.

use rustix::process::Signal;

use crate::{
    both_models,
    host::{Model, Setup, Watched, kill},
    supervision::rewrite,
};

both_models! {
    async fn a_reader_who_stops_reading_holds_up_nobody_and_sees_what_is_missing(model: Model) {
        let host = Setup::broken(model, "none").server("standby = true").unread().start().await;
        // Several times what there is room for, on the way and in memory.
        for _ in 0..3 {
            assert_eq!(host.get("/print/2000").await.status, 200);
        }
        for _ in 0..20 {
            assert_eq!(host.get("/").await.text(), "ok\n");
        }
        // The supervisor is not held up, either.
        for worker in host.workers() {
            kill(worker, Signal::KILL);
        }
        assert_eq!(host.get("/").await.text(), "ok\n");

        host.log.read();
        let told = host.log.message(MISSING).await;
        assert!(told["lines"].as_u64().unwrap() > 0, "{told}");
        // What is there is whole, and what comes is complete again.
        assert_eq!(host.log.text().lines().count(), host.log.events().len(), "{}", host.log.text());
        host.get("/log").await;
        host.log.message("a warning").await;
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_host_whose_log_nobody_reads_stops_all_the_same() {
    let host = Setup::broken(Model::OutOfProcess, "none").unread().start().await;
    assert_eq!(host.get("/print/2000").await.status, 200);
    let began = std::time::Instant::now();
    assert!(host.stop().await.success());
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

both_models! {
    async fn a_new_level_holds_for_everybody_after_a_reload(model: Model) {
        let setup = |level: &str| Setup::broken(model, "none").log(&format!("level = {level:?}"));
        let host = setup("error").start().await;
        host.get("/log").await;
        let worker = Watched::new(host.worker());
        rewrite(&host, &setup("info").text());
        host.signal("HUP");
        worker.ended().await;
        host.log.message("configuration in force").await;
        host.log.message("worker ended").await;
        assert!(host.log.of("worker starts").is_empty() && host.log.of("a warning").is_empty());
        host.get("/log").await;
        host.log.message("a warning").await;

        let worker = Watched::new(host.worker());
        rewrite(&host, &setup("error").text());
        host.signal("HUP");
        worker.ended().await;
        host.get("/log").await;
        host.log.times("an error", 3).await;
        let host_log = host.log.clone();
        assert!(host.stop().await.success());
        for (message, times) in [("configuration in force", 1), ("a warning", 1)] {
            assert_eq!(host_log.of(message).len(), times);
        }
    }
}

const MISSING: &str = "lines of this log are missing here: nobody read it";
