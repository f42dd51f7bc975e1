//! Paths, ranges and conditions, where files are served. In: what hyper lets pass. Never: a panic, a byte of what lies
//! beside the folder, or more bytes than a file has, but for the heads of its parts.
#![no_main]

use std::{fs, sync::LazyLock};

use cohost::{Body, front, pipeline::Files, stage::Serve as _};
use http::{Request, header};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a thread"));

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let place = std::env::temp_dir().join("cohost-fuzz-files");
    fs::create_dir_all(place.join("www/a")).expect("a folder");
    fs::write(place.join("secret"), "SECRET").expect("a file");
    fs::write(place.join("www/.hidden"), "SECRET").expect("a file");
    fs::write(place.join("www/a/b"), [b'x'; LENGTH]).expect("a file");
    let _there_already = std::os::unix::fs::symlink("../secret", place.join("www/link"));
    Files::alone(front::Files::new(place.join("www")))
});

const LENGTH: usize = 1000;

fuzz_target!(|input: (&str, &[u8], &[u8])| {
    let (path, range, tags) = input;
    for path in [path, "/a/b"] {
        let request = Request::builder()
            .uri(path)
            .header(header::RANGE, range)
            .header(header::IF_RANGE, tags)
            .header(header::IF_NONE_MATCH, tags)
            .body(Body::empty());
        let Ok(request) = request else { return };
        let answer = RUNTIME.block_on(async {
            let answer = FILES.serve(request).await.ok()?;
            Some(answer.into_body().collect().await.expect("nobody changes the files").to_bytes())
        });
        let bytes = answer.unwrap_or_default();
        assert!(!bytes.windows(6).any(|part| part == b"SECRET"), "{path}");
        assert!(bytes.iter().filter(|byte| **byte == b'x').count() <= LENGTH);
    }
});
