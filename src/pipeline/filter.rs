//! Which requests are let through, by what is written in them.

use http::Request;

use super::check::{Check, Instead, refuse};
use crate::{Body, facts::Facts, front::Filter};

impl Check for Filter {
    fn check(&self, request: &mut Request<Body>) -> Result<(), Instead> {
        let facts = request.extensions().get::<Facts>();
        let sent =
            facts.and_then(|facts| facts.target.as_deref()).and_then(|sent| std::str::from_utf8(sent).ok());
        let target = || request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let judged =
            self.judge(request.method(), request.uri(), sent.unwrap_or_else(target), request.headers());
        Ok(judged.or_else(|failure| refuse(failure, self.enforcement, request))?)
    }
}
