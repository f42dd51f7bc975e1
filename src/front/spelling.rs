//! What a path, or a query, could mean to an application, however it is spelled.
//!
//! In: a path as it was sent. Out: texts to compare rules with; a rule that finds itself in any of them holds. Applications
//! differ in what they take for the same, so all of it is taken together: too much is refused sooner than too little.
//! Never: changes what the application gets.

use std::borrow::Cow;

/// Text in which upper and lower case are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded(Box<str>);

impl Folded {
    /// As it is compared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Folded {
    fn from(text: &str) -> Self {
        Self(fold(text).into())
    }
}

/// The spellings of one path.
#[derive(Debug)]
pub(super) struct Spellings {
    /// Each begins with a slash, has no others than that between segments, and no escapes.
    pub(super) plain: Vec<String>,
    /// The path with its escapes, and without: what is in them and gone from the plain ones can be denied, too.
    pub(super) other: Vec<String>,
}

impl Spellings {
    /// Of `path`, which was sent as `sent`.
    pub(super) fn of(path: &str, sent: &str) -> Self {
        let folded = fold(path);
        let mut other = vec![];
        if sent != path {
            other.push(fold(sent));
        }
        if is_plain(path) {
            return Self { plain: vec![folded], other };
        }
        let unescaped = fold(&unescaped(path));
        let mut plain = Vec::with_capacity(4);
        for parameters in [Parameters::Stay, Parameters::Go] {
            for dots in [Dots::Stay, Dots::Go] {
                let spelling = joined(&unescaped, parameters, dots);
                if !plain.contains(&spelling) {
                    plain.push(spelling);
                }
            }
        }
        other.extend([folded, unescaped]);
        Self { plain, other }
    }
}

/// What is behind a semicolon in a segment: some applications take it for a part of the name.
#[derive(Clone, Copy, PartialEq)]
enum Parameters {
    Stay,
    Go,
}

/// Dot segments that were escaped together with their slashes.
#[derive(Clone, Copy, PartialEq)]
enum Dots {
    Stay,
    Go,
}

/// The segments of an unescaped path behind single slashes, without what does not count at their ends.
fn joined(unescaped: &str, parameters: Parameters, dots: Dots) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_slash = true;
    for segment in unescaped.split(['/', '\\']) {
        let name = match parameters {
            Parameters::Stay => segment,
            Parameters::Go => segment.split(';').next().unwrap_or_default(),
        };
        ends_in_slash = name.is_empty();
        match name {
            "" | "." => {}
            ".." if dots == Dots::Go => drop(kept.pop()),
            // Some file systems do not see them.
            name => kept.push(
                Some(name.trim_end_matches(['.', ' '])).filter(|name| !name.is_empty()).unwrap_or(name),
            ),
        }
    }
    let end = if ends_in_slash && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Whether there is one spelling, but for upper and lower case.
fn is_plain(path: &str) -> bool {
    let one_of_several = |byte| matches!(byte, b'%' | b';' | b'\\' | 0x80..);
    path.starts_with('/')
        && !path.bytes().any(one_of_several)
        && !["//", "./"].iter().any(|several| path.contains(several))
        && !path.ends_with('.')
}

/// Text without escapes: also those that are left when others are gone.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        bytes.push(byte);
        // What comes out may end an escape that began before it.
        while let [.., b'%', high, low] = *bytes
            && let Some(byte) = byte_of(high, low)
        {
            bytes.truncate(bytes.len() - 3);
            bytes.push(byte);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether escapes are left when those of `path` are gone.
pub(super) fn is_escaped_twice(path: &str) -> bool {
    if !path.contains('%') {
        return false;
    }
    let once: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    once.windows(3).any(|three| three[0] == b'%' && byte_of(three[1], three[2]).is_some())
}

fn byte_of(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? * 16 + digit(low)?)
}

/// Upper and lower case as one, for all that has them.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // There and back: some letters have the upper case of another one, as `ſ` that of `s`.
    text.to_lowercase().to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spellings(path: &str) -> Vec<String> {
        Spellings::of(path, path).plain
    }

    #[test]
    fn a_plain_path_has_one_spelling() {
        assert_eq!(spellings("/Shop/cart.html"), ["/shop/cart.html"]);
        assert_eq!(spellings("/"), ["/"]);
    }

    #[test]
    fn what_an_application_may_take_for_the_same_is_among_the_spellings() {
        for path in [
            "/admin",
            "/%61dmin",
            "/%2561dmin",
            "/%25%36%31dmin",
            "//admin",
            "/ADMIN",
            "/admin;x=1",
            "/admin%3bx",
            "/;x/admin",
            "/x%2f..%2fadmin",
            "/x%2f%2e%2e%2fadmin",
            "/x/..;/admin",
            "\\admin",
            "/%5cadmin",
            "/admin.",
            "/admin%20",
            "/%2e/admin",
        ] {
            assert!(spellings(path).contains(&"/admin".to_owned()), "{path}: {:?}", spellings(path));
        }
        assert!(spellings("/admin%2f").contains(&"/admin/".to_owned()));
        assert!(spellings("/%c5%bfecret").contains(&"/secret".to_owned()));
    }

    #[test]
    fn escapes_of_escapes_are_seen() {
        for twice in ["/%252e", "/%2541", "/%25%34%31", "/%2%35%32e", "/a%252Fb"] {
            assert!(is_escaped_twice(twice), "{twice}");
        }
        for once in ["/a", "/%41", "/100%25", "/%25zz", "/%", "/%4"] {
            assert!(!is_escaped_twice(once), "{once}");
        }
    }

    proptest! {
        #[test]
        fn an_escape_more_or_a_slash_more_changes_no_spelling(
            segments in proptest::collection::vec("[a-zA-Z0-9%;.]{1,6}", 1..4),
            escaped in 0..20_usize,
        ) {
            let path = format!("/{}", segments.join("/"));
            let at = escaped % path.len();
            let more = format!("{}%{:02x}{}", &path[..at], path.as_bytes()[at], &path[at + 1..]);
            // An escape that is put into another one makes another text of that.
            prop_assume!(unescaped(&more) == unescaped(&path));
            let (before, after) = (spellings(&path), spellings(&more));
            prop_assert!(before.iter().all(|spelling| after.contains(spelling)), "{:?} {:?}", before, after);
            let doubled = spellings(&path.replace('/', "//"));
            prop_assert!(before.iter().all(|spelling| doubled.contains(spelling)), "{:?} {:?}", before, doubled);
        }

        #[test]
        fn plain_spellings_have_no_escapes_empty_segments_or_parameters(path in "/[ -~]{0,30}") {
            let spellings = spellings(&path);
            for spelling in &spellings {
                prop_assert!(spelling.starts_with('/') && !spelling.contains("//"), "{}", spelling);
                prop_assert!(!spelling.contains('\\') && spelling == &*unescaped(spelling), "{}", spelling);
            }
            let last = spellings.last().unwrap();
            prop_assert!(!last.contains(';'), "{}", last);
            prop_assert!(!last.split('/').any(|segment| segment == ".."), "{}", last);
        }

        #[test]
        fn case_is_folded_once_and_for_all(text in any::<String>()) {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once.clone());
            prop_assert_eq!(fold(&text.to_uppercase()), once.clone());
            prop_assert_eq!(fold(&text.to_lowercase()), once);
        }
    }
}
