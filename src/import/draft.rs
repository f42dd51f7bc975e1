//! The configuration in the making: tables of lines, each of which knows where it comes from.
//!
//! What is wrong with it, our own reader says; what it refuses goes to the notes, until nothing is wrong any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use super::{Imported, Note, xml::Element};
use crate::config;

/// What stands behind `site` and `site.application`, in this order.
pub(super) struct Draft {
    site: Vec<Table>,
    application: Vec<Table>,
    notes: BTreeSet<Note>,
}

/// A table with a header.
struct Table {
    header: String,
    lines: Vec<Line>,
    /// Whether it means something as a whole only, as a rule does.
    is_whole: bool,
}

/// A table by its number, and a line of it; the header without one.
type Place = (usize, Option<usize>);

/// A line, or a few.
struct Line {
    text: String,
    /// What it was made of; `None` for what nothing was made of.
    from: Option<(usize, String)>,
}

impl Draft {
    pub(super) fn new(site: &str) -> Self {
        let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        let name: String = site.chars().map(|one| if fits(one) { one } else { '-' }).take(64).collect();
        let name = if name.is_empty() { "site" } else { &name };
        let own = |text: String| Line { text, from: None };
        let lines = vec![
            own(format!("name = {}", quoted(name))),
            own("# IIS keeps the bindings of a site in a file of its own; see `appcmd list site`.".to_owned()),
            own("bindings = [\"http://127.0.0.1:8080\"]".to_owned()),
        ];
        let site = vec![Table { header: "[[site]]".to_owned(), lines, is_whole: false }];
        Self { site, application: Vec::new(), notes: BTreeSet::new() }
    }

    /// Notes that `element` is not translated, or not quite.
    pub(super) fn note(&mut self, element: &Element<'_>, why: &str) {
        self.notes.insert(Note { line: element.line(), text: format!("<{}>: {why}", element.name()) });
    }

    /// Notes why an attribute of `element` is not translated.
    pub(super) fn note_attribute(&mut self, element: &Element<'_>, attribute: &str, why: &str) {
        let text = format!("<{} {attribute}>: {why}", element.name());
        self.notes.insert(Note { line: element.line(), text });
    }

    /// A line of the table `header`, which is begun if it is not there.
    pub(super) fn put(&mut self, header: &str, element: &Element<'_>, line: String) {
        let from = Some((element.line(), format!("<{}>", element.name())));
        let tables = self.tables(header);
        let line = Line { text: line, from };
        match tables.iter_mut().find(|table| table.header == header && !table.is_whole) {
            // What is said twice is said by the first.
            Some(table) if table.lines.iter().any(|other| key(&other.text) == key(&line.text)) => {
                let text = format!("{}: stands here a second time", line.from.expect("just made").1);
                self.notes.insert(Note { line: element.line(), text });
            }
            Some(table) => table.lines.push(line),
            None => tables.push(Table { header: header.to_owned(), lines: vec![line], is_whole: false }),
        }
    }

    /// The same, before all other lines of the table: where the first one that fits is meant.
    pub(super) fn put_first(&mut self, header: &str, element: &Element<'_>, line: String) {
        let is_new = !self.has(header, key(&line));
        self.put(header, element, line);
        if let Some(table) = self.tables(header).iter_mut().find(|table| is_new && table.header == header) {
            table.lines.rotate_right(1);
        }
    }

    /// Whether the table `header` says something under this key.
    pub(super) fn has(&mut self, header: &str, name: &str) -> bool {
        let mut tables = self.tables(header).iter().filter(|table| table.header == header);
        tables.any(|table| table.lines.iter().any(|line| key(&line.text) == name))
    }

    /// A table of its own, which stands or falls as a whole.
    pub(super) fn put_whole(&mut self, header: &str, element: &Element<'_>, name: &str, lines: Vec<String>) {
        let table = Table::whole(header, element, name, lines);
        self.tables(header).push(table);
    }

    /// The same, before all others of its kind.
    pub(super) fn put_whole_first(
        &mut self,
        header: &str,
        element: &Element<'_>,
        name: &str,
        lines: Vec<String>,
    ) {
        let table = Table::whole(header, element, name, lines);
        let tables = self.tables(header);
        let place = tables.iter().position(|table| table.header == header).unwrap_or(tables.len());
        tables.insert(place, table);
    }

    /// The application itself.
    pub(super) fn begin_application(&mut self) -> bool {
        if self.has_application() {
            return false;
        }
        let table = Table { header: APPLICATION.to_owned(), lines: Vec::new(), is_whole: false };
        self.application.insert(0, table);
        true
    }

    pub(super) fn has_application(&self) -> bool {
        self.application.iter().any(|table| table.header == APPLICATION)
    }

    /// Whether its application is one that runs.
    pub(super) fn has_code(&self) -> bool {
        let own = self.application.iter().find(|table| table.header == APPLICATION);
        own.is_some_and(|table| table.lines.iter().any(|line| line.text.starts_with("command = ")))
    }

    fn tables(&mut self, header: &str) -> &mut Vec<Table> {
        if header.contains("site.application") { &mut self.application } else { &mut self.site }
    }

    /// The configuration, without what our reader refuses.
    pub(super) fn finish(mut self) -> Imported {
        for _ in 0..MOST_ROUNDS {
            let (text, places) = self.written();
            let Err(faults) = config::parse(&text, Path::new("cohost.toml"), &|_| None) else {
                return self.with_notes(&text);
            };
            let mut refused = BTreeMap::new();
            for fault in faults.iter() {
                let Some(place) = places.get(fault.line).copied().flatten() else { continue };
                refused.entry(place).or_insert_with(|| fault.message.clone());
            }
            if !self.take_out(&refused) {
                break;
            }
        }
        self.bare()
    }

    /// The text, and for each of its lines, from 1, which table and which line of that it is.
    fn written(&self) -> (String, Vec<Option<Place>>) {
        let mut text = String::new();
        let mut places = vec![None];
        for (number, table) in self.site.iter().chain(&self.application).enumerate() {
            if number > 0 {
                text.push('\n');
                places.push(None);
            }
            let _ = writeln!(text, "{}", table.header);
            places.push(Some((number, None)));
            for (at, line) in table.lines.iter().enumerate() {
                let _ = writeln!(text, "{}", line.text);
                places.extend(line.text.split('\n').map(|_| Some((number, Some(at)))));
            }
        }
        (text, places)
    }

    /// Takes out what was refused, with the reasons; whether there was something to take.
    fn take_out(&mut self, refused: &BTreeMap<Place, String>) -> bool {
        let before = self.notes.len();
        let mut has_changed = false;
        // A key that is not there at all is named once, however many tables it has.
        let unknown: BTreeMap<_, _> = refused
            .iter()
            .filter(|(place, why)| place.1.is_none() && why.starts_with("unknown key"))
            .filter_map(|(place, why)| Some((self.table(place.0)?.stem().to_owned(), why.clone())))
            .collect();
        let mut number = 0;
        let (notes, site, application) = (&mut self.notes, &mut self.site, &mut self.application);
        for tables in [site, application] {
            tables.retain_mut(|table| {
                let own = refused.range((number, None)..(number + 1, None));
                number += 1;
                let stem = unknown.get(table.stem()).filter(|_| !table.is_fixed());
                let lines = table.lines.len();
                let goes = table.take_out(own.map(|((_, at), why)| (*at, why.as_str())), stem, notes);
                has_changed |= goes || table.lines.len() < lines;
                !goes
            });
        }
        has_changed || self.notes.len() > before
    }

    fn table(&self, number: usize) -> Option<&Table> {
        self.site.iter().chain(&self.application).nth(number)
    }

    /// What is left when nothing else can be taken out: a site without anything. Nobody has seen this happen.
    fn bare(mut self) -> Imported {
        self.notes.insert(Note { line: 1, text: "nothing of it could be translated".to_owned() });
        let empty = Self { notes: self.notes, ..Self::new("") };
        let (text, _) = empty.written();
        empty.with_notes(&format!("{text}\n{APPLICATION}\nstatic = \"public\"\n"))
    }

    fn with_notes(self, text: &str) -> Imported {
        let mut all = "# Made of a web.config by `cohost import`. See docs/configuration.md.\n".to_owned();
        if !self.notes.is_empty() {
            all.push_str("#\n# What is not in it, or not in the same way:\n");
        }
        for note in &self.notes {
            let note = note.to_string().replace(|character: char| character.is_control(), " ");
            let _ = writeln!(all, "#   {note}");
        }
        Imported { text: format!("{all}\n{text}"), notes: self.notes.into_iter().collect() }
    }
}

impl Table {
    fn whole(header: &str, element: &Element<'_>, name: &str, lines: Vec<String>) -> Self {
        let from = Some((element.line(), format!("<{} {name:?}>", element.name())));
        let lines = lines.into_iter().map(|text| Line { text, from: from.clone() }).collect();
        Self { header: header.to_owned(), lines, is_whole: true }
    }

    /// Whether nothing goes without it.
    fn is_fixed(&self) -> bool {
        self.header == APPLICATION || self.header == "[[site]]"
    }

    /// The key of a site, or an application, that it begins with.
    fn stem(&self) -> &str {
        let path = self.header.trim_matches(['[', ']']);
        let path =
            path.strip_prefix("site.application.").or_else(|| path.strip_prefix("site.")).unwrap_or(path);
        path.split('.').next().unwrap_or_default()
    }

    /// Takes out the lines that were refused, or says that the whole of it goes.
    fn take_out<'a>(
        &mut self,
        refused: impl Iterator<Item = (Option<usize>, &'a str)>,
        stem: Option<&String>,
        notes: &mut BTreeSet<Note>,
    ) -> bool {
        let mut reasons: BTreeMap<Option<usize>, &str> = refused.collect();
        if let Some(why) = stem {
            reasons.insert(None, why);
        }
        let whole = reasons.get(&None).or(reasons.values().next().filter(|_| self.is_whole)).copied();
        if let Some(why) = whole.filter(|_| !self.is_fixed()) {
            notes.extend(self.lines.iter().filter_map(|line| line.note(why)));
            return true;
        }
        let mut at = 0;
        self.lines.retain(|line| {
            let note = reasons.get(&Some(at)).and_then(|why| line.note(why));
            at += 1;
            let goes = note.is_some();
            notes.extend(note);
            !goes
        });
        self.lines.is_empty() && !self.is_fixed()
    }
}

impl Line {
    fn note(&self, why: &str) -> Option<Note> {
        let (line, what) = self.from.as_ref()?;
        Some(Note { line: *line, text: format!("{what}: {why}") })
    }
}

/// What stands before the `=` of a line.
fn key(line: &str) -> &str {
    line.split(" = ").next().unwrap_or_default()
}

/// `text` as a value: a dollar is one, and no variable.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '$' => quoted.push_str("$$"),
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// The same, for the name of a key.
pub(super) fn quoted_key(text: &str) -> String {
    quoted(text).replace("$$", "$")
}

/// A list of texts.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = texts.into_iter().map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}

pub(super) const APPLICATION: &str = "[[site.application]]";

/// How often something is taken out. More than a few would be a fault of ours.
const MOST_ROUNDS: usize = 20;
