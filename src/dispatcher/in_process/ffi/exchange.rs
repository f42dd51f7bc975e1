//! One request and its answer, while `handle` or a task's `poll` runs: what a `cohost_req *` points at.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

use hyper::upgrade::OnUpgrade;

use super::{
    Answer, Detached,
    answer::Asked,
    detached::OnCancel,
    objects::Object,
    request_body::{Callback, RequestBody},
    subject::Owner,
};
use crate::{
    Body, Failure,
    dispatcher::in_process::generation::Lease,
    facts::{Facts, RequestId},
    failure, fields, room,
};

/// One request and, soon, its answer.
pub(in crate::dispatcher::in_process) struct Exchange {
    pub(super) lease: Arc<Lease>,
    pub(super) facts: Facts,
    pub(super) parts: Parts,
    pub(super) body: Body,
    /// The whole body, for an application that asked for it.
    pub(super) buffered: Bytes,
    /// What makes an upgrade possible.
    on_upgrade: Option<OnUpgrade>,
    pub(super) outcome: Outcome,
}

/// How far it is.
pub(in crate::dispatcher::in_process) enum Outcome {
    /// No answer yet.
    Open,
    /// Answered, well or not.
    Answered(Result<Answer, Failure>),
    /// In the hands of a token.
    Detached(Arc<Detached>),
}

impl Exchange {
    pub(in crate::dispatcher::in_process) fn new(lease: Arc<Lease>, request: http::Request<Body>) -> Self {
        let (mut parts, body) = request.into_parts();
        // From a program that knows nothing of facts; it took the path base off, if there is one.
        let facts = Facts::take_from(&mut parts.extensions)
            .unwrap_or_else(|| Facts { path_base: Arc::clone(&lease.start.path_base), ..Facts::unknown() });
        let on_upgrade = clean(&mut parts, &body);
        Self { lease, facts, parts, body, buffered: Bytes::new(), on_upgrade, outcome: Outcome::Open }
    }

    pub(in crate::dispatcher::in_process) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(in crate::dispatcher::in_process) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Takes the body, to put [`set_buffered`](Self::set_buffered) in its place.
    pub(in crate::dispatcher::in_process) fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    pub(in crate::dispatcher::in_process) fn set_buffered(&mut self, whole: Bytes) {
        self.buffered = whole;
    }

    /// Whether it can be answered: it was not, or not well.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Open | Outcome::Answered(Err(_)))
    }

    /// What has become of it; it is open again, to no use.
    pub(super) fn take_outcome(&mut self) -> Outcome {
        std::mem::replace(&mut self.outcome, Outcome::Open)
    }

    /// Puts the request into the hands of a token; what stays is what the answer needs.
    pub(super) fn detach(&mut self, on_cancel: Option<Callback<OnCancel>>) -> Detached {
        let asked = self.asked();
        let nothing = http::Request::new(()).into_parts().0;
        let parts = std::mem::replace(&mut self.parts, nothing);
        let body = std::mem::take(&mut self.body);
        let buffered = std::mem::take(&mut self.buffered);
        Detached::new(&self.lease, asked, (parts, self.facts.clone(), buffered), body, on_cancel)
    }

    /// What of the request decides which answers are allowed.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            upgrade: self.on_upgrade.is_some(),
            head: self.parts.method == http::Method::HEAD,
            connect: self.parts.method == http::Method::CONNECT,
        }
    }

    /// Answers it with what came through a token.
    pub(in crate::dispatcher::in_process) fn set_answer(&mut self, answer: Result<Answer, Failure>) {
        self.outcome = Outcome::Answered(answer);
    }

    /// The response; an upgrade goes on by itself once the response is on the wire.
    pub(in crate::dispatcher::in_process) fn respond(&mut self) -> Result<http::Response<Body>, Failure> {
        let Outcome::Answered(answer) = self.take_outcome() else {
            return Err(Failure::new(failure::Code::NoResponse));
        };
        let answer = answer?;
        if let (Some(upgrade), Some(on_upgrade)) = (answer.upgrade, self.on_upgrade.take()) {
            self.lease.runtime.spawn(upgrade.wait(on_upgrade));
        }
        Ok(answer.response)
    }

    /// Makes the request body a handle; 0 when there is none or it was taken.
    pub(super) fn body_handle(&mut self) -> usize {
        body_handle(&self.lease, &mut self.body, self.facts.request_id)
    }
}

/// Leaves what the application is to see; returns what makes an upgrade possible, if there is one to decide on.
fn clean(parts: &mut Parts, body: &Body) -> Option<OnUpgrade> {
    let on_upgrade = parts.extensions.remove();
    let to = on_upgrade.as_ref().and_then(|_| fields::upgrade_wanted(&parts.headers, parts.version, body));
    fields::clean_for_library(&mut parts.headers);
    match to {
        Some(to) => fields::ask_upgrade(&mut parts.headers, to),
        None if parts.method != http::Method::CONNECT => return None,
        None => {}
    }
    on_upgrade
}

impl Drop for Exchange {
    fn drop(&mut self) {
        Facts::leave(std::mem::take(&mut self.parts.extensions));
        room::keep_fields(std::mem::take(&mut self.parts.headers));
    }
}

/// Makes a request body a handle; 0 when there is none or it was taken.
pub(super) fn body_handle(lease: &Lease, body: &mut Body, request: RequestId) -> usize {
    if http_body::Body::is_end_stream(body) {
        return 0;
    }
    let object = Object::Body(Arc::new(RequestBody::new(std::mem::take(body), Owner::of(lease, request))));
    lease.objects.insert(object).unwrap_or(0)
}
