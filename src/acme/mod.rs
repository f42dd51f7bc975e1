//! Certificates that the host orders by itself, from an authority that speaks ACME (RFC 8555).
//!
//! In: an authority, and host names. Out: files with a certificate and its key for each, renewed in time; or what came of
//! trying. Never: has two orders under way in one folder; asks again before the pause is over that a failure earned; or
//! lets go of a certificate for want of a better one.
//!
//! ```text
//! keep ── schedule      when? decides, without a clock or a file
//!   ├──── order ─ https one name, from the account to the chain
//!   └──── store         files; certificates are taken up from there as any others are
//!           └─ answers  what whoever accepts connections shows the authority meanwhile
//! ```

mod answers;
mod https;
mod keep;
mod order;
mod schedule;
mod store;

pub use self::{
    answers::Answers,
    keep::{Asked, keep},
    schedule::{Failed, Record},
    store::Store,
};
