//! What a site asks of its clients, where connections may have been made on other terms.

use crate::{facts::Asked, options::TlsVersion};

/// What a request's connection has to have been made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients {
    /// What the site asks in the way of certificates.
    pub asked: Asked,
    /// What it has to speak at least, where it speaks TLS.
    pub min_version: TlsVersion,
}
