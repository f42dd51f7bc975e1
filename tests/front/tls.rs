//! Behaviour 52: TLS on our own listeners. Rows H7 and E1 of the faults.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    both_models,
    host::{Handshake, Host, Issuer, Model, PATIENCE, Setup, get_on_http2, library},
};

/// A name that the test's certificates have.
const SHOP: &str = "shop.example";

async fn shop(model: Model, issuer: &Issuer) -> Host {
    Setup::sample(model).secure(&issuer.issue(&[SHOP])).start().await
}

both_models! {
    async fn an_application_learns_what_tls_agreed_on(model: Model) {
        let issuer = Issuer::new();
        let host = shop(model, &issuer).await;
        let seen = host.secure(&issuer, SHOP).offering(&["http/1.1"]).get("/info").await.json();
        assert_eq!((seen["scheme"].as_str(), seen["version"].as_str()), (Some("https"), Some("HTTP/1.1")));
        assert_eq!((&seen["tls"]["sni"], &seen["tls"]["alpn"]), (&SHOP.into(), &"http/1.1".into()));
        let record = host.log.wait(|event| event["target"] == "cohost::access").await;
        assert_eq!((record["tls"].as_str(), record["authority"].as_str()), (Some("1.3"), Some(SHOP)));
    }

    async fn http2_is_spoken_where_it_was_agreed_on(model: Model) {
        let issuer = Issuer::new();
        let host = shop(model, &issuer).await;
        let seen = host.secure(&issuer, SHOP).get_http2(SHOP, "/info").await.json();
        assert_eq!((seen["scheme"].as_str(), seen["version"].as_str()), (Some("https"), Some("HTTP/2.0")));
        assert_eq!(seen["tls"]["alpn"], "h2");
    }

    async fn a_name_that_no_site_has_is_refused_if_that_is_wanted(model: Model) {
        let issuer = Issuer::new();
        let host = named(model, &issuer, "unknown_authority = \"misdirected\"").await;
        let refused = host.secure(&issuer, "other.example").try_get("/").await.unwrap_err();
        assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
        let host = named(model, &issuer, "").await;
        assert_eq!(host.secure(&issuer, "other.example").get("/").await.status, 200);
    }
}

/// A site that has the name `SHOP` only, and a certificate for more.
async fn named(model: Model, issuer: &Issuer, server: &str) -> Host {
    let port = free_port();
    let issued = issuer.issue(&[SHOP, "other.example"]);
    let binding = format!("https://{SHOP}:{port}");
    Setup::sample(model).secure(&issued).binding(&binding).server(server).start_named(port).await
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn each_site_presents_its_own_certificate() {
    let (issuer, port) = (Issuer::new(), free_port());
    let (shop, all, any) =
        (issuer.issue(&["a.all.example"]), issuer.issue(&["*.all.example"]), issuer.issue(&["else.test"]));
    let application = format!("[[site.application]]\nlibrary = {:?}", library("sample_app"));
    let site = |name: &str, host: &str| {
        format!(
            "[[site]]\nname = {name:?}\nbindings = [\"https://{host}:{port}\"]\n\
             [site.tls]\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"\n{application}"
        )
    };
    let host = Setup::sample(Model::InProcess)
        .secure(&shop)
        .binding(&format!("https://a.all.example:{port}"))
        .more(&site("all", "*.all.example"))
        .more(&site("any", "*"))
        .file("all.pem", &all.certificate)
        .file("all.key", &all.key)
        .file("any.pem", &any.certificate)
        .file("any.key", &any.key)
        .start_named(port)
        .await;
    let client = host.secure(&issuer, "a.all.example");
    // Each name is verified by the client.
    for name in ["a.all.example", "b.all.example", "else.test"] {
        assert_eq!(client.named(name).get("/").await.status, 200, "{name}");
    }
    // The exact name has a certificate of its own, which is not the wildcard's.
    let own = client.connect().await.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone();
    let other = client.named("b.all.example").connect().await.unwrap();
    assert_ne!(other.get_ref().1.peer_certificates().unwrap()[0], own);
    let wrong = client.named("deep.b.all.example").connect().await.unwrap_err();
    assert!(wrong.to_string().contains("not valid for name"), "{wrong}");
}

#[tokio::test]
async fn a_site_may_have_several_certificates_and_insist_on_tls_1_3() {
    let issuer = Issuer::new();
    let (one, other) = (issuer.issue(&["one.test"]), issuer.issue(&["*.other.test"]));
    let host = Setup::sample(Model::InProcess)
        .binding("https://127.0.0.1:0")
        .file("one.pem", &one.certificate)
        .file("one.key", &one.key)
        .file("other.pem", &other.certificate)
        .file("other.key", &other.key)
        .site(
            "[site.tls]\nmin_version = \"1.3\"\ncertificates = [\n{ certificate = \"one.pem\", key = \"one.key\" },\n\
             { certificate = \"other.pem\", key = \"other.key\" }]",
        )
        .start()
        .await;
    for name in ["one.test", "a.other.test"] {
        assert_eq!(host.secure(&issuer, name).get("/").await.status, 200, "{name}");
    }
    let old = host.secure(&issuer, "one.test").speaking(&issuer, Handshake::Tls12, None);
    let refused = old.try_get("/").await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
}

#[tokio::test]
async fn tls_1_2_is_spoken_by_default_and_nothing_older() {
    let issuer = Issuer::new();
    let host = shop(Model::InProcess, &issuer).await;
    let old = host.secure(&issuer, SHOP).speaking(&issuer, Handshake::Tls12, None);
    assert_eq!(old.get("/").await.status, 200);
    // The hello of a client that knows TLS 1.0 and nothing else.
    let hello =
        [&[22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 1][..], &[7; 32], &[0, 0, 4, 0x00, 0x2f, 0x00, 0x35, 1, 0]]
            .concat();
    let mut stream = host.raw().await;
    stream.write_all(&hello).await.unwrap();
    let mut told = Vec::new();
    let _reset = stream.read_to_end(&mut told).await;
    // A fatal alert, or nothing at all.
    assert!(told.is_empty() || told[0] == 21, "{told:?}");
}

#[tokio::test]
async fn protocols_that_nobody_knows_are_refused_and_none_at_all_is_http1() {
    let issuer = Issuer::new();
    let host = shop(Model::InProcess, &issuer).await;
    let client = host.secure(&issuer, SHOP);
    let refused = client.clone().offering(&["spdy/9"]).try_get("/").await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn where_http2_was_agreed_on_nothing_else_is_answered() {
    let issuer = Issuer::new();
    let host = shop(Model::InProcess, &issuer).await;
    let mut stream = host.secure(&issuer, SHOP).offering(&["h2"]).connect().await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut told = Vec::new();
    let reading = stream.read_to_end(&mut told);
    let _cut = tokio::time::timeout(PATIENCE, reading).await.expect("closed in time");
    assert!(!told.starts_with(b"HTTP/1"), "{:?}", String::from_utf8_lossy(&told));
}

#[tokio::test]
async fn http_on_the_port_of_https_is_told_so() {
    let issuer = Issuer::new();
    let host = shop(Model::InProcess, &issuer).await;
    let told = host.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("https://"), "{told}");
    assert_eq!(host.secure(&issuer, SHOP).get("/").await.status, 200);
}

#[tokio::test]
async fn tls_on_the_port_of_http_is_refused() {
    let issuer = Issuer::new();
    let host = Setup::sample(Model::InProcess).start().await;
    let refused = host.secure(&issuer, SHOP).try_get("/").await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData, "{refused}");
    assert_eq!(host.get("/").await.status, 200);
}

#[tokio::test]
async fn names_that_are_none_harm_nobody() {
    let issuer = Issuer::new();
    let host = shop(Model::InProcess, &issuer).await;
    // Without a name, since an address is none: the default certificate, which is not for that address.
    let refused = host.secure(&issuer, "127.0.0.1").connect().await.unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
    let long = ["x"; 60].join(".");
    assert!(host.secure(&issuer, &long).connect().await.is_err());
    assert_eq!(host.secure(&issuer, "SHOP.Example").get("/").await.status, 200);
    for name in [&[0; 8][..], &[b'a'; 255], b"a\0b", b"\xff\xfe", b"127.0.0.1"] {
        let mut stream = host.raw().await;
        stream.write_all(&hello_for(name)).await.unwrap();
        let mut told = [0; 1];
        // An answer, or an alert, or the end.
        let _reset = tokio::time::timeout(PATIENCE, stream.read(&mut told)).await.expect("in time");
    }
    assert_eq!(host.secure(&issuer, SHOP).get("/").await.status, 200);
}

/// The hello of a client of TLS 1.2 that asks for `name`, whatever that is.
fn hello_for(name: &[u8]) -> Vec<u8> {
    let length = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let entry = [&[0][..], &length(name.len()), name].concat();
    let names = [&[0, 0][..], &length(entry.len() + 2), &length(entry.len()), &entry].concat();
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let schemes = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [&names[..], &groups, &schemes].concat();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0], &length(extensions.len()), &extensions]
        .concat();
    let message = [&[1, 0][..], &length(body.len()), &body].concat();
    [&[22, 3, 1][..], &length(message.len()), &message].concat()
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_is_cut_off_and_others_are_served() {
    let issuer = Issuer::new();
    let host = Setup::sample(Model::InProcess)
        .secure(&issuer.issue(&[SHOP]))
        .server("handshake_timeout = \"300ms\"")
        .start()
        .await;
    let mut silent = Vec::new();
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x01\x00"] {
        let mut stream = host.raw().await;
        stream.write_all(begun).await.unwrap();
        silent.push(stream);
    }
    let began = std::time::Instant::now();
    assert_eq!(host.secure(&issuer, SHOP).get("/").await.status, 200);
    for mut stream in silent {
        let mut told = Vec::new();
        let _reset =
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut told)).await.expect("closed in time");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_the_host_stops() {
    let issuer = Issuer::new();
    let setup = Setup::sample(Model::InProcess).secure(&issuer.issue(&[SHOP]));
    let mut host = setup.server("shutdown_timeout = \"60s\"").start().await;
    let mut stream = host.secure(&issuer, SHOP).offering(&["http/1.1"]).connect().await.unwrap();
    let request = "POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // It is in flight once the application has asked for its body.
    until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    host.signal("TERM");
    host.log.message("stopping: finishing what is in flight; a second signal hurries").await;
    stream.write_all(b"last").await.unwrap();
    until(&mut stream, "HTTP/1.1 200 OK\r\n").await;
    drop(stream);
    // Not by a second signal, which would hurry it.
    assert!(host.ended().await.success());
}

/// Reads up to this text, and no byte more.
async fn until(stream: &mut (impl AsyncRead + Unpin), text: &str) {
    let reading = async {
        let mut told = Vec::new();
        while !told.ends_with(text.as_bytes()) {
            let next = stream.read_u8().await;
            told.push(next.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&told))));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("in time");
}

#[tokio::test]
async fn a_program_is_told_by_fields_that_the_client_spoke_tls() {
    let echo = format!("{}/tests/programs/echo.py", env!("CARGO_MANIFEST_DIR"));
    let issuer = Issuer::new();
    let host = Setup::command(&["python3", &echo]).secure(&issuer.issue(&[SHOP])).start().await;
    let told = host.secure(&issuer, SHOP).get("/").await.json();
    let field = |name: &str| {
        let fields = told["fields"].as_array().unwrap();
        fields.iter().find(|field| field[0] == name).map(|field| field[1].as_str().unwrap().to_owned())
    };
    assert_eq!(field("x-forwarded-proto").as_deref(), Some("https"), "{told}");
    assert_eq!(field("x-forwarded-port"), Some(host.address.port().to_string()));
}

#[tokio::test]
async fn a_port_may_change_to_tls_and_back_while_the_host_serves() {
    let (issuer, port) = (Issuer::new(), free_port());
    let address = format!("127.0.0.1:{port}");
    let secure =
        Setup::sample(Model::InProcess).secure(&issuer.issue(&[SHOP])).binding(&format!("https://{address}"));
    let clear = Setup::sample(Model::InProcess).binding(&format!("http://{address}")).text();
    let text = secure.text();
    let host = secure.start().await;
    let file = host.directory.path().join("cohost.toml");
    let client = host.secure(&issuer, SHOP);
    let mut kept = client.http2().await;
    std::fs::write(&file, clear).unwrap();
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    assert_eq!(host.get("/").await.status, 200);
    assert!(client.connect().await.is_err());
    // Who has been there before is served as before.
    assert_eq!(get_on_http2(&mut kept, SHOP, "/").await.status(), 200);
    std::fs::write(&file, text).unwrap();
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(host.log.of("worker starts").len(), 1);
}

#[tokio::test]
async fn a_process_of_an_application_has_nothing_of_a_key() {
    let issuer = Issuer::new();
    let host = shop(Model::OutOfProcess, &issuer).await;
    let seen = host.secure(&issuer, SHOP).get("/info").await.json();
    let own = std::path::PathBuf::from(format!("/proc/{}", seen["pid"]));
    let key = std::fs::read_to_string(host.directory.path().join("key.pem")).unwrap();
    let part = key.lines().nth(1).unwrap().as_bytes();
    for said in ["environ", "cmdline"] {
        let text = std::fs::read(own.join(said)).unwrap();
        assert!(!text.windows(part.len()).any(|window| window == part), "{said}");
    }
    for open in own.join("fd").read_dir().unwrap() {
        let file = std::fs::read_link(open.unwrap().path()).unwrap();
        assert!(!file.ends_with("key.pem") && !file.ends_with("cert.pem"), "{}", file.display());
    }
}
