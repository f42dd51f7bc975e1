//! Lists of directories: where they are wanted, and of nothing that would be refused.

use std::{fs, os::unix::ffi::OsStrExt as _};

use http::Method;

use super::{ask, get, hostile::dangerous, of_site, www};
use crate::{
    both_models,
    host::{Host, Model, Setup, Workshop},
};

const JSON: [(&str, &str); 1] = [("accept", "application/json")];

/// A host of the files in `www` of this place, with lists, and with more said of them.
async fn host(place: &Workshop, more: &str) -> Host {
    let root = place.path("www").display().to_string();
    let files = format!("[site.application.static]\nroot = {root:?}\nbrowse = true\n{more}");
    Setup::nothing().more(&files).start().await
}

/// What stands in the list at `path`, in its order; directories with their slashes.
async fn listed(host: &Host, path: &str) -> Vec<String> {
    let answer = get(host, path, &JSON).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"), "{path}");
    let name = |entry: &serde_json::Value| {
        let slash = if entry["type"] == "directory" { "/" } else { "" };
        format!("{}{slash}", entry["name"].as_str().unwrap())
    };
    answer.json().as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn a_directory_without_a_document_is_listed_where_that_is_wanted() {
    let place = www();
    place.file("www/files/b & <b>.txt", "text");
    place.file("www/files/a.txt", "");
    place.file("www/files/z/file", "");
    let host = host(&place, "cache_control = { \"*\" = \"max-age=60\" }").await;
    let page = host.get("/files/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!((page.header("cache-control"), page.header("vary")), ("no-cache", "accept"));
    assert!(page.text().contains("<title>Index of /files/</title>"), "{}", page.text());
    assert!(page.text().contains("<a href=\"../\">"), "{}", page.text());
    let row = "<tr><td><a href=\"b%20%26%20%3Cb%3E.txt\">b &amp; &lt;b&gt;.txt</a></td><td>4</td><td>";
    assert!(page.text().contains(row), "{}", page.text());
    assert_eq!(host.get("/files/b%20%26%20%3Cb%3E.txt").await.text(), "text");
    assert_eq!(listed(&host, "/files/").await, ["z/", "a.txt", "b & <b>.txt"]);
    let told = get(&host, "/files/", &JSON).await.json();
    assert_eq!((&told[2]["size"], told[0].get("size")), (&4.into(), None));
    assert!(told[2]["mtime"].as_str().unwrap().ends_with(" GMT"), "{told}");

    let head = ask(&host, Method::HEAD, "/files/").await;
    assert_eq!((head.header("content-length"), head.body.len()), (&*page.body.len().to_string(), 0));
    let part = get(&host, "/files/", &[("range", "bytes=0-1")]).await;
    assert_eq!((part.status.as_u16(), &part.body), (200, &page.body));
    assert_eq!(host.get("/files").await.header("location"), "/files/");
    // Documents win, and what is no directory is none.
    assert_eq!(get(&host, "/a/", &JSON).await.text(), "<p>a");
    assert_eq!(host.get("/files/a.txt/").await.status, 404);
    assert_eq!(ask(&host, Method::POST, "/files/").await.status, 405);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn all_that_is_listed_can_be_had_and_nothing_else_is() {
    let place = dangerous();
    fs::remove_file(place.path("www/index.html")).unwrap();
    fs::remove_file(place.path("www/a/index.html")).unwrap();
    for name in
        ["app.js", "app.js.gz", "app.js.br", "alone.gz", "APP_OFFLINE.HTM", ".well-known/x", "back\\slash"]
    {
        place.file(&format!("www/{name}"), "");
    }
    fs::write(place.path("www").join(std::ffi::OsStr::from_bytes(b"not\xfftext")), "bytes").unwrap();
    std::os::unix::fs::symlink("a", place.path("www/same")).unwrap();
    let host = host(&place, "precompressed = true").await;
    let root = [
        ".well-known/",
        "a/",
        "empty/",
        "same/",
        "a.txt",
        "alone.gz",
        "app.js",
        "app_offline.htm.x",
        "inside",
    ];
    assert_eq!(listed(&host, "/").await, root);
    assert_eq!(listed(&host, "/a/").await, ["data.bin"]);
    assert_eq!(listed(&host, "/empty/").await, [""; 0]);
    for name in root {
        let answer = host.get(&format!("/{name}")).await;
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.text().is_ascii() && !answer.text().contains("SECRET=1"), "{name}");
    }
    let page = host.get("/").await;
    assert!(page.text().contains("<a href=\"not%FFtext\">not\u{fffd}text</a>"), "{}", page.text());
    assert_eq!(host.get("/not%FFtext").await.text(), "bytes");
    for path in ["/.git/", "/a/.b/", "/up/", "/absolute/", "/magic/etc/", "/none/"] {
        assert_eq!(get(&host, path, &JSON).await.status, 404, "{path}");
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn of_very_many_files_a_part_is_listed_and_the_page_says_so() {
    let place = www();
    for number in 0..2001 {
        place.file(&format!("www/many/{number}"), "");
    }
    let host = host(&place, "").await;
    let page = host.get("/many/").await;
    assert_eq!(page.header("cohost-listing"), "incomplete");
    assert!(page.text().contains("these are 2000 of it"), "{}", page.text());
    assert_eq!(listed(&host, "/many/").await.len(), 2000);
    fs::remove_file(place.path("www/many/7")).unwrap();
    let page = host.get("/many/").await;
    assert!(!page.headers.contains_key("cohost-listing") && !page.text().contains("There is more"));
    assert!(host.stop().await.success());
}

both_models! {
    async fn an_application_is_asked_before_a_list_is_made(model: Model) {
        let place = www();
        fs::remove_file(place.path("www/index.html")).unwrap();
        place.file("www/files/b.txt", "");
        let host = Setup::sample(model).site(&format!("{}\nbrowse = true", of_site(&place))).start().await;
        assert!(host.get("/").await.text().contains("Hello, World!"));
        assert_eq!(listed(&host, "/files/").await, ["b.txt"]);
        assert_eq!(host.get("/none/").await.status, 404);
        assert!(host.stop().await.success());
    }
}
