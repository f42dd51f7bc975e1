//! Passwords, as somebody has hashed them.
//!
//! In: a hash as `htpasswd -B`, `mkpasswd` or an argon2 tool writes it. Out: whether a password is the one. Never: keeps a
//! password, or shows a hash.

use std::{fmt, str::FromStr};

use argon2::{Argon2, password_hash::phc};
use sha_crypt::{PasswordHashRef, PasswordVerifier as _, ShaCrypt};

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed(Box<str>);

/// A text that is no hash of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotHashed {
    /// Whoever gets hold of the file could find out the password.
    #[error("is hashed too weakly; hash it with bcrypt (htpasswd -B), argon2, or SHA-512 (mkpasswd)")]
    Weak,
    /// A few requests with it would keep the host busy.
    #[error(
        "takes too much time or memory to compare with; hash it with less work: bcrypt up to cost 17, argon2 up to 4 GiB"
    )]
    Costly,
    /// Cut off, or written in another way.
    #[error("is not a whole hash of bcrypt ($2y$), argon2 ($argon2id$) or SHA-crypt ($5$, $6$)")]
    Malformed,
}

impl FromStr for Hashed {
    type Err = NotHashed;

    fn from_str(text: &str) -> Result<Self, NotHashed> {
        let is_costly = match kind(text) {
            Kind::Bcrypt => bcrypt::HashParts::from_str(text).ok().map(|hash| hash.get_cost() > BCRYPT_COST),
            Kind::Argon2 => of_argon2(text),
            Kind::ShaCrypt => of_sha_crypt(text),
            Kind::Weak => return Err(NotHashed::Weak),
            Kind::Other => None,
        };
        match is_costly {
            Some(false) => Ok(Self(text.into())),
            Some(true) => Err(NotHashed::Costly),
            None => Err(NotHashed::Malformed),
        }
    }
}

/// Whether a hash of argon2 takes too much work; `None` if it is not whole.
fn of_argon2(text: &str) -> Option<bool> {
    let hash = phc::PasswordHash::new(text).ok()?;
    hash.hash.as_ref()?;
    let params = argon2::Params::try_from(&hash).ok()?;
    let memory = u64::from(params.m_cost());
    Some(memory > ARGON2_MEMORY || memory * u64::from(params.t_cost()) > ARGON2_WORK)
}

/// Whether a hash of SHA-crypt takes too much work; `None` if it is not whole.
fn of_sha_crypt(text: &str) -> Option<bool> {
    PasswordHashRef::new(text).ok()?;
    let (_, hash) = text.rsplit_once('$')?;
    let rounds = text.split('$').nth(2).and_then(|field| field.strip_prefix("rounds="));
    // Others take fewer rounds for as many as there have to be; the crate refuses them.
    let rounds = match rounds {
        Some(rounds) => rounds.parse().ok().filter(|rounds| *rounds >= sha_crypt::Params::ROUNDS_MIN)?,
        None => sha_crypt::Params::RECOMMENDED_ROUNDS,
    };
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    (hash.len() == length).then_some(rounds > SHA_ROUNDS)
}

impl Hashed {
    /// Whether `password` is the one. It takes its time: that is the point of such hashes.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        match kind(&self.0) {
            Kind::Bcrypt => bcrypt::verify(password, &self.0).unwrap_or(false),
            Kind::Argon2 => Argon2::default().verify_password(password, &*self.0).is_ok(),
            Kind::ShaCrypt => {
                let hash = PasswordHashRef::new(&self.0);
                hash.is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok())
            }
            Kind::Weak | Kind::Other => false,
        }
    }
}

// Whoever has it can try passwords on it.
impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed(…)")
    }
}

enum Kind {
    Bcrypt,
    Argon2,
    ShaCrypt,
    Weak,
    Other,
}

fn kind(text: &str) -> Kind {
    let begins = |with: &[&str]| with.iter().any(|start| text.starts_with(start));
    match text {
        _ if begins(&["$2a$", "$2b$", "$2y$"]) => Kind::Bcrypt,
        _ if begins(&["$argon2id$", "$argon2i$", "$argon2d$"]) => Kind::Argon2,
        _ if begins(&["$5$", "$6$"]) => Kind::ShaCrypt,
        _ if begins(&["$apr1$", "$1$", "{SHA}"]) => Kind::Weak,
        _ => Kind::Other,
    }
}

// What takes some seconds, or the memory that RFC 9106 asks for, twice.
const BCRYPT_COST: u32 = 17;
/// In KiB.
const ARGON2_MEMORY: u64 = 4 << 20;
/// In KiB, each as often as it is passed over.
const ARGON2_WORK: u64 = 16 << 20;
const SHA_ROUNDS: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The password `secret`, by other programs.
    const SECRET: [&str; 5] = [
        "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$Sm3MnLdCFk0Af+croKgebRoqqmhbKd88iiW3yUOXn78",
        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
    ];

    #[test]
    fn a_hash_is_of_one_password() {
        for text in SECRET {
            let hashed: Hashed = text.parse().unwrap();
            assert!(hashed.is_of(b"secret"), "{text}");
            for other in [&b""[..], b"Secret", b"secret\0", b"\xff"] {
                assert!(!hashed.is_of(other), "{text} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_weak_or_no_hash_is_refused() {
        let refused = |text: &str| text.parse::<Hashed>().unwrap_err();
        for weak in ["$apr1$x$y", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="] {
            assert_eq!(refused(weak), NotHashed::Weak, "{weak}");
        }
        let (argon2, sha) = (SECRET[2], SECRET[4]);
        let few = ["m=1,t=1", "m=64,t=0", "m=x,t=1"].map(|cost| argon2.replace("m=64,t=1", cost));
        let rounds = ["rounds=999$", "rounds=x$", "rounds=99999999999$"]
            .map(|rounds| sha.replace("$6$", &["$6$", rounds].concat()));
        let cut = &sha[..sha.len() - 1];
        let malformed = [
            "",
            "secret",
            "$2y$05$short",
            "$argon2id$v=19",
            "$argon2id$",
            "rqXexS6ZhobKA",
            "$6$saltsalt",
            cut,
        ];
        for text in malformed.into_iter().chain(few.iter().chain(&rounds).map(String::as_str)) {
            assert_eq!(refused(text), NotHashed::Malformed, "{text}");
        }
    }

    #[test]
    fn what_would_keep_the_host_busy_is_refused() {
        let [bcrypt, _, argon2, _, sha] = SECRET;
        for text in [
            bcrypt.replace("$04$", "$18$"),
            bcrypt.replace("$04$", "$31$"),
            argon2.replace("m=64,", "m=4294967295,"),
            argon2.replace("t=1,", "t=4294967295,"),
            sha.replace("$6$", "$6$rounds=999999999$"),
        ] {
            assert_eq!(text.parse::<Hashed>(), Err(NotHashed::Costly), "{text}");
        }
        // The first recommendation of RFC 9106.
        assert!(argon2.replace("m=64,t=1,p=1", "m=2097152,t=1,p=4").parse::<Hashed>().is_ok());
    }

    #[test]
    fn a_hash_is_not_shown() {
        assert_eq!(format!("{:?}", SECRET[0].parse::<Hashed>()), "Ok(Hashed(…))");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_text_is_a_whole_hash_or_refused(
            text in "(\\$(2[aby]|argon2id|argon2i|5|6|apr1)\\$)?(v=19\\$|rounds=)?[a-zA-Z0-9./$,=]{0,70}",
        ) {
            if let Ok(hashed) = text.parse::<Hashed>() {
                prop_assert!(!matches!(kind(&text), Kind::Weak | Kind::Other), "{text}");
                prop_assert_eq!(format!("{hashed:?}"), "Hashed(…)");
            }
        }

        #[test]
        fn a_hash_that_was_changed_anywhere_is_not_of_the_password(at in 0..60_usize, to in "[a-zA-Z0-9./]") {
            let mut text = SECRET[0].to_owned();
            text.replace_range(at..=at, &to);
            let is_of_it = text.parse::<Hashed>().is_ok_and(|hashed| cheap(&text) && hashed.is_of(b"secret"));
            // The letter of the version, and two with bits that say nothing.
            let says_nothing = [2, 28, 59].contains(&at);
            prop_assert!(!is_of_it || text == SECRET[0] || says_nothing, "{text}");
        }
    }

    /// As many rounds as the test has time for.
    fn cheap(text: &str) -> bool {
        text.get(4..6).is_some_and(|cost| cost == "04")
    }
}
