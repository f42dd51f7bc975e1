//! The environment of an instance.
//!
//! In: what the host's own environment was, handed in by the program (the library reads no variable), and what is
//! configured. Out: the whole environment of the instance, `${NAME}` expanded. Never: a name that is the host's to set
//! comes through from either.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use serde::{Deserialize, Serialize};

/// The environment of an instance, before the host adds its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// What is passed on from the host's own environment. Empty: nothing is inherited.
    pub inherited: Vec<(OsString, OsString)>,
    /// What is configured. `${NAME}` in a value stands for the inherited value of `NAME`, or for nothing if there is
    /// none; so a list is appended to by naming it.
    pub configured: Vec<(OsString, OsString)>,
    /// Who wins where both have a name.
    pub precedence: Precedence,
}

/// Who wins where a variable is both inherited and configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precedence {
    /// What is configured.
    #[default]
    Configured,
    /// What is inherited.
    Inherited,
}

impl Environment {
    /// All variables, without those that are the host's to set.
    pub(super) fn variables(&self) -> BTreeMap<OsString, OsString> {
        let inherited: BTreeMap<_, _> =
            self.inherited.iter().filter(|(name, _)| usable(name)).cloned().collect();
        let mut all = inherited.clone();
        for (name, value) in &self.configured {
            if !usable(name) {
                tracing::warn!(variable = %name.display(), "not passed on: the name is the host's to set, or none");
                continue;
            }
            let wins = self.precedence == Precedence::Configured || !inherited.contains_key(name);
            if wins {
                all.insert(name.clone(), expanded(value, &inherited));
            }
        }
        all
    }
}

/// Whether a name can be a variable's, and is not the host's to set.
fn usable(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.is_empty() && !name.contains(&b'=') && !reserved(name)
}

/// Names that say how an instance is hosted. From outside they speak of another host: of the one that hosts us.
fn reserved(name: &[u8]) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn expanded(value: &OsStr, inherited: &BTreeMap<OsString, OsString>) -> OsString {
    substitute(value, b"${", |name| {
        let known = inherited.get(OsStr::from_bytes(name));
        if known.is_none() {
            tracing::warn!(variable = %name.escape_ascii(), "named by a configured variable, but not set");
        }
        Some(known.map_or(b"".as_slice(), |value| value.as_bytes()))
    })
}

/// `text` with every `<open>name}` replaced by what `lookup` has for the name, and left alone where it has nothing.
///
/// What is put in is not searched again.
pub(super) fn substitute<'v>(
    text: &OsStr,
    open: &[u8],
    lookup: impl Fn(&[u8]) -> Option<&'v [u8]>,
) -> OsString {
    let mut rest = text.as_bytes();
    let mut result = Vec::with_capacity(rest.len());
    while let Some(start) = rest.windows(open.len()).position(|window| window == open) {
        let (before, found) = rest.split_at(start);
        result.extend_from_slice(before);
        let inside = &found[open.len()..];
        let end = inside.iter().position(|byte| *byte == b'}');
        match end.and_then(|end| lookup(&inside[..end]).map(|value| (end, value))) {
            Some((end, value)) => {
                result.extend_from_slice(value);
                rest = &inside[end + 1..];
            }
            None => {
                result.extend_from_slice(open);
                rest = inside;
            }
        }
    }
    result.extend_from_slice(rest);
    OsString::from_vec(result)
}

const RESERVED: &[&[u8]] =
    &[b"PORT", b"ASPNETCORE_PORT", b"ASPNETCORE_TOKEN", b"ASPNETCORE_APPL_PATH", b"NOTIFY_SOCKET"];
const RESERVED_PREFIXES: &[&[u8]] = &[b"COHOST_", b"LISTEN_", b"WATCHDOG_"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn value(environment: &Environment, name: &str) -> Option<String> {
        environment.variables().get(OsStr::new(name)).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn configured_variables_override_inherited_ones_and_a_switch_reverses_that() {
        let mut environment = Environment {
            inherited: pairs(&[("A", "inherited")]),
            configured: pairs(&[("A", "configured"), ("B", "configured")]),
            precedence: Precedence::Configured,
        };
        assert_eq!(value(&environment, "A").as_deref(), Some("configured"));
        environment.precedence = Precedence::Inherited;
        assert_eq!(value(&environment, "A").as_deref(), Some("inherited"));
        assert_eq!(value(&environment, "B").as_deref(), Some("configured"));
    }

    #[test]
    fn a_list_is_appended_to_and_an_unset_name_is_empty() {
        let environment = Environment {
            inherited: pairs(&[("PATH", "/bin")]),
            configured: pairs(&[("PATH", "/opt:${PATH}"), ("X", "<${NONE}>"), ("Y", "$PATH ${ open")]),
            precedence: Precedence::Configured,
        };
        assert_eq!(value(&environment, "PATH").as_deref(), Some("/opt:/bin"));
        assert_eq!(value(&environment, "X").as_deref(), Some("<>"));
        assert_eq!(value(&environment, "Y").as_deref(), Some("$PATH ${ open"));
    }

    #[test]
    fn names_that_are_the_hosts_never_leak_in() {
        let names = ["PORT", "NOTIFY_SOCKET", "LISTEN_FDS", "COHOST_APP", "ASPNETCORE_TOKEN", "WATCHDOG_PID"];
        let foreign: Vec<_> = names.iter().map(|name| (OsString::from(name), OsString::from("1"))).collect();
        let environment = Environment {
            inherited: foreign.clone(),
            configured: foreign,
            precedence: Precedence::Configured,
        };
        assert!(environment.variables().is_empty());
    }

    #[test]
    fn a_reserved_value_cannot_be_had_by_naming_it() {
        let environment = Environment {
            inherited: pairs(&[("ASPNETCORE_TOKEN", "secret")]),
            configured: pairs(&[("MINE", "${ASPNETCORE_TOKEN}")]),
            precedence: Precedence::Configured,
        };
        assert_eq!(value(&environment, "MINE").as_deref(), Some(""));
    }

    #[test]
    fn only_known_names_in_braces_are_replaced() {
        let port = |name: &[u8]| (name == b"port").then_some(b"8080".as_slice());
        let replaced = substitute(OsStr::new(r#"{"a":{port}} {port {x}{port}"#), b"{", port);
        assert_eq!(replaced, OsStr::new(r#"{"a":8080} {port {x}8080"#));
    }

    proptest! {
        #[test]
        fn text_without_known_names_stays_byte_for_byte(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = OsString::from_vec(bytes);
            prop_assert_eq!(substitute(&text, b"{", |_| None), text.clone());
            prop_assert_eq!(substitute(&text, b"${", |_| None), text);
        }
    }
}
