//! TLS towards servers that somebody else runs: who is believed, and what is said of who is not.

use std::process::Command;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use http_body_util::Empty;
use rcgen::{BasicConstraints, IsCa};
use tokio_tungstenite::{client_async, tungstenite::Message};

use super::{
    balance::{states, told},
    upstream::Upstream,
};
use crate::host::{Host, Issued, Issuer, Model, Setup, Workshop, library, program};

/// A host of these upstreams, with lines for their `tls`, and a file with those who may vouch for them.
fn before(urls: &[String], tls: &str, issuer: &Issuer) -> Setup {
    let tls = format!("[site.application.balance.tls]\n{tls}\n");
    Setup::upstreams(&format!("{urls:?}")).more(&tls).file("ca.pem", &issuer.pem())
}

/// Another application of the site.
fn beside(name: &str, url: &str, tls: &str) -> String {
    format!(
        "[[site.application]]\nname = {name:?}\npath = \"/{name}\"\nupstreams = [{url:?}]\n\
         balance = {{ max_fails = \"none\", tls = {{ {tls} }} }}\n"
    )
}

/// What is logged of a request that has no answer since there is no TLS.
async fn why(host: &Host, path: &str) -> String {
    let before = host.log.of("request failed").len();
    let answer = host.get(path).await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (502, "tls_failed"), "{path}");
    assert!(!answer.text().contains("certificate"), "a client learns {}", answer.text());
    host.log.at_least("request failed", before + 1).await;
    host.log.of("request failed")[before]["detail"].as_str().unwrap().to_owned()
}

fn expired(issuer: &Issuer) -> Issued {
    issuer.issue_with(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    })
}

#[tokio::test]
async fn many_requests_need_one_handshake_and_the_name_of_the_url_is_asked_for() {
    let issuer = Issuer::new();
    let one = Upstream::secure("one", &issuer.issue(&["localhost"])).await;
    let url = format!("https://localhost:{}", one.address.port());
    let host = before(&[url], "ca = \"ca.pem\"", &issuer)
        .more("[[site.application]]\npath = \"/x\"\nupstreams = [\"http://127.0.0.1:9\"]")
        .start()
        .await;
    for _ in 0..8 {
        assert_eq!(host.client().post("/", "body").await.text(), "one");
    }
    assert_eq!((one.handshakes(), one.name().as_deref()), ([1, 0], Some("localhost")));
    // What it is told of the client is as ever.
    assert_eq!(one.field("host"), Some(host.address.to_string()));
    assert_eq!(one.field("x-forwarded-proto").as_deref(), Some("http"));
    let shown = told(&host).await;
    let place = shown["upstreams"][0]["place"].as_str().unwrap().to_owned();
    assert_eq!(place, format!("https://localhost:{}", one.address.port()));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_new_connection_goes_on_with_a_session() {
    let issuer = Issuer::new();
    let one = Upstream::secure("one", &issuer.issue(&["127.0.0.1"])).await;
    let setup = before(&[one.url()], "ca = \"ca.pem\"", &issuer);
    let host = setup.more("[site.application.balance]\nmax_fails = \"none\"").start().await;
    assert_eq!(host.get("/").await.text(), "one");
    // It closes the connection.
    assert_eq!(host.get("/close").await.header("cohost-failure"), "instance_lost");
    assert_eq!(host.get("/").await.text(), "one");
    // Nobody is asked for an address.
    assert_eq!((one.handshakes(), one.name()), ([1, 1], None));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn who_is_not_the_one_that_is_meant_gets_nothing_and_the_log_says_why() {
    let (issuer, address) = (Issuer::new(), "127.0.0.1");
    let of = |issued: Issued| async move { Upstream::secure("one", &issued).await };
    let good = of(issuer.issue(&[address])).await;
    let other = of(issuer.issue(&["other.example", "10.0.0.1"])).await;
    let expired = of(expired(&issuer)).await;
    let plain = Upstream::start("plain").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("https://{}", silent.local_addr().unwrap());
    let ca = "ca = \"ca.pem\"";
    let host = before(&[good.url()], ca, &issuer)
        .more(&beside("other", &other.url(), ca))
        .more(&beside("named", &other.url(), &format!("{ca}, server_name = \"other.example\"")))
        .more(&beside("expired", &expired.url(), ca))
        .more(&beside("plain", &plain.url().replace("http:", "https:"), ca))
        .more(&beside("unknown", &good.url(), "server_name = \"127.0.0.1\""))
        .more(&beside("silent", &silent_url, ca))
        .more("connect_timeout = \"100ms\"")
        .start()
        .await;
    assert_eq!(host.get("/").await.text(), "one");
    assert_eq!(host.get("/named").await.text(), "one");
    assert_eq!(other.name().as_deref(), Some("other.example"));
    let (asked, seen) = (good.asked(), other.asked());
    let told = why(&host, "/other").await;
    assert!(told.contains(&other.address.to_string()), "{told}");
    assert!(told.contains("is for other.example, 10.0.0.1, and not for 127.0.0.1"), "{told}");
    assert!(why(&host, "/expired").await.contains("has expired"));
    assert!(why(&host, "/plain").await.contains("it does not speak TLS there; write http://"));
    assert!(why(&host, "/unknown").await.contains("from an authority that the host does not know"));
    assert_eq!((good.asked(), other.asked(), expired.asked(), plain.asked()), (asked, seen, 0, 0));
    // A handshake has as much time as a connection.
    assert_eq!(host.get("/silent").await.header("cohost-failure"), "connect_failed");
    drop(silent);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_request_goes_to_another_when_there_is_no_tls_with_the_first() {
    let issuer = Issuer::new();
    let one = Upstream::secure("one", &expired(&issuer)).await;
    let two = Upstream::secure("two", &issuer.issue(&["127.0.0.1"])).await;
    let setup = before(&[one.url(), two.url()], "ca = \"ca.pem\"", &issuer);
    let host = setup.more("[site.application.balance]\nmax_fails = 2\nout_time = \"1m\"").start().await;
    for _ in 0..6 {
        assert_eq!(host.client().post("/", "body").await.text(), "two");
    }
    states(&host, &["out", "up"]).await;
    let told = told(&host).await;
    let detail = told["upstreams"][0]["failed"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("tls_failed: no TLS with ") && detail.contains("has expired"), "{detail}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_upstream_may_want_to_know_who_comes() {
    let (issuer, clients) = (Issuer::new(), Issuer::new());
    let one = Upstream::secure_for("one", &issuer.issue(&["127.0.0.1"]), &clients).await;
    let own = clients.issue(&["host"]);
    let tls = "ca = \"ca.pem\"\ncertificate = \"own.pem\"\nkey = \"own.key\"";
    let host = before(&[one.url()], tls, &issuer)
        .more(&beside("without", &one.url(), "ca = \"ca.pem\""))
        .file("own.pem", &own.certificate)
        .file("own.key", &own.key)
        .start()
        .await;
    assert_eq!(host.get("/").await.text(), "one");
    let told = why(&host, "/without").await;
    assert!(told.contains("it wants a certificate of the host's own"), "{told}");
    assert_eq!(one.asked(), 1);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_server_that_vouches_for_itself_is_believed_when_it_is_named() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    // As `openssl req -x509` makes them.
    let own = rcgen_own();
    let one = Upstream::secure("one", &own).await;
    let host = before(&[one.url()], "ca = [\"other.pem\", \"own.pem\"]", &issuer)
        .more(&beside("other", &one.url(), "ca = \"other.pem\""))
        .file("own.pem", &own.certificate)
        .file("other.pem", &other.pem())
        .start()
        .await;
    assert_eq!(host.get("/").await.text(), "one");
    why(&host, "/other").await;
    assert!(host.stop().await.success());
}

/// A certificate that has signed itself, and says that it is an authority.
fn rcgen_own() -> Issued {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    Issued { certificate, key: key.serialize_pem() }
}

#[tokio::test]
async fn without_a_file_those_are_believed_that_the_system_believes() {
    let issuer = Issuer::new();
    let one = Upstream::secure("one", &issuer.issue(&["127.0.0.1"])).await;
    let place = Workshop::new();
    let system = place.file("system.pem", issuer.pem());
    let host = Setup::upstreams(&format!("[{:?}]", one.url()))
        .variable("SSL_CERT_FILE", system.to_str().unwrap())
        .start()
        .await;
    assert_eq!(host.get("/").await.text(), "one");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn web_sockets_and_large_bodies_go_through() {
    for model in [Model::InProcess, Model::OutOfProcess] {
        let issuer = Issuer::new();
        let behind = Setup::sample(model).secure(&issuer.issue(&["shop.example"])).start().await;
        let url = format!("https://{}", behind.address);
        let tls = "ca = \"ca.pem\"\nserver_name = \"shop.example\"";
        let host = before(&[url], tls, &issuer).start().await;
        let url = format!("ws://{}/ws", host.address);
        let (mut socket, _) = client_async(url, host.raw().await).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        drop(socket);
        let large = vec![7; 3_000_000];
        for client in [host.client(), host.client().http2()] {
            assert_eq!(client.get("/plaintext").await.text(), "Hello, World!");
            assert!(client.post("/echo", large.clone()).await.body == large);
        }
        assert!(host.stop().await.success());
        assert!(behind.stop().await.success());
    }
}

#[tokio::test]
async fn an_answer_that_ends_without_saying_so_is_cut_for_the_client() {
    let issuer = Issuer::new();
    let one = Upstream::secure("one", &issuer.issue(&["127.0.0.1"])).await;
    let host = before(&[one.url()], "ca = \"ca.pem\"", &issuer).start().await;
    let client = host.client();
    let request = client.request(Method::GET, "/cut").body(Empty::<Bytes>::new()).unwrap();
    let answer = client.begin(request).await.unwrap();
    one.go();
    assert!(crate::host::Answer::of(answer).await.is_err());
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn they_are_asked_how_they_are_over_tls_too() {
    let issuer = Issuer::new();
    let one = Upstream::secure("one", &issuer.issue(&["127.0.0.1"])).await;
    let two = Upstream::secure("two", &expired(&issuer)).await;
    let health =
        "health = { path = \"/health\", interval = \"50ms\", timeout = \"1s\", healthy = 1, unhealthy = 1 }";
    let setup = before(&[one.url(), two.url()], "ca = \"ca.pem\"", &issuer);
    let host = setup.more(&format!("[site.application.balance]\n{health}")).start().await;
    states(&host, &["up", "down"]).await;
    one.set_well(false);
    states(&host, &["down", "down"]).await;
    one.set_well(true);
    states(&host, &["up", "down"]).await;
    let detail = told(&host).await["upstreams"][1]["failed"]["detail"].to_string();
    assert!(detail.contains("has expired"), "{detail}");
    assert_eq!(two.handshakes(), [0, 0]);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn files_are_taken_up_when_they_are_there_and_what_is_known_of_upstreams_stays() {
    let issuer = Issuer::new();
    let one = Upstream::secure("one", &issuer.issue(&["127.0.0.1"])).await;
    let setup = before(&[one.url()], "ca = \"ca.pem\"", &issuer).file("ca.pem", "nothing yet");
    let host = setup.server("watch = true").start().await;
    let said = host.log.message("certificate cannot be used").await;
    assert!(said["why"].as_str().unwrap().contains("ca.pem has no certificate"), "{said}");
    assert!(why(&host, "/").await.contains("ca.pem cannot be used"));
    std::fs::write(host.directory.path().join("ca.pem"), issuer.pem()).unwrap();
    host.log.message("configuration in force").await;
    assert_eq!(host.get("/").await.text(), "one");
    let told = told(&host).await;
    assert_eq!((&told["requests"], &told["upstreams"][0]["failures"]), (&2.into(), &1.into()));
    assert!(host.stop().await.success());
}

#[test]
fn the_check_says_what_is_wrong_with_files() {
    let (issuer, workshop) = (Issuer::new(), Workshop::new());
    let (own, other) = (issuer.issue(&["host"]), issuer.issue(&["host"]));
    workshop.file("ca.pem", issuer.pem());
    workshop.file("own.pem", &own.certificate);
    workshop.file("own.key", &own.key);
    workshop.file("other.key", &other.key);
    let check = |tls: &str| {
        let text = format!(
            "[[site]]\nname = 'shop'\nbindings = ['http://*:80']\n\
             auth = {{ forward = {{ url = 'https://login.example/', tls = {{ {tls} }} }} }}\n\
             [[site.application]]\nname = 'api'\nupstreams = ['https://api.example']\n\
             balance = {{ tls = {{ {tls} }} }}\n[[site.application]]\npath = '/app'\nlibrary = {:?}\n",
            library("sample_app")
        );
        let file = workshop.file("cohost.toml", text);
        let output = Command::new(program()).arg("check").arg(file).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    let (said, code) = check("ca = 'ca.pem', certificate = 'own.pem', key = 'own.key'");
    assert!(said.contains("api: ok") && !said.contains("warning") && code == Some(0), "{said}");
    for (tls, wrong) in [
        ("ca = 'gone.pem'", "cannot read "),
        ("ca = 'own.key'", "own.key has no certificate in PEM: it has a key"),
        ("certificate = 'own.pem', key = 'other.key'", "does not belong to the first certificate in "),
    ] {
        let (said, code) = check(tls);
        for subject in ["api: error: ", "site shop: error: "] {
            let line = said.lines().find(|line| line.starts_with(subject));
            assert!(line.is_some_and(|line| line.contains(wrong)), "{tls}: {said}");
        }
        assert_eq!(code, Some(1), "{said}");
    }
}
