//! Which clients may come in, by their address.

use http::Request;

use super::check::{Check, Instead, refuse};
use crate::{
    Body, Failure,
    facts::{End, Facts},
    failure::Code,
    front::Ip,
};

/// A client without an address, on a Unix socket, may come in: whoever may open the socket was chosen by its folder.
impl Check for Ip {
    fn check(&self, request: &mut Request<Body>) -> Result<(), Instead> {
        let client = request.extensions().get::<Facts>().map_or(End::Unknown, Facts::client);
        let End::Ip(address) = client else { return Ok(()) };
        if self.admits(address.ip()) {
            return Ok(());
        }
        let failure = Failure::new(Code::AddressDenied).detail(address.ip().to_canonical().to_string());
        Ok(refuse(failure, self.enforcement, request)?)
    }
}
