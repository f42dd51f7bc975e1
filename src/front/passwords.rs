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
    /// Cut off, or written in another way.
    #[error("is not a whole hash of bcrypt ($2y$), argon2 ($argon2id$) or SHA-crypt ($5$, $6$)")]
    Malformed,
}

impl FromStr for Hashed {
    type Err = NotHashed;

    fn from_str(text: &str) -> Result<Self, NotHashed> {
        let is_one = match kind(text) {
            Kind::Bcrypt => bcrypt::HashParts::from_str(text).is_ok(),
            Kind::Argon2 => phc::PasswordHash::new(text).is_ok_and(|hash| hash.hash.is_some()),
            Kind::ShaCrypt => PasswordHashRef::new(text).is_ok(),
            Kind::Weak => return Err(NotHashed::Weak),
            Kind::Other => false,
        };
        if is_one { Ok(Self(text.into())) } else { Err(NotHashed::Malformed) }
    }
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

#[cfg(test)]
mod tests {
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
        for text in ["", "secret", "$2y$05$short", "$argon2id$v=19", "$argon2id$", "rqXexS6ZhobKA"] {
            assert_eq!(refused(text), NotHashed::Malformed, "{text}");
        }
    }

    #[test]
    fn a_hash_is_not_shown() {
        assert_eq!(format!("{:?}", SECRET[0].parse::<Hashed>()), "Ok(Hashed(…))");
    }
}
