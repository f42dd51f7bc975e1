//! The file as it was written: tables, keys and values that know their place.
//!
//! In: the spanned tree of the `toml` crate. Out: values of our own types. On the way every refusal becomes a
//! [`Fault`] at the place it is about, and reading goes on: nobody wants to hear of the second fault after mending the
//! first.

use std::{
    cell::RefCell,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Account,
    expand::expand,
    fault::{Fault, Faults, Quote, Refusal},
    keys::{self, Keys},
};

/// One reading of one file.
pub(super) struct Reading<'a> {
    file: Arc<Path>,
    /// Where relative paths begin.
    folder: PathBuf,
    text: &'a str,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
    env: &'a dyn Fn(&str) -> Option<String>,
    /// Why nobody can run as that.
    pub(super) account: &'a dyn Fn(Account<'_>) -> Result<(), String>,
    faults: RefCell<Vec<Fault>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        text: &'a str,
        file: &Path,
        env: &'a dyn Fn(&str) -> Option<String>,
        account: &'a dyn Fn(Account<'_>) -> Result<(), String>,
    ) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        // Absolute, since a process in another working directory will be told of files here.
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Self { file: file.into(), folder, text, lines, env, account, faults: RefCell::default() }
    }

    /// Notes that what stands at `at` was refused.
    pub(super) fn refuse(&self, at: &Range<usize>, key: impl Into<String>, refusal: Refusal) {
        let (line, column) = self.place(at.start);
        self.faults.borrow_mut().push(Fault {
            file: Arc::clone(&self.file),
            line,
            column,
            key: key.into(),
            message: refusal.message,
            suggestion: refusal.suggestion,
        });
    }

    /// The number of the line that holds the byte at `offset`, for messages that name another place.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.place(offset).0
    }

    /// The file itself, absolute.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(self.file.file_name().unwrap_or_default())
    }

    /// Where relative paths begin.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `path`, seen from the folder of the file.
    pub(super) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        // Collected from its parts, so that no `./` is left in what is shown.
        self.folder.join(path).components().collect()
    }

    /// The variable of this name, if it is set.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    /// What was read, unless something was refused.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Faults> {
        let faults = self.faults.into_inner();
        match read {
            Some(read) if faults.is_empty() => Ok(read),
            _ => Err(Faults::new(faults)),
        }
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// A table with keys of ours.
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading<'a>,
    /// What its keys are called in messages: `site.shop`; empty at the top of the file.
    pub(super) name: String,
    /// Where it begins, for what is missing in it.
    pub(super) at: Range<usize>,
    table: &'a DeTable<'a>,
    keys: &'static Keys,
}

impl<'a> Section<'a> {
    /// A section, whose unknown keys are refused here and now.
    pub(super) fn new(
        reading: &'a Reading<'a>,
        name: String,
        at: Range<usize>,
        table: &'a DeTable<'a>,
        keys: &'static Keys,
    ) -> Self {
        let section = Self { reading, name, at, table, keys };
        for key in table.keys().filter(|key| !keys.names.contains(&key.get_ref().as_ref())) {
            reading.refuse(&key.span(), section.key(key.get_ref()), unknown(key.get_ref(), keys));
        }
        section
    }

    /// The value of `key`, if it was written.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.keys.names.contains(&key), "{key} is missing from the table of keys");
        self.table.get(key).map(|written| Value { reading: self.reading, written })
    }

    /// What `read` makes of the value of `key`; `None` also when it was refused, which is noted.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Refusal>,
    ) -> Option<T> {
        self.noted(key, self.value(key)?, read)
    }

    /// Puts what `read` makes of the value of `key` into `slot`; leaves the default there when it is not written.
    pub(super) fn set<T>(
        &self,
        slot: &mut T,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Refusal>,
    ) {
        if let Some(value) = self.read(key, read) {
            *slot = value;
        }
    }

    /// What `read` makes of each value in the list `key`, with their places. Refused ones are noted and left out.
    pub(super) fn read_each<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Value<'a>) -> Result<T, Refusal>,
    ) -> Option<Vec<(T, Range<usize>)>> {
        let values = self.read(key, Value::list)?;
        let read_one = |value: Value<'a>| {
            let at = value.at();
            self.noted(key, value, &read).map(|value| (value, at))
        };
        Some(values.into_iter().filter_map(read_one).collect())
    }

    /// Each table of the list of tables `key`, with its place. Empty when there is none; what is no table is noted.
    pub(super) fn tables(&self, key: &'static str) -> Vec<(&'a DeTable<'a>, Range<usize>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let header = self.keys.header.trim_matches(['[', ']']);
        let header = if header.is_empty() { key.to_owned() } else { format!("{header}.{key}") };
        let not_tables = || Refusal::new(format!("must be written [[{header}]], since there may be several"));
        let DeValue::Array(items) = value.written.get_ref() else {
            self.refuse(key, &value.at(), not_tables());
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => tables.push((table, item.span())),
                _ => self.refuse(key, &item.span(), not_tables()),
            }
        }
        tables
    }

    /// The table `key`, if there is one; what is no table is noted.
    pub(super) fn section(&self, key: &'static str, keys: &'static Keys) -> Option<Section<'a>> {
        let table = self.read(key, Value::table)?;
        let at = self.value(key)?.at();
        Some(Section::new(self.reading, self.key(key), at, table, keys))
    }

    /// Notes that what stands at `at`, under `key`, was refused.
    pub(super) fn refuse(&self, key: &str, at: &Range<usize>, refusal: Refusal) {
        self.reading.refuse(at, self.key(key), refusal);
    }

    fn noted<T>(
        &self,
        key: &str,
        value: Value<'a>,
        read: impl FnOnce(&Value<'a>) -> Result<T, Refusal>,
    ) -> Option<T> {
        read(&value).map_err(|refusal| self.refuse(key, &value.at(), refusal)).ok()
    }

    /// `key`, called as in messages.
    fn key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// A value as it was written.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) reading: &'a Reading<'a>,
    pub(super) written: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn at(&self) -> Range<usize> {
        self.written.span()
    }

    /// Text, with its variables put in.
    pub(super) fn text(&self) -> Result<String, Refusal> {
        let DeValue::String(text) = self.written.get_ref() else {
            return Err(self.must_be("text in quotes"));
        };
        let text = expand(text, self.reading.env)?;
        if text.contains('\0') {
            return Err(Refusal::new(format!("must not contain a NUL character (is {text:?})")));
        }
        Ok(text)
    }

    pub(super) fn is_text(&self) -> bool {
        self.written.get_ref().is_str()
    }

    /// The values of a list.
    pub(super) fn list(&self) -> Result<Vec<Value<'a>>, Refusal> {
        let DeValue::Array(items) = self.written.get_ref() else {
            let refusal = self.must_be("a list");
            return Err(match self.as_written() {
                Some(one) => refusal.suggest(format!("[{one}]")),
                None => refusal,
            });
        };
        Ok(items.iter().map(|written| Value { reading: self.reading, written }).collect())
    }

    /// The keys and values of a table that is the application's own.
    pub(super) fn table(&self) -> Result<&'a DeTable<'a>, Refusal> {
        match self.written.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.must_be("a table")),
        }
    }

    /// A refusal that names what was expected and what was found.
    pub(super) fn must_be(&self, expected: &str) -> Refusal {
        let found = match self.written.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        Refusal::new(format!("must be {expected} (is {found})"))
    }

    /// What stands in the file, when it is short enough for a message.
    pub(super) fn as_written(&self) -> Option<&'a str> {
        self.reading.text.get(self.at()).filter(|text| text.len() <= 80 && !text.contains('\n'))
    }
}

/// A refusal of `key`, which says where it belongs, or which key looks like it.
fn unknown(key: &str, keys: &Keys) -> Refusal {
    let elsewhere = keys::ALL.iter().find(|other| !other.header.is_empty() && other.names.contains(&key));
    match elsewhere {
        Some(other) => Refusal::new(format!("unknown key here; it belongs in {}", other.header)),
        None => Refusal::new("unknown key").suggest_nearest(key, keys.names, Quote::Key),
    }
}
