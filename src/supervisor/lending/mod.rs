//! Instances that belong to the supervisor, and are lent to workers: a worker may crash or be replaced, they go on.
//!
//! ```text
//! worker: Borrower ══ I want this launch ══ supervisor: Lender ── Ledger (decides)
//!                  ══ you have that one  ══                    └─ Instance ── guard ── …
//! ```
//!
//! A worker says what it wants, not which one: whoever wants what runs already, and is equal to the last field, is lent
//! that. So nothing of what a worker knew has to be handed on when it ends.

mod borrower;
mod carried;
mod failures;
mod ledger;
mod lender;
mod message;
#[cfg(test)]
mod tests;

pub(super) use self::borrower::Lent;
pub use self::{
    borrower::Borrower,
    carried::{Carried, Past},
    lender::{Lender, UNCLAIMED},
    message::{Ask, Ended, Found, Kept, Lending, NotLent, Parting, Release, Tried, Want},
};
