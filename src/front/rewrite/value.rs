//! Text on its way into a new target, which is written there as what it comes from allows.

use crate::path::is_unreserved;

/// Text, and who has said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Who has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The configuration, or the host.
    Configuration,
    /// The client, in its path.
    Path,
    /// The client, in its query.
    Query,
    /// The client, as the authority that brought it here.
    Authority,
    /// The client, anywhere else.
    Elsewhere,
}

impl Value {
    pub(super) fn new(text: impl Into<String>, origin: Origin) -> Self {
        Self { text: text.into(), origin }
    }
}

/// Why there is no new target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// What the client sent cannot be part of one.
    #[error("{0}")]
    Client(&'static str),
    /// The rules make none, whatever the client sends.
    #[error("{0}")]
    Rules(&'static str),
}

/// A target in the making.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) text: String,
    /// Whether two slashes at its beginning are meant.
    names_authority: bool,
}

/// Where in a target something is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Authority,
    Path,
    Query,
}

impl Target {
    pub(super) fn new(names_authority: bool) -> Self {
        Self { text: String::new(), names_authority }
    }

    pub(super) fn push(&mut self, value: &Value) -> Result<(), Unusable> {
        let place = self.place();
        match (value.origin, place) {
            (Origin::Configuration, _) => self.push_trusted(&value.text),
            (_, Place::Authority) => self.push_in_authority(value)?,
            (_, Place::Start | Place::Path) => self.push_in_path(value),
            (_, Place::Query) => self.push_in_query(value),
        }
        if self.text.len() > LONGEST { Err(Unusable::Rules("the new target is too long")) } else { Ok(()) }
    }

    /// The same for a whole path, whose first slash may end an authority that is complete.
    pub(super) fn push_path(&mut self, value: &Value) -> Result<(), Unusable> {
        if self.place() == Place::Authority && !self.text.ends_with('/') && value.text.starts_with('/') {
            self.push_in_path(value);
            return Ok(());
        }
        self.push(value)
    }

    fn place(&self) -> Place {
        let starts = ["https://", "http://"].into_iter().chain(self.names_authority.then_some("//"));
        let (start, named) = match starts.into_iter().find_map(|start| self.text.strip_prefix(start)) {
            Some(behind) => (behind, true),
            None => (&*self.text, false),
        };
        match start.find(['?', '#']) {
            Some(_) => Place::Query,
            None if named && !start.contains('/') => Place::Authority,
            None if start.is_empty() => Place::Start,
            None => Place::Path,
        }
    }

    /// What a site has written is taken as it is, but for bytes that no target has.
    fn push_trusted(&mut self, text: &str) {
        let text =
            if self.text == "/" && !self.names_authority { text.trim_start_matches('/') } else { text };
        for byte in text.bytes() {
            match byte {
                b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => self.escape(byte),
                byte if byte.is_ascii_graphic() => self.text.push(char::from(byte)),
                byte => self.escape(byte),
            }
        }
    }

    /// The authority that the client came to is one; of anything else, one label of a longer name at the most.
    fn push_in_authority(&mut self, value: &Value) -> Result<(), Unusable> {
        let more: &[u8] = if value.origin == Origin::Authority { b"-._:[]" } else { b"-" };
        if value.text.is_empty()
            || !value.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        {
            return Err(Unusable::Client("what would be part of an authority is none"));
        }
        self.text.push_str(&value.text);
        Ok(())
    }

    fn push_in_path(&mut self, value: &Value) {
        if self.text.is_empty() {
            self.text.push('/');
        }
        // Of what was no path or query, none is meant to begin a segment.
        let has_slashes = value.origin != Origin::Elsewhere;
        // Never two slashes at the beginning, which browsers take for an authority.
        let text = if self.text == "/" { value.text.trim_start_matches('/') } else { &value.text };
        self.push_escaped(text, value.origin, |byte| {
            is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte) || (byte == b'/' && has_slashes)
        });
    }

    fn push_in_query(&mut self, value: &Value) {
        let is_query = value.origin == Origin::Query;
        self.push_escaped(&value.text, value.origin, |byte| {
            is_unreserved(byte) || b":@/".contains(&byte) || (is_query && b"!$&'()*+,;=?".contains(&byte))
        });
    }

    fn push_escaped(&mut self, text: &str, origin: Origin, stays: impl Fn(u8) -> bool) {
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let digits = bytes.get(at + 1..at + 3);
            // What was in a target is escaped already.
            let escapes = *byte == b'%'
                && origin != Origin::Elsewhere
                && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            if escapes || stays(*byte) { self.text.push(char::from(*byte)) } else { self.escape(*byte) }
        }
    }

    fn escape(&mut self, byte: u8) {
        self.text.push_str(&format!("%{byte:02X}"));
    }
}

/// No target is longer than that, also one that rules have made.
pub(super) const LONGEST: usize = 64 * 1024;
