//! TLS towards servers that somebody else runs: whom the host believes, and what it shows of itself.
//!
//! A leaf: whoever connects to such a server imports it. In: authorities, a certificate of the host's own, the name that a
//! server has to have. Out: streams in clear text, or what is wrong, in words for who runs the host. Never: reads a file,
//! but those of the system's authorities; or goes on with a server that has not shown that it is the one that is meant.
//!
//! There is no switch to believe anybody. A server whose certificate no authority has signed is believed when that very
//! certificate is named.

#[cfg(feature = "tls")]
mod believed;
#[cfg(not(feature = "tls"))]
mod none;
#[cfg(feature = "tls")]
mod refusal;
#[cfg(feature = "tls")]
mod terms;

#[cfg(not(feature = "tls"))]
pub use self::none::{Secured, Slot, Terms};
#[cfg(feature = "tls")]
pub use self::{
    believed::{Believed, NotBelieved},
    refusal::told,
    terms::{Secured, Slot, Terms},
};
#[cfg(feature = "tls")]
pub(crate) use self::{refusal::NotSecured, terms::Channel};
