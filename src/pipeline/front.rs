//! All that a site or an application wants, around what is behind it, in order.

use super::{
    check::{Check, Checked},
    files::Files,
};
use crate::{front::Front, stage::Stage};

/// What `front` wants around `inner`; `inner` itself, if it wants nothing.
#[must_use]
pub fn around(front: &Front, inner: Stage) -> Stage {
    // From the inside out.
    let mut stage = inner;
    // Innermost: all that holds for what is behind holds for files as well.
    if let Some(files) = &front.files {
        stage = Stage::new(Files::before(files.clone(), stage));
    }
    let mut checks: Vec<Box<dyn Check>> = Vec::new();
    // Outermost: who may not come in learns nothing else.
    if let Some(ip) = &front.ip {
        checks.push(Box::new(ip.clone()));
    }
    if !checks.is_empty() {
        stage = Stage::new(Checked::new(checks, stage));
    }
    stage
}
