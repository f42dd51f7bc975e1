//! What stands in the place of TLS in a build that has none: nothing can be secured.

/// There are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {}

/// A place for terms, which there are not.
#[derive(Clone, Debug, Default)]
pub struct Slot;

/// No connection is.
#[derive(Clone, Debug)]
pub enum Secured {}

impl Slot {
    /// Never called.
    pub fn set(&self, terms: Terms) {
        match terms {}
    }

    /// Connections to a server of this name are not.
    #[must_use]
    pub fn secured(&self, _name: &str) -> Option<Secured> {
        None
    }
}
