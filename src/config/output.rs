//! Where what applications print goes: keys of `[log]`, and of an application that has it otherwise.

use std::{num::NonZeroU16, path::PathBuf};

use super::{
    Config,
    fault::Refusal,
    values::{count, duration_or_none, one_of, size_or_none},
    written::{Section, Value},
};
use crate::options::{Destination, Output};

impl Config {
    /// Where what the application of that name prints goes.
    #[must_use]
    pub fn output(&self, application: &str) -> &Output {
        self.log.outputs.get(application).unwrap_or(&self.log.output)
    }
}

/// What a section says, and `default` for the rest.
pub(super) fn read(section: &Section<'_>, default: Output) -> Output {
    let mut output = default;
    let destinations = [Destination::Host, Destination::Files].map(|to| (to.as_str(), to));
    section.set(&mut output.to, "output", one_of(&destinations));
    section.set(&mut output.folder, "output_folder", folder);
    section.set(&mut output.size, "output_size", size_or_none);
    section.set(&mut output.age, "output_age", duration_or_none);
    section.set(&mut output.files, "output_files", |value| {
        let files = count::<u16>(MOST_FILES)(value)?;
        NonZeroU16::new(files).ok_or_else(|| value.must_be("at least 1"))
    });
    output
}

/// What an application has otherwise than `[log]`; `None` if nothing.
pub(super) fn own(section: &Section<'_>, default: &Output) -> Option<Output> {
    let written = |key| section.value(key).is_some();
    if !written("output") && !FILES.into_iter().any(written) {
        return None;
    }
    let output = read(section, default.clone());
    if output.to == Destination::Host {
        for key in FILES {
            if let Some(value) = section.value(key) {
                let refusal = Refusal::new("has no effect without output = \"files\"; leave one of them out");
                section.refuse(key, &value.at(), refusal);
            }
        }
    }
    Some(output)
}

fn folder(value: &Value<'_>) -> Result<PathBuf, Refusal> {
    let path = value.text()?;
    if path.is_empty() {
        return Err(Refusal::new("must be a path (is empty)"));
    }
    Ok(value.reading.resolve(path))
}

/// The keys that are about files.
const FILES: [&str; 4] = ["output_folder", "output_size", "output_age", "output_files"];

const MOST_FILES: u64 = 1000;
