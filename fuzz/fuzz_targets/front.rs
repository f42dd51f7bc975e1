//! Everything that may stand before an application at once. In: a target, and fields. Never: a panic, or a request that
//! comes through without the password.
#![no_main]

use std::{path::Path, sync::LazyLock};

use bytes::Bytes;
use cohost::{
    Body, Failure,
    config::parse,
    facts::{Connection, End, Facts},
    http::normalise,
    pipeline::{Kept, around},
    stage::{Answering, Serve, Stage},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread"));

const EVERYTHING: &str = r#"
    [[site]]
    name = "a"
    bindings = ["http://*"]
    canonical_host = "shop.example"
    rewrite = [{ match = "^(.*)$", rewrite = "/x/{1}{C:1}", conditions = [{ input = "cookie:a", matches = "^(.+)$" }] }]
    outbound = [{ field = "x-told", match = "(.*)", value = "{1}" }]
    [site.ip]
    deny = ["192.0.2.0/24"]
    [site.headers]
    security = true
    [[site.limit]]
    key = "header:X-Key"
    rate = "1000000/s"
    [site.cors]
    origins = ["https://other.example"]
    credentials = true
    [site.filter]
    preset = "iis"
    [site.compression]
    decompress = true
    min_size = 1
    [site.auth.basic]
    users = { ana = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW" }
    [[site.application]]
    command = ["true"]
"#;

/// `ana:secret`
const SECRET: &[u8] = b"YW5hOnNlY3JldA==";

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let config =
        parse(EVERYTHING, Path::new("cohost.toml"), &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    around(&config.sites[0].front, "a", &Kept::default(), Stage::new(Told))
});

/// Says back what came through.
struct Told;

impl Serve for Told {
    fn serve(&self, request: Request<Body>) -> Answering {
        let mut answer = Response::new(Body::from("x".repeat(100)));
        answer.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
        answer.headers_mut().insert("x-came-through", HeaderValue::from_static("yes"));
        if let Some(told) = request.headers().get("x-told") {
            answer.headers_mut().insert("x-told", told.clone());
        }
        Box::pin(std::future::ready(Ok::<_, Failure>(answer)))
    }
}

const FIELDS: [&str; 12] = [
    "authorization",
    "accept-encoding",
    "content-encoding",
    "cookie",
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "if-none-match",
    "x-key",
    "x-told",
    "range",
    "content-type",
];

fuzz_target!(|input: (&str, &str, Vec<(u8, &[u8])>, &[u8])| {
    let (method, target, written, body) = input;
    let mut fields = HeaderMap::new();
    for (name, value) in written {
        let name = HeaderName::from_static(FIELDS[usize::from(name) % FIELDS.len()]);
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        fields.append(name, value);
    }
    let request = Request::builder().method(method).uri(target).header("host", "shop.example");
    let Ok(mut request) = request.body(Body::from(Bytes::copy_from_slice(body))) else { return };
    request.headers_mut().extend(fields);
    if normalise(&mut request).is_err() {
        return;
    }
    let peer = End::Ip(([10, 0, 0, 9], 1).into());
    request.extensions_mut().insert(Facts::new(std::sync::Arc::new(Connection::new(
        peer,
        End::Unknown,
        "".into(),
        None,
    ))));
    let knows = request
        .headers()
        .get("authorization")
        .is_some_and(|value| value.as_bytes().windows(SECRET.len()).any(|part| part == SECRET));
    let answer = RUNTIME.block_on(STAGE.serve(request));
    let through = answer.is_ok_and(|answer| answer.headers().contains_key("x-came-through"));
    assert!(!through || knows);
});
