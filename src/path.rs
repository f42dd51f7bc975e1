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

/// The path with those escapes undone that need not be (RFC 3986, section 6.2.2.2): `%61` is `a`. The others stay as they
/// are; `%2B` is not the same as `+`.
#[cfg(feature = "server")]
pub(crate) fn undone(path: &str) -> Cow<'_, str> {
    let needless = |three: &[u8]| byte_of(three).is_some_and(is_unreserved);
    match path.as_bytes().windows(3).any(needless) {
        true => Cow::Owned(respelled(path, str::to_owned)),
        false => Cow::Borrowed(path),
    }
}

/// The same, and the other escapes with digits in upper case.
#[cfg(feature = "front")]
pub(crate) fn canonical(path: &str) -> Cow<'_, str> {
    match path.contains('%') {
        true => Cow::Owned(respelled(path, str::to_ascii_uppercase)),
        false => Cow::Borrowed(path),
    }
}

/// The path with needless escapes undone, and `other` made of each of the others.
fn respelled(path: &str, other: impl Fn(&str) -> String) -> String {
    let mut respelled = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        respelled.push_str(&rest[..at]);
        rest = &rest[at..];
        let (escape, left) = match rest.as_bytes().get(..3).and_then(byte_of) {
            Some(byte) if is_unreserved(byte) && !ends_an_escape(&respelled, byte) => {
                respelled.push(char::from(byte));
                ("", &rest[3..])
            }
            Some(_) => rest.split_at(3),
            None => rest.split_at(1),
        };
        respelled.push_str(&other(escape));
        rest = left;
    }
    respelled.push_str(rest);
    respelled
}

/// Whether `before` and `byte` would be an escape together that nobody has sent: `%%36%31` says `%61`, and not `a`.
fn ends_an_escape(before: &str, byte: u8) -> bool {
    let begun = match before.as_bytes() {
        [.., b'%'] => true,
        [.., b'%', digit] => digit.is_ascii_hexdigit(),
        _ => false,
    };
    begun && byte.is_ascii_hexdigit()
}

/// What an escape stands for; `None` if it is none.
pub(crate) fn byte_of(escape: &[u8]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let [b'%', high, low] = *escape else { return None };
    Some(digit(high)? * 16 + digit(low)?)
}

/// What stands for itself wherever it stands.
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
            ("/%%36%31dmin", "/%%361dmin"),
            ("/%4%31", "/%4%31"),
            ("/%25%34%31", "/%2541"),
            ("/%%7e%61", "/%~a"),
            ("/%\u{e4}%61", "/%\u{e4}a"),
        ] {
            assert_eq!(canonical(sent), seen, "{sent}");
            assert_eq!(undone(sent).to_lowercase(), seen.to_lowercase(), "{sent}");
        }
        assert!(matches!(undone("/a%2fb%C3%a4"), Cow::Borrowed("/a%2fb%C3%a4")));
    }

    proptest! {
        #[cfg(feature = "front")]
        #[test]
        fn a_path_says_the_same_in_every_spelling(path in "(/([a%]|%[0-9a-fA-F]{0,2}){0,6}){1,4}") {
            let says = |path: &str| percent_encoding::percent_decode_str(path).collect::<Vec<u8>>();
            let (undone, canonical) = (undone(&path).into_owned(), canonical(&path).into_owned());
            prop_assert_eq!((says(&undone), says(&canonical)), (says(&path), says(&path)));
            prop_assert_eq!(&*super::undone(&undone), &*undone);
            prop_assert_eq!(has_dots(&undone), has_dots(&path));
        }

        #[test]
        fn a_normal_path_has_no_dot_segments_and_stays_as_it_is(path in "(/(\\.|%2e|%2E|a|%2F){0,4}){1,8}") {
            let once = without_dots(&path).into_owned();
            prop_assert!(once.starts_with('/'));
            prop_assert!(!has_dots(&once), "{}", once);
            prop_assert_eq!(&*without_dots(&once), &*once);
        }
    }
}
