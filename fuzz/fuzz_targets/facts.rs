//! The private field between host and runner. In: any value. Never: a panic; and what is read is read again as the same.
#![no_main]

use cohost::dispatcher::out_of_process::facts::{Clock, decode, encode};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let clock = Clock::read();
    if let Ok(carried) = decode(&value, || clock) {
        let again = decode(&encode(&carried.facts, carried.version, carried.host, || clock), || clock)
            .expect("what we wrote");
        assert_eq!((again.version, again.host), (carried.version, carried.host));
        assert_eq!(again.facts.path_base, carried.facts.path_base);
        assert_eq!(again.facts.request_id, carried.facts.request_id);
        assert_eq!(again.facts.target, carried.facts.target);
    }
});
