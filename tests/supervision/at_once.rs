//! What operators, their files and their signals want at one and the same moment, a hundred times: fifty in each
//! hosting model.

use std::{collections::BTreeSet, fs};

use super::rewrite;
use crate::host::{Answer, Host, Load, Model, OK, PATIENCE, Setup};

/// In each hosting model. An even number: the last round takes away the file that takes the application offline.
const ROUNDS: usize = 50;

// Each step has a limit on its time; all of them together take as long as they take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once_in_process_ends_in_one_state_and_costs_no_request() {
    fifty_times(Model::InProcess).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once_out_of_process_ends_in_one_state_and_costs_no_request() {
    fifty_times(Model::OutOfProcess).await;
}

async fn fifty_times(model: Model) {
    let setup = |value: usize| {
        Setup::broken(model, "none")
            .server("watch = true\nshutdown_timeout = \"60s\"")
            .log("access = false")
            .application("preload = true")
            .settings(&format!("value = {value}"))
    };
    let host = setup(0).start().await;
    host.log.message("application started").await;
    let (processes, descriptors) = (host.descendants().len(), descriptors(&host));
    let mut load = Load::start_with(&host, OK, is_offline);
    for round in 1..=ROUNDS {
        let recycle = host.operator(&["recycle", "app"]);
        let all_else = async {
            for turn in 0..3 {
                match (round + turn) % 3 {
                    0 => toggle(&host, round),
                    1 => rewrite(&host, &setup(round).text()),
                    _ => host.signal("HUP"),
                }
            }
        };
        let (said, ()) = tokio::join!(recycle, all_else);
        assert_eq!(said.code, 0, "{said:?}");
        load.answers(1).await;
    }

    let last = ROUNDS.to_string();
    let in_force = async { while host.get("/setting/value").await.text() != last {} };
    tokio::time::timeout(PATIENCE / 2, in_force).await.expect("what came last is in force");
    // Comes after all that was seen before.
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    load.stop().await;

    let mut load = Load::start(&host, OK);
    host.until_descendants(|left| left.len() == processes).await;
    let status = host.tells().await;
    let (worker, application) = (&status["workers"][0], &status["sites"][0]["applications"][0]);
    assert_eq!(status["workers"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!((&worker["state"], &worker["edition"]), (&"serving".into(), &status["host"]["edition"]));
    assert_eq!((&application["state"], application.get("offline")), (&"running".into(), None), "{status}");
    let generation = host.get("/generation").await;
    for _ in 0..20 {
        assert_eq!(host.get("/generation").await.text(), generation.text());
        assert_eq!(host.get("/setting/value").await.text(), last);
    }
    load.answers(20).await;
    load.stop().await;
    for never in ["configuration refused; the one in force stays", "application did not start"] {
        assert!(host.log.of(never).is_empty(), "{:?}", host.log.of(never));
    }
    let whys: BTreeSet<_> =
        host.log.of("application is to change").iter().map(|event| event["why"].to_string()).collect();
    // A page may be read before it is written.
    let rest = |why: &&String| !why.contains("its offline page has changed");
    assert_eq!(whys.iter().filter(rest).count(), 4, "each had an effect of its own, at least once: {whys:?}");
    // Whoever asked has gone by now, or goes.
    host.until_descendants(|_| self::descriptors(&host) <= descriptors).await;
    let left = host.descendants();
    assert!(host.stop().await.success());
    for pid in left.into_keys() {
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "{pid} is left");
    }
}

/// Takes the application offline with every odd round, and has it back with every even one.
fn toggle(host: &Host, round: usize) {
    let file = host.directory.path().join("app_offline.htm");
    if round % 2 == 1 {
        fs::write(file, "<p>back soon").unwrap();
    } else {
        fs::remove_file(file).unwrap();
    }
}

/// Nothing but the page, or what stands in for it while it is being written.
fn is_offline(answer: &Answer) -> bool {
    answer.status == 503 && answer.header("cohost-failure") == "offline"
}

fn descriptors(host: &Host) -> usize {
    fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap().count()
}
