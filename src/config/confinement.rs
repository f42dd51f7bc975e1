//! What the process of an application may do and take.

use toml::de::DeValue;

use super::{
    Account,
    fault::Refusal,
    keys,
    values::{boolean, count, duration, size_or_none},
    written::{Section, Value},
};
use crate::{
    HostingModel,
    options::{Confinement, Limits},
};

/// What `section` says, and defaults for the rest; for an application that runs as `first` says, to begin with.
pub(super) fn read(section: &Section<'_>, first: HostingModel) -> Confinement {
    if first == HostingModel::InProcess {
        for key in KEYS {
            if let Some(value) = section.value(key) {
                let refusal = Refusal::new(
                    "would hold for the worker and every application in it; host this one with hosting_model = \
                     \"outofprocess\", or leave it out",
                );
                section.refuse(key, &value.at(), refusal);
            }
        }
        return Confinement::default();
    }
    let mut confinement = Confinement::default();
    section.set(&mut confinement.user, "user", |value| who(value).map(Some));
    section.set(&mut confinement.group, "group", |value| who(value).map(Some));
    look_up(section, &confinement);
    section.set(&mut confinement.umask, "umask", |value| umask(value).map(Some));
    section.set(&mut confinement.no_new_privs, "no_new_privs", boolean);
    if let (Some(table), Some(value)) = (section.read("limits", Value::table), section.value("limits")) {
        let name = format!("{}.limits", section.name);
        confinement.limits = limits(&Section::new(section.reading, name, value.at(), table, &keys::LIMITS));
    }
    confinement
}

/// Has somebody look whether there are such a user and such a group.
fn look_up(section: &Section<'_>, confinement: &Confinement) {
    let (user, group) = (confinement.user.as_deref(), confinement.group.as_deref());
    let wrong =
        group.and_then(|group| Some(("group", (section.reading.account)(Account::Group(group)).err()?)));
    // With a group that is none, nothing can be said of the user.
    let wrong = match (wrong, user) {
        (None, Some(user)) => {
            (section.reading.account)(Account::User(user, group)).err().map(|why| ("user", why))
        }
        (wrong, _) => wrong,
    };
    if let Some((key, why)) = wrong
        && let Some(value) = section.value(key)
    {
        section.refuse(key, &value.at(), Refusal::new(why));
    }
}

fn limits(section: &Section<'_>) -> Limits {
    let mut limits = Limits::default();
    section.set(&mut limits.cpu_time, "cpu_time", |value| duration(value).map(Some));
    section.set(&mut limits.open_files, "open_files", |value| count(MOST)(value).map(Some));
    section.set(&mut limits.processes, "processes", |value| count(MOST)(value).map(Some));
    section.set(&mut limits.core, "core", |value| match value.written.get_ref() {
        DeValue::Integer(number) if number.as_str() == "0" => Ok(Some(0)),
        _ => size_or_none(value),
    });
    section.set(&mut limits.memory, "memory", size_or_none);
    section.set(&mut limits.memory_max, "memory_max", size_or_none);
    section.set(&mut limits.cpu_max, "cpu_max", |value| processors(value).map(Some));
    section.set(&mut limits.pids_max, "pids_max", |value| count(MOST)(value).map(Some));
    limits
}

/// A number of processors, in thousandths. The system knows no less than a hundredth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was looked at")]
fn processors(value: &Value<'_>) -> Result<u64, Refusal> {
    let number = match value.written.get_ref() {
        DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        // In quotes too, since a variable can only stand there.
        _ if value.is_text() => value.text()?.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| (0.01..=MOST_PROCESSORS).contains(number));
    number.map(|number| (number * 1000.0).round() as u64).ok_or_else(|| {
        Refusal::new(format!("must be a number of processors from 0.01 to {MOST_PROCESSORS}, as 1.5"))
    })
}

/// A user or a group: a name, or a number.
fn who(value: &Value<'_>) -> Result<String, Refusal> {
    if let DeValue::Integer(number) = value.written.get_ref() {
        let number = u32::from_str_radix(number.as_str(), number.radix());
        return number
            .map(|number| number.to_string())
            .map_err(|_| Refusal::new(format!("must be from 0 to {}", u32::MAX)));
    }
    let name = value.text()?;
    if name.is_empty() { Err(Refusal::new("must be a name or a number (is empty)")) } else { Ok(name) }
}

fn umask(value: &Value<'_>) -> Result<u32, Refusal> {
    let text = value.text()?;
    let mask = u32::from_str_radix(&text, 8).ok().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| Refusal::new(format!("must be three octal digits, as \"027\" (is {text:?})")))
}

const KEYS: [&str; 5] = ["user", "group", "umask", "no_new_privs", "limits"];

const MOST: u64 = 1 << 30;
const MOST_PROCESSORS: f64 = 65536.0;
