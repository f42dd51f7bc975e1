//! Who may come in, by a password, or by what another server thinks of it.

use http::Method;
use http_body_util::Empty;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use super::upstream::Upstream;
use crate::{
    both_models,
    host::{Answer, Host, Issuer, Model, Setup, Workshop},
    supervision::rewrite,
};

/// The password `secret`.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
/// `ana:secret`, and others that are none.
const ANA: &str = "Basic YW5hOnNlY3JldA==";
const WRONG: &str = "Basic YW5hOlNlY3JldA==";
const NOBODY: &str = "Basic Ym9iOnNlY3JldA==";

async fn ask(host: &Host, path: &str, fields: &[(&str, &str)]) -> Answer {
    let client = host.client();
    let mut request = client.request(Method::GET, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap()
}

async fn with(host: &Host, password: &str) -> (u16, String) {
    let answer = ask(host, "/plaintext", &[("authorization", password)]).await;
    let code = answer.headers.get("cohost-failure").map_or("", |code| code.to_str().unwrap());
    (answer.status.as_u16(), code.to_owned())
}

/// What a server that is asked has heard; it lets pass who has `X-Token: good`.
async fn server() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    let (heard, hear) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let answer = match head.contains("x-token: good") {
                true => "200 OK\r\nX-User: ana\r\nX-Other: 1\r\nContent-Length: 0",
                false => {
                    "302 Found\r\nLocation: /login\r\nX-Hop: 1\r\nConnection: close, x-hop\r\nContent-Length: 4\r\n\
                     Keep-Alive: timeout=5\r\nCohost-Failure: x\r\nUpgrade: h2c"
                }
            };
            let close = if answer.contains("close") { "" } else { "Connection: close\r\n" };
            let body = if answer.starts_with("302") { "who?" } else { "" };
            let _ = heard.send(head);
            let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\n{close}\r\n{body}").as_bytes()).await;
        }
    });
    (url, hear)
}

both_models! {
    async fn only_who_knows_a_password_comes_in(model: Model) {
        let place = Workshop::new();
        let users = place.file("users", format!("# made by htpasswd -B\nana:{HASH}\n"));
        let site = format!("[site.auth.basic]\nusers = {:?}\nrealm = \"the \\\"shop\\\"\"", users.display().to_string());
        let host = Setup::sample(model).site(&site).start().await;
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (401, "not_authenticated"));
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"the \\\"shop\\\"\", charset=\"UTF-8\"");
        for password in [WRONG, NOBODY, "Basic", "Basic !", "Bearer x"] {
            assert_eq!(with(&host, password).await, (401, "not_authenticated".to_owned()), "{password}");
        }
        assert!(host.log.of("application started").is_empty());
        assert_eq!(with(&host, ANA).await.0, 200);
        // Known for a while, also when the file is gone; nobody else is.
        std::fs::remove_file(&users).unwrap();
        assert_eq!(with(&host, ANA).await.0, 200);
        assert_eq!(with(&host, WRONG).await, (503, "auth_unavailable".to_owned()));
        place.file("users", format!("bob:{HASH}\n"));
        assert_eq!(with(&host, NOBODY).await.0, 200);
        let log = host.log.text();
        assert!(!log.contains("secret") && !log.contains("YW5hO") && !log.contains("$2b$"), "{log}");
    }

    async fn who_is_known_stays_so_while_other_things_change(model: Model) {
        let place = Workshop::new();
        let users = place.file("users", format!("ana:{HASH}\n"));
        let site = format!("[site.auth.basic]\nusers = {:?}", users.display().to_string());
        let setup = || Setup::sample(model).site(&site);
        let host = setup().start().await;
        assert_eq!(with(&host, ANA).await.0, 200);
        std::fs::remove_file(&users).unwrap();
        rewrite(&host, &setup().site("[site.ip]\ndeny = [\"192.0.2.1\"]").text());
        assert_eq!(host.operator(&["reload"]).await.code, 0);
        assert_eq!(host.operator(&["recycle", "app"]).await.code, 0);
        assert_eq!(with(&host, ANA).await.0, 200);
        assert_eq!(with(&host, WRONG).await, (503, "auth_unavailable".to_owned()));
    }

    async fn an_application_may_have_users_of_its_own(model: Model) {
        let users = format!("[site.application.auth.basic.users]\nana = {HASH:?}");
        let host = Setup::sample(model)
            .more(&users)
            .beside(&crate::host::library("sample_app"), model)
            .start()
            .await;
        assert_eq!(with(&host, ANA).await.0, 200);
        assert_eq!(with(&host, WRONG).await.0, 401);
        assert_eq!(host.get("/healthy/plaintext").await.status, 200);
    }

    async fn an_application_is_guarded_in_every_spelling_of_its_path(model: Model) {
        let place = Workshop::new();
        place.file("public/ad+min/x.html", "inside");
        place.file("public/y.html", "outside");
        let all = place.path("public").display().to_string();
        let host = Setup::sample(model)
            .application("path = \"/ad+min\"")
            .more(&format!("[site.application.auth.basic.users]\nana = {HASH:?}"))
            .more(&format!("[[site.application]]\npath = \"/\"\nstatic = {all:?}"))
            .start()
            .await;
        assert_eq!(host.get("/%79.html").await.text(), "outside");
        for path in ["/ad+min/x.html", "/%61d+min/x.html", "/ad%2Bmin/x.html", "/y/../%61%64%2bm%69n/x.html"] {
            let answer = host.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (401, "not_authenticated"), "{path}");
        }
        // A slash that is escaped separates nothing, for files neither.
        for path in ["/ad+min%2Fx.html", "/ad%252Bmin/x.html", "/ad%%32%62min/x.html"] {
            assert_eq!(host.get(path).await.status, 404, "{path}");
        }
        let info = ask(&host, "/%61d%2bmin/%69nfo", &[("authorization", ANA)]).await.json();
        let seen = ["path_base", "path", "target"].map(|key| info[key].as_str().unwrap().to_owned());
        assert_eq!(seen, ["/ad+min", "/info", "/%61d%2bmin/%69nfo"]);
    }

    async fn another_server_says_who_comes_in_and_as_whom(model: Model) {
        let (url, mut heard) = server().await;
        let site = format!("[site.auth.forward]\nurl = {url:?}\ncopy = [\"X-User\"]");
        let host = Setup::sample(model).site(&site).start().await;
        let answer = ask(&host, "/info?a=b", &[("x-token", "bad"), ("x-forwarded-uri", "/public")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location"), answer.text()), (302, "/login", "who?"));
        for hop in ["x-hop", "keep-alive", "connection", "cohost-failure", "upgrade"] {
            assert!(!answer.headers.contains_key(hop), "{answer:?}");
        }
        let head = heard.recv().await.unwrap();
        for told in
            ["GET /verify HTTP/1.1", "x-forwarded-method: GET", "x-forwarded-uri: /info?a=b", "x-forwarded-for: 127.0.0.1"]
        {
            assert!(head.contains(told), "{told}: {head}");
        }
        assert!(!head.contains("/public"), "{head}");
        let fields = [("x-token", "good"), ("x-user", "root"), ("x_user", "root"), ("x-other", "mine")];
        let info = ask(&host, "/info", &fields).await.text().to_owned();
        assert!(info.contains("ana") && !info.contains("root"), "{info}");
        // Nor is it the client that takes it away again.
        for connection in ["X-User", "close, x-user"] {
            let fields = [("x-token", "good"), ("connection", connection), ("x-user", "root")];
            let info = ask(&host, "/info", &fields).await.text().to_owned();
            assert!(info.contains("ana") && !info.contains("root"), "{connection}: {info}");
        }
    }

    async fn another_server_judges_what_is_served(model: Model) {
        let (url, mut heard) = server().await;
        let site = format!("[site.auth.forward]\nurl = {url:?}");
        let host = Setup::sample(model).application("path = \"/shop\"").site(&site).start().await;
        for path in ["/public/%2e%2e/shop/info?a=%62", "/public/../%73hop/%69nfo?a=%62"] {
            let mut wire = host.wire().await;
            wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Token: good\r\n\r\n")).await;
            assert_eq!(wire.reply().await.json()["path"], "/info");
            let head = heard.recv().await.unwrap();
            assert!(head.contains("x-forwarded-uri: /shop/info?a=%62\r\n"), "{head}");
        }
    }

    async fn another_server_hears_nothing_that_only_the_host_may_say(model: Model) {
        let (url, mut heard) = server().await;
        let host = Setup::sample(model).site(&format!("[site.auth.forward]\nurl = {url:?}")).start().await;
        let never = [
            "x-real-ip", "x_forwarded_for", "x_forwarded_uri", "client-cert", "client_cert", "forwarded", "proxy", "keep-alive",
            "proxy-connection", "http2-settings", "proxy-authorization", "cohost-facts", "ms-aspnetcore-token", "te",
            "if-none-match", "range", "x-hop",
        ];
        let mut wire = host.wire().await;
        wire.send("GET /info HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\nConnection: x-hop, x-forwarded-for\r\n").await;
        for name in never {
            wire.send(format!("{name}: bad\r\n")).await;
        }
        wire.send("\r\n").await;
        assert_eq!(wire.reply().await.status(), 302);
        let head = heard.recv().await.unwrap();
        assert!(head.contains("x-mine: 1\r\n") && head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
        assert!(!head.contains("bad"), "{head}");

        let client = host.client().http2();
        let request = client.request(Method::GET, "/info").header("cookie", "a=1").header("cookie", "b=2");
        client.send(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
        let head = heard.recv().await.unwrap();
        assert!(head.contains("cookie: a=1; b=2\r\n"), "{head}");
    }

    async fn another_server_may_be_asked_over_tls_if_it_shows_that_it_is_that_one(model: Model) {
        let issuer = Issuer::new();
        let asked = Upstream::secure("asked", &issuer.issue(&["localhost"])).await;
        let url = format!("https://localhost:{}/", asked.address.port());
        let forward = |tls: &str| format!("forward = {{ url = {url:?}, tls = {{ {tls} }} }}");
        let host = Setup::sample(model)
            .file("ca.pem", &issuer.pem())
            .site(&format!("[site.auth]\n{}", forward("ca = \"ca.pem\"")))
            .beside(&crate::host::library("sample_app"), model)
            .more(&format!("[site.application.auth]\n{}", forward("ca = \"ca.pem\", server_name = \"other.example\"")))
            .start()
            .await;
        assert_eq!(host.get("/plaintext").await.status, 200);
        assert_eq!((asked.asked(), asked.name().as_deref()), (1, Some("localhost")));
        let answer = host.get("/healthy/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "auth_unavailable"));
        let told = host.log.message("request failed").await;
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("is for localhost, and not for other.example"), "{detail}");
        // The site's has let it pass; its own was not told anything.
        assert_eq!((asked.asked(), asked.handshakes()), (2, [1, 0]));
    }

    async fn without_an_answer_nobody_comes_in(model: Model) {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let forward = format!("url = \"http://{}/\"\ntimeout = \"100ms\"", silent.local_addr().unwrap());
        let host = Setup::sample(model).site(&format!("[site.auth.forward]\n{forward}")).start().await;
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "auth_unavailable"));
        drop(silent);
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "auth_unavailable"));
        assert!(host.log.of("application started").is_empty());
    }
}
