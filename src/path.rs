//! The one spelling of a path: what is the same is written the same.
//!
//! Never: takes `%2F` for a slash, or `//` for `/`.

use std::borrow::Cow;

/// RFC 3986, section 5.2.4, which also takes `%2e` for a dot.
#[cfg(feature = "server")]
pub(crate) fn without_dots(path: &str) -> Cow<'_, str> {
    if !has_dots(path) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match dots(segment) {
            None => kept.push(segment),
            Some(count) => {
                if count == 2 {
                    kept.pop();
                }
                if last {
                    // `/a/.` and `/a/b/..` are directories.
                    kept.push("");
                }
            }
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}

/// Whether a segment of the path is one dot or two, however they are spelled.
pub(crate) fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| dots(segment).is_some())
}

/// Whether the path has control characters, percent-encoded.
pub(crate) fn has_controls(path: &str) -> bool {
    path.as_bytes().windows(3).any(is_control)
}

/// The path with those escapes undone that need not be (RFC 3986, section 6.2.2): `%61` is `a`; and the others with
/// digits in upper case.
#[cfg(feature = "front")]
pub(crate) fn canonical(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        canonical.push_str(&rest[..at]);
        rest = &rest[at..];
        let byte = rest.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if is_unreserved(byte) => canonical.push(char::from(byte)),
            Some(byte) => canonical.push_str(&format!("%{byte:02X}")),
            None => canonical.push('%'),
        }
        rest = &rest[if byte.is_some() { 3 } else { 1 }..];
    }
    canonical.push_str(rest);
    Cow::Owned(canonical)
}

/// What stands for itself wherever it stands.
#[cfg(feature = "front")]
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Whether three bytes are a control character, percent-encoded.
fn is_control(triple: &[u8]) -> bool {
    match triple {
        [b'%', b'0' | b'1', low] => low.is_ascii_hexdigit(),
        [b'%', b'7', b'f' | b'F'] => true,
        _ => false,
    }
}

/// Whether a segment is one dot or two, however they are spelled.
fn dots(segment: &str) -> Option<usize> {
    let mut rest = segment.as_bytes();
    let mut count = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return None,
        };
        count += 1;
    }
    matches!(count, 1 | 2).then_some(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dot_segments_go_and_everything_else_stays() {
        for (sent, seen) in [
            ("/", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/../../etc", "/etc"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/a%2Fb/..%2fc", "/a%2Fb/..%2fc"),
            ("//a//b", "//a//b"),
            ("/a//../b", "/a/b"),
            ("/...", "/..."),
            ("/a+b", "/a+b"),
        ] {
            assert_eq!(without_dots(sent), seen, "{sent}");
        }
    }

    #[cfg(feature = "front")]
    #[test]
    fn what_need_not_be_escaped_is_not() {
        for (sent, seen) in [
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2Fb"),
            ("/%c3%a4", "/%C3%A4"),
            ("/%", "/%"),
            ("/%zz%4", "/%zz%4"),
            ("/%2561", "/%2561"),
        ] {
            assert_eq!(canonical(sent), seen, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_has_no_dot_segments_and_stays_as_it_is(path in "(/(\\.|%2e|%2E|a|%2F){0,4}){1,8}") {
            let once = without_dots(&path).into_owned();
            prop_assert!(once.starts_with('/'));
            prop_assert!(!has_dots(&once), "{}", once);
            prop_assert_eq!(&*without_dots(&once), &*once);
        }
    }
}
