//! Who may come in at all: by a password, or because another server says so. With both, both have to agree.

mod basic;
mod client;
mod forward;

use self::{basic::Passwords, forward::ForwardAuth};
use crate::{front::Auth, pipeline::Kept, stage::Stage};

/// What `auth` wants around `inner`, with what is `kept` of it at `place`. The password comes first: it costs no other
/// server anything.
pub(super) fn around(auth: &Auth, place: &str, kept: &Kept, inner: Stage) -> Stage {
    let mut stage = inner;
    if let Some(forward) = &auth.forward {
        stage = Stage::new(ForwardAuth::new(forward, place, kept, stage));
    }
    if let Some(basic) = &auth.basic {
        stage = Stage::new(Passwords::new(basic, place, kept, stage));
    }
    stage
}
