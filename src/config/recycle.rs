//! `recycle` and `idle_stop` of an application: when it is replaced by a fresh one, and when by none.

use std::time::Duration;

use super::{
    fault::Refusal,
    keys,
    values::{count_or_none, duration, duration_or_none, size_or_none, time_of_day},
    written::{Section, Value},
};
use crate::{HostingModel, options::Recycle};

/// What an application that is to run as `model` says says of it, and defaults for the rest.
pub(super) fn read(application: &Section<'_>, model: HostingModel) -> Recycle {
    let mut recycle = Recycle::default();
    let (Some(table), Some(value)) =
        (application.read("recycle", Value::table), application.value("recycle"))
    else {
        return recycle;
    };
    let name = format!("{}.recycle", application.name);
    let section = Section::new(application.reading, name, value.at(), table, &keys::RECYCLE);
    section.set(&mut recycle.age, "age", duration_or_none);
    if let Some(times) = section.read_each("schedule", time_of_day) {
        recycle.schedule = times.into_iter().map(|(time, _)| time).collect();
    }
    section.set(&mut recycle.requests, "requests", count_or_none(u64::MAX));
    section.set(&mut recycle.memory, "memory", |value| match (size_or_none(value)?, model) {
        (Some(_), HostingModel::InProcess) => Err(Refusal::new(
            "would be the memory of the worker, which an application in process shares with others; \
             recycle_memory in [server] replaces the whole worker",
        )),
        (size, _) => Ok(size),
    });
    section.set(&mut recycle.interval, "interval", duration);
    recycle
}

/// How long an instance is kept without requests.
pub(super) fn idle_stop(application: &Section<'_>, model: HostingModel) -> Option<Option<Duration>> {
    application.read("idle_stop", |value| match (duration_or_none(value)?, model) {
        (Some(_), HostingModel::InProcess) => Err(Refusal::new(
            "is for applications out of process; one in process stays in the worker, so leave it out",
        )),
        (limit, _) => Ok(limit),
    })
}
