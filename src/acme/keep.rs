//! Keeps certificates in a folder: orders what is missing, and renews what is there.
//!
//! In: an authority, and names. Out: files, and lines in the log. Never: ends by itself; it is dropped when the worker that
//! does this is to end, and whoever does it next goes on from the files.

use std::{
    fs::File,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    order::{Customer, Failure, Whose, blocking},
    schedule::{Held, Record, due},
    store::Store,
};
use crate::config::Acme;

/// When somebody last asked to try everything at once, whatever pauses are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(SystemTime);

impl Asked {
    /// At this time, in seconds since 1970; 0 for never. In whole ones, as it is kept: otherwise it would be news each
    /// time.
    #[must_use]
    pub fn at(seconds: u64) -> Self {
        Self(
            SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds))
                .unwrap_or(SystemTime::UNIX_EPOCH),
        )
    }
}

/// Keeps certificates for `names`, which are in lower case.
pub async fn keep(acme: Acme, names: Vec<Arc<str>>, asked: Asked) {
    let acme = Arc::new(acme);
    let store = Store::new(&acme);
    let told = names.join(", ");
    let mut is_first = true;
    let keeper =
        Keeper { customer: Customer::new(Arc::clone(&acme), store.clone()), acme, store, names, asked };
    let mut said = None;
    loop {
        let pause = match keeper.round().await {
            Ok(pause) => {
                said = None;
                if is_first && pause > TAKEN {
                    is_first = false;
                    tracing::info!(names = told, folder = %keeper.acme.folder.display(), "certificates are kept");
                }
                pause
            }
            Err(error) => {
                let (folder, why) = (keeper.acme.folder.display(), error.to_string());
                if said.as_ref() != Some(&why) {
                    tracing::error!(%folder, why, "no certificates can be kept there, so that none are ordered");
                }
                said = Some(why);
                NO_FOLDER
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Keeper {
    acme: Arc<Acme>,
    store: Store,
    names: Vec<Arc<str>>,
    asked: Asked,
    customer: Customer,
}

/// What is known of a name.
struct Known {
    held: Option<Held>,
    record: Record,
    authority: Record,
}

impl Keeper {
    /// Orders what is due, one after the other. How long to wait until the next round.
    async fn round(&self) -> io::Result<Duration> {
        let Some(_lock) = self.lock().await? else { return Ok(TAKEN) };
        for name in &self.names {
            let known = self.known(name).await?;
            if known.due() <= SystemTime::now() {
                self.attempt(name, known).await?;
            }
        }
        let mut next = SystemTime::now() + LONGEST;
        for name in &self.names {
            next = next.min(self.known(name).await?.due());
        }
        let pause = next.duration_since(SystemTime::now()).unwrap_or_default();
        // Clocks are set, and machines sleep: nothing is waited for in one piece.
        Ok(pause.clamp(SHORTEST, LONGEST))
    }

    async fn lock(&self) -> io::Result<Option<File>> {
        let (store, names, asked) = (self.store.clone(), self.names.clone(), self.asked);
        blocking(move || {
            store.open()?;
            let lock = store.lock()?;
            if lock.is_some() {
                forgive(&store, &names, asked)?;
            }
            Ok(lock)
        })
        .await
    }

    async fn known(&self, name: &Arc<str>) -> io::Result<Known> {
        let (store, name) = (self.store.clone(), Arc::clone(name));
        blocking(move || {
            Ok(Known { held: store.held(&name), record: store.record(&name), authority: store.authority() })
        })
        .await
    }

    async fn attempt(&self, name: &Arc<str>, known: Known) -> io::Result<()> {
        let Known { held, record, authority } = known;
        self.note(name, record.clone().begun(SystemTime::now())).await?;
        match held {
            Some(_) => {
                tracing::info!(name = %name, directory = %self.acme.directory, "renewing the certificate");
            }
            None => tracing::info!(
                name = %name, directory = %self.acme.directory,
                "ordering a certificate; handshakes for this name are refused until it is there"
            ),
        }
        let ordering = tokio::time::timeout(WHOLE, self.customer.order(name)).await;
        let failure = match ordering {
            Ok(Ok(pem)) => match self.take(name, pem).await {
                Ok(fresh) => return self.succeeded(name, fresh, (record, authority)).await,
                Err(error) => Failure { whose: Whose::Name, why: error.to_string(), retry_after: None },
            },
            Ok(Err(failure)) => failure,
            Err(_) => {
                let why = "the authority does not finish the order in time".to_owned();
                Failure { whose: Whose::Name, why, retry_after: None }
            }
        };
        self.failed(name, failure, held, (record, authority)).await
    }

    async fn take(&self, name: &Arc<str>, pem: String) -> io::Result<Held> {
        let (store, name) = (self.store.clone(), Arc::clone(name));
        blocking(move || store.keep(&name, &pem)).await
    }

    async fn succeeded(
        &self,
        name: &Arc<str>,
        fresh: Held,
        (record, authority): (Record, Record),
    ) -> io::Result<()> {
        let now = SystemTime::now();
        let days = fresh.until.duration_since(now).unwrap_or_default().as_secs() / (24 * 60 * 60);
        tracing::info!(name = %name, days, "the authority has issued a certificate");
        if authority.failed.is_some() {
            let store = self.store.clone();
            blocking(move || store.set_authority(&Record { failed: None, ..authority })).await?;
        }
        self.note(name, record.succeeded(now, fresh)).await
    }

    async fn failed(
        &self,
        name: &Arc<str>,
        Failure { whose, why, retry_after }: Failure,
        held: Option<Held>,
        (record, authority): (Record, Record),
    ) -> io::Result<()> {
        let before = match whose {
            Whose::Name => record,
            Whose::Authority => authority,
        };
        let is_news = before.failed.as_ref().is_none_or(|failed| failed.why != why);
        let now = SystemTime::now();
        let next = before.failed(now, why.clone(), retry_after, chance());
        let again = next.not_before.duration_since(now).unwrap_or_default();
        let (directory, effect) = (&self.acme.directory, effect(held, now));
        if is_news {
            tracing::error!(name = %name, why, retry_in_s = again.as_secs(), directory = %directory, "{effect}");
        } else {
            tracing::debug!(name = %name, why, retry_in_s = again.as_secs(), directory = %directory, "{effect}");
        }
        match whose {
            Whose::Name => self.note(name, next).await,
            Whose::Authority => {
                let store = self.store.clone();
                blocking(move || store.set_authority(&next)).await
            }
        }
    }

    async fn note(&self, name: &Arc<str>, record: Record) -> io::Result<()> {
        let (store, name) = (self.store.clone(), Arc::clone(name));
        blocking(move || store.set_record(&name, &record)).await
    }
}

impl Known {
    fn due(&self) -> SystemTime {
        due(self.held, &self.record, &self.authority, SystemTime::now())
    }
}

/// Ends pauses that somebody does not want to wait for, once.
fn forgive(store: &Store, names: &[Arc<str>], Asked(asked): Asked) -> io::Result<()> {
    let authority = store.authority();
    if authority.asked >= asked {
        return Ok(());
    }
    store.set_authority(&authority.asked(asked))?;
    for name in names {
        let record = store.record(name);
        // Where there was no failure the pause is for the sake of clocks.
        if record.failed.is_some() {
            store.set_record(name, &record.asked(asked))?;
        }
    }
    Ok(())
}

fn effect(held: Option<Held>, now: SystemTime) -> &'static str {
    match held {
        Some(held) if held.until > now => "certificate not renewed; the one before is presented further",
        Some(_) => "certificate not renewed, and the one before has expired",
        None => "certificate not issued; handshakes for this name are refused",
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// How long a whole order may take.
const WHOLE: Duration = Duration::from_secs(10 * 60);
/// How long to wait for somebody else who orders: for a worker that ends, or another host.
const TAKEN: Duration = Duration::from_secs(1);
/// How long to wait for a folder that can be used.
const NO_FOLDER: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60 * 60);
