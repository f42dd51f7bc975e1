//! What a site asks of its clients in the way of certificates, where connections may have been made on other terms.

use crate::facts::Asked;

/// What has to have been asked on a request's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients {
    /// What the site asks.
    pub asked: Asked,
}
