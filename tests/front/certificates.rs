//! Behaviour 52 and row H6: certificates as files. What is wrong with them is said; what is renewed is presented.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use rustix::process::Signal;
use rustls::{
    DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::host::{
    Handshake, Host, Issuer, Model, PATIENCE, Secure, Setup, Workshop, get_on_http2, kill, library, program,
};

/// What `cohost check` says of a site with this certificate, and how it ends.
fn check(certificate: &str, key: &str) -> (String, Option<i32>) {
    let workshop = Workshop::new();
    workshop.file("cert.pem", certificate);
    workshop.file("key.pem", key);
    let file = workshop.file(
        "cohost.toml",
        format!(
            "[[site]]\nname = \"shop\"\nbindings = [\"https://shop.example\"]\n\
             tls = {{ certificate = \"cert.pem\", key = \"key.pem\" }}\n[[site.application]]\nlibrary = {:?}\n",
            library("sample_app")
        ),
    );
    let output = Command::new(program()).arg("check").arg(file).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn the_check_says_what_is_wrong_with_a_certificate() {
    let issuer = Issuer::new();
    let (good, other) = (issuer.issue(&["shop.example"]), issuer.issue(&["other.example"]));
    let (said, code) = check(&good.certificate, &good.key);
    assert!(said.contains("site shop: ok") && !said.contains("warning"), "{said}");
    assert_eq!(code, Some(0));

    let (said, code) = check(&good.certificate, &other.key);
    assert!(said.contains("site shop: error: the key in ") && said.contains("does not belong"), "{said}");
    assert_eq!(code, Some(1));

    let (said, code) = check(&other.certificate, &other.key);
    assert!(said.contains("warning: it is bound to shop.example, for which it has no certificate"), "{said}");
    assert_eq!(code, Some(0));

    let expired = issuer.issue_with(&["shop.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let (said, code) = check(&expired.certificate, &expired.key);
    assert!(said.contains("cert.pem has expired; renew it"), "{said}");
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_host_comes_up_without_a_certificate_and_takes_it_up_when_it_is_there() {
    let issuer = Issuer::new();
    let good = issuer.issue(&["shop.example"]);
    let host = Setup::sample(Model::InProcess)
        .secure(&good)
        .file("key.pem", "nothing yet")
        .server("watch = true")
        .start()
        .await;
    let told = host.log.message("certificate cannot be used").await;
    assert!(told["why"].as_str().unwrap().contains("key.pem has no private key"), "{told}");
    assert!(host.secure(&issuer, "shop.example").connect().await.is_err());
    good.replace(host.directory.path());
    host.log.message("configuration in force").await;
    assert_eq!(host.secure(&issuer, "shop.example").get("/").await.status, 200);
}

/// A host that looks after its files, with a certificate for one name.
async fn watching(issuer: &Issuer) -> Host {
    let issued = issuer.issue(&["shop.example"]);
    Setup::sample(Model::InProcess).secure(&issued).server("watch = true").start().await
}

/// The certificate that a new connection gets.
async fn presented(client: &Secure) -> Vec<u8> {
    let stream = client.connect().await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Waits until something else than `before` is presented.
async fn another(client: &Secure, before: &[u8]) -> Vec<u8> {
    let changing = async {
        loop {
            let now = presented(client).await;
            if now != before {
                return now;
            }
        }
    };
    tokio::time::timeout(PATIENCE, changing).await.expect("another certificate in time")
}

#[tokio::test]
async fn a_renewed_certificate_is_presented_and_connections_go_on() {
    let issuer = Issuer::new();
    let host = watching(&issuer).await;
    let client = host.secure(&issuer, "shop.example");
    let before = presented(&client).await;
    let mut kept = client.http2().await;
    issuer.issue(&["shop.example"]).replace(host.directory.path());
    another(&client, &before).await;
    let answer = get_on_http2(&mut kept, "shop.example", "/").await;
    assert_eq!(answer.status(), 200);
    // It is no new start for anybody.
    host.log.message("application started").await;
    assert_eq!(host.log.of("worker starts").len(), 1);
    assert_eq!(host.log.of("application started").len(), 1);
}

#[tokio::test]
async fn a_bad_certificate_leaves_the_one_before_and_is_said_once() {
    let issuer = Issuer::new();
    let mut host = watching(&issuer).await;
    let client = host.secure(&issuer, "shop.example");
    let before = presented(&client).await;
    let folder = host.directory.path().to_owned();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let good = std::fs::read(&cert).unwrap();
    let bad = "certificate cannot be used; the one before is presented further";
    for (time, content) in [&good[..good.len() / 2], b"", &[0x30, 0x82, 0xff]].into_iter().enumerate() {
        std::fs::write(&cert, content).unwrap();
        host.log.times(bad, time + 1).await;
        assert_eq!(presented(&client).await, before);
    }
    // A key that belongs to another one; and again the same, which is no news.
    std::fs::write(&cert, &good).unwrap();
    std::fs::write(&key, issuer.issue(&["shop.example"]).key).unwrap();
    host.log.times(bad, 4).await;
    let reload = host.operator(&["reload"]).await;
    assert_eq!(reload.code, 1, "{reload:?}");
    assert!(reload.stderr.contains("does not belong"), "{reload:?}");
    assert_eq!(host.log.of(bad).len(), 4);
    // Whoever starts now presents the one before, too.
    kill(host.worker(), Signal::KILL);
    host.log.times("worker serves", 2).await;
    assert_eq!(presented(&client).await, before);
    // By a link, as some deploy.
    let next = issuer.issue(&["shop.example"]);
    for (name, content) in [("cert.pem", &next.certificate), ("key.pem", &next.key)] {
        std::fs::write(folder.join(format!("next-{name}")), content).unwrap();
        std::fs::remove_file(folder.join(name)).unwrap();
        std::os::unix::fs::symlink(format!("next-{name}"), folder.join(name)).unwrap();
    }
    another(&client, &before).await;
    assert_eq!(client.get("/").await.status, 200);
    host.signal("TERM");
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn a_configuration_that_names_a_bad_certificate_is_refused() {
    let issuer = Issuer::new();
    let setup = Setup::sample(Model::InProcess).secure(&issuer.issue(&["shop.example"]));
    let text = setup.text();
    let host = setup.start().await;
    let file = host.directory.path().join("cohost.toml");
    std::fs::write(&file, text.replace("key.pem", "nowhere.pem")).unwrap();
    let reload = host.operator(&["reload"]).await;
    assert_eq!(reload.code, 3, "{reload:?}");
    assert!(reload.stderr.contains("nowhere.pem") && reload.stderr.contains("mend the path"), "{reload:?}");
    assert_eq!(host.secure(&issuer, "shop.example").get("/").await.status, 200);
}

#[tokio::test]
async fn a_session_is_resumed_after_the_worker_was_replaced() {
    let issuer = Issuer::new();
    for versions in [Handshake::Any, Handshake::Tls12] {
        let host = Setup::sample(Model::InProcess).secure(&issuer.issue(&["shop.example"])).start().await;
        let client = host.secure(&issuer, "shop.example").speaking(&issuer, versions, None);
        let kind = async || {
            let stream = client.connect().await.unwrap();
            let kind = stream.get_ref().1.handshake_kind();
            // The tickets come with the answer.
            assert_eq!(client.get_on(stream, "/").await.unwrap().status, 200);
            kind
        };
        assert_eq!(kind().await, Some(HandshakeKind::Full));
        assert_eq!(kind().await, Some(HandshakeKind::Resumed));
        assert_eq!(host.operator(&["recycle"]).await.code, 0);
        assert_eq!(kind().await, Some(HandshakeKind::Resumed), "{versions:?}");
    }
}

#[tokio::test]
async fn what_an_authority_says_of_a_certificate_is_shown_to_clients() {
    let issuer = Issuer::new();
    let host = Setup::sample(Model::InProcess)
        .secure(&issuer.issue(&["shop.example"]))
        .file("ocsp.der", "0 is how a sequence begins")
        .site("ocsp = \"ocsp.der\"")
        .start()
        .await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let client = host.secure(&issuer, "shop.example").with(|config| {
        let verifier = Stapled { seen: Arc::clone(&seen) };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
    });
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(*seen.lock().unwrap(), b"0 is how a sequence begins");
}

/// Believes everything, and keeps what was stapled.
#[derive(Debug)]
struct Stapled {
    seen: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
