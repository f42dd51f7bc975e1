//! A name and a password, before anything else is done for a request: RFC 7617.
//!
//! Hashing takes its time, so it is done on threads that serve nobody, a few at a time; who was found to be right is known
//! for a minute. Never: keeps a password, or writes one down.

use std::{
    collections::HashMap,
    io::Read as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Request, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::{
    Body, Failure,
    failure::Code,
    front::{Basic, Hashed, Users},
    pipeline::Kept,
    queue::Queue,
    stage::{Answering, Serve, Stage},
};

/// Lets pass who knows a password.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    shared: Arc<Shared>,
    inner: Stage,
}

#[derive(Debug)]
struct Shared {
    users: Users,
    challenge: HeaderValue,
    known: Known,
    /// Threads that hash.
    room: Arc<Semaphore>,
    queue: Arc<Queue>,
}

/// Passwords that are hashed at a time: there shall be processors left for who is let in.
const AT_A_TIME: usize = 2;

/// Bytes of a password, and of a name. Some hashes take as long as the password is: a head full of it, minutes.
const LONGEST: usize = 1024;

/// Requests that wait for that. Who guesses passwords gets 503 beyond.
const QUEUE: usize = 256;

impl Passwords {
    pub(super) fn new(basic: &Basic, place: &str, kept: &Kept, inner: Stage) -> Self {
        Self { shared: kept.at(place, basic, || Shared::new(basic)), inner }
    }
}

fn challenge(realm: &str) -> HeaderValue {
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::try_from(format!("Basic realm=\"{quoted}\", charset=\"UTF-8\""))
        .unwrap_or(HeaderValue::from_static("Basic charset=\"UTF-8\""))
}

impl Serve for Passwords {
    fn serve(&self, request: Request<Body>) -> Answering {
        let Some(credentials) = Credentials::of(request.headers()) else {
            return Box::pin(std::future::ready(Err(self.shared.refusal("no password"))));
        };
        if credentials.user.len().max(credentials.password.len()) > LONGEST {
            return Box::pin(std::future::ready(Err(self
                .shared
                .refusal("a password that long is nobody's"))));
        }
        let digest = self.shared.known.digest(&credentials);
        if self.shared.known.has(&digest, Instant::now()) {
            return self.inner.serve(request);
        }
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        Box::pin(async move {
            shared.verify(credentials, digest).await?;
            inner.serve(request).await
        })
    }
}

impl Shared {
    fn new(basic: &Basic) -> Self {
        Self {
            users: basic.users.clone(),
            challenge: challenge(&basic.realm),
            known: Known::new(),
            room: Arc::new(Semaphore::new(AT_A_TIME)),
            queue: Queue::new(QUEUE),
        }
    }

    fn refusal(&self, why: &str) -> Failure {
        Failure::new(Code::NotAuthenticated)
            .detail(why)
            .field(header::WWW_AUTHENTICATE, self.challenge.clone())
    }

    async fn verify(self: &Arc<Self>, credentials: Credentials, digest: Digest) -> Result<(), Failure> {
        let place =
            self.queue.place().ok_or_else(|| unavailable("too many passwords to verify".to_owned()))?;
        let permit =
            Arc::clone(&self.room).acquire_owned().await.map_err(|error| unavailable(error.to_string()))?;
        drop(place);
        // All parts of a page are asked for at once: the first of them has shown by now that it is the right one.
        if self.known.has(&digest, Instant::now()) {
            return Ok(());
        }
        let shared = Arc::clone(self);
        let hashing = tokio::task::spawn_blocking(move || {
            // Until it has ended: a client that leaves makes no room for another one.
            let _permit = permit;
            let has = shared.users.has(&credentials)?;
            if has {
                // Before the next one may begin.
                shared.known.keep(digest, Instant::now());
            }
            Ok((has, credentials.user))
        });
        match hashing.await.map_err(|error| unavailable(error.to_string()))? {
            Ok((true, _)) => Ok(()),
            Ok((false, user)) => Err(self.refusal(&format!("wrong password, or no such user: {user:?}"))),
            Err(detail) => Err(unavailable(detail)),
        }
    }
}

fn unavailable(detail: String) -> Failure {
    Failure::new(Code::AuthUnavailable).detail(detail)
}

/// What a client says it is. Not shown anywhere.
struct Credentials {
    user: String,
    password: Vec<u8>,
}

impl Credentials {
    /// `None` also where there are several: who is behind this host might take another one.
    fn of(fields: &HeaderMap) -> Option<Self> {
        let mut values = fields.get_all(header::AUTHORIZATION).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
        Some(Self { user, password: decoded[colon + 1..].to_vec() })
    }
}

impl Users {
    /// Whether there is this user, with this password. It takes as long if there is not.
    fn has(&self, credentials: &Credentials) -> Result<bool, String> {
        match self {
            Self::These(users) => Ok(has(users, credentials)),
            Self::File(path) => Ok(has(&users_in(path, &text_of(path)?), credentials)),
        }
    }
}

fn has(users: &[(String, Hashed)], credentials: &Credentials) -> bool {
    match users.iter().find(|(name, _)| *name == credentials.user) {
        Some((_, hashed)) => hashed.is_of(&credentials.password),
        None => {
            // Otherwise the time would tell which names there are.
            let _ = users.first().map(|(_, hashed)| hashed.is_of(&credentials.password));
            false
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(LARGEST).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| format!("cannot read the users in {}: {error}", path.display()))
}

/// The users in a file, but for those whose passwords nothing can be compared with.
fn users_in(path: &Path, text: &str) -> Vec<(String, Hashed)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = lines.filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let hashed = rest.split(':').next().unwrap_or_default().parse();
        hashed
            .inspect_err(|error| {
                tracing::warn!(file = %path.display(), user = name, "the password {error}; nobody is let in with it");
            })
            .ok()
            .map(|hashed| (name.to_owned(), hashed))
    });
    read.collect()
}

/// The largest file of users that is read whole.
const LARGEST: u64 = 4 << 20;

/// Credentials that were found to be right a short while ago, by a hash that is of use to nobody else.
#[derive(Debug)]
struct Known {
    key: [u8; 32],
    since: Mutex<HashMap<Digest, Instant>>,
}

/// What stands for credentials.
type Digest = [u8; 32];

/// How long they are known, and so, how long somebody gets in after having been taken out of the file.
const KNOWN_FOR: Duration = Duration::from_secs(60);

const MOST_KNOWN: usize = 4096;

impl Known {
    fn new() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system has random numbers");
        Self { key, since: Mutex::default() }
    }

    fn digest(&self, credentials: &Credentials) -> Digest {
        let hash = Sha256::new().chain_update(self.key).chain_update(credentials.user.len().to_le_bytes());
        hash.chain_update(&credentials.user).chain_update(&credentials.password).finalize().into()
    }

    fn has(&self, digest: &Digest, now: Instant) -> bool {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(digest).is_some_and(|since| now.duration_since(*since) < KNOWN_FOR)
    }

    fn keep(&self, digest: Digest, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() >= MOST_KNOWN {
            since.retain(|_, since| now.duration_since(*since) < KNOWN_FOR);
        }
        if since.len() < MOST_KNOWN {
            since.insert(digest, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn credentials(value: &str) -> Option<(String, Vec<u8>)> {
        let mut fields = HeaderMap::new();
        fields.insert(header::AUTHORIZATION, value.parse().unwrap());
        Credentials::of(&fields).map(|credentials| (credentials.user, credentials.password))
    }

    #[test]
    fn credentials_are_a_name_and_all_behind_its_colon() {
        let expected = Some(("Aladdin".to_owned(), b"open:sesame".to_vec()));
        assert_eq!(credentials("bAsic QWxhZGRpbjpvcGVuOnNlc2FtZQ=="), expected);
        for value in
            ["", "Basic", "Basic ", "Basic !", "Bearer QWxhZGRpbjpvcGVu", "Basic QWxhZGRpbg==", "Basic /zo="]
        {
            assert_eq!(credentials(value), None, "{value}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(header::AUTHORIZATION, HeaderValue::from_static("Basic QWxhZGRpbjpvcGVu"));
        }
        assert!(Credentials::of(&twice).is_none());
    }

    #[test]
    fn a_file_has_a_user_a_line_and_weak_ones_are_nobody() {
        let hash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
        let text = format!("# users\n\nana:{hash}\nbob:$apr1$x$y\n carl:{hash}:more\nnobody\n");
        let users = users_in(Path::new("users"), &text);
        let names: Vec<_> = users.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ana", "carl"]);
        let has = |user: &str, password: &str| {
            has(&users, &Credentials { user: user.to_owned(), password: password.into() })
        };
        assert!(has("ana", "secret") && has("carl", "secret"));
        assert!(!has("ana", "Secret") && !has("bob", "secret") && !has("", ""));
    }

    /// Behind a password; it lets pass who comes there.
    struct Inside;

    impl Serve for Inside {
        fn serve(&self, _: Request<Body>) -> Answering {
            Box::pin(std::future::ready(Ok(http::Response::new(Body::empty()))))
        }
    }

    fn with(password: &str) -> Request<Body> {
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("ana:{password}")));
        Request::builder().header(header::AUTHORIZATION, value).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_hashed_once_for_all_who_wait_and_never_if_it_is_too_long() {
        let hash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW".parse().unwrap();
        let basic = Basic { users: Users::These(vec![("ana".to_owned(), hash)]), realm: "shop".to_owned() };
        let passwords = Passwords::new(&basic, "site", &Kept::default(), Stage::new(Inside));
        let busy = Arc::clone(&passwords.shared.room).acquire_many_owned(2).await.unwrap();

        // Nobody has to wait for that.
        let refused = passwords.serve(with(&"x".repeat(LONGEST + 1))).await;
        assert_eq!(refused.unwrap_err().code, Code::NotAuthenticated);

        let mut waiting = passwords.serve(with("nobody knows it"));
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
        // It would be wrong if it were hashed; now somebody else has found it to be right.
        let credentials = Credentials { user: "ana".to_owned(), password: b"nobody knows it".to_vec() };
        passwords.shared.known.keep(passwords.shared.known.digest(&credentials), Instant::now());
        drop(busy);
        assert_eq!(waiting.await.unwrap().status(), 200);
        assert!(passwords.serve(with("secret")).await.is_ok());
        assert!(passwords.serve(with(&"x".repeat(LONGEST))).await.is_err());
    }

    #[test]
    fn who_is_known_is_forgotten_after_a_while() {
        let known = Known::new();
        let one = |user: &str| Credentials { user: user.to_owned(), password: b"secret".to_vec() };
        let (ana, bob) = (known.digest(&one("ana")), known.digest(&one("anas")));
        let now = Instant::now();
        known.keep(ana, now);
        assert!(known.has(&ana, now) && !known.has(&bob, now));
        assert!(!known.has(&ana, now + KNOWN_FOR));
        assert_ne!(ana, Known::new().digest(&one("ana")));
    }

    proptest! {
        #[test]
        fn no_field_is_too_strange_to_be_read(bytes in vec(0x20_u8..=0xff, 0..80)) {
            let mut fields = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&[b"Basic ", &bytes[..]].concat()) {
                fields.insert(header::AUTHORIZATION, value);
                let _ = Credentials::of(&fields);
            }
        }

        #[test]
        fn what_a_client_says_is_what_is_read(user in "[^:]{0,20}", password in vec(any::<u8>(), 0..40)) {
            let said = [user.as_bytes(), b":", &password].concat();
            let read = credentials(&format!("Basic {}", BASE64_STANDARD.encode(said)));
            prop_assert_eq!(read, Some((user, password)));
        }

        #[test]
        fn any_text_is_a_file_of_users(text in "([a-z]{0,3}:?(\\$2b\\$04\\$|\\{SHA\\})?[ -~]{0,60}\n|.{0,20})*") {
            for (name, _) in users_in(Path::new("users"), &text) {
                prop_assert!(text.contains(&[&*name, ":"].concat()) && !name.contains([':', '\n']));
            }
        }
    }
}
