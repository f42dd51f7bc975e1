//! Behaviour 52: certificates that the host orders by itself, from a real authority that looks whether the name is ours.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustls::client::Resumption;

use crate::host::{
    CUSTOMER, Habits, Host, Model, PATIENCE, Pebble, Secure, Setup, Workshop, free, library, program,
};

const SHOP: &str = "shop.example";
const ISSUED: &str = "the authority has issued a certificate";
const TAKEN_UP: &str = "certificate taken up";
const ORDERING: &str = "ordering a certificate; handshakes for this name are refused until it is there";
const KEPT: &str = "certificates are kept";

fn sample() -> Setup {
    Setup::sample(Model::InProcess)
}

/// A client that believes the authority.
async fn client(pebble: &Pebble, host: &Host) -> Secure {
    Secure::believing(host.address, &pebble.root().await, SHOP)
}

/// Waits until what the authority issued is presented.
async fn presented(host: &Host, times: usize) {
    host.log.at_least(TAKEN_UP, times).await;
    host.log.at_least("configuration in force", times).await;
}

/// The certificate that a new connection gets, if it gets one.
async fn shown(client: &Secure) -> Option<Vec<u8>> {
    let stream = client.connect().await.ok()?;
    Some(stream.get_ref().1.peer_certificates()?[0].to_vec())
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_certificate_is_ordered_presented_and_kept_for_nobody_else() {
    let port = free();
    let pebble = Pebble::start(&Habits::at(port)).await;
    let acme = pebble.acme("state = \"state\"\ncontact = [\"ops@shop.example\"]");
    let host = sample().ordering(&acme, SHOP, port).start_named(port).await;
    assert_eq!(host.log.message(ORDERING).await["name"], SHOP);
    presented(&host, 1).await;
    let client = client(&pebble, &host).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get_http2(SHOP, "/").await.status, 200);

    let state = host.directory.path().join("state");
    assert_eq!(mode(&state), 0o700);
    let kept = files(&state);
    let find = |name: &str| kept.iter().find(|path| path.ends_with(name)).unwrap_or_else(|| panic!("{name}"));
    for name in ["account.json", "certificates/shop.example.pem", "orders/shop.example.json"] {
        assert_eq!(mode(find(name)), 0o600, "{name}");
    }
    // Nothing is left of the challenge, and nothing is half written.
    assert!(!kept.iter().any(|path| path.to_str().unwrap().contains("challenges/")), "{kept:?}");
    assert!(!kept.iter().any(|path| path.extension().is_some_and(|end| end == "next")), "{kept:?}");
    // No key is in the log.
    let pem = std::fs::read_to_string(find("certificates/shop.example.pem")).unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(!host.log.text().contains(pem.lines().nth(1).unwrap()));
}

#[tokio::test]
async fn a_host_that_starts_again_orders_nothing() {
    let (port, state) = (free(), Workshop::new());
    let pebble = Pebble::start(&Habits::at(port)).await;
    let path = state.path("of the service");
    let setup = || {
        sample().ordering(&pebble.acme(""), SHOP, port).variable("STATE_DIRECTORY", path.to_str().unwrap())
    };
    let host = setup().start_named(port).await;
    presented(&host, 1).await;
    let before = shown(&client(&pebble, &host).await).await.expect("a certificate");
    assert!(host.stop().await.success());

    let host = setup().start_named(port).await;
    let kept = host.log.message(KEPT).await;
    assert_eq!(kept["names"], SHOP, "{kept}");
    assert_eq!(shown(&client(&pebble, &host).await).await, Some(before));
    assert!(host.log.of(ORDERING).is_empty() && host.log.of(ISSUED).is_empty());
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_connections_go_on() {
    let port = free();
    let pebble = Pebble::start(&Habits { valid: 9, ..Habits::at(port) }).await;
    let host = sample().ordering(&pebble.acme("state = \"state\""), SHOP, port).start_named(port).await;
    presented(&host, 1).await;
    // A session that is resumed has the certificate that it began with.
    let client = client(&pebble, &host).await.with(|config| config.resumption = Resumption::disabled());
    let before = shown(&client).await.expect("a certificate");
    let mut open = client.http2().await;
    host.log.message("renewing the certificate").await;
    let another = async { while shown(&client).await.is_none_or(|now| now == before) {} };
    tokio::time::timeout(PATIENCE, another).await.expect("another certificate in time");
    assert_eq!(crate::host::get_on_http2(&mut open, SHOP, "/").await.status(), 200);
    assert_eq!(host.log.of("worker starts").len(), 1);
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_certificate_before_and_is_told_with_its_reason() {
    let port = free();
    let mut pebble = Pebble::start(&Habits { valid: 9, ..Habits::at(port) }).await;
    let host = sample().ordering(&pebble.acme("state = \"state\""), SHOP, port).start_named(port).await;
    presented(&host, 1).await;
    let client = client(&pebble, &host).await;
    let before = shown(&client).await.expect("a certificate");
    pebble.stop();
    let told = host.log.message("certificate not renewed; the one before is presented further").await;
    let why = told["why"].as_str().unwrap();
    assert!(why.contains("the authority cannot be reached") && why.contains("refused"), "{told}");
    assert!(told["retry_in_s"].is_u64(), "{told}");
    // On a slow machine it may have expired by now. Nothing else is presented at any rate.
    assert!(shown(&client).await.is_none_or(|now| now == before));
}

#[tokio::test]
async fn a_name_that_the_authority_refuses_costs_the_others_nothing() {
    let port = free();
    let pebble = Pebble::start(&Habits::at(port)).await;
    let gone = format!(
        "[[site]]\nname = \"gone\"\nbindings = [\"https://gone.example:{port}\"]\ntls = {{ certificate = \"acme\" }}\n\
         [[site.application]]\nlibrary = {:?}\n",
        library("sample_app")
    );
    let setup = sample().ordering(&pebble.acme("state = \"state\""), SHOP, port).more(&gone);
    let host = setup.start_named(port).await;
    let told = host.log.message("certificate not issued; handshakes for this name are refused").await;
    assert_eq!(told["name"], "gone.example");
    let why = told["why"].as_str().unwrap();
    assert!(why.starts_with("the authority says ") && why.contains("gone.example"), "{why}");
    presented(&host, 1).await;
    let client = client(&pebble, &host).await;
    assert_eq!(client.get("/").await.status, 200);
    // Not by the certificate of somebody else.
    let refused = client.named("gone.example").connect().await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
}

#[tokio::test]
async fn another_name_is_ordered_when_it_is_added() {
    let port = free();
    let pebble = Pebble::start(&Habits { customers_only: true, ..Habits::at(port) }).await;
    let (id, key) = CUSTOMER;
    let acme =
        pebble.acme(&format!("state = \"state\"\nexternal_account = {{ id = {id:?}, key = {key:?} }}"));
    let host = sample().ordering(&acme, SHOP, port).start_named(port).await;
    presented(&host, 1).await;
    let file = host.directory.path().join("cohost.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (shop, www) = (format!("\"https://{SHOP}:{port}\""), format!("\"https://www.{SHOP}:{port}\""));
    std::fs::write(&file, text.replace(&shop, &format!("{shop}, {www}"))).unwrap();
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    host.log.at_least(TAKEN_UP, 2).await;
    let client = client(&pebble, &host).await.named(&format!("www.{SHOP}"));
    let served = async {
        while shown(&client).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("served in time");
    assert_eq!(host.log.of(ORDERING).len(), 2);
}

#[tokio::test]
async fn a_folder_that_others_may_read_is_not_used_and_the_rest_is_served() {
    let (port, state) = (free(), Workshop::new());
    let folder = state.path("localhost-1-dir");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let acme = format!(
        "[acme]\nterms_agreed = true\ndirectory = \"https://localhost:1/dir\"\nstate = {:?}\n",
        state.path("").to_str().unwrap()
    );
    let host = sample().ordering(&acme, SHOP, port).start_named(port).await;
    let told = host.log.message("no certificates can be kept there, so that none are ordered").await;
    assert!(told["why"].as_str().unwrap().contains("chmod 700"), "{told}");
}

#[test]
fn the_check_asks_nobody_and_says_what_is_in_the_way() {
    let workshop = Workshop::new();
    let config = |binding: &str, acme: &str| {
        format!(
            "{acme}\n[[site]]\nname = \"shop\"\nbindings = [{binding:?}]\ntls = {{ certificate = \"acme\" }}\n\
             [[site.application]]\nlibrary = {:?}\n",
            library("sample_app")
        )
    };
    let check = |text: String| {
        let file = workshop.file("cohost.toml", text);
        let output = Command::new(program()).arg("check").arg(file).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (said, output.status.code())
    };
    // Nobody would answer there.
    let acme = "acme = { terms_agreed = true, directory = \"https://localhost:1/dir\", state = \"state\" }";
    let (said, code) = check(config("https://shop.example", acme));
    assert!(
        said.contains("site shop: ok") && said.contains("acme: ok") && !said.contains("warning"),
        "{said}"
    );
    assert_eq!(code, Some(0));
    assert!(!workshop.path("state").exists());
    let (said, _) = check(config("https://shop.example:8443", acme));
    assert!(
        said.contains("warning: its certificates are ordered from an authority that connects to port 443"),
        "{said}"
    );
    let (said, code) = check(config("https://shop.example", &acme.replace('}', ", ca = \"ca.pem\" }")));
    assert!(said.contains("acme: error: cannot read ") && said.contains("ca.pem"), "{said}");
    assert_eq!(code, Some(1));
    let (said, code) = check(config("https://*.shop.example", acme));
    assert!(said.contains("is a wildcard") && said.contains("bind each name by itself"), "{said}");
    assert_eq!(code, Some(3));
}
