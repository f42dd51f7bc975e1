//! Processes that do not come up, or not where they should.

use super::{the_other_is_well, unruly};

#[tokio::test]
async fn a_process_that_is_never_there_is_given_up_and_named() {
    for option in ["--silent", "--elsewhere"] {
        let host = unruly(&[option]).application("startup_timeout = \"500ms\"").start().await;
        let (answer, ()) = tokio::join!(host.get("/"), the_other_is_well(&host));
        assert_eq!(
            (answer.status.as_u16(), answer.header("cohost-failure")),
            (503, "start_timeout"),
            "{option}"
        );
        host.log.times("application did not start", 1).await;
        let told = host.log.message("application did not start").await;
        assert_eq!((&told["application"], &told["failure"]), (&"app".into(), &"start_timeout".into()));
        the_other_is_well(&host).await;
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_named_and_used_once_it_is_free() {
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = somebody.local_addr().unwrap().port();
    let host = unruly(&[]).application(&format!("port = {port}")).start().await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "port_taken"));
    let told = host.log.message("application did not start").await;
    assert_eq!(told["application"], "app");
    assert!(told["detail"].as_str().unwrap().contains(&port.to_string()), "{told}");
    the_other_is_well(&host).await;

    drop(somebody);
    let answered = async { while host.get("/").await.status != 200 {} };
    tokio::time::timeout(crate::host::PATIENCE, answered).await.expect("in time");
    assert!(host.stop().await.success());
}
