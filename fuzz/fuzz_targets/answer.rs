//! An application's answer that means harm. In: bytes that choose what is in it. Never: a panic, or something that is
//! not given back exactly once.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|choices: &[u8]| {
    let _ = cohost::dispatcher::in_process::read_hostile_answer(choices);
});
