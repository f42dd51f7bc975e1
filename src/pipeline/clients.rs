//! Requests come on connections that were made on the terms of their site.
//!
//! A client may ask for one site as it makes a connection and for another in a request: the terms that it has kept to are
//! the first one's.

use http::Request;

use super::check::{Check, Instead};
use crate::{
    Body, Failure,
    facts::{Asked, Facts},
    failure::Code,
    front::Clients,
    options::TlsVersion,
};

impl Check for Clients {
    fn check(&self, request: &mut Request<Body>) -> Result<(), Instead> {
        let facts = request.extensions().get::<Facts>();
        let tls = facts.and_then(|facts| facts.connection.tls.as_ref());
        match (tls, self.asked) {
            (Some(tls), wanted) if tls.asked == wanted && tls.version >= on_the_wire(self.min_version) => {
                Ok(())
            }
            // A browser makes another connection when it gets this.
            (Some(_), _) => Err(Failure::new(Code::Misdirected).into()),
            (None, Asked::Required(_)) => {
                let detail = "the request came without TLS, and the site requires client certificates";
                Err(Failure::new(Code::CertificateRequired).detail(detail).into())
            }
            (None, _) => Ok(()),
        }
    }
}

/// As facts have it.
fn on_the_wire(version: TlsVersion) -> u16 {
    match version {
        TlsVersion::Tls12 => 0x0303,
        TlsVersion::Tls13 => 0x0304,
    }
}
