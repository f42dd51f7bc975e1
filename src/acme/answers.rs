//! What the authority is shown when it looks whether a name is ours.
//!
//! In: a name. Out: the certificate that whoever orders has put into the folder, which need not be this process: while
//! workers change, the one that accepts the authority's connection may be another one. Never: looks for a name that the
//! host does not order for.

use std::{collections::BTreeSet, sync::Arc};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

use super::store::Store;
use crate::{
    config::Acme,
    listener::tls::{Challenge, Challenges},
};

/// Answers to the challenges of an authority.
#[derive(Debug)]
pub struct Answers {
    names: BTreeSet<Arc<str>>,
    store: Store,
}

impl Answers {
    /// For these names, which are in lower case.
    #[must_use]
    pub fn new(acme: &Acme, names: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { names: names.into_iter().collect(), store: Store::new(acme) }
    }
}

impl Challenges for Answers {
    fn find(&self, name: &str) -> Option<Challenge> {
        if !self.names.contains(name) {
            return None;
        }
        Challenge::new(&self.store.shown(name)?)
    }
}

/// The certificate for `name` by which the authority knows that we have its account, with its key.
pub(super) fn certificate(name: &str, digest: &[u8]) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    Ok(key.serialize_pem() + &params.self_signed(&key)?.pem())
}

#[cfg(test)]
mod tests {
    use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

    use super::*;

    #[test]
    fn an_authority_finds_the_name_and_the_digest_in_the_certificate() {
        let pem = certificate("a.example", &[7; 32]).unwrap();
        assert!(Challenge::new(&pem).is_some());
        let start = pem.find("-----BEGIN CERTIFICATE").unwrap();
        let (_, block) = parse_x509_pem(&pem.as_bytes()[start..]).unwrap();
        let certificate = block.parse_x509().unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName("a.example")]);
        // id-pe-acmeIdentifier, an octet string of 32 bytes.
        let found = certificate.extensions().iter().find(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let found = found.expect("the extension");
        assert!(found.critical);
        assert_eq!(found.value, [&[4, 32][..], &[7; 32]].concat());
    }

    #[test]
    fn what_has_no_key_answers_nobody() {
        assert!(Challenge::new("").is_none());
        assert!(Challenge::new("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_none());
    }
}
