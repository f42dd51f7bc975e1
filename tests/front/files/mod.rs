//! Behaviour 53: files that are sent as they are, as an application of their own or before one.

// Inputs and files that would lead out of the folder, or hold a host up: rows C1 to C9 of the faults.
mod hostile;
// What is sent of a file, and how it is named.
mod answers;
// Lists of directories.
mod listing;
// What else can be said of files: fallbacks, types, compressed siblings.
mod options;

use http::Method;
use http_body_util::Empty;

use crate::{
    both_models,
    host::{Answer, Host, Model, Setup, Workshop},
    supervision::rewrite,
};

/// A folder of a few files, with a secret beside it.
fn www() -> Workshop {
    let place = Workshop::new();
    place.file("www/index.html", "<p>home");
    place.file("www/a/index.html", "<p>a");
    place.file("www/a/data.bin", [0, 1, 2]);
    place.file("www/empty/.keep", "");
    place.file("www/.env", "SECRET=1");
    place.file("secret", "SECRET=2");
    place
}

/// A host of the files in `www` of this place, and of nothing else.
async fn host(place: &Workshop) -> Host {
    Setup::files(&place.path("www")).start().await
}

async fn ask(host: &Host, method: Method, path: &str) -> Answer {
    ask_with(host, method, path, &[]).await
}

/// With these fields.
async fn ask_with(host: &Host, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
    let client = host.client();
    let mut request = client.request(method, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap()
}

async fn get(host: &Host, path: &str, fields: &[(&str, &str)]) -> Answer {
    ask_with(host, Method::GET, path, fields).await
}

/// The table of a site whose files are in `www` of this place.
fn of_site(place: &Workshop) -> String {
    format!("[site.static]\nroot = {:?}", place.path("www").display().to_string())
}

#[tokio::test]
async fn files_are_an_application_without_any_code() {
    let place = www();
    let host = host(&place).await;
    let home = host.get("/").await;
    assert_eq!((home.text(), home.header("content-type")), ("<p>home", "text/html; charset=utf-8"));
    assert_eq!(home.header("content-length"), "7");
    let binary = host.get("/a/data.bin?x").await;
    assert_eq!((&*binary.body, binary.header("content-type")), (&[0, 1, 2][..], "application/octet-stream"));
    for missing in ["/none", "/a/none", "/index.html/", "/index.html/x", "/empty/", "//", "/a//index.html"] {
        let answer = host.get(missing).await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (404, "no_file"), "{missing}");
    }
    let head = ask(&host, Method::HEAD, "/").await;
    assert_eq!((head.header("content-length"), head.body.len()), ("7", 0));
    let post = ask(&host, Method::POST, "/").await;
    assert_eq!((post.status.as_u16(), post.header("allow")), (405, "GET, HEAD"));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_directory_is_asked_for_with_a_slash() {
    let place = www();
    let host = Setup::files(&place.path("www")).application("path = \"/files\"").start().await;
    for (path, place) in [("/files", "/files/"), ("/files/a?b=c", "/files/a/?b=c")] {
        let answer = host.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (301, place), "{path}");
    }
    assert_eq!(host.get("/files/a/").await.text(), "<p>a");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_operator_sees_files_and_takes_them_offline_as_any_application() {
    let place = www();
    let host = host(&place).await;
    let status = host.tells().await;
    let told = &status["sites"][0]["applications"][0];
    assert_eq!((told["hosting_model"].as_str(), told["state"].as_str()), (Some("static"), Some("running")));
    assert_eq!(told["artifact"].as_str(), place.path("www").to_str());
    for (words, code) in [(&["offline", "app"], 503), (&["online", "app"], 200), (&["recycle", "app"], 200)] {
        let said = host.operator(words).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(host.get("/").await.status, code, "{words:?}");
    }
    let said = host.operator(&["promote", "app"]).await;
    assert!(said.code == 1 && said.stderr.contains("app is files; there is no code"), "{said:?}");

    place.file("other/index.html", "<p>other");
    rewrite(&host, &Setup::files(&place.path("other")).text());
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    assert_eq!(host.get("/").await.text(), "<p>other");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_host_without_its_folder_says_so_until_it_is_there() {
    let place = www();
    let host = Setup::files(&place.path("later")).start().await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "file_unavailable"));
    place.file("later/index.html", "<p>now");
    assert_eq!(host.get("/").await.text(), "<p>now");
    assert!(host.stop().await.success());
}

both_models! {
    async fn files_of_a_site_come_before_its_applications(model: Model) {
        let place = www();
        place.file("www/plaintext", "from a file");
        let host = Setup::sample(model).site(&of_site(&place)).start().await;
        assert_eq!(host.get("/plaintext").await.text(), "from a file");
        // Of the application; a path that is no file's is not redirected, refused, or changed.
        assert!(host.get("/info").await.text().contains("/info"));
        let hidden = host.get("/.env").await;
        assert_eq!((hidden.status.as_u16(), hidden.text()), (404, ""));
        assert_eq!(host.client().post("/echo", "body").await.text(), "body");
        assert!(host.stop().await.success());
    }

    async fn a_file_that_comes_where_there_was_none_is_sent_at_once(model: Model) {
        let place = www();
        let host = Setup::sample(model).site(&of_site(&place)).start().await;
        for path in ["/plaintext", "/later/plaintext", "/later/"] {
            for _ in 0..3 {
                assert_ne!(host.get(path).await.text(), "from a file", "{path}");
            }
        }
        for name in ["plaintext", "later/plaintext", "later/index.html"] {
            place.file(&format!("www/{name}"), "from a file");
        }
        for path in ["/plaintext", "/later/plaintext", "/later/"] {
            assert_eq!(host.get(path).await.text(), "from a file", "{path}");
        }
        assert!(host.stop().await.success());
    }
}
