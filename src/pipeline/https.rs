//! Where requests go that came in clear text, or under another name than the one a site wants to be known by.
//!
//! Never: sends anybody to another authority than the one he asked for, or the one that is configured.

use http::{HeaderValue, Request, Response, StatusCode, header};

use super::{
    asked,
    check::{Check, Instead},
};
use crate::{
    Body, Failure, authority,
    facts::Scheme,
    failure::Code,
    front::{CanonicalHost, ToHttps},
};

/// Sends whoever came in clear text to TLS.
#[derive(Clone, Debug)]
pub(super) struct Secure {
    pub(super) to: ToHttps,
    /// At once, lest he is redirected twice.
    pub(super) host: Option<CanonicalHost>,
}

impl Check for Secure {
    fn check(&self, request: &mut Request<Body>) -> Result<(), Instead> {
        if asked::scheme(request) == Scheme::Https {
            return Ok(());
        }
        let named = self.host.as_ref().map_or(authority::of(request), CanonicalHost::as_str);
        let name = authority::name(named);
        if name.is_empty() {
            return Err(Failure::new(Code::BadRequest)
                .detail("there is no Host field to redirect to")
                .into());
        }
        let target = asked::target(request);
        Err(redirect(
            self.to.status,
            &match self.to.port {
                443 => format!("https://{name}{target}"),
                port => format!("https://{name}:{port}{target}"),
            },
        ))
    }
}

/// Sends whoever asked for another authority to the right one.
impl Check for CanonicalHost {
    fn check(&self, request: &mut Request<Body>) -> Result<(), Instead> {
        let (asked, scheme) = (authority::of(request), asked::scheme(request));
        if self.is(asked, scheme) {
            return Ok(());
        }
        let (scheme, target) = (scheme.as_str(), asked::target(request));
        let port = match (authority::port(self.as_str()), authority::port(asked)) {
            (None, Some(port)) => format!(":{port}"),
            _ => String::new(),
        };
        Err(redirect(StatusCode::PERMANENT_REDIRECT, &format!("{scheme}://{}{port}{target}", self.as_str())))
    }
}

/// An answer that sends a client there; it has no body, which nobody would see.
pub(super) fn redirect(status: StatusCode, to: &str) -> Instead {
    let Ok(location) = HeaderValue::from_str(to) else {
        return Failure::new(Code::BadRequest).detail("there is no way to write where this would go").into();
    };
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::LOCATION, location);
    answer.into()
}
