//! Tickets, with which a client resumes a session: sealed with a secret that all workers have, and that ages.
//!
//! In: a secret. Out: tickets that any worker with the same secret can open, for as long as two ages last. Never: opens
//! one of a site with other terms, since what it says of the client was found out on those; or keeps what older ones were
//! sealed with.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

/// What tickets are sealed with, at an age of its own. Each age's secret is made of the one before, and the way back is
/// closed: who learns one learns nothing of tickets from before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    age: u64,
    bytes: [u8; 32],
}

// Nobody's business.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("age", &self.age).finish_non_exhaustive()
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl Secret {
    /// One that nobody else has.
    ///
    /// # Panics
    /// The system has no random numbers.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
        Self { age: age(now), bytes }
    }

    /// Lets it become as old as it is to be by now. It never becomes younger, whatever the clock does.
    pub fn grow(&mut self, now: SystemTime) {
        let now = age(now);
        // A clock may jump by decades, which need not be walked through: nobody has tickets from between.
        self.age = self.age.max(now.saturating_sub(FAR));
        while self.age < now {
            self.bytes = derived(&self.bytes, b"next");
            self.age += 1;
        }
    }

    /// How long until it is to be one age older.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Duration {
        let next = SystemTime::UNIX_EPOCH + AGE * u32::try_from(self.age + 1).unwrap_or(u32::MAX);
        next.duration_since(now).unwrap_or_default()
    }

    fn key(&self, terms: &[u8]) -> LessSafeKey {
        let key = derived(&self.bytes, terms);
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).expect("a key of that many bytes"))
    }
}

fn age(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / AGE.as_secs()
}

fn derived(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Makes the tickets of one site.
pub(super) struct Tickets {
    terms: Box<[u8]>,
    random: SystemRandom,
    keys: Mutex<Keys>,
}

struct Keys {
    secret: Secret,
    current: LessSafeKey,
    previous: Option<(u64, LessSafeKey)>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// For a site on these terms.
    pub(super) fn new(secret: Secret, terms: &[u8]) -> Self {
        let terms: Box<[u8]> = [b"terms ", terms].concat().into();
        let keys = Keys { current: secret.key(&terms), previous: None, secret };
        Self { terms, random: SystemRandom::new(), keys: Mutex::new(keys) }
    }

    fn seal(&self, plain: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let mut keys = self.keys(now);
        let Keys { secret, current, .. } = &mut *keys;
        let age = secret.age.to_be_bytes();
        current
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(age), &mut sealed)
            .ok()?;
        drop(keys);
        Some([&age[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (age, rest) = ticket.split_first_chunk::<8>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys(now);
        let wanted = u64::from_be_bytes(*age);
        let previous = keys.previous.as_ref().filter(|(age, _)| *age == wanted).map(|(_, key)| key);
        let key = if wanted == keys.secret.age { &keys.current } else { previous? };
        let mut plain = sealed.to_vec();
        let opened =
            key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(*age), &mut plain).ok()?;
        Some(opened.to_vec())
    }

    /// The keys as old as they are to be.
    fn keys(&self, now: SystemTime) -> std::sync::MutexGuard<'_, Keys> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.secret.left(now).is_zero() {
            let was = keys.secret.age;
            keys.secret.grow(now);
            let fresh = keys.secret.key(&self.terms);
            let old = std::mem::replace(&mut keys.current, fresh);
            // Only of the age right before.
            keys.previous = (was + 1 == keys.secret.age).then_some((was, old));
        }
        keys
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(AGE.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, SystemTime::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, SystemTime::now())
    }
}

/// How long tickets are sealed with the same secret.
const AGE: Duration = Duration::from_secs(6 * 60 * 60);
/// As many ages are walked through at once.
const FAR: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn then(ages: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + AGE * (1000 + ages)
    }

    #[test]
    fn a_ticket_is_opened_by_whoever_has_the_secret_and_the_same_terms() {
        let secret = Secret::new(then(0));
        let ticket = Tickets::new(secret.clone(), b"shop").seal(b"session", then(0)).unwrap();
        let open = |secret: &Secret, terms: &[u8]| Tickets::new(secret.clone(), terms).open(&ticket, then(0));
        assert_eq!(open(&secret, b"shop").as_deref(), Some(&b"session"[..]));
        assert_eq!(open(&secret, b"shop with client certificates"), None);
        assert_eq!(open(&Secret::new(then(0)), b"shop"), None);
    }

    #[test]
    fn a_ticket_is_good_for_the_age_after_its_own_and_no_longer() {
        let tickets = Tickets::new(Secret::new(then(0)), b"");
        let ticket = tickets.seal(b"session", then(0)).unwrap();
        assert!(tickets.open(&ticket, then(1)).is_some());
        assert!(tickets.open(&ticket, then(2)).is_none());
        // Nor does it become good again.
        assert!(tickets.open(&ticket, then(0)).is_none());
    }

    #[test]
    fn secrets_that_grew_apart_meet_again() {
        let mut early = Secret::new(then(0));
        let late = early.clone();
        early.grow(then(3));
        let ticket = Tickets::new(early, b"").seal(b"session", then(3)).unwrap();
        assert!(Tickets::new(late, b"").open(&ticket, then(3)).is_some());
    }

    #[test]
    fn a_clock_that_jumps_costs_nothing_but_tickets() {
        let mut secret = Secret::new(then(0));
        secret.grow(then(3_000_000));
        secret.grow(then(0));
        assert_eq!(secret.age, 3_001_000);
    }

    #[test]
    fn what_is_no_ticket_is_not_opened() {
        let tickets = Tickets::new(Secret::new(then(0)), b"");
        let ticket = tickets.seal(b"session", then(0)).unwrap();
        for end in 0..ticket.len() {
            assert_eq!(tickets.open(&ticket[..end], then(0)), None);
        }
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.open(&forged, then(0)), None, "{at}");
        }
    }
}
