//! What a scanner of others finds out about our TLS, where nothing is set.

use tokio::process::Command;

use crate::host::{Issuer, Model, Setup};

#[tokio::test]
async fn a_scanner_finds_nothing_weak_at_the_defaults() {
    let host = Setup::sample(Model::InProcess).secure(&Issuer::new().issue(&["shop.example"])).start().await;
    let scan = Command::new("sslscan")
        // Its look at groups waits for answers that are not to come.
        .args(["--xml=-", "--no-groups", "--sni-name=shop.example", &host.address.to_string()])
        .kill_on_drop(true)
        .output();
    let scanned = tokio::time::timeout(crate::host::PATIENCE, scan).await.expect("in time");
    let text = String::from_utf8(scanned.expect("sslscan is installed").stdout).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let all = |name: &'static str| {
        let found: Vec<_> = document.descendants().filter(|node| node.has_tag_name(name)).collect();
        assert!(!found.is_empty(), "no {name} in\n{text}");
        found
    };
    let is = |node: roxmltree::Node<'_, '_>, name| node.attribute(name).unwrap_or_default().to_owned();

    let spoken = all("protocol").into_iter().filter(|protocol| is(*protocol, "enabled") == "1");
    let spoken: Vec<_> = spoken.map(|protocol| is(protocol, "type") + &is(protocol, "version")).collect();
    assert_eq!(spoken, ["tls1.2", "tls1.3"]);
    for cipher in all("cipher") {
        assert!(["strong", "acceptable"].contains(&&*is(cipher, "strength")), "{cipher:?}");
        // Forward secrecy, and encryption that notices changes.
        let name = is(cipher, "cipher");
        let of_tls_1_2 =
            name.starts_with("ECDHE-ECDSA-") && (name.contains("-GCM-") || name.contains("-CHACHA20-"));
        assert!(name.starts_with("TLS_") || of_tls_1_2, "{name}");
    }
    for (name, attribute) in [("renegotiation", "supported"), ("heartbleed", "vulnerable")] {
        for found in all(name) {
            assert_eq!(is(found, attribute), "0", "{found:?}");
        }
    }
    // Which not every build of the scanner looks for.
    let compression = document.descendants().find(|node| node.has_tag_name("compression"));
    assert!(compression.is_none_or(|found| is(found, "supported") == "0"), "{compression:?}");
    assert!(host.stop().await.success());
}
