//! The examples of configurations: `cohost check` has nothing to say against any of them.

use crate::host::{Issuer, Workshop, program};

#[test]
fn every_example_passes_the_check() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
    let examples = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let examples: Vec<_> =
        examples.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(!examples.is_empty());
    // Beside certificates, which some of them name.
    let (workshop, issuer) = (Workshop::new(), Issuer::new());
    let issued = issuer.issue(&["shop.example", "*.shop.example"]);
    for (name, content) in
        [("shop.pem", &issued.certificate), ("shop.key", &issued.key), ("partners.pem", &issuer.pem())]
    {
        workshop.file(name, content);
    }
    for example in examples {
        let text = std::fs::read(&example).unwrap();
        let example = workshop.file(example.file_name().unwrap().to_str().unwrap(), text);
        let said = std::process::Command::new(program()).arg("check").arg(&example).output().unwrap();
        assert!(said.status.success(), "{}: {}", example.display(), String::from_utf8_lossy(&said.stderr));
    }
}
