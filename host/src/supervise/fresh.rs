//! What has just changed: said before, and gone back from if it crashes at once.
//!
//! In: editions, one after the other, and crashes. Out: lines in the log, and wishes to go back from just what has crashed.
//! Never: blames what came after it.

use std::time::{Duration, Instant};

use cohost::config::Config;

use super::{Supervisor, wishes::Wanted};
use crate::{edition::Edition, standing::is_written_alike, wish::Wish};

/// The latest change of what runs.
#[derive(Default)]
pub(super) struct Fresh(Option<(Instant, Vec<String>)>);

impl Fresh {
    /// Another generation of these applications is in force. Where there is none, what was fresh before stays so.
    pub(super) fn came(&mut self, now: Instant, names: Vec<String>) {
        if !names.is_empty() {
            self.0 = Some((now, names));
        }
    }

    /// What may have crashed because it had just changed; told once. If it is known who did, nobody else.
    fn crashed(&mut self, now: Instant, culprit: Option<&str>) -> Vec<String> {
        let is_fresh = |since: &Instant| now.saturating_duration_since(*since) < FRESH;
        let Some((_, names)) = self.0.as_mut().filter(|(since, _)| is_fresh(since)) else {
            return Vec::new();
        };
        names.extract_if(.., |name| culprit.is_none_or(|culprit| *name == culprit)).collect()
    }
}

impl Supervisor {
    /// Goes back to the generations before, if those that have just changed may have been the cause of a crash. Of which
    /// applications.
    pub(super) fn go_back(&mut self, culprit: Option<&str>) -> Vec<String> {
        let back = self.changes.fresh.crashed(Instant::now(), culprit);
        let (edition, _) = &self.editions[&self.plan.edition()];
        let crashed = back.iter().filter_map(|name| Some(edition.described(self.written(name)?)));
        for crashed in crashed.collect::<Vec<_>>() {
            tracing::error!(
                application = crashed.name(),
                "the worker crashed right after a change of this application; going back to the generation before"
            );
            self.changes.wish(Wish::GoBack(Box::new(crashed)), None);
        }
        back
    }
}

/// Says what is about to change. The applications of which another generation will run, unless it is an earlier one.
pub(super) fn announce(
    (base, before): &(Edition, Config),
    (next, after): (&Edition, &Config),
    wanted: &[Wanted],
) -> Vec<String> {
    let mut fresh = Vec::new();
    for application in after.sites.iter().flat_map(|site| &site.applications) {
        let name = &*application.name;
        let old = before.sites.iter().flat_map(|site| &site.applications).find(|old| *old.name == *name);
        let (was, is) = (old.map(|old| base.described(old)), next.described(application));
        let goes_back = wanted.iter().any(|wanted| wanted.wish.goes_back() == Some(name));
        // Unless there is something else by now than what was to be gone back from.
        let back = goes_back && next.stands(name).is_some_and(|standing| standing.instead_of.is_some());
        let recycled = wanted.iter().find_map(|wanted| match &wanted.wish {
            Wish::Refresh(of, reason) if of == name => Some(format!("it is recycled: {reason}")),
            _ => None,
        });
        let rewritten = old.is_some_and(|old| !is_written_alike(old, application));
        let why = match &was {
            _ if back => "it goes back to the generation before",
            None => "it is new",
            Some(was) if was.offline.is_none() && is.offline.is_some() => "it goes offline",
            Some(was) if was.offline.is_some() && is.offline.is_none() => "it is online again",
            Some(was) if was.offline != is.offline => "its offline page has changed",
            Some(was) if was.application != is.application && rewritten => "its configuration has changed",
            Some(was) if was.application != is.application => "it is hosted otherwise",
            Some(was) if was.pinned != is.pinned => "its library has changed",
            Some(was) if was.round != is.round => recycled.as_deref().unwrap_or("it is recycled"),
            Some(was) if *was != is => "its files have changed",
            Some(_) => continue,
        };
        tracing::info!(application = name, why, "application is to change");
        // There is no way back from where it runs but the opposite wish.
        let another =
            was.is_some_and(|was| rewritten && was.application != is.application || was.pinned != is.pinned);
        if another && !back && is.offline.is_none() {
            fresh.push(name.to_owned());
        }
    }
    fresh
}

/// Who crashes this soon after a change does so because of it, if anything can be told at all.
const FRESH: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crash_of_another_one_takes_no_way_back_away() {
        let (mut fresh, now) = (Fresh::default(), Instant::now());
        fresh.came(now, vec!["shop".to_owned(), "blog".to_owned()]);
        fresh.came(now, Vec::new());
        assert_eq!(fresh.crashed(now, Some("wiki")), Vec::<String>::new());
        assert_eq!(fresh.crashed(now, Some("shop")), ["shop"]);
        assert_eq!(fresh.crashed(now, Some("shop")), Vec::<String>::new(), "told once");
        assert_eq!(fresh.crashed(now + FRESH, None), Vec::<String>::new());
        assert_eq!(fresh.crashed(now, None), ["blog"]);
    }
}
