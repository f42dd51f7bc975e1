//! What is sent of a file: all of it, parts, or that the client has it.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use http::Method;
use http_body_util::{BodyExt as _, Empty};

use super::{ask_with, get, host, of_site, www};
use crate::{
    both_models,
    host::{Model, PATIENCE, Setup},
};

#[tokio::test]
async fn who_has_a_file_is_told_so() {
    let place = www();
    let host = host(&place).await;
    let first = host.get("/a/data.bin").await;
    let (etag, modified) = (first.header("etag"), first.header("last-modified"));
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    for field in [("if-none-match", etag), ("if-modified-since", modified)] {
        let same = get(&host, "/a/data.bin", &[field]).await;
        assert_eq!((same.status.as_u16(), same.body.len(), same.header("etag")), (304, 0, etag), "{field:?}");
        assert!(!same.headers.contains_key("content-type"));
    }
    let head = ask_with(&host, Method::HEAD, "/a/data.bin", &[("if-none-match", "\"other\"")]).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "3"));
    let failed = get(&host, "/a/data.bin", &[("if-match", "\"other\"")]).await;
    assert_eq!((failed.status.as_u16(), failed.body.len()), (412, 0));
    assert_eq!(get(&host, "/a/data.bin", &[("if-match", etag)]).await.status, 200);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn parts_of_a_file_are_sent_one_by_one_or_several_at_once() {
    let place = www();
    // Of the two kinds: kept in memory, and read as it is sent.
    place.file("www/small", "0123456789");
    place.file("www/large", "0123456789".repeat(100_000));
    let host = host(&place).await;
    for (path, length) in [("/small", 10), ("/large", 1_000_000)] {
        let etag = host.get(path).await.header("etag").to_owned();
        let part = get(&host, path, &[("range", "bytes=2-4")]).await;
        assert_eq!((part.status.as_u16(), part.text(), part.header("content-length")), (206, "234", "3"));
        assert_eq!(part.header("content-range"), format!("bytes 2-4/{length}"));
        assert_eq!(get(&host, path, &[("range", "bytes=-2"), ("if-range", &etag)]).await.text(), "89");
        let other = get(&host, path, &[("range", "bytes=-2"), ("if-range", "\"other\"")]).await;
        assert_eq!((other.status.as_u16(), other.body.len()), (200, length));

        let several = get(&host, path, &[("range", "bytes=0-1,5-5")]).await;
        assert_eq!(several.status, 206);
        let kind = several.header("content-type").to_owned();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let part = |place: &str, bytes: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Range: bytes {place}/{length}\r\n\r\n{bytes}"
            )
        };
        assert_eq!(
            several.text(),
            format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("5-5", "5"))
        );
        assert_eq!(several.header("content-length"), several.body.len().to_string());

        let nothing = get(&host, path, &[("range", "bytes=1000000-")]).await;
        assert_eq!(
            (nothing.status.as_u16(), nothing.header("content-range")),
            (416, &*format!("bytes */{length}"))
        );
        let many = format!("bytes={}", vec!["0-0"; 1000].join(","));
        assert_eq!(get(&host, path, &[("range", &many)]).await.body.len(), length);
        let head = ask_with(&host, Method::HEAD, path, &[("range", "bytes=2-4")]).await;
        assert_eq!((head.status.as_u16(), head.header("content-length")), (200, &*length.to_string()));
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_file_that_changes_is_seen_soon_under_another_tag() {
    let place = www();
    let host = host(&place).await;
    let old = host.get("/").await;
    let new = place.file("www/new", "<p>new home");
    fs::rename(new, place.path("www/index.html")).unwrap();
    let seen = async {
        loop {
            let answer = host.get("/").await;
            if answer.text() == "<p>new home" {
                break answer;
            }
            assert_eq!((answer.text(), answer.header("etag")), ("<p>home", old.header("etag")));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, seen).await.expect("it is seen");
    assert_ne!(answer.header("etag"), old.header("etag"));
    fs::remove_file(place.path("www/index.html")).unwrap();
    let gone = async {
        while host.get("/").await.status != 404 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is gone");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn other_bytes_in_the_same_place_are_seen_whatever_date_they_have() {
    let place = www();
    let host = host(&place).await;
    let old = host.get("/").await;
    let written = fs::metadata(place.path("www/index.html")).unwrap().modified().unwrap();
    let new = place.file("www/index.html", "<p>work");
    fs::File::options().write(true).open(new).unwrap().set_modified(written).unwrap();
    let seen = async {
        loop {
            let answer = host.get("/").await;
            if answer.text() == "<p>work" {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, seen).await.expect("it is seen");
    assert_ne!(answer.header("etag"), old.header("etag"));
    assert_eq!(answer.header("last-modified"), old.header("last-modified"));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn nobody_is_told_a_date_that_is_still_to_come() {
    let place = www();
    let index = fs::File::options().write(true).open(place.path("www/index.html")).unwrap();
    index.set_modified(SystemTime::now() + Duration::from_secs(1000)).unwrap();
    let host = host(&place).await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.headers.get("last-modified")), (200, None));
    let etag = answer.header("etag");
    assert_eq!(get(&host, "/", &[("if-none-match", etag)]).await.status, 304);
    assert!(host.stop().await.success());
}

both_models! {
    async fn a_file_that_an_application_answers_with_is_sent_as_any_other(model: Model) {
        let place = www();
        place.file("www/text", "0123456789");
        let root = format!("content_root = {:?}", place.path("www").display().to_string());
        let host = Setup::sample(model).application(&root).settings("file = \"text\"").start().await;
        let whole = host.get("/file").await;
        assert_eq!((whole.text(), whole.header("accept-ranges")), ("0123456789", "bytes"));
        let etag = whole.header("etag");
        let part = get(&host, "/file", &[("range", "bytes=2-4"), ("if-range", etag)]).await;
        assert_eq!((part.status.as_u16(), part.text()), (206, "234"));
        assert_eq!(part.header("content-range"), "bytes 2-4/10");
        let same = get(&host, "/file", &[("if-none-match", etag)]).await;
        assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
        let several = get(&host, "/file", &[("range", "bytes=0-0,9-9")]).await;
        assert!(several.header("content-type").starts_with("multipart/byteranges"));
        assert_eq!(get(&host, "/file", &[("range", "bytes=10-")]).await.status, 416);
        let head = ask_with(&host, Method::HEAD, "/file", &[]).await;
        assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "10"));
        assert!(host.stop().await.success());
    }

    async fn a_file_that_becomes_shorter_while_it_is_sent_cuts_the_answer(model: Model) {
        let place = www();
        let large = place.file("www/large", "");
        // Much more than buffers on the way can hold.
        let file = fs::File::options().write(true).open(&large).unwrap();
        file.set_len(100_000_000).unwrap();
        let host = Setup::sample(model).site(&of_site(&place)).start().await;
        let client = host.client();
        let request = client.request(Method::GET, "/large").body(Empty::<bytes::Bytes>::new()).unwrap();
        let mut answer = client.begin(request).await.unwrap();
        answer.frame().await.unwrap().unwrap();
        file.set_len(10).unwrap();
        assert!(answer.collect().await.is_err());
        assert_eq!(host.get("/large").await.body.len(), 10);
        assert!(host.stop().await.success());
    }

    async fn a_file_that_grows_while_it_is_sent_is_sent_as_long_as_it_was(model: Model) {
        let place = www();
        let large = place.file("www/large", "");
        let file = fs::File::options().write(true).open(&large).unwrap();
        file.set_len(20_000_000).unwrap();
        let host = Setup::sample(model).site(&of_site(&place)).start().await;
        let client = host.client();
        let request = client.request(Method::GET, "/large").body(Empty::<bytes::Bytes>::new()).unwrap();
        let mut answer = client.begin(request).await.unwrap();
        let first = answer.frame().await.unwrap().unwrap().into_data().unwrap().len();
        file.set_len(30_000_000).unwrap();
        assert_eq!(first + answer.collect().await.unwrap().to_bytes().len(), 20_000_000);
        assert!(host.stop().await.success());
    }
}
