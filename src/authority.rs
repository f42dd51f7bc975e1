//! The authority that a client asks for: a host name, and perhaps a port. The target's counts before the Host field.

use http::{HeaderValue, Request, Uri, header};

/// What `request` asks for; empty if it names none.
pub(crate) fn of<B>(request: &Request<B>) -> &str {
    of_parts(request.uri(), request.headers().get(header::HOST))
}

/// The same, of what was kept of a request.
pub(crate) fn of_parts<'a>(uri: &'a Uri, host: Option<&'a HeaderValue>) -> &'a str {
    match uri.authority() {
        Some(authority) => authority.as_str(),
        None => host.and_then(|host| host.to_str().ok()).unwrap_or_default(),
    }
}

/// An authority without its port.
pub(crate) fn name(authority: &str) -> &str {
    match (authority.rfind(':'), authority.rfind(']')) {
        (Some(colon), Some(bracket)) if colon < bracket => authority,
        (Some(colon), _) => &authority[..colon],
        (None, _) => authority,
    }
}

/// The port of an authority, as it is written.
#[cfg(feature = "front")]
pub(crate) fn port(authority: &str) -> Option<&str> {
    authority[name(authority).len()..].strip_prefix(':').filter(|port| !port.is_empty())
}

/// A name without the dot that may stand at its end, and says nothing.
pub(crate) fn undotted(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether `name` ends in a dot and `parent`, and has something before that.
pub(crate) fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
}

#[cfg(all(test, feature = "front"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_ports_are_told_apart() {
        for (authority, is, at) in [
            ("a", "a", None),
            ("a:80", "a", Some("80")),
            ("a:", "a", None),
            ("[::1]", "[::1]", None),
            ("[::1]:80", "[::1]", Some("80")),
        ] {
            assert_eq!((name(authority), port(authority)), (is, at), "{authority}");
        }
    }

    proptest! {
        #[test]
        fn a_name_and_a_port_are_what_was_written(text in "[ -~]{0,30}") {
            let (is, at) = (name(&text), port(&text));
            prop_assert!(text.starts_with(is));
            let rest = &text[is.len()..];
            prop_assert!(at.is_none_or(|at| rest == [":", at].concat()));
            prop_assert!(at.is_some() || rest.is_empty() || rest == ":", "{rest:?}");
        }
    }
}
