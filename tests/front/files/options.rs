//! What else can be said of files: fallbacks, types, compressed siblings, who comes first.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{get, of_site, www};
use crate::{
    both_models,
    host::{Host, Model, Setup, Workshop},
};

/// A host of the files in `www` of this place, with more said of them.
async fn host(place: &Workshop, more: &str) -> Host {
    let files =
        format!("[site.application.static]\nroot = {:?}\n{more}", place.path("www").display().to_string());
    Setup::nothing().more(&files).start().await
}

#[tokio::test]
async fn what_is_smaller_is_sent_to_whoever_understands_it() {
    let place = www();
    place.file("www/app.js", "plain, and longer");
    for (name, text) in [("app.js.br", "brotli"), ("app.js.gz", "gzip"), ("index.html.gz", "old")] {
        place.file(&format!("www/{name}"), text);
    }
    let old = fs::File::options().write(true).open(place.path("www/index.html.gz")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    let host = host(&place, "precompressed = true").await;
    for (accept, coding, text) in [
        ("gzip, br", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "gzip"),
        ("br;q=0, gzip;q=0.5", Some("gzip"), "gzip"),
        ("br;q=0.5, x-gzip", Some("gzip"), "gzip"),
        ("zstd", None, "plain, and longer"),
        ("identity", None, "plain, and longer"),
    ] {
        let answer = get(&host, "/app.js", &[("accept-encoding", accept)]).await;
        let found = answer.headers.get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(
            (found, answer.text(), answer.header("vary")),
            (coding, text, "accept-encoding"),
            "{accept}"
        );
        assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
    }
    let tag = |accept| {
        let host = &host;
        async move { get(host, "/app.js", &[("accept-encoding", accept)]).await.header("etag").to_owned() }
    };
    assert_ne!(tag("br").await, tag("gzip").await);
    let part = get(&host, "/app.js", &[("accept-encoding", "br"), ("range", "bytes=0-1")]).await;
    assert_eq!((part.header("content-encoding"), part.text()), ("br", "br"));
    // What is older than the file is of what it was before.
    assert_eq!(get(&host, "/", &[("accept-encoding", "gzip")]).await.text(), "<p>home");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn types_and_lifetimes_are_as_they_are_written() {
    let place = www();
    place.file("www/assets/x.Odd", "");
    let host = host(
        &place,
        "types = { \".odd\" = \"application/x-odd\" }\n\
         cache_control = { \"/assets/*\" = \"max-age=60\", \"*\" = \"no-cache\" }\nhidden = true\nmemory = \"none\"",
    )
    .await;
    let odd = host.get("/assets/x.Odd").await;
    assert_eq!(
        (odd.header("content-type"), odd.header("cache-control")),
        ("application/x-odd", "max-age=60")
    );
    assert_eq!(host.get("/").await.header("cache-control"), "no-cache");
    assert_eq!(host.get("/.env").await.text(), "SECRET=1");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_page_stands_in_for_paths_that_only_the_browser_knows() {
    let place = www();
    let host = host(&place, "fallback = \"/index.html\"").await;
    assert_eq!(host.get("/orders/17").await.text(), "<p>home");
    let accept = [("accept", "text/html,*/*")];
    assert_eq!(get(&host, "/orders/v1.2", &accept).await.text(), "<p>home");
    assert_eq!(get(&host, "/missing.js", &[("accept", "*/*")]).await.status, 404);
    assert_eq!(host.client().post("/orders/17", "").await.status, 405);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_directory_stands_in_for_nothing() {
    let place = www();
    let host = host(&place, "fallback = \"/a\"").await;
    for path in ["/orders/17", "//evil.example/x"] {
        let answer = get(&host, path, &[("accept", "text/html")]).await;
        assert_eq!((answer.status.as_u16(), answer.headers.get("location")), (404, None), "{path}");
    }
    assert!(host.stop().await.success());
}

both_models! {
    async fn the_application_is_asked_first_if_that_is_wanted(model: Model) {
        let place = www();
        place.file("www/plaintext", "from a file");
        let files = format!("{}\norder = \"application\"\nfallback = \"/index.html\"", of_site(&place));
        let host = Setup::sample(model).site(&files).start().await;
        assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
        assert_eq!(host.get("/a/data.bin").await.body.len(), 3);
        assert_eq!(host.get("/orders/17").await.text(), "<p>home");
        assert_eq!(host.get("/missing.js").await.status, 404);
        assert!(host.stop().await.success());
    }
}
