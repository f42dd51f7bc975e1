//! What workers tell, and what that is for the plan.

use cohost::supervisor::worker::{Event, Failed, Generation, Heard, Preloaded, Report};

use super::Supervisor;
use crate::printed;

impl Supervisor {
    /// A worker has told something, or will not any more.
    pub(super) fn heard(&mut self, generation: Generation, heard: Heard) -> Vec<Event> {
        let heard = match heard {
            Heard::Report(report) => match self.lender.heard(generation, report) {
                Some(report) => Heard::Report(report),
                None => return Vec::new(),
            },
            Heard::Hung => Heard::Hung,
        };
        match heard {
            Heard::Report(Report::Configured) => vec![Event::Configured(generation)],
            Heard::Report(Report::Ready { failed }) if failed.is_empty() => {
                vec![Event::Ready(generation, Preloaded::Running)]
            }
            Heard::Report(Report::Ready { failed }) => {
                if let Some(worker) = self.workers.get(&generation) {
                    self.not_started(worker.edition, failed);
                }
                vec![Event::Ready(generation, Preloaded::Failed)]
            }
            Heard::Report(Report::Serving) => {
                self.serving(generation);
                vec![Event::Serving(generation)]
            }
            Heard::Report(Report::Closed) => {
                if let Some(worker) = self.workers.get_mut(&generation) {
                    worker.accepts = false;
                }
                Vec::new()
            }
            Heard::Report(Report::Retires { application }) => {
                if let Some(worker) = self.workers.get_mut(&generation) {
                    worker.retiring.push(application);
                }
                Vec::new()
            }
            Heard::Report(Report::Retired { application }) => {
                if let Some(worker) = self.workers.get_mut(&generation)
                    && let Some(place) = worker.retiring.iter().position(|it| *it == application)
                {
                    worker.retiring.swap_remove(place);
                }
                Vec::new()
            }
            Heard::Report(Report::Told { id, status }) => {
                self.surveys.told(generation, id, status);
                Vec::new()
            }
            Heard::Report(Report::Stuck(stuck)) => self.stuck(generation, &stuck),
            Heard::Report(Report::Left { left }) => self.crowded(generation, left),
            Heard::Report(Report::Changed { edition, left }) => {
                if let Some(worker) = self.workers.get_mut(&generation) {
                    worker.edition = edition;
                    let served = self.editions.get(&edition);
                    worker.process.prints_for(served.and_then(|it| printed::only(it, &worker.part)));
                }
                vec![Event::Changed(generation, edition, left)]
            }
            Heard::Report(Report::Refused { edition, failed, left }) => {
                self.not_started(edition, failed.iter().map(ToString::to_string).collect());
                for Failed { application, code, detail } in failed {
                    tracing::error!(
                        edition = edition.0,
                        application,
                        failure = code,
                        detail,
                        "application did not change"
                    );
                }
                vec![Event::NotChanged(generation, edition, left)]
            }
            // Of a later build.
            Heard::Report(_) => Vec::new(),
            Heard::Hung => vec![Event::Hung(generation)],
        }
    }
}
