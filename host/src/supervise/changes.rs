//! Changes: what is wished to be different, one edition at a time.
//!
//! In: wishes, of operators, of files that have changed, of the supervisor itself; and what became of editions. Out: the
//! next edition for the plan, and an answer to whoever wished. What is wished while a change is under way waits for its
//! end, and then comes together with what else was wished. If that is refused, each is tried alone, so that nobody pays for
//! the wish of another. Never: has two editions under way, or holds up the supervisor while files are read.

use std::{collections::BTreeSet, mem, path::PathBuf, sync::Arc, time::Instant};

use cohost::{
    admin::{Code, Problem, Reply},
    config::{Application, Artifact, Config},
    dispatcher::in_process::Pins,
    supervisor::{
        files::{Files, Pace},
        worker::{self, Event, Refusal},
    },
};
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    Stop, Supervisor,
    commands::{Until, stopping},
    fresh::{Fresh, announce},
    said::Said,
    wishes::{Trials, Wanted, Wishes},
};
use crate::{
    certificates::{self, Unusable},
    edition::Edition,
    exit::{Exit, Refused},
    next::{self, Next},
    offline, systemd,
    trial::{Failed, Ongoing},
    wish::Wish,
};

/// What is wished, and what is under way.
pub(super) struct Changes {
    pins: Pins,
    wishes: Wishes,
    trials: Ongoing,
    stage: Stage,
    make: UnboundedSender<Made>,
    pub(super) made: UnboundedReceiver<Made>,
    /// There is something that should not wait for a trial.
    hurry: Arc<Notify>,
    files: Option<Files>,
    pub(super) changed: UnboundedReceiver<BTreeSet<PathBuf>>,
    /// What was said about files, so that it is said once.
    said: Said,
    pub(super) fresh: Fresh,
}

enum Stage {
    Idle,
    /// Files are read, and what is new is tried.
    Making(Vec<Wanted>),
    /// The plan has it.
    Proposed {
        number: worker::Edition,
        wanted: Vec<Wanted>,
        fresh: Vec<String>,
        /// What could not be had, for those who asked for all of it.
        troubles: Option<Problem>,
        /// If it is refused, that is the fault of somebody else.
        spared: bool,
    },
}

/// What became of a making.
pub(super) enum Made {
    Next(Box<Next>),
    Refused(Problem),
    /// This one does not start, and nothing is to be had without it.
    Failed(Failed),
    /// It is being tried, and something else need not wait for that.
    Interrupted,
}

impl Changes {
    pub(super) fn new(pins: Pins) -> Self {
        let (make, made) = unbounded_channel();
        let (change, changed) = unbounded_channel();
        let files = Files::new(Pace::default(), change)
            .inspect_err(
                |error| tracing::error!(%error, "cannot look after files; a reload takes up changes"),
            )
            .ok();
        Self {
            pins,
            wishes: Wishes::default(),
            trials: Ongoing::default(),
            stage: Stage::Idle,
            make,
            made,
            hurry: Arc::default(),
            files,
            changed,
            said: Said::default(),
            fresh: Fresh::default(),
        }
    }

    /// The first edition. What is wrong with a library is said by whoever starts it.
    pub(super) fn first(&self, edition: Edition) -> Result<Next, Refused> {
        let next = next::first(edition, &self.pins);
        let next = next.map_err(|problem| Exit::Failed.because(problem.to_string()))?;
        next.unusable.iter().for_each(Unusable::say);
        Ok(next)
    }

    /// The plan has an edition that nobody has wished for.
    pub(super) fn proposed(&mut self, number: worker::Edition) {
        let (wanted, fresh) = (Vec::new(), Vec::new());
        self.stage = Stage::Proposed { number, wanted, fresh, troubles: None, spared: false };
    }

    /// What the plan has.
    pub(super) fn proposal(&self) -> Option<worker::Edition> {
        let Stage::Proposed { number, .. } = self.stage else { return None };
        Some(number)
    }

    /// If that is refused now, it is not to be blamed for it.
    pub(super) fn spare(&mut self) {
        if let Stage::Proposed { spared, .. } = &mut self.stage {
            *spared = true;
        }
    }

    /// Whether somebody has asked for all of it: then there is a new chance for what was refused, too.
    pub(super) fn forgives_all(&self, edition: worker::Edition) -> bool {
        match &self.stage {
            Stage::Proposed { number, wanted, .. } if *number == edition => {
                wanted.iter().any(|wanted| matches!(wanted.wish, Wish::Reload | Wish::RecycleAll))
            }
            _ => false,
        }
    }

    /// Nothing is wished, and nothing under way.
    pub(super) fn are_none(&self) -> bool {
        self.wishes.is_empty() && matches!(self.stage, Stage::Idle)
    }

    /// Somebody wishes something.
    pub(super) fn wish(&mut self, wish: Wish, reply: Option<Reply>) {
        self.wishes.add(wish, reply);
        self.hurry.notify_waiters();
    }

    /// The host stops: nobody should wait for a trial any more.
    pub(super) fn stop(&self) {
        self.trials.end();
        self.hurry.notify_waiters();
    }

    /// Looks after the files of an edition, from now on.
    pub(super) fn look_after(&self, edition: &Edition, config: &Config) {
        let Some(files) = &self.files else { return };
        files.watch(match config.server.watch {
            true => paths(edition, config),
            // Nobody is there to say that the host itself has renewed them.
            false => certificates::ordered(config),
        });
    }
}

impl Supervisor {
    /// Begins with what is wished, if nothing is under way.
    pub(super) fn go_on_with_changes(&mut self) {
        let Changes { wishes, trials, stage: Stage::Idle, .. } = &mut self.changes else { return };
        if self.stop == Stop::Asked {
            wishes.refuse(stopping);
        }
        if wishes.is_empty() {
            return;
        }
        let taken = wishes.take(if trials.are_over() { Trials::AreOver } else { Trials::GoOn });
        let wishes: Vec<Wish> = taken.iter().map(|wanted| wanted.wish.clone()).collect();
        if wishes.contains(&Wish::Reload) {
            systemd::reloading();
            tracing::info!("reading the configuration again");
        }
        let base = self.editions[&self.plan.edition()].clone();
        let Changes { pins, trials, hurry, make, .. } = &self.changes;
        let (pins, trials, hurry, make) = (pins.clone(), trials.clone(), Arc::clone(hurry), make.clone());
        tokio::spawn(async move {
            let _ending = make.send(made(base, wishes, (pins, trials), &hurry).await);
        });
        self.changes.stage = Stage::Making(taken);
    }

    /// The next edition is made, or there is none.
    pub(super) fn made(&mut self, made: Made) -> Vec<Event> {
        let Stage::Making(wanted) = mem::replace(&mut self.changes.stage, Stage::Idle) else {
            return Vec::new();
        };
        // What it needs would be opened anew, with nobody to serve there.
        if self.stop == Stop::Asked {
            wanted.into_iter().filter_map(|wanted| wanted.reply).for_each(|reply| reply.refuse(stopping()));
            return Vec::new();
        }
        if !matches!(made, Made::Interrupted) && !self.changes.wishes.waits_for_a_trial() {
            self.changes.trials.end();
        }
        let refused = match made {
            Made::Interrupted => {
                self.changes.wishes.hold(wanted);
                return Vec::new();
            }
            Made::Refused(refused) => {
                let file = self.editions[&self.plan.edition()].0.file();
                self.changes.said.refused(is_asked(&wanted), file, &refused);
                refused
            }
            Made::Failed(Failed { application, code, detail }) => {
                let refused = Problem::new(Code::StartRefused, "an application did not start in a trial");
                let refused = refused.faults([format!("{application}: {code}: {detail}")]);
                tracing::error!(%application, failure = code, detail, "application did not change");
                tracing::error!(why = "Trial", "configuration refused; the one in force stays");
                refused
            }
            Made::Next(next) => {
                let Next { edition, config, troubles, unusable } = *next;
                self.changes.said.troubles(&troubles);
                self.changes.said.unusable(&unusable, &config);
                let are_none = troubles.is_empty() && unusable.is_empty();
                let troubles = (!are_none).then(|| next::troubles(&troubles, &unusable));
                let current = &self.editions[&self.plan.edition()];
                let whole = wanted.iter().any(|wanted| wanted.wish == Wish::RecycleAll);
                // Whoever asks for all of it gets a new chance for what was refused, too.
                let asked = whole || wanted.iter().any(|wanted| wanted.wish == Wish::Reload);
                if !asked && *current == (edition.clone(), config.clone()) {
                    self.settle(&wanted);
                    self.end_of(wanted, &Ok(self.plan.edition()), troubles.as_ref());
                    return Vec::new();
                }
                let fresh = announce(current, (&edition, &config), &wanted);
                match self.propose(edition, config) {
                    Ok(event) => {
                        let (number, spared) = (self.last, false);
                        self.changes.stage = Stage::Proposed { number, wanted, fresh, troubles, spared };
                        return vec![match event {
                            Event::Change(edition, terms) if whole => Event::Replace(edition, terms),
                            event => event,
                        }];
                    }
                    Err(refused) => {
                        let refused = next::problem(&refused);
                        self.changes.said.refused(is_asked(&wanted), None, &refused);
                        refused
                    }
                }
            }
        };
        self.settle(&wanted);
        self.end_of(wanted, &Err(refused), None);
        Vec::new()
    }

    /// Tells the service manager that a reload has ended, if it was one.
    fn settle(&self, wanted: &[Wanted]) {
        if wanted.iter().any(|wanted| wanted.wish == Wish::Reload) {
            self.say_ready();
        }
    }

    /// Ends what is under way; what was wished together is tried one by one if it was refused.
    fn end_of(
        &mut self,
        wanted: Vec<Wanted>,
        became: &Result<worker::Edition, Problem>,
        troubles: Option<&Problem>,
    ) {
        self.changes.stage = Stage::Idle;
        if became.is_err() && wanted.len() > 1 {
            self.changes.wishes.each_alone(wanted);
            return;
        }
        for Wanted { wish, reply, .. } in wanted {
            if became.is_err() {
                self.upkeep.refused(&wish);
            }
            if let Some(application) = wish.goes_back() {
                self.let_go(application);
            }
            match (became, reply) {
                (_, None) => {}
                (Ok(edition), Some(reply)) => match troubles {
                    Some(problem) if wish == Wish::Reload => reply.refuse(problem.clone()),
                    _ => self.waiting.adopted(*edition, Until::of(&wish), reply),
                },
                (Err(problem), Some(reply)) => reply.refuse(problem.clone()),
            }
        }
    }

    /// An edition is in force, or will not be.
    pub(super) fn became(&mut self, edition: worker::Edition, refused: Option<Refusal>) {
        let refused = refused.map(|why| self.waiting.refused(edition, why));
        let stage = mem::replace(&mut self.changes.stage, Stage::Idle);
        match stage {
            Stage::Proposed { number, wanted, spared: true, .. }
                if number == edition && refused.is_some() =>
            {
                tracing::info!("what was to change had nothing to do with that; changing it again");
                self.changes.wishes.again(wanted);
            }
            Stage::Proposed { number, wanted, fresh, troubles, .. } if number == edition => {
                if refused.is_none() {
                    self.changes.fresh.came(Instant::now(), fresh);
                }
                self.end_of(wanted, &refused.map_or(Ok(edition), Err), troubles.as_ref());
            }
            other => self.changes.stage = other,
        }
        let (current, config) = &self.editions[&self.plan.edition()];
        self.changes.look_after(current, config);
        if let Stage::Idle = self.changes.stage {
            let needed = next::pins(self.editions.values().map(|(edition, _)| edition));
            self.changes.pins.keep(|pin| needed.contains(pin));
        }
    }
}

/// Makes the next edition, and tries what is new in it.
async fn made(
    base: (Edition, Config),
    wishes: Vec<Wish>,
    (pins, trials): (Pins, Ongoing),
    hurry: &Notify,
) -> Made {
    let hurried = hurry.notified();
    let mut hurried = std::pin::pin!(hurried);
    hurried.as_mut().enable();
    let reading = tokio::task::spawn_blocking(move || {
        let next = next::next((&base.0, &base.1), &wishes, &pins);
        (base, next)
    });
    let (base, mut next) = match reading.await {
        Ok((base, Ok(next))) => (base, next),
        Ok((_, Err(refused))) => return Made::Refused(refused),
        Err(panic) => {
            let detail = format!("cannot read what has changed: {panic}");
            return Made::Refused(Problem::new(Code::StartRefused, detail));
        }
    };
    let failed = tokio::select! {
        biased;
        failed = trials.run((&base.0, &base.1), (&next.edition, &next.config)) => failed,
        () = hurried => return Made::Interrupted,
    };
    for failed in failed {
        if let Err(failed) = next.without((&base.0, &base.1), failed) {
            return Made::Failed(failed);
        }
    }
    Made::Next(Box::new(next))
}

/// Whether somebody asked for it, other than a file that has changed.
fn is_asked(wanted: &[Wanted]) -> bool {
    wanted.iter().any(|wanted| !matches!(wanted.wish, Wish::Look(_)))
}

/// All files that an edition depends on.
fn paths(edition: &Edition, config: &Config) -> BTreeSet<PathBuf> {
    let of = |application: &Application| {
        let library = match &application.artifact {
            Artifact::Library(library) => Some(library.clone()),
            // What belongs to a program besides its own file nobody can tell.
            // And files are looked at by whoever sends them.
            Artifact::Command(_) | Artifact::Files(_) | Artifact::Upstreams(_) => None,
        };
        library.into_iter().chain([offline::file(&application.content_root)])
    };
    let applications = config.sites.iter().flat_map(|site| &site.applications);
    applications.flat_map(of).chain(edition.file()).chain(certificates::paths(config)).collect()
}
