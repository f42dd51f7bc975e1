//! Files of certificates, and of who vouches for clients. In: any text, and any bytes as what stands in a block of PEM.
//! Never: a panic, or a refusal that does not name the file.
#![no_main]

use std::{path::Path, sync::LazyLock, time::SystemTime};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cohost::listener::tls::{Authorities, Identity, Pem, Source};
use libfuzzer_sys::fuzz_target;
use rcgen::{CertificateParams, KeyPair};

/// A certificate, which may stand behind what is read, and its key.
static OURS: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
});

fuzz_target!(|bytes: &[u8]| {
    let (certificate, key) = &*OURS;
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (read, read_key) = (block("CERTIFICATE", bytes), block("PRIVATE KEY", bytes));
    for (certificate, key) in [
        (&text, key),
        (&text, &text),
        (certificate, &text),
        (&read, key),
        (certificate, &read_key),
        (&format!("{certificate}{read}"), key),
    ] {
        let source = Source { certificate: Path::new("/a.pem"), key: Path::new("/b.pem"), ocsp: None };
        match Identity::new(&Pem::new(certificate.clone(), key.clone()), source) {
            Ok(identity) => {
                let _ = (identity.objection(SystemTime::now()), identity.is_for("a.example"));
                assert!(
                    identity
                        .names()
                        .iter()
                        .all(|name| !name.contains(|letter: char| letter.is_ascii_uppercase()))
                );
            }
            Err(error) => assert!(error.to_string().contains(".pem"), "{error}"),
        }
    }
    for text in [&text, &read] {
        if let Err(error) = Authorities::new(text, Path::new("/c.pem")) {
            assert!(error.to_string().contains("/c.pem"), "{error}");
        }
    }
});

fn block(kind: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64_STANDARD.encode(bytes))
}
