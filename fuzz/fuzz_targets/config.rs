//! A configuration that means harm. In: any text. Never: a panic; and every fault names a line of the file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lookup = |name: &str| (name.len() < 8).then(|| format!("${{{name}}}"));
    if let Err(faults) = cohost::config::parse(text, Path::new("cohost.toml"), &lookup) {
        assert!(faults.iter().count() > 0);
        assert!(faults.to_string().contains("cohost.toml"));
    }
});
