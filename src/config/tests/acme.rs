//! Certificates that are ordered, and from whom.

use super::{faults::faults, parse};
use crate::config::{Acme, Config, ExternalAccount};

const AGREED: &str = "acme = { terms_agreed = true }";

fn written(acme: &str, bindings: &str, tls: &str) -> String {
    format!(
        "{acme}\n[[site]]\nname = 'a'\nbindings = [{bindings}]\ntls = {{ {tls} }}\n[[site.application]]\nlibrary = 'x'\n"
    )
}

fn read(acme: &str, bindings: &str) -> Config {
    parse(&written(acme, bindings, "certificate = 'acme'")).unwrap()
}

fn refused(acme: &str, bindings: &str) -> Vec<String> {
    faults(&written(acme, bindings, "certificate = 'acme'"))
}

/// The only fault of `[acme]` with these lines.
fn in_acme(lines: &str) -> String {
    let [fault] = refused(&format!("acme = {{ terms_agreed = true, {lines} }}"), "'https://a.example'")
        .try_into()
        .unwrap();
    fault
}

#[test]
fn each_name_of_a_site_has_a_certificate_of_its_own_and_its_key_is_in_the_same_file() {
    let config = read(
        AGREED,
        "'https://a.example', 'https://b.example:8443', 'https://A.example:444', 'http://*.example'",
    );
    let certificates = &config.sites[0].tls.as_ref().unwrap().certificates;
    let names: Vec<_> = certificates.iter().filter_map(|it| it.ordered_for.as_deref()).collect();
    assert_eq!(names, ["a.example", "b.example"]);
    let folder = "/var/lib/cohost/acme/acme-v02.api.letsencrypt.org-directory";
    assert_eq!(certificates[0].certificate.to_str(), Some(&*format!("{folder}/certificates/a.example.pem")));
    assert_eq!(certificates[0].key, certificates[0].certificate);
}

#[test]
fn an_authority_is_let_s_encrypt_unless_another_one_is_named() {
    let acme = read(AGREED, "'https://a.example'").acme.unwrap();
    assert_eq!(&*acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((acme.ca, acme.external_account, acme.contact.len()), (None, None, 0));
    let other = "acme = { terms_agreed = true, directory = 'https://ca.example:14000/x?y', state = 'here', ca = 'ca.pem', \
                 contact = ['ops@a.example', 'mailto:me@a.example'], external_account = { id = 'me', key = 'AQ-_' } }";
    assert_eq!(
        read(other, "'https://a.example'").acme,
        Some(Acme {
            directory: "https://ca.example:14000/x?y".into(),
            contact: vec!["mailto:ops@a.example".to_owned(), "mailto:me@a.example".to_owned()],
            folder: "/etc/shop/here/ca.example-14000-x-y".into(),
            ca: Some("/etc/shop/ca.pem".into()),
            external_account: Some(ExternalAccount { id: "me".to_owned(), key: vec![1, 15, 191] }),
        })
    );
}

#[test]
fn the_state_of_a_service_is_where_its_manager_has_it() {
    let env = |name: &str| (name == "STATE_DIRECTORY").then(|| "/var/lib/shop:/var/lib/more".to_owned());
    let text = written(AGREED, "'https://a.example'", "certificate = 'acme'");
    let config = crate::config::parse(&text, std::path::Path::new("/etc/shop/cohost.toml"), &env).unwrap();
    assert!(config.acme.unwrap().folder.starts_with("/var/lib/shop/acme"));
}

#[test]
fn nothing_is_ordered_before_the_terms_are_agreed_to() {
    let missing = "read the terms of service of the authority, and say true here";
    assert_eq!(
        refused("acme = {}", "'https://a.example'"),
        [format!("1:8: acme.terms_agreed: is missing; {missing}")]
    );
    assert_eq!(
        refused("acme = { terms_agreed = false }", "'https://a.example'"),
        [format!("1:25: acme.terms_agreed: must be true; {missing}")]
    );
}

#[test]
fn an_authority_needs_somebody_who_orders_and_who_orders_needs_an_authority() {
    let [fault] = refused("", "'https://a.example'").try_into().unwrap();
    assert!(fault.contains("acme: is missing; site \"a\" has certificate = \"acme\""), "{fault}");
    let [fault] =
        faults(&written(AGREED, "'https://a.example'", "certificate = 'a', key = 'b'")).try_into().unwrap();
    assert_eq!(fault, "1:8: acme: has no effect without a site that has certificate = \"acme\"");
}

#[test]
fn what_has_no_name_or_every_name_cannot_be_ordered_for() {
    for (binding, problem) in [
        (
            "https://*.a.example",
            "is a wildcard, which no authority validates over TLS; bind each name by itself",
        ),
        ("https://*:443", "has no name to order a certificate for; bind a name, as https://shop.example"),
        ("https://127.0.0.1", "has no name to order a certificate for; bind a name, as https://shop.example"),
    ] {
        assert_eq!(
            refused(AGREED, &format!("'{binding}'")),
            [format!(
                "4:12: site.a.bindings: {binding} {problem}, or name the files of a certificate in place of \"acme\""
            )]
        );
    }
}

#[test]
fn nothing_else_is_said_of_certificates_that_are_ordered() {
    let of = |more: &str| {
        let [fault] =
            faults(&written(AGREED, "'https://a.example'", &format!("certificate = 'acme', {more}")))
                .try_into()
                .unwrap();
        fault
    };
    assert!(of("key = 'a'").contains("key: has no effect: the host makes a key of its own"));
    assert!(of("ocsp = 'a'").contains("ocsp: has no effect"));
    assert!(of("certificates = []").contains("certificates: has no effect"));
}

#[test]
fn an_authority_is_described_so_that_it_can_be_asked() {
    assert!(
        in_acme("directory = 'http://ca.example/'")
            .contains("must be the https:// URL of an authority's directory")
    );
    assert!(in_acme("directory = 'ca.example'").contains("must be the https:// URL"));
    for contact in ["nobody", "@a.example", "a@b, c@d", "https://a@b"] {
        assert!(
            in_acme(&format!("contact = ['{contact}']")).contains("must be one mail address"),
            "{contact}"
        );
    }
    assert!(in_acme("external_account = { id = 'me' }").contains("external_account.key: is missing"));
    let fault = in_acme("external_account = { id = 'me', key = 'no base64!' }");
    assert!(fault.contains("must be the key in base64") && !fault.contains("no base64"), "{fault}");
}

#[test]
fn files_that_are_sent_are_never_those_of_an_account() {
    let text = written(
        "acme = { terms_agreed = true, state = 'public/state' }",
        "'https://a.example'",
        "certificate = 'acme'",
    )
    .replace("library = 'x'", "static = 'public'");
    let config = parse(&text).unwrap();
    let crate::config::Artifact::Files(files) = &config.sites[0].applications[0].artifact else {
        panic!("files")
    };
    let state = files.root.join("state");
    assert!(files.private.iter().any(|path| path.starts_with(&state)), "{:?}", files.private);
}
