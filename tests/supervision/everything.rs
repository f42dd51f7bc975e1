//! Everything that an operator does, again and again, while clients go on: not one of their requests may fail.

use std::path::Path;

use super::rewrite;
use crate::host::{Host, Load, Model, OK, Setup, Workshop, library};

/// How often each is done: fifty times, or twenty, or five.
const ROUNDS: usize = 5;
const RECYCLES: usize = 10;
const LIBRARIES: usize = 10;
const RELOADS: usize = 10;
/// In every round but the last. An odd number, so that each round is of the other model.
const SWITCHES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recycles_new_libraries_reloads_switches_and_upgrades_cost_no_request() {
    let workshop = Workshop::new();
    let file = workshop.path("libapp.so");
    let setup = |model, value: usize| {
        Setup::library(&file, model)
            .server("standby = true\nshutdown_timeout = \"60s\"")
            .log("access = false")
            .application("preload = true")
            .settings(&format!("fault = \"none\"\nvalue = \"{value}\""))
    };
    put(&file, 0);
    let mut model = Model::InProcess;
    let host = setup(model, 0).start().await;
    let mut load = Load::start(&host, OK);
    let mut value = 0;
    for round in 1..=ROUNDS {
        for _ in 0..RECYCLES {
            does(&host, &["recycle", "app"], &mut load).await;
        }
        for library in 1..=LIBRARIES {
            put(&file, round * LIBRARIES + library);
            does(&host, &["reload"], &mut load).await;
        }
        for _ in 0..RELOADS {
            value += 1;
            rewrite(&host, &setup(model, value).text());
            does(&host, &["reload"], &mut load).await;
            assert_eq!(host.get("/setting/value").await.text(), value.to_string());
        }
        for _ in 0..if round < ROUNDS { SWITCHES } else { 0 } {
            model = other(model);
            rewrite(&host, &setup(model, value).text());
            does(&host, &["reload"], &mut load).await;
            assert_eq!(effective(&host).await, model.as_str());
        }
        does(&host, &["upgrade"], &mut load).await;
    }
    load.stop().await;
    assert!(host.stop().await.success());
}

/// Does something, and lets clients go on for a while.
async fn does(host: &Host, words: &[&str], load: &mut Load) {
    let said = host.operator(words).await;
    assert_eq!(said.code, 0, "{words:?}: {said:?}");
    load.answers(1).await;
}

async fn effective(host: &Host) -> String {
    let status = host.tells().await;
    status["sites"][0]["applications"][0]["hosting_model"].as_str().unwrap().to_owned()
}

fn other(model: Model) -> Model {
    match model {
        Model::InProcess => Model::OutOfProcess,
        Model::OutOfProcess => Model::InProcess,
    }
}

/// Puts the application there, with other bytes each time: what stands behind a library in its file is nothing to the
/// loader.
fn put(file: &Path, build: usize) {
    let mut bytes = std::fs::read(library("test_apps")).unwrap();
    bytes.extend(build.to_ne_bytes());
    let new = file.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, file).unwrap();
}
