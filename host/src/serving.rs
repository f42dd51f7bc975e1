//! What a worker serves, and how it changes to another edition while it serves.
//!
//! In: orders to change, with the sockets that are new. Out: a report that it has changed, or why not. Never: touches an
//! application that is the same in both editions, or takes one away before the one in its place runs.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use cohost::{
    Application, Server,
    config::Listen,
    dispatcher::{
        in_process::{self, Ended},
        upstreams::Balancer,
    },
    failure::Code,
    listener::{Bound, Listener, tls::Secured},
    router::Router,
    server::{Listening, Stopped},
    supervisor::worker::{Change, Edition as Number, Failed, Report, Reports},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    acme::Ordering,
    edition::Edition,
    exit::{Exit, Refused},
    hosting::{self, Addresses, Hosting},
    mounted::Mounted,
    printed,
    replaced::Replaced,
    serve, sockets,
    worker::Shown,
};

/// What a worker serves.
pub(crate) struct Serving {
    hosting: Hosting,
    router: Router<Mounted>,
    listening: Listening,
    addresses: Addresses,
    /// How connections are secured that come in there.
    secured: HashMap<Listen, Secured>,
    /// That came for the next change.
    sockets: Vec<OwnedFd>,
    changing: Option<Changing>,
    retiring: JoinSet<Ended>,
    ordering: Ordering,
    reports: Arc<Reports>,
    shown: Arc<Shown>,
    /// How many generations there are.
    making: watch::Receiver<usize>,
    /// When the supervisor was told that there are too many.
    told_left: Option<Instant>,
}

/// A change that is under way.
struct Changing {
    number: Number,
    /// When somebody last asked to try at once whatever waits.
    asked: u64,
    hosting: Hosting,
    replaced: Vec<Replaced>,
    listeners: Vec<(Listen, Listener)>,
    starting: JoinHandle<Vec<Failed>>,
}

impl Serving {
    /// Serves `hosting` on these listeners, which are those of [`hosting::listens`], in that order. `asked` is when
    /// somebody last asked to try at once whatever waits.
    pub(crate) fn new(
        (hosting, asked): (Hosting, u64),
        listeners: Vec<Listener>,
        reports: Arc<Reports>,
        shown: Arc<Shown>,
    ) -> (Self, Server<Router<Mounted>>) {
        let addresses = hosting.addresses(&listeners);
        let listens = hosting::listens(hosting.config()).into_iter().cloned();
        let secured = listens.zip(&listeners).map(|(listen, it)| (listen, it.secured().clone())).collect();
        let router = hosting.router(&addresses);
        let mut server = hosting.server(router.clone(), listeners);
        let listening = server.listening();
        let (sockets, retiring) = (Vec::new(), JoinSet::new());
        let (changing, making, told_left) = (None, in_process::making(), None);
        let mut ordering = Ordering::default();
        ordering.follow(hosting.config(), asked);
        let serving = Self {
            hosting,
            router,
            listening,
            addresses,
            secured,
            sockets,
            changing,
            retiring,
            ordering,
            reports,
            shown,
            making,
            told_left,
        };
        (serving, server)
    }

    pub(crate) fn applications(&self) -> Vec<Application> {
        self.hosting.applications()
    }

    /// Keeps a socket for the change that comes after it.
    pub(crate) fn socket(&mut self, socket: OwnedFd) {
        self.sockets.push(socket);
    }

    /// Begins a change. The supervisor waits for the report before it orders another one.
    pub(crate) fn change(&mut self, change: &Change) {
        let sockets = std::mem::take(&mut self.sockets);
        match self.begin(change, sockets) {
            Ok(changing) => self.changing = Some(changing),
            Err(refused) => {
                let code = "configuration".to_owned();
                let failed = Failed { application: String::new(), code, detail: refused.to_string() };
                self.refuse(change.number, vec![failed]);
            }
        }
    }

    fn begin(&self, change: &Change, sockets: Vec<OwnedFd>) -> Result<Changing, Refused> {
        let edition: Edition = serde_json::from_value(change.edition.clone())
            .map_err(|error| Exit::Failed.because(format!("the edition is unreadable: {error}")))?;
        let hosting = self.hosting.next(&edition, edition.config()?)?;
        let listeners = self.listeners(&hosting, sockets)?;
        let replaced = hosting.in_place_of(&self.hosting);
        // What the new ones print as they start is theirs already.
        printed::keep(hosting.config());
        let first: Vec<_> = replaced.iter().filter_map(Replaced::to_start_first).collect();
        let starting = tokio::spawn(hosting::start(first));
        Ok(Changing { number: change.number, asked: edition.asked, hosting, replaced, listeners, starting })
    }

    fn listeners(&self, next: &Hosting, sockets: Vec<OwnedFd>) -> Result<Vec<(Listen, Listener)>, Refused> {
        let listens = hosting::listens(next.config()).into_iter();
        let new: Vec<_> = listens.filter(|listen| !self.addresses.contains_key(listen)).collect();
        if new.len() != sockets.len() {
            return Err(Exit::Failed.because("other sockets came than the configuration names"));
        }
        let hosting = next;
        let listener = |(listen, socket): (&Listen, OwnedFd)| {
            let bound = Bound::inherited(socket)
                .map_err(|error| Exit::Failed.because(format!("cannot take over a socket: {error}")))?;
            let listener = Listener::new(bound).map_err(|error| sockets::refused(&error))?;
            Ok((listen.clone(), listener.proxied(hosting.proxied(listen))))
        };
        new.into_iter().zip(sockets).map(listener).collect()
    }

    /// Goes on with what is under way. Dropping the future leaves it under way.
    pub(crate) async fn go_on(&mut self) {
        tokio::select! {
            failed = started(&mut self.changing) => self.decide(failed),
            Some(_) = self.retiring.join_next() => {}
            Ok(()) = self.making.changed() => self.tell_left(),
        }
    }

    /// Starts that fail leave their library in memory, until the process may load it no more. A worker that nobody changes
    /// would otherwise refuse the application for good, whatever was in its way.
    fn tell_left(&mut self) {
        let left = self.left();
        // A fresh worker may not start either.
        let told = self.told_left.is_some_and(|told| told.elapsed() < TELL_EVERY);
        if left >= CROWDED && !told {
            self.told_left = Some(Instant::now());
            self.reports.send(&Report::Left { left });
        }
    }

    /// Gives up the change that is under way, if there is one.
    pub(crate) fn give_up_change(&mut self) {
        if let Some(changing) = self.changing.take() {
            let number = changing.number;
            self.give_up(changing);
            self.refuse(number, Vec::new());
        }
    }

    fn decide(&mut self, failed: Vec<Failed>) {
        let Some(changing) = self.changing.take() else { return };
        let number = changing.number;
        if failed.is_empty() {
            self.apply(changing);
            self.reports.send(&Report::Changed { edition: number, left: self.left() });
        } else {
            self.give_up(changing);
            self.refuse(number, failed);
        }
    }

    fn refuse(&self, edition: Number, failed: Vec<Failed>) {
        self.reports.send(&Report::Refused { edition, failed, left: self.left() });
    }

    /// Generations of libraries that nobody uses any more.
    fn left(&self) -> usize {
        in_process::made().saturating_sub(self.hosting.in_process())
    }

    fn apply(&mut self, changing: Changing) {
        let Changing { asked, hosting, replaced, listeners, .. } = changing;
        for (listen, listener) in &listeners {
            self.addresses.insert(listen.clone(), listener.address().clone());
            self.secured.insert(listen.clone(), listener.secured().clone());
        }
        // Before anybody is told of an end: who asks from now on is answered by the new ones.
        self.router.replace(hosting.sites(&self.addresses), hosting.unknown());
        for (listen, secured) in &self.secured {
            hosting.secure(listen, secured);
        }
        for (_, listener) in listeners {
            self.listening.begin(listener);
        }
        let kept = hosting::listens(hosting.config());
        for (_, address) in self.addresses.extract_if(|listen, _| !kept.contains(&listen)) {
            self.listening.end(&address);
        }
        self.secured.retain(|listen, _| kept.contains(&listen));
        for replaced in replaced {
            self.retire(replaced);
        }
        let (before, now) = (self.hosting.told(), hosting.told());
        // The router keeps those that were, for connections on listeners that are no more.
        let is_over = |balancer: &&Balancer| !now.balancers().any(|other| other.is(balancer));
        before.balancers().filter(is_over).for_each(Balancer::end);
        self.ordering.follow(hosting.config(), asked);
        self.hosting = hosting;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn retire(&mut self, replaced: Replaced) {
        let later = replaced.to_start_later();
        if let Some(old) = replaced.old {
            let name = Arc::clone(old.name());
            tracing::info!(application = %name, "application changes; the one before finishes what it has");
            let (reports, application) = (Arc::clone(&self.reports), name.to_string());
            reports.send(&Report::Retires { application: application.clone() });
            self.retiring.spawn(async move {
                let ended = old.retire(replaced.successor).await;
                reports.send(&Report::Retired { application });
                ended
            });
        }
        // What comes of it is logged where it happens; requests will try again.
        tokio::spawn(hosting::start(later.into_iter().collect()));
    }

    /// Ends what was begun for a change that does not come.
    fn give_up(&mut self, changing: Changing) {
        printed::keep(self.hosting.config());
        changing.starting.abort();
        for new in changing.replaced.into_iter().filter_map(|replaced| replaced.new) {
            self.retiring.spawn(async move { new.stop().await });
        }
    }

    /// Tells the applications that their end is near; what was to come does not.
    pub(crate) fn drain(&mut self) {
        if let Some(changing) = self.changing.take() {
            self.give_up(changing);
        }
        self.ordering.stop();
        tokio::spawn(hosting::notify_drain(self.applications()));
    }

    /// Ends everything after serving has ended.
    pub(crate) async fn end(mut self, stopped: Stopped) -> Exit {
        if let Some(changing) = self.changing.take() {
            self.give_up(changing);
        }
        let exit = serve::end(stopped, self.applications()).await;
        let left = self.retiring.join_all().await;
        if left.iter().all(|ended| *ended == Ended::Gracefully) { exit } else { Exit::Forced }
    }
}

/// Waits until all that a change needs has started, or not. For ever, if there is none.
async fn started(changing: &mut Option<Changing>) -> Vec<Failed> {
    match changing {
        Some(changing) => (&mut changing.starting).await.unwrap_or_else(|panic| {
            let code = Code::StartFailed.to_string();
            vec![Failed { application: String::new(), code, detail: panic.to_string() }]
        }),
        None => std::future::pending().await,
    }
}

/// A start that fails is tried once a minute; a fresh worker is asked for less often.
const TELL_EVERY: Duration = Duration::from_secs(10 * 60);

/// Generations in vain that are reason enough for a fresh worker. A process may have 100 of one library.
const CROWDED: usize = 64;
