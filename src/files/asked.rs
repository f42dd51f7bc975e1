//! What of a request decides how much of a file is sent: RFC 9110, sections 13 and 14.
//!
//! In: fields of a request, and what is known of the file. Out: all of it, parts, or why nothing. Never: looks at the file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{
    mark::seconds,
    range::{Wanted, wanted},
};

/// What a request asks for, short of which file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    is_head: bool,
    /// Those that count, usually none.
    fields: HeaderMap,
}

/// What is known of a file: the same two for the same bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Validators {
    /// An entity tag; one that is not strong is good for less.
    pub(crate) etag: Option<HeaderValue>,
    /// In seconds since 1970.
    pub(crate) modified: Option<u64>,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 200 or 206; 416 if nothing that is wanted is there.
    Send(Wanted),
    /// 304: it has it.
    NotModified,
    /// 412: it wants another one than there is.
    Failed,
}

impl Asked {
    /// What a request with these fields asks for, which is a GET or a HEAD.
    pub(crate) fn of(method: &Method, all: &HeaderMap) -> Self {
        let mut fields = HeaderMap::new();
        // In a line: a request has few fields, and looking names up costs more than passing them all.
        for (name, value) in all {
            if FIELDS.contains(name) {
                fields.append(name.clone(), value.clone());
            }
        }
        Self { is_head: *method == Method::HEAD, fields }
    }

    /// The same, of something that has no parts.
    pub(crate) fn without_range(mut self) -> Self {
        self.fields.remove(header::RANGE);
        self
    }

    /// Whether it asks for anything but the whole file.
    pub(crate) fn is_plain(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether only the head of the answer is wanted.
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// What it gets of `length` bytes, in the order of section 13.2.2.
    pub(crate) fn outcome(&self, length: u64, file: &Validators, now: SystemTime) -> Outcome {
        if self.is_plain() {
            return Outcome::Send(Wanted::Whole);
        }
        let tag = file.etag.as_ref().map(HeaderValue::as_bytes);
        if self.fields.contains_key(header::IF_MATCH) {
            if !self.names(header::IF_MATCH, |other| tag.is_some_and(|tag| strong(tag, other))) {
                return Outcome::Failed;
            }
        } else if let (Some(date), Some(modified)) = (self.date(header::IF_UNMODIFIED_SINCE), file.modified)
            && modified > date
        {
            return Outcome::Failed;
        }
        if self.fields.contains_key(header::IF_NONE_MATCH) {
            if self.names(header::IF_NONE_MATCH, |other| tag.is_some_and(|tag| weak(tag, other))) {
                return Outcome::NotModified;
            }
        } else if let (Some(date), Some(modified)) = (self.date(header::IF_MODIFIED_SINCE), file.modified)
            && modified <= date
            // Nobody has got anything at a time that is still to come.
            && UNIX_EPOCH + Duration::from_secs(date) <= now
        {
            return Outcome::NotModified;
        }
        Outcome::Send(match self.fields.get(header::RANGE) {
            Some(range) if !self.is_head && self.has_the_same(file, now) => wanted(range.as_bytes(), length),
            _ => Wanted::Whole,
        })
    }

    /// Whether `If-Range` lets parts be sent.
    fn has_the_same(&self, file: &Validators, now: SystemTime) -> bool {
        let Some(field) = self.fields.get(header::IF_RANGE).map(HeaderValue::as_bytes) else { return true };
        if field.starts_with(b"\"") || field.starts_with(b"W/") {
            return file.etag.as_ref().is_some_and(|tag| strong(tag.as_bytes(), field));
        }
        // Within a second a file can be written twice, and be as old as before.
        let is_settled = |modified: u64| now > UNIX_EPOCH + Duration::from_secs(modified.saturating_add(1));
        self.date(header::IF_RANGE)
            .is_some_and(|date| file.modified.is_some_and(|it| it == date && is_settled(it)))
    }

    /// Whether a field is `*`, or names a tag for which that is so.
    fn names(&self, field: HeaderName, is_it: impl Fn(&[u8]) -> bool) -> bool {
        let values = self.fields.get_all(field);
        values.iter().any(|value| value.as_bytes().trim_ascii() == b"*" || tags(value.as_bytes()).any(&is_it))
    }

    fn date(&self, field: HeaderName) -> Option<u64> {
        seconds(self.fields.get(field)?)
    }
}

/// The entity tags in a list, up to whatever is none. Commas may stand inside of them.
pub(crate) fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let start = if rest.starts_with(b"W/") { 2 } else { 0 };
        let inside = rest.get(start..)?.strip_prefix(b"\"")?;
        let end = inside.iter().position(|byte| *byte == b'"')?;
        let (tag, after) = rest.split_at(start + 1 + end + 1);
        rest = after;
        Some(tag)
    })
}

fn strong(one: &[u8], other: &[u8]) -> bool {
    one == other && !one.starts_with(b"W/")
}

fn weak(one: &[u8], other: &[u8]) -> bool {
    opaque(one) == opaque(other)
}

/// A tag without what makes it weak.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

const FIELDS: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn asked(request: http::request::Builder) -> Asked {
        let request = request.body(()).expect("valid");
        Asked::of(request.method(), request.headers())
    }

    /// What these fields get of ten bytes with the tag `"a,b"`, written at second 1,000,000.
    fn outcome(fields: &[(&str, &str)]) -> Outcome {
        let mut request = Request::get("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let file = Validators { etag: Some(HeaderValue::from_static("\"a,b\"")), modified: Some(1_000_000) };
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000);
        asked(request).outcome(10, &file, now)
    }

    const BEFORE: &str = "Mon, 12 Jan 1970 13:46:39 GMT";
    const THEN: &str = "Mon, 12 Jan 1970 13:46:40 GMT";
    const WHOLE: Outcome = Outcome::Send(Wanted::Whole);

    fn part() -> Outcome {
        Outcome::Send(Wanted::Parts(std::iter::once(2..4).collect()))
    }

    #[test]
    fn who_has_it_is_told_so() {
        for tags in ["\"a,b\"", "W/\"a,b\"", "*", "\"x\", \"a,b\"", "\"x\",,W/\"a,b\""] {
            assert_eq!(outcome(&[("if-none-match", tags)]), Outcome::NotModified, "{tags}");
        }
        for tags in ["\"a\"", "a,b", "\"x\", a \"a,b\"", "", "\"a,b", "\"A,B\""] {
            assert_eq!(outcome(&[("if-none-match", tags)]), WHOLE, "{tags}");
        }
        assert_eq!(
            outcome(&[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")]),
            Outcome::NotModified
        );
        assert_eq!(outcome(&[("if-modified-since", THEN)]), Outcome::NotModified);
        assert_eq!(outcome(&[("if-modified-since", BEFORE)]), WHOLE);
        assert_eq!(outcome(&[("if-modified-since", "yesterday")]), WHOLE);
        assert_eq!(outcome(&[("if-modified-since", "Sat, 12 Jan 2069 13:46:40 GMT")]), WHOLE);
        // The tag says more than the date.
        assert_eq!(outcome(&[("if-none-match", "\"x\""), ("if-modified-since", THEN)]), WHOLE);
    }

    #[test]
    fn who_wants_another_one_gets_none() {
        assert_eq!(outcome(&[("if-match", "\"x\"")]), Outcome::Failed);
        assert_eq!(outcome(&[("if-match", "W/\"a,b\"")]), Outcome::Failed);
        assert_eq!(outcome(&[("if-match", "\"a,b\""), ("if-unmodified-since", BEFORE)]), WHOLE);
        assert_eq!(outcome(&[("if-match", "*")]), WHOLE);
        assert_eq!(outcome(&[("if-unmodified-since", BEFORE)]), Outcome::Failed);
        assert_eq!(outcome(&[("if-unmodified-since", THEN)]), WHOLE);
    }

    #[test]
    fn parts_are_sent_to_whoever_has_the_rest() {
        let range = ("range", "bytes=2-3");
        assert_eq!(outcome(&[range]), part());
        for same in ["\"a,b\"", THEN] {
            assert_eq!(outcome(&[range, ("if-range", same)]), part(), "{same}");
        }
        for other in ["\"x\"", "W/\"a,b\"", BEFORE, "x"] {
            assert_eq!(outcome(&[range, ("if-range", other)]), WHOLE, "{other}");
        }
        assert_eq!(outcome(&[range, ("if-none-match", "\"a,b\"")]), Outcome::NotModified);
        let head = Request::head("/").header("range", "bytes=2-3");
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000);
        assert_eq!(asked(head).outcome(10, &Validators::default(), now), WHOLE);
    }

    #[test]
    fn a_date_is_not_enough_while_the_file_may_still_be_written() {
        let request = Request::get("/").header("range", "bytes=2-3").header("if-range", THEN);
        let file = Validators { etag: None, modified: Some(1_000_000) };
        let now = UNIX_EPOCH + Duration::from_millis(1_000_000_900);
        assert_eq!(asked(request).outcome(10, &file, now), WHOLE);
    }

    proptest! {
        #[test]
        fn tags_are_pieces_of_the_list_in_its_order(list in "([ ,\t]|W/|\"[^\"]{0,5}\"|[a-z\"]){0,20}") {
            let mut rest = list.as_bytes();
            for tag in tags(list.as_bytes()) {
                let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
                prop_assert!(opaque.len() >= 2 && opaque.starts_with(b"\"") && opaque.ends_with(b"\""));
                prop_assert!(!opaque[1..opaque.len() - 1].contains(&b'"'));
                let at = rest.windows(tag.len()).position(|part| part == tag);
                rest = &rest[at.expect("it is in what is left") + tag.len()..];
            }
        }

        #[test]
        fn a_tag_is_found_wherever_it_stands(before in "(\"[a-z]{0,5}\" ?, ?){0,5}", own in "[!#-~]{0,10}") {
            let own = format!("\"{own}\"");
            let list = format!("{before}{own}, \"other\"");
            prop_assert!(tags(list.as_bytes()).any(|tag| tag == own.as_bytes()));
        }
    }
}
