//! The PROXY protocol. In: any first bytes. Never: a panic, or a demand for bytes that are not part of it.
#![no_main]

use cohost::listener::preamble::{Preamble, preamble};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut known = 0;
    while let Ok(Preamble::More(more)) = preamble(&bytes[..known]) {
        assert!(more > 0);
        known += more;
        assert!(known <= 16 + 4096);
        if known > bytes.len() {
            break;
        }
    }
});
