//! Forwarding fields of a trusted proxy. In: any bytes that a client can have begun them with. Never: a panic, or another
//! client than the one that the proxy has written behind them.
#![no_main]

use std::sync::Arc;

use cohost::{
    facts::{Connection, End, Facts},
    forwarded::{Fields, Trust, believe},
};
use http::{HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let written: [(_, &[u8], _); 2] = [
        ("x-forwarded-for", b",192.0.2.1", Fields::XForwarded),
        ("forwarded", b",for=192.0.2.1", Fields::Forwarded),
    ];
    for (name, own, fields) in written {
        let Ok(value) = HeaderValue::from_bytes(&[bytes, own].concat()) else { return };
        let others = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];
        let mut request = Request::builder().uri("/").header("host", "a").header(name, value);
        for name in others {
            request = request.header(name, HeaderValue::from_bytes(bytes).expect("a part of a value is one"));
        }
        let mut request = request.body(()).expect("valid");
        let peer = End::Ip(([10, 0, 0, 9], 1).into());
        let mut facts = Facts::new(Arc::new(Connection::new(peer, End::Unknown, "".into(), None)));
        let trust = Trust::networks(["10.0.0.0/8".parse().expect("a network")]).saying(fields);
        believe(&mut request, &mut facts, &trust);
        assert_eq!(facts.client().to_string(), "192.0.2.1");
    }
});
