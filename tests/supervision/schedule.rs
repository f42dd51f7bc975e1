//! Behaviour 20 by the clock on the wall: replaced when it is the time of day that is written.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{
    both_models,
    host::{Host, Load, Model, OK, Setup},
};

const CHANGES: &str = "application is to change";
const CHANGED: &str = "configuration in force";

both_models! {
    async fn an_application_is_recycled_at_a_time_of_day_and_no_request_fails(model: Model) {
        let host = start_shortly_before_three(model).await;
        let mut load = Load::start(&host, OK);
        load.answers(10).await;
        assert_eq!(host.log.message(CHANGES).await["why"], "it is recycled: it is 03:00");
        host.log.message(CHANGED).await;
        load.answers(10).await;
        load.stop().await;
        assert_eq!((host.log.of(CHANGES).len(), host.log.of(CHANGED).len()), (1, 1), "once");
        assert_eq!(host.log.of("worker starts").len(), 1);
        assert!(host.stop().await.success());
    }
}

/// A host in a place on earth where it is about to be three in the night.
async fn start_shortly_before_three(model: Model) -> Host {
    for _ in 0..5 {
        let (zone, began) = (zone_where_it_is(3 * HOUR - SHORTLY.as_secs()), Instant::now());
        let host = Setup::broken(model, "none")
            .application("recycle = { schedule = [\"03:00\"] }")
            .variable("TZ", &zone)
            .start_preloaded()
            .await;
        // Whatever starts later has all day.
        if began.elapsed() < SHORTLY / 2 {
            return host;
        }
    }
    panic!("a host takes too long to start");
}

/// A time zone, as POSIX writes it, where the clock shows so many seconds since midnight.
fn zone_where_it_is(wanted: u64) -> String {
    let greenwich = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % DAY;
    let ahead = (wanted + DAY - greenwich) % DAY;
    // What is east of Greenwich is negative.
    format!("<there>-{:02}:{:02}:{:02}", ahead / HOUR, ahead % HOUR / 60, ahead % 60)
}

const DAY: u64 = 24 * HOUR;
const HOUR: u64 = 60 * 60;

/// How long before it, so that a host has come up by then.
const SHORTLY: Duration = Duration::from_secs(3);
