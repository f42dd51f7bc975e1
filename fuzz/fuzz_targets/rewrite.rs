//! Rewrite rules. In: a template, and the path and query of a request. Never: a panic, or a path with dot segments or
//! control characters; nor a redirect to an authority that only the client has named.
#![no_main]

use std::path::Path;

use cohost::{
    facts::{End, Scheme},
    front::rewrite::{
        Action, Files, Kind, Maps, Outcome, Query, Rule, Rules, Subject, Template, Then, Unseen,
    },
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use libfuzzer_sys::fuzz_target;

struct Nothing;

impl Files for Nothing {
    fn kind(&self, _: &Path, _: &str) -> Result<Option<Kind>, Unseen> {
        Ok(None)
    }
}

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (template, target, cookie) = input;
    let (Ok(template), Ok(uri)) = (template.parse::<Template>(), target.parse::<Uri>()) else { return };
    if !uri.path().starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return;
    }
    let cookie = HeaderValue::from_bytes(cookie).unwrap_or(HeaderValue::from_static("a=b"));
    let fields = HeaderMap::from_iter([(header::COOKIE, cookie)]);
    let subject = || {
        Subject::new(uri.path(), uri.query(), "GET", &fields).asked(
            Scheme::Http,
            "shop.example",
            End::Unknown,
        )
    };
    let decided = |action| {
        let pattern = "^(.?)(.*)$".parse().expect("a pattern");
        let rule = Rule {
            name: String::new(),
            pattern,
            conditions: Vec::new(),
            any: false,
            action,
            then: Then::Next,
        };
        let rules = Rules { rules: vec![rule], maps: Maps::default() };
        match rules.decide(subject(), &Nothing, &mut |_, _| {}) {
            Ok(Outcome::Rewritten(target) | Outcome::Redirect(_, target)) => Some(target),
            _ => None,
        }
    };
    if template.check_rewrite().is_ok()
        && let Some(target) = decided(Action::Rewrite(template.clone(), Query::Keep))
    {
        let path = target.split('?').next().expect("there is one");
        assert!(path.starts_with('/') && !path.starts_with("//"), "{path}");
        assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    }
    let fixed = template.check_redirect().is_ok();
    if fixed && let Some(target) = decided(Action::Redirect(StatusCode::FOUND, template, Query::Keep)) {
        assert!(HeaderValue::from_str(&target).is_ok(), "{target}");
    }
});
