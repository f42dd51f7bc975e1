//! Header fields that are spoken between host and instance alone.
//!
//! In: a field's name. Out: whether it is one of them. Neither clients nor applications may say or see them, in either
//! hosting model: what they say decides what is believed of a client.

/// Whether a field is the host's own. Where names become variables (CGI, WSGI), `_` and `-` are the same, so it is in
/// either spelling.
pub(crate) fn is_private(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'c') => begins(name, "cohost-"),
        Some(b'm') => begins(name, "ms-aspnetcore-"),
        _ => false,
    }
}

/// Whether a name begins so, in either spelling.
pub(crate) fn begins(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name.bytes().zip(prefix.bytes()).all(|(is, wanted)| is == wanted || (is == b'_' && wanted == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_look_alike_are_anybodys() {
        for name in ["cohost-facts", "cohost_facts", "ms-aspnetcore-token", "ms_aspnetcore_token"] {
            assert!(is_private(name), "{name}");
        }
        for name in ["cohost", "cohosts-x", "cookie", "ms-aspnetcor", "my-cohost-facts", ""] {
            assert!(!is_private(name), "{name}");
        }
    }
}
