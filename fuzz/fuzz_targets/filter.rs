//! A path that is to get past a filter. In: what hyper lets pass. Never: a panic, or a path that is let through although
//! an application that takes escapes off, and then dot segments and empty ones out, would have it for the denied one.
#![no_main]

use cohost::{
    Body,
    front::{Filter, Folded},
    http::normalise,
};
use http::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|target: &str| {
    let request = Request::builder().uri(target).header("host", "a").body(Body::empty());
    let Ok(mut request) = request else { return };
    if normalise(&mut request).is_err() {
        return;
    }
    let mut filter = Filter::iis();
    filter.denied_sequences = vec![Folded::from("/admin")];
    filter.denied_query_sequences = vec![Folded::from("drop table")];
    let path = request.uri().path();
    if filter.judge(request.method(), request.uri(), target, request.headers()).is_err() {
        return;
    }
    let meant = percent_encoding::percent_decode_str(path).decode_utf8_lossy().to_ascii_lowercase();
    let mut segments = Vec::new();
    for segment in meant.split('/').map(|segment| segment.split(';').next().unwrap_or_default()) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    assert!(!format!("/{}", segments.join("/")).contains("/admin"), "{path}");
    assert!(!segments.iter().any(|segment| ["bin", "web.config"].contains(segment)), "{path}");
});
