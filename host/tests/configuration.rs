//! Files of configuration, from outside: what editors are told, and what is made of files of IIS.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn cohost(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cohost")).args(arguments).output().expect("the program was built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn editors_are_told_what_may_be_written() {
    let output = cohost(&["schema"]);
    assert!(output.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let level = &schema["$defs"]["log"]["properties"]["level"]["description"];
    assert!(level.as_str().is_some_and(|text| text.contains("by target")), "{level}");
}

#[test]
fn a_web_config_becomes_a_configuration_that_passes_the_check() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/import");
    let files = fs::read_dir(corpus).expect("the corpus").map(|file| file.expect("an entry").path());
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "config")) {
        let folder = tempfile::tempdir().expect("a folder");
        let web_config = folder.path().join("web.config");
        fs::copy(&file, &web_config).expect("a file of our own");
        let configuration = folder.path().join("cohost.toml");
        let (from, to) = (web_config.to_str().expect("a name"), configuration.to_str().expect("a name"));
        let refused = cohost(&["run", folder.path().to_str().expect("a name")]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("cohost import "), "{refused:?}");

        let imported = cohost(&["import", from, "-o", to]);
        assert!(imported.status.success(), "{imported:?}");
        let told = String::from_utf8_lossy(&imported.stderr).into_owned();
        assert!(told.lines().all(|line| line.starts_with(from)), "{told}");
        let checked = cohost(&["check", to]);
        assert!(checked.status.success(), "{}: {checked:?}", file.display());
        let again = cohost(&["import", from, "-o", to]);
        assert_eq!(again.status.code(), Some(1), "what is there stays");
        assert_eq!(stdout(&cohost(&["import", from])), fs::read_to_string(to).expect("it was written"));
    }
}
