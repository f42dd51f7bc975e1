//! Processes that keep their port for longer than the next one would wait.

use super::{the_other_is_well, unruly};
use crate::{
    host::{PATIENCE, Setup},
    supervision::rewrite,
};

/// One that may take a second to start, and is another one with another `value`.
fn on_port(port: u16, value: u32) -> Setup {
    unruly(&[]).application(&format!(
        "port = {port}\nstartup_timeout = \"1s\"\nenvironment = {{ VALUE = \"{value}\" }}"
    ))
}

/// Has the host change while the process has a request that takes two seconds. Nobody may notice.
async fn changes_behind_a_slow_request(next: impl FnOnce(Setup) -> Setup, changed: &str) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = on_port(port, 1).start().await;
    let first = host.get("/").await.text().to_owned();
    let slow = async {
        let answer = host.get("/slow").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*first));
    };
    let others = async {
        host.log.message("slow").await;
        rewrite(&host, &next(on_port(port, 2)).text());
        host.signal("HUP");
        host.log.message(changed).await;
        the_other_is_well(&host).await;
        let answer = host.get("/").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_ne!(answer.text(), first);
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(slow, others) }).await.expect("in time");
    assert!(host.log.of("application did not start").is_empty());
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_changed_application_waits_for_the_last_request_of_the_one_that_has_its_port() {
    changes_behind_a_slow_request(|next| next, "application changes; the one before finishes what it has")
        .await;
}

#[tokio::test]
async fn a_changed_application_in_another_worker_waits_for_it_too() {
    changes_behind_a_slow_request(|next| next.server("max_connections = 1001"), "configuration in force")
        .await;
}
