//! Rows C1 to C5, C7 and C9 of the faults: nothing but files below the folder is ever sent, and nobody waits.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{of_site, www};
use crate::{
    both_models,
    host::{Host, Model, Setup, Workshop},
};

/// A folder with all that should not be in one.
pub(super) fn dangerous() -> Workshop {
    let place = www();
    let at = |name: &str| place.path(name);
    symlink("../secret", at("www/link")).unwrap();
    symlink("..", at("www/up")).unwrap();
    symlink(at(""), at("www/absolute")).unwrap();
    symlink("/proc/self/root", at("www/magic")).unwrap();
    symlink("round", at("www/round")).unwrap();
    symlink("a/data.bin", at("www/inside")).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, at("www/pipe"), pipe, mode, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(at("www/socket")).unwrap());
    for name in ["app_offline.htm.x", "cohost.toml", "a/web.config", ".git/config", "a/.b/c"] {
        place.file(&format!("www/{name}"), "SECRET=3");
    }
    place.file("www/a.txt", "text");
    place
}

/// Asks for all that nobody should get.
async fn holds(host: &Host) {
    let up = format!("/{}secret", "../".repeat(40));
    let long = format!("/{}", "x".repeat(5000));
    let deep = "/x".repeat(2000);
    let paths = [
        // C1
        "/../secret",
        "/%2e%2e/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/..%5csecret",
        "/a/..%2f..%2fsecret",
        "/a\\..\\..\\secret",
        "/%252e%252e/secret",
        "/%c0%ae%c0%ae/secret",
        "/%e0%80%ae%e0%80%ae/secret",
        "/%uff0e%uff0e/secret",
        "/..;/secret",
        &up,
        "//tmp/..",
        "/%2ftmp",
        "/a//../../secret",
        // C2
        "/%00",
        "/a.txt%00.html",
        "/a.txt%0d%0aX-Header:%20x",
        "/a%0d%0a",
        // C3
        "/.env",
        "/%2eenv",
        "/%2Eenv",
        "/./.env",
        "/a/../.env",
        "/.git/config",
        "/.git%2fconfig",
        "/.%67it/config",
        "/%2egit/config",
        "/.git/",
        "/.git",
        "/a/.b/c",
        "/cohost.toml",
        "/COHOST.TOML",
        "/a/web.config",
        "/a/Web.Config",
        // C4
        "/link",
        "/up/secret",
        "/absolute/secret",
        "/magic/etc/hostname",
        "/round",
        // C5
        "/a.txt.",
        "/a.txt%20",
        "/a.txt::$DATA",
        "/a.txt;x",
        "/A.txt",
        "/a.txt/",
        "/a.txt/x",
        "/a%2ftxt",
        "//a.txt",
        // C7
        &long,
        &deep,
        "/%ff",
        "/%ff%fe/x",
        // C9
        "/pipe",
        "/socket",
        "/empty/",
    ];
    for path in paths {
        let answer =
            host.exchange(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "400" | "404" | "414"), "{path}: {answer}");
        assert!(!answer.contains("SECRET") && !answer.contains("X-Header"), "{path}: {answer}");
    }
    assert_eq!(host.get("/./a.txt").await.text(), "text");
    assert_eq!(host.get("/%61.txt").await.text(), "text");
    assert_eq!(host.get("/inside").await.body.len(), 3);
}

#[tokio::test]
async fn nothing_but_files_below_the_folder_is_sent() {
    let place = dangerous();
    let host = Setup::files(&place.path("www")).start().await;
    holds(&host).await;
    assert!(host.stop().await.success());
}

both_models! {
    async fn nothing_but_files_below_the_folder_is_sent_before_an_application(model: Model) {
        let place = dangerous();
        let host = Setup::sample(model).site(&of_site(&place)).start().await;
        holds(&host).await;
        assert!(host.stop().await.success());
    }

    async fn the_hosts_own_files_are_not_sent(model: Model) {
        let place = www();
        let library = crate::host::library("sample_app");
        let copy = place.path("www/libshop.so");
        std::fs::copy(library, &copy).unwrap();
        place.file("www/logs/app.log", "SECRET=4");
        let host = Setup::library(&copy, model)
            .log(&format!("output_folder = {:?}", place.path("www/logs").display().to_string()))
            .site(&of_site(&place))
            .start()
            .await;
        for path in ["/libshop.so", "/logs/app.log"] {
            let answer = host.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (404, 0), "{path}");
        }
        assert!(host.stop().await.success());
    }
}

/// A site of files in a folder that also has all that a host has for itself, each under several names.
#[tokio::test]
async fn the_hosts_own_files_are_known_under_all_their_names() {
    let place = www();
    place.file("www/releases/7/lib.so", "SECRET=5");
    symlink("releases/7", place.path("www/current")).unwrap();
    place.file("www/users", "me:$2y$05$SECRET");
    std::fs::hard_link(place.path("www/users"), place.path("www/same")).unwrap();
    place.file("www/tls/key.pem", "SECRET=6");
    place.file("www/logs/app.log", "SECRET=7");
    symlink("logs", place.path("www/printed")).unwrap();
    place.file("www/logs.txt", "public");
    let root = place.path("").join("logs/../www");
    std::fs::create_dir(place.path("logs")).unwrap();
    let at = |name: &str| place.path("www").join(name).display().to_string();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [free(), free()].map(|listener| listener.local_addr().unwrap().port());
    let host = Setup::files(&root)
        .binding(&format!("http://127.0.0.1:{}", ports[0]))
        .application("path = \"/files\"")
        .log(&format!("output_folder = {:?}", at("logs")))
        .more(&format!(
            "[[site.application]]\nname = 'own'\npath = '/own'\nlibrary = {:?}\n\
             auth = {{ basic = {{ users = {:?} }} }}\n\
             [[site]]\nname = 'tls'\nbindings = ['https://127.0.0.1:{}']\n\
             tls = {{ certificate = {:?}, key = {:?} }}\n[[site.application]]\nname = 'other'\nstatic = {:?}\n",
            at("current/lib.so"),
            at("users"),
            ports[1],
            at("tls/cert.pem"),
            at("tls/key.pem"),
            at("a"),
        ))
        .start_named(ports[0])
        .await;
    for path in [
        "current/lib.so",
        "releases/7/lib.so",
        "users",
        "same",
        "tls/key.pem",
        "logs/app.log",
        "printed/app.log",
    ] {
        let answer = host.get(&format!("/files/{path}")).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("SECRET"), "{path}");
    }
    assert_eq!(host.get("/files/logs.txt").await.text(), "public");
    // A key that was renewed, by a link as some do it.
    place.file("www/tls/next.pem", "SECRET=8");
    std::fs::remove_file(place.path("www/tls/key.pem")).unwrap();
    symlink("next.pem", place.path("www/tls/key.pem")).unwrap();
    assert_eq!(host.get("/files/tls/next.pem").await.status, 404);
    assert!(host.stop().await.success());
}

/// Who wants to show what applications print says so.
#[tokio::test]
async fn a_folder_of_the_hosts_own_is_sent_where_it_is_the_folder_of_files() {
    let place = www();
    place.file("www/logs/app.log", "printed");
    let folder = place.path("www/logs");
    let log = format!("output_folder = {:?}", folder.display().to_string());
    let host = Setup::files(&folder).log(&log).start().await;
    assert_eq!(host.get("/app.log").await.text(), "printed");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_the_host_may_not_read_is_said_to_the_operator() {
    let place = www();
    let file = place.file("www/closed", "SECRET=5");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o0)).unwrap();
    place.file("www/shut/inside", "SECRET=6");
    std::fs::set_permissions(place.path("www/shut"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let host = Setup::files(&place.path("www")).denied_what_root_may().start().await;
    for path in ["/closed", "/shut/inside"] {
        let answer = host.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (403, "file_denied"), "{path}");
        assert!(!answer.text().contains("SECRET"), "{path}");
    }
    host.log.at_least("request failed", 2).await;
    for told in host.log.of("request failed") {
        assert_eq!(told["failure"], "file_denied", "{told}");
    }
    std::fs::set_permissions(place.path("www/shut"), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(host.get("/shut/inside").await.status, 200);
    assert!(host.stop().await.success());
}
