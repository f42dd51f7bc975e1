//! The target and Host field of a request. In: what hyper lets pass. Never: a panic, or a path with dot segments or
//! control characters for the application.
#![no_main]

use cohost::{Body, http::normalise};
use http::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (target, host) = input;
    let request = Request::builder().uri(target).header("host", host).body(Body::empty());
    let Ok(mut request) = request else { return };
    if normalise(&mut request).is_ok() {
        let path = request.uri().path();
        assert!(path.starts_with('/') || path == "*");
        assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
        let again = path.to_owned();
        assert!(normalise(&mut request).is_ok() && request.uri().path() == again, "{again}");
    }
});
