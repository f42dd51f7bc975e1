//! `cohost import`: a configuration made of a `web.config`.

use std::{fs, io::Write as _, path::Path};

use cohost::import::{Note, text, web_config};

use crate::{
    artifact::WEB_CONFIG,
    cli::Import,
    exit::{Exit, Refused},
    say,
};

/// Writes the configuration, and to stderr what is not in it.
pub(crate) fn import(arguments: &Import) -> Result<Exit, Refused> {
    let folder_of = |file: &Path| file.join(WEB_CONFIG);
    let file = if arguments.file.is_dir() { folder_of(&arguments.file) } else { arguments.file.clone() };
    let refuse =
        |error: &dyn std::error::Error| Exit::Failed.because(format!("{}: {}", file.display(), chain(error)));
    let bytes = fs::read(&file).map_err(|error| refuse(&error))?;
    let read = text(&bytes).and_then(|text| web_config(&text, &site(&file)));
    let imported = read.map_err(|error| refuse(&error))?;
    match &arguments.output {
        Some(output) => write(output, &imported.text)?,
        None => say(&imported.text),
    }
    imported.notes.iter().for_each(|note| tell(&file, note));
    Ok(Exit::Success)
}

/// What the site is called: as its folder.
fn site(file: &Path) -> String {
    let folder = std::path::absolute(file).ok().and_then(|file| Some(file.parent()?.file_name()?.to_owned()));
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn tell(file: &Path, note: &Note) {
    eprintln!("{}:{}: {}", file.display(), note.line, note.text);
}

/// Nobody's work is written over.
fn write(output: &Path, text: &str) -> Result<(), Refused> {
    let written = fs::File::create_new(output).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Exit::Failed.because(format!("cannot write {}: {error}", output.display())))
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
