//! All that a site or an application wants, around what is behind it, in order.

use super::{
    auth,
    check::{Check, Checked},
    compression::Compression,
    cors::CrossOrigin,
    decompression::Decompression,
    files::Files,
    headers::{Amend, Amended},
    https::Secure,
    kept::Kept,
    limit::Limited,
    rewrite::Rewriting,
};
use crate::{front::Front, stage::Stage};

/// What `front` wants around `inner`; `inner` itself, if it wants nothing. What it remembers is `kept` under the
/// name of `place`, which no other front has.
#[must_use]
pub fn around(front: &Front, place: &str, kept: &Kept, inner: Stage) -> Stage {
    // From the inside out.
    let mut stage = inner;
    // Innermost: all that holds for what is behind holds for files as well.
    if let Some(files) = &front.files {
        stage = Stage::new(Files::kept(files, place, kept, stage));
    }
    // Files have no use for bodies; what is behind counts what comes out.
    if front.compression.as_ref().is_some_and(|compression| compression.decompress) {
        stage = Stage::new(Decompression::new(stage));
    }
    // Before files, which are found by the path that a request has then.
    if let Some(rules) = &front.rewrite {
        stage = Stage::new(Rewriting::new(rules.clone(), front.files.clone(), stage));
    }
    // Before all that an application does for a request, and behind what costs less.
    if let Some(wanted) = &front.auth {
        stage = auth::around(wanted, place, kept, stage);
    }
    // Before all that takes a path for what it says.
    if let Some(filter) = &front.filter {
        stage = Stage::new(Checked::new(vec![Box::new(filter.clone())], stage));
    }
    // Before what refuses requests that a browser asks with: it would not ask further.
    if let Some(cors) = &front.cors {
        stage = Stage::new(CrossOrigin::new(cors, stage));
    }
    // Before all that takes work, and behind who may not come in or goes elsewhere: that is not counted.
    if !front.limits.is_empty() {
        stage = Stage::new(Limited::new(&front.limits, place, kept, stage));
    }
    let checks = checks(front);
    if !checks.is_empty() {
        stage = Stage::new(Checked::new(checks, stage));
    }
    // Sees every answer of the stages inside, and what they did to it.
    if let Some(compression) = front.compression.clone().filter(|wanted| !wanted.algorithms.is_empty()) {
        stage = Stage::new(Compression::new(compression, stage));
    }
    // Outermost: every answer has these fields, whoever gives it.
    let amends = amends(front);
    if !amends.is_empty() {
        stage = Stage::new(Amended::new(amends, stage));
    }
    stage
}

/// What looks at requests, in order.
fn checks(front: &Front) -> Vec<Box<dyn Check>> {
    let mut checks: Vec<Box<dyn Check>> = Vec::new();
    // First: who may not come in learns nothing else.
    if let Some(ip) = &front.ip {
        checks.push(Box::new(ip.clone()));
    }
    // Before all that costs more than a redirect.
    if let Some(to) = front.https.as_ref().and_then(|https| https.redirect) {
        checks.push(Box::new(Secure { to, host: front.canonical_host.clone() }));
    }
    if let Some(host) = &front.canonical_host {
        checks.push(Box::new(host.clone()));
    }
    // After the way to TLS, which is for everybody; before anything that shows what the site has.
    if let Some(clients) = &front.clients {
        checks.push(Box::new(*clients));
    }
    checks
}

/// What is done to answers, in order.
fn amends(front: &Front) -> Vec<Box<dyn Amend>> {
    let mut amends: Vec<Box<dyn Amend>> = Vec::new();
    // First: what is written below field by field wins.
    for rule in &front.outbound {
        amends.push(Box::new(rule.clone()));
    }
    if let Some(hsts) = front.https.as_ref().and_then(|https| https.hsts) {
        amends.push(Box::new(hsts));
    }
    // Last: what is written field by field is meant.
    if let Some(headers) = &front.headers {
        amends.push(Box::new(headers.clone()));
    }
    amends
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::{
        Body,
        stage::{Answering, Serve},
    };

    struct Application;

    impl Serve for Application {
        fn serve(&self, _: Request<Body>) -> Answering {
            unreachable!("nobody asks")
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_there() {
        let application = Stage::new(Application);
        let around = around(&Front::default(), "site", &Kept::default(), application.clone());
        assert!(around.same_as(&application));
    }
}
