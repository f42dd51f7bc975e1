//! Files as people leave them, and what is said of them.

use std::{fs, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    /// A certificate for these names, with its key.
    fn with(names: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let (certificate, key) = made(names);
        folder.write("cert.pem", &certificate);
        folder.write("key.pem", key.serialize_pem());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self) -> Result<Identity, IdentityError> {
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        let source = Source { certificate: &certificate, key: &key, ocsp: None };
        Identity::new(&Pem::read(source)?, source)
    }

    fn refusal(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

fn made(names: &[&str]) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (params.self_signed(&key).unwrap().pem(), key)
}

#[test]
fn a_certificate_is_for_its_names_and_for_one_label_of_its_wildcards() {
    let identity = Folder::with(&["shop.example", "*.shop.example"]).read().unwrap();
    assert!(identity.is_for("shop.example") && identity.is_for("a.shop.example"));
    for other in ["a.b.shop.example", "example", ".shop.example.x", ""] {
        assert!(!identity.is_for(other), "{other}");
    }
    assert_eq!(identity.fits("shop.example"), Fit::Exact);
    assert_eq!(identity.fits("a.shop.example"), Fit::Wildcard);
}

#[test]
fn a_certificate_for_addresses_is_for_somebody() {
    let now = SystemTime::now();
    let identity = Folder::with(&["192.0.2.1", "2001:db8::1"]).read().unwrap();
    assert_eq!(identity.names(), ["192.0.2.1".into(), "2001:db8::1".into()]);
    assert_eq!(identity.objection(now), None);
    assert_eq!(Folder::with(&[]).read().unwrap().objection(now), Some(Objection::Nameless));
}

#[test]
fn each_fault_names_the_file_and_what_to_do() {
    let whole = fs::read_to_string(Folder::with(&["a.example"]).path("cert.pem")).unwrap();
    let other = made(&["a.example"]).1.serialize_pem();
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(whole.as_bytes());
    let der: CertificateDer<'_> = der.unwrap();
    let cut = &whole[..whole.len() / 2];
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let cases: [(&str, &[u8], &str); 10] = [
        ("cert.pem", b"", "cert.pem has no certificate in PEM: it is empty"),
        ("cert.pem", b"hello", "-----BEGIN CERTIFICATE-----"),
        ("cert.pem", cut.as_bytes(), "cut short"),
        ("cert.pem", &der, "openssl x509 -inform der"),
        ("cert.pem", other.as_bytes(), "swapped"),
        ("key.pem", b"", "key.pem has no private key in PEM: it is empty"),
        ("key.pem", whole.as_bytes(), "swapped"),
        ("key.pem", encrypted.as_bytes(), "encrypted"),
        ("key.pem", &other.as_bytes()[..60], "cut short"),
        ("key.pem", other.as_bytes(), "does not belong"),
    ];
    for (file, content, said) in cases {
        let folder = Folder::with(&["a.example"]);
        folder.write(file, content);
        let refusal = folder.refusal();
        assert!(refusal.contains(said) && refusal.contains(file), "{said}: {refusal}");
    }
    let folder = Folder::with(&["a.example"]);
    fs::remove_file(folder.path("key.pem")).unwrap();
    assert!(folder.refusal().contains("key.pem") && folder.refusal().contains("mend the path"));
}

#[test]
fn what_clients_will_not_like_depends_on_the_time() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 3, 1);
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.write("cert.pem", params.self_signed(&key).unwrap().pem());
    folder.write("key.pem", key.serialize_pem());
    let identity = folder.read().unwrap();
    let (since, until) = identity.valid;
    let day = Duration::from_secs(DAY);
    assert_eq!(identity.objection(since - day), Some(Objection::NotYetValid));
    assert_eq!(identity.objection(since + day), None);
    assert_eq!(identity.objection(until - 3 * day), Some(Objection::Expires { days: 3 }));
    assert_eq!(identity.objection(until + day), Some(Objection::Expired));
}

#[test]
fn a_key_is_not_shown() {
    let folder = Folder::with(&["a.example"]);
    let (certificate, key) = (folder.path("cert.pem"), folder.path("key.pem"));
    let pem = Pem::read(Source { certificate: &certificate, key: &key, ocsp: None }).unwrap();
    assert_eq!(format!("{pem:?}"), "Pem { .. }");
}

proptest! {
    #[test]
    fn whatever_stands_there_is_understood_or_refused(
        (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
        garbage in "[ -~\n]{0,200}",
    ) {
        let path = Path::new("x.pem");
        let source = Source { certificate: path, key: path, ocsp: None };
        let (certificate, key) = made(&["a.example"]);
        // One byte of a certificate that is another one.
        let der: CertificateDer<'_> = rustls::pki_types::pem::PemObject::from_pem_slice(certificate.as_bytes()).unwrap();
        let mut der = der.to_vec();
        let at = at.index(der.len());
        der[at] = byte;
        let damaged =
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(der));
        for text in [damaged, garbage.clone(), format!("-----BEGIN CERTIFICATE-----\n{garbage}")] {
            if let Ok(identity) = Identity::new(&Pem::new(text, key.serialize_pem()), source) {
                let _ = (identity.objection(SystemTime::now()), identity.is_for("a.example"));
            }
        }
        prop_assert!(Identity::new(&Pem::new(certificate, garbage), source).is_err());
    }
}
