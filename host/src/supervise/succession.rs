//! How one supervisor follows another in the same process.
//!
//! In: what the one before has left; or a wish to be followed, and a moment in which nothing is being changed. Out: a
//! supervisor with the workers of that one. Never: lets go of anything before the next one has shown that it can go on.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::{
    End, Supervisor, Worker,
    changes::Changes,
    justice::Justice,
    terms::{MARGIN, terms},
    watch,
};
use crate::{
    carried::{Carried, Luggage, Packing, Past},
    decisions::Decisions,
    door::Door,
    edition::Edition,
    exit::{Exit, Refused},
    hearing, hosting, log, printed,
    runtime_dir::RuntimeDir,
    signals::{Asked, Signals},
    sockets::Sockets,
    standing::Standing,
    upgrade::{self, Upgrade},
};
use cohost::{
    admin::{Replacement, Upgraded},
    config::Config,
    dispatcher::in_process::Pins,
    supervisor::{
        lending::{Lender, UNCLAIMED},
        life::Policy,
        worker::{self, Event, Generation, Order, Part, Plan, Process, Settled},
    },
};

/// Goes on with the workers that the program before this one has left.
pub(crate) fn resume(
    mut carried: Carried,
    config: Config,
    runtime_dir: &RuntimeDir,
) -> Result<Exit, Refused> {
    let sockets = carried.sockets().map_err(|error| left(&error))?;
    let sockets = Sockets::carried(&config, sockets)?;
    // Its workers serve: whatever has become of the directory, that must not end them.
    let door = || Ok(Door::if_possible(runtime_dir));
    let past = carried.past();
    let decisions = Decisions::left(runtime_dir, &carried.edition);
    let next = || Supervisor::resumed(carried, config, sockets, (decisions, past));
    watch(door, || next().map_err(|error| left(&error)))
}

fn left(error: &std::io::Error) -> Refused {
    Exit::Failed.because(format!("cannot take over what the program before this one has left: {error}"))
}

/// The program that this one has followed.
pub(super) struct Followed {
    from: String,
    /// Under which our own worker is to serve what that one served.
    edition: worker::Edition,
}

impl Supervisor {
    /// With the workers of the program before this one, which are to be replaced by our own.
    fn resumed(
        carried: Carried,
        config: Config,
        sockets: Sockets,
        (decisions, past): (Decisions, Past),
    ) -> std::io::Result<Self> {
        let ((server, process), draining) = carried.workers()?;
        let (before, next) = (worker::Edition(carried.number), worker::Edition(carried.number + 1));
        let told: Vec<_> = draining.iter().map(|(generation, _)| *generation).collect();
        let (now, terms) = (Instant::now(), terms(&config));
        let mut plan = Plan::resume(now, (before, terms), Policy::default(), server, &told);
        let begin = plan.on(now, Event::Replace(next, terms));
        let lender = Lender::resume(hosting::runner(), UNCLAIMED, carried.instances()?)?;
        let lender = lender.with_past(past.failures);
        let justice = Justice::new(decisions, past.verdicts);
        let edition = carried.edition;
        let mut changes = Changes::new(copies(&edition)?);
        changes.proposed(next);
        let current = (before, edition.clone(), config.clone());
        let crashes = past.crashes;
        let mut this =
            Self { begin, lender, crashes, ..Self::idle(plan, current, sockets, changes, justice) };
        for (generation, process) in draining {
            this.take_over(generation, process, End::Told)?;
        }
        this.take_over(server, process, End::Untold)?;
        tracing::info!(
            from = &*carried.version,
            to = env!("CARGO_PKG_VERSION"),
            "upgraded; replacing the worker"
        );
        this.editions.insert(next, (edition, config));
        this.last = next;
        this.followed = Some(Followed { from: carried.version, edition: next });
        Ok(this)
    }

    /// Goes on with one of the workers.
    fn take_over(
        &mut self,
        generation: Generation,
        process: worker::Carried,
        end: End,
    ) -> std::io::Result<()> {
        let process = Process::resume(process, generation, self.hear.clone())?;
        self.lender.came(generation, process.voice());
        if end == End::Told {
            self.lender.leaves(generation);
        }
        let (edition, part) = (self.plan.edition(), Part::Everything);
        process.prints_for(printed::only(&self.editions[&edition], &part));
        let (since, accepts) = (SystemTime::now(), true);
        let (refused, retiring, stuck) = (Vec::new(), Vec::new(), BTreeSet::new());
        let worker = Worker { process, edition, part, since, refused, retiring, stuck, accepts, end };
        self.workers.insert(generation, worker);
        Ok(())
    }

    /// Goes one step on with an upgrade, if there is one and nothing else is being changed. What a signal has asked
    /// meanwhile, which comes first.
    pub(super) async fn go_on_with_upgrade(&mut self, signals: &mut Signals) -> Option<Asked> {
        if let Some(why) = self.upgrade.overdue(Instant::now()) {
            self.upgrade_refused(&why);
        }
        let is_due = self.upgrade.waits() && self.rests() && self.changes.are_none();
        let settled = self.plan.settled().filter(|_| is_due)?;
        let edition = self.editions[&self.plan.edition()].0.clone();
        let mut asked = None;
        let step = match std::mem::take(&mut self.upgrade) {
            Upgrade::Wanted { program, .. } => self.ask_successor(program, &edition, &settled),
            Upgrade::Due { program, until } => {
                let error = self.give_way(&program, &edition, &settled, signals, &mut asked).await;
                // Something was said meanwhile, which the next program would not hear.
                let is_quiet = self.rests() && asked.is_none();
                if is_quiet { Err(error) } else { Ok(Upgrade::Due { program, until }) }
            }
            other => Ok(other),
        };
        match step {
            Ok(next) => self.upgrade = next,
            Err(error) => self.upgrade_refused(&error.to_string()),
        }
        asked
    }

    /// Says why there is no upgrade.
    pub(super) fn upgrade_refused(&mut self, why: &str) {
        tracing::error!(why, "upgrade refused; this program goes on");
        self.waiting.upgrade_refused(why);
    }

    /// How this program followed another one, if it did.
    pub(super) fn upgraded(&self) -> Option<Upgraded> {
        let Followed { from, edition } = self.followed.as_ref()?;
        let worker = match self.plan.edition() >= *edition {
            true => Replacement::Done,
            false if self.editions.contains_key(edition) => Replacement::UnderWay,
            false => Replacement::Refused,
        };
        Some(Upgraded { from: from.clone(), worker })
    }

    /// Whether no process of an application is being started or ended, and nothing waits to be heard.
    fn rests(&self) -> bool {
        self.lender.is_settled() && self.heard.is_empty()
    }

    /// Asks a program, by default the one that stands at our own path, whether it can take over.
    fn ask_successor(
        &self,
        program: Option<PathBuf>,
        edition: &Edition,
        settled: &Settled,
    ) -> std::io::Result<Upgrade> {
        let program = program.map_or_else(|| upgrade::successor(edition, &self.directory), Ok)?;
        Upgrade::begin(program, edition, &self.luggage(edition, settled)?)
    }

    /// Lets the next program take over. Returns only if that fails.
    async fn give_way(
        &mut self,
        program: &Path,
        edition: &Edition,
        settled: &Settled,
        signals: &mut Signals,
        asked: &mut Option<Asked>,
    ) -> std::io::Error {
        for waiting in &settled.waiting {
            self.tell_to_end(*waiting, &Order::Drain);
        }
        let heard = async {
            for worker in self.workers.values() {
                worker.process.has_heard_all().await;
            }
        };
        if tokio::time::timeout(MARGIN, heard).await.is_err() {
            return std::io::Error::other("a worker does not listen");
        }
        if self.waiting.give_way() {
            // Their answers leave meanwhile; afterwards nobody would send them.
            tokio::time::sleep(FAREWELL).await;
        }
        printed::finish();
        log::finish();
        // What comes from here on waits for the next program.
        hearing::keep();
        // What has come before would be forgotten: nobody has looked, and the next program would not hear of it.
        *asked = signals.came_by_now().await;
        let error = match self.luggage(edition, settled) {
            _ if asked.is_some() || !self.rests() => std::io::ErrorKind::ResourceBusy.into(),
            Ok(luggage) => upgrade::replace(program, edition, &luggage),
            Err(error) => error,
        };
        hearing::hear();
        error
    }

    /// What the next program would be left.
    fn luggage(&self, edition: &Edition, settled: &Settled) -> std::io::Result<Luggage> {
        let number = self.plan.edition();
        let sockets = self.sockets.of(&self.editions[&number].1);
        let process = |generation: &Generation| Some((*generation, &self.workers.get(generation)?.process));
        let server = process(&settled.server).ok_or(std::io::ErrorKind::NotFound)?;
        let draining = settled.draining.iter().chain(&settled.waiting).filter_map(process).collect();
        let sockets = sockets.iter().map(|socket| socket.try_clone()).collect::<Result<_, _>>()?;
        let instances = self.lender.carry()?;
        let past = (&self.justice.verdicts, self.lender.past(), &self.crashes);
        let past = serde_json::to_value(past)?;
        Packing { edition, number, sockets, server, draining, instances, past }.pack()
    }
}

/// The copies of libraries that the program before has made.
fn copies(edition: &Edition) -> std::io::Result<Pins> {
    let place = std::env::temp_dir();
    match edition.standings().flat_map(Standing::pins).next() {
        Some(pinned) => Pins::with(pinned, &place),
        None => Pins::new(&place),
    }
}

/// How long answers on a socket of this machine may take to leave.
const FAREWELL: Duration = Duration::from_millis(50);
