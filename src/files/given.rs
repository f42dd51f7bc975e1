//! A piece of a file that an application answers with.
//!
//! In: the open file, and the head that the application made. Out: what the client asked for of it, as for a file of a
//! folder. Never: says of the file what the application has said otherwise.

use std::{os::fd::OwnedFd, sync::Arc, time::SystemTime};

use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use tokio::runtime::Handle;

use super::{Asked, Content, Mark, Piece, Validators, answer, mark};
use crate::Body;

/// A piece of an open file.
#[derive(Debug)]
pub(crate) struct Given {
    file: Arc<OwnedFd>,
    mark: Mark,
    at: u64,
    length: u64,
    /// Where it is read.
    runtime: Handle,
}

impl Given {
    /// `length` bytes of `file`, from `at` on, as it is now.
    pub(crate) fn new(file: OwnedFd, mark: Mark, (at, length): (u64, u64), runtime: Handle) -> Self {
        Self { file: Arc::new(file), mark, at, length, runtime }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// All of it.
    pub(crate) fn whole(self) -> Body {
        Body::new(Piece::new(self.file, self.at, self.length, self.runtime))
    }

    /// The answer to `request`, for which the application has made a head.
    pub(crate) fn answer(self, request: &Parts, status: StatusCode, mut fields: HeaderMap) -> Response<Body> {
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let is_part = fields.contains_key(header::CONTENT_RANGE);
        if status != StatusCode::OK || !is_read || is_part {
            let mut answer = Response::new(self.whole());
            (*answer.status_mut(), *answer.headers_mut()) = (status, fields);
            return answer;
        }
        let validators = self.validators(&mut fields);
        let mut asked = Asked::of(&request.method, &request.headers);
        if fields.get(header::ACCEPT_RANGES).is_some_and(|ranges| ranges == "none") {
            asked = asked.without_range();
        } else {
            fields.insert(header::ACCEPT_RANGES, http::HeaderValue::from_static("bytes"));
        }
        let all = (&Content::File(self.file), self.at, self.length);
        answer(&asked, all, &validators, fields, &self.runtime)
    }

    /// What the application says of the file; what the file says of itself, if the application says nothing.
    fn validators(&self, fields: &mut HeaderMap) -> Validators {
        let etag = fields.get(header::ETAG).cloned();
        let modified = fields.get(header::LAST_MODIFIED);
        if etag.is_some() || modified.is_some() {
            return Validators { etag, modified: modified.and_then(mark::seconds) };
        }
        let own = self.mark.validators_of_part(self.at, self.length, SystemTime::now());
        fields.extend(own.etag.clone().map(|etag| (header::ETAG, etag)));
        fields.extend(own.modified.and_then(mark::date).map(|date| (header::LAST_MODIFIED, date)));
        own
    }
}
