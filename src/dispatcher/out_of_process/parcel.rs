//! A request as an instance gets it, before it is sent.

use std::sync::Arc;

use http::Request;

use super::{
    flights::Line,
    pool::Carrier,
    switch::Switch,
    upload::{Upload, Watch},
};
use crate::Failure;

/// A request as an instance gets it, and what is known of it.
pub(crate) struct Parcel {
    pub(super) line: Line,
    pub(super) request: Request<Upload>,
    pub(super) watch: Option<Arc<Watch>>,
    pub(super) switch: Switch,
    pub(super) carrier: Carrier,
}

impl Parcel {
    /// The same once more, if it has no body, asks for no switch, and its method may be repeated.
    #[cfg(feature = "front")]
    pub(crate) fn again(&self) -> Option<Self> {
        // A body that is watched is none that is empty.
        let has_body = self.watch.is_some();
        if has_body || !matches!(self.switch, Switch::No) || !self.request.method().is_idempotent() {
            return None;
        }
        let mut request = Request::new(Upload::none());
        *request.method_mut() = self.request.method().clone();
        *request.uri_mut() = self.request.uri().clone();
        *request.version_mut() = self.request.version();
        *request.headers_mut() = self.request.headers().clone();
        Some(Self {
            line: self.line.clone(),
            request,
            watch: None,
            switch: Switch::No,
            carrier: self.carrier,
        })
    }
}

/// Why a request has no answer.
pub(crate) struct Undelivered {
    pub(crate) failure: Failure,
    /// The request, if the instance cannot have seen anything of it.
    pub(crate) untouched: Option<Box<Parcel>>,
}

impl From<Failure> for Undelivered {
    fn from(failure: Failure) -> Self {
        Self { failure, untouched: None }
    }
}
