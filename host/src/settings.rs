//! `--set key=value`: settings of an application from the command line.

use std::str::FromStr;

use serde_json::{Map, Value};

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    /// The way to it, from table to table.
    path: Vec<String>,
    value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("must be written KEY=VALUE")?;
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("a part of the key is empty (is {key:?})"));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok(Self { path, value })
    }
}

impl Setting {
    /// Puts the setting into `settings`, in place of what is there; makes the tables on the way to it.
    pub(crate) fn apply(&self, settings: &mut Value) {
        let mut place = settings;
        for key in &self.path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[key];
        }
        *place = self.value.clone();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(texts: &[&str]) -> Value {
        let mut settings = json!({ "db": { "pool": 1, "url": "x" }, "name": "shop" });
        for text in texts {
            text.parse::<Setting>().unwrap().apply(&mut settings);
        }
        settings
    }

    #[test]
    fn a_value_is_json_or_else_text() {
        let settings = applied(&["a=1", "b=true", "c=[1,2]", "d=hello", "e=", "f=x=y", "g=\"7\""]);
        assert_eq!(settings["a"], json!(1));
        assert_eq!(settings["b"], json!(true));
        assert_eq!(settings["c"], json!([1, 2]));
        assert_eq!(
            [&settings["d"], &settings["e"], &settings["f"], &settings["g"]],
            ["hello", "", "x=y", "7"]
        );
    }

    #[test]
    fn dots_lead_into_tables() {
        let settings = applied(&["db.pool=4", "new.table.key=1", "name.first=x"]);
        assert_eq!(
            settings,
            json!({ "db": { "pool": 4, "url": "x" }, "new": { "table": { "key": 1 } }, "name": { "first": "x" } })
        );
    }

    #[test]
    fn a_setting_without_a_key_is_refused() {
        assert!("greeting".parse::<Setting>().is_err());
        assert!("=x".parse::<Setting>().is_err());
        assert!("a..b=x".parse::<Setting>().is_err());
    }
}
