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
};

impl Check for Clients {
    fn check(&self, request: &mut Request<Body>) -> Result<(), Instead> {
        let facts = request.extensions().get::<Facts>();
        let tls = facts.and_then(|facts| facts.connection.tls.as_ref());
        match (tls.map(|tls| tls.asked), self.asked) {
            (Some(asked), wanted) if asked == wanted => Ok(()),
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
