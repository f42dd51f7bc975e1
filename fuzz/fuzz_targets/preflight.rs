//! An ELF file that means harm. In: any bytes. Never: a panic, a loop, or memory out of proportion.
//!
//! Run with `cargo +nightly fuzz run preflight`; real libraries make the best corpus.
#![no_main]

use std::path::Path;

use cohost::dispatcher::in_process::preflight::examine_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match examine_bytes(Path::new("/srv/app.so"), bytes) {
        Ok(library) => {
            let _ = (library.warnings(), library.missing_dependencies(&[]));
        }
        Err(error) => assert!(error.to_string().contains("/srv/app.so")),
    }
});
