//! The shape of `cohost.toml` as a JSON schema, for editors that complete and check while one types.
//!
//! In: the tables of keys, and what `docs/configuration.md` says of each: its type, its default, its meaning. There is no
//! second list that could tell otherwise. Out: a schema of draft 2020-12.
//! Never: refuses what is right. What only a whole file can have wrong, `check` finds.

use serde_json::{Map, Value, json};

use super::keys::{self, Keys};

/// A JSON schema of the configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut tables = Map::new();
    for keys in all().filter(|keys| !keys.header.is_empty()) {
        tables.insert(name(keys).to_owned(), table(keys));
    }
    let parts = keys::TOP
        .names
        .iter()
        .map(|key| ((*key).to_owned(), value(key, &keys::TOP, untold(key, &keys::TOP))));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cohost.toml",
        "type": "object",
        "additionalProperties": false,
        "required": ["site"],
        "properties": parts.collect::<Map<_, _>>(),
        "$defs": tables,
    })
}

/// A row of a table of the handbook.
#[derive(Clone, Copy)]
struct Row {
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
}

/// What a table is called among the definitions: `site.application` for `[[site.application]]`.
fn name(keys: &Keys) -> &'static str {
    keys.header.trim_matches(['[', ']'])
}

fn table(keys: &Keys) -> Value {
    let section = section(keys);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys.names {
        let row = row(section, key).unwrap_or_else(|| untold(key, keys));
        if row.default == "required" {
            required.push(*key);
        }
        properties.insert((*key).to_owned(), value(key, keys, row));
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

/// What may stand behind a key.
fn value(key: &str, keys: &Keys, row: Row) -> Value {
    let reference = inner(key, keys).map(|table| json!({ "$ref": format!("#/$defs/{}", name(table)) }));
    let mut alternatives = Vec::new();
    for kind in row.kind.split([',']).flat_map(|kinds| kinds.split(" or ")).map(str::trim) {
        let kind = kind.trim_start_matches("or ");
        let one = of_kind(kind, reference.as_ref());
        if !kind.is_empty() && !alternatives.contains(&one) {
            alternatives.push(one);
        }
    }
    let mut schema = match alternatives.len() {
        0 => json!({}),
        1 => alternatives.remove(0),
        _ => json!({ "anyOf": alternatives }),
    };
    let default = row.default.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
    if let Some(object) = schema.as_object_mut() {
        if !row.meaning.is_empty() {
            object.insert("description".to_owned(), without_links(row.meaning).into());
        }
        if let Some(default) = default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            object.insert("default".to_owned(), default);
        }
    }
    schema
}

/// All tables with keys of ours.
fn all() -> impl Iterator<Item = &'static Keys> {
    keys::ALL.iter().copied().chain([&keys::LIMITS])
}

/// What has a part of the handbook and no row: tables with a header.
fn untold(key: &str, keys: &Keys) -> Row {
    let is_list = inner(key, keys).is_some_and(|table| table.header.starts_with("[["));
    Row { kind: if is_list { "list of tables" } else { "table" }, default: "", meaning: "" }
}

/// The table of ours that stands behind this key, or of which a list does.
fn inner(key: &str, keys: &Keys) -> Option<&'static Keys> {
    let below = format!("{}.{key}", name(keys));
    all().find(|table| name(table) == below).or_else(|| all().find(|table| name(table) == key))
}

/// What is written for a kind of values, as "How values are written" tells it. A kind that is not known here may be
/// anything.
fn of_kind(kind: &str, table: Option<&Value>) -> Value {
    if let Some(items) = kind.strip_prefix("list of ") {
        let of = |one: &str| of_kind(one, table);
        let items = match items {
            "tables" => of("table"),
            "networks" => of("text"),
            "numbers" => of("number"),
            "paths" => of("path"),
            other => of(other),
        };
        return json!({ "type": "array", "items": items });
    }
    match kind {
        "table" => table.cloned().unwrap_or_else(|| json!({ "type": "object" })),
        "list" => json!({ "type": "array" }),
        "table of sizes" | "table of tables of text" => json!({ "type": "object" }),
        "table of text" => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        "text" | "path" | "duration" | "pattern" | "template" => json!({ "type": "string" }),
        "none" => json!({ "type": "string", "pattern": "^([Nn][Oo][Nn][Ee]|.*\\$\\{.*)$" }),
        // Where a variable can stand there has to be text.
        "size" | "number" => json!({ "type": ["number", "string"] }),
        "0" => json!({ "const": 0 }),
        "switch" => json!({ "anyOf": [
            { "type": "boolean" },
            { "type": "string", "pattern": "^(true|false|.*\\$\\{.*)$" },
        ] }),
        _ => json!({}),
    }
}

/// The part of the handbook that describes a table: the one with its header, or else the first with all its keys.
fn section(keys: &Keys) -> &'static str {
    let title = format!("`{}`", keys.header);
    let named = PAGE.split("\n## ").find(|part| part.lines().next() == Some(title.as_str()));
    let complete = || PAGE.split("\n### ").find(|part| keys.names.iter().all(|key| row(part, key).is_some()));
    named.or_else(complete).unwrap_or_default()
}

/// The row of `key` in the first table of `section` that has one.
fn row(section: &'static str, key: &str) -> Option<Row> {
    let start = format!("| `{key}` |");
    let line = section.lines().find_map(|line| line.strip_prefix(start.as_str()))?;
    let mut cells = line.splitn(3, " | ").map(|cell| cell.trim().trim_end_matches('|').trim());
    Some(Row { kind: cells.next()?, default: cells.next()?, meaning: cells.next()? })
}

/// `[text](place)` as `text`.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('[') {
        plain.push_str(before);
        match behind.split_once("](").and_then(|(name, link)| Some((name, link.split_once(')')?.1))) {
            Some((name, after)) if !name.contains(['[', ']', '`']) => {
                plain.push_str(name);
                rest = after;
            }
            _ => {
                plain.push('[');
                rest = behind;
            }
        }
    }
    plain + rest
}

const PAGE: &str = include_str!("../../docs/configuration.md");

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with this text by the schema.
    fn wrong(text: &str) -> Vec<String> {
        let schema = schema();
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let table: toml::Table = text.parse().expect("TOML");
        let value = serde_json::to_value(table).expect("JSON");
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    const SITE: &str = "[[site]]\nname = 'a'\nbindings = ['http://*:80']\n";

    #[test]
    fn it_is_a_schema_of_its_draft() {
        assert!(jsonschema::meta::is_valid(&schema()));
    }

    #[test]
    fn what_the_host_accepts_the_schema_accepts() {
        assert_eq!(wrong(include_str!("tests/everything.toml")), [""; 0]);
        let variables = format!(
            "server = {{ threads = '${{N}}', watch = '${{W:-true}}', max_connections = 'none' }}\n{SITE}"
        );
        assert_eq!(wrong(&variables), [""; 0]);
    }

    #[test]
    fn the_examples_of_the_handbook_and_the_folder_fit() {
        let smallest = format!("{SITE}[[site.application]]\nlibrary = 'x'\n");
        for example in PAGE.split("```toml\n").skip(1).filter_map(|part| part.split("```").next()) {
            let whole =
                if example.contains("[[site]]") { example.to_owned() } else { smallest.clone() + example };
            assert_eq!(wrong(&whole), [""; 0], "{example}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config");
        let files =
            std::fs::read_dir(folder).expect("the examples").map(|file| file.expect("an entry").path());
        let files = files.filter(|file| file.extension().is_some_and(|end| end == "toml"));
        let texts = files.map(|file| std::fs::read_to_string(file).expect("text"));
        let texts: Vec<_> = texts.filter(|text| text.contains("[[site]]")).collect();
        assert!(texts.len() > 2);
        for text in texts {
            assert_eq!(wrong(&text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_the_host_refuses_for_its_key_or_its_type_the_schema_refuses() {
        for (text, complaint) in [
            ("log = {}", "\"site\" is a required property"),
            ("[[site]]\nname = 'a'", "\"bindings\" is a required property"),
            (&format!("{SITE}bindngs = []"), "'bindngs' was unexpected"),
            (&format!("{SITE}ip = {{ allow = '::1' }}"), "\"::1\" is not of type \"array\""),
            (&format!("{SITE}application = [{{ preload = 'maybe' }}]"), "preload"),
            (
                &format!("{SITE}application = [{{ limits = {{ open_file = 1 }} }}]"),
                "'open_file' was unexpected",
            ),
            (&format!("server = {{ header_timeout = 10 }}\n{SITE}"), "10 is not of type \"string\""),
        ] {
            let wrong = wrong(text);
            assert!(wrong.iter().any(|told| told.contains(complaint)), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn an_editor_gets_to_know_what_a_key_means_and_what_holds_without_it() {
        let schema = schema();
        let key = &schema["$defs"]["server"]["properties"]["header_timeout"];
        assert_eq!(key["description"], "how long a client may take to send the head of a request");
        assert_eq!(key["default"], "30s");
        assert_eq!(without_links("see [below](#ip), `a[0]` and [x](y)"), "see below, `a[0]` and x");
    }

    #[test]
    fn every_key_is_described_with_a_type_that_can_be_checked() {
        let schema = schema();
        for (table, definition) in schema["$defs"].as_object().expect("definitions") {
            for (key, value) in definition["properties"].as_object().expect("properties") {
                let is_checked = ["type", "anyOf", "$ref"].iter().any(|word| value.get(word).is_some());
                let is_application = key == "application";
                assert!(
                    is_checked || is_application,
                    "{table}.{key} has a type that schema.rs does not know: {value}"
                );
            }
        }
    }
}
