//! Behaviour 52 and row H6: certificates as files. What is wrong with them is said; what is renewed is presented.

use std::process::Command;

use crate::host::{Issuer, Model, Setup, Workshop, library, program};

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
