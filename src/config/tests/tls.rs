//! Sites that speak TLS, and those that do not.

use super::faults::faults;

/// The faults of a site with these bindings, and these lines for its table.
fn of_a_site(bindings: &str, lines: &str) -> Vec<String> {
    faults(&format!(
        "[[site]]\nname = 'a'\nbindings = [{bindings}]\n{lines}\n[[site.application]]\nlibrary = 'x'\n"
    ))
}

#[test]
fn tls_needs_a_certificate_and_a_certificate_needs_tls() {
    assert_eq!(
        of_a_site("'https://a.example'", ""),
        [
            "1:1: site.a.tls: is missing; a site with an https:// binding needs a certificate: [site.tls] with \
             certificate and key"
        ]
    );
    assert_eq!(
        of_a_site("'https://a.example'", "[site.tls]"),
        [
            "4:1: site.a.tls.certificate: is missing; name the PEM file of a certificate, and of its key with key, or \
             say \"acme\" to have one ordered"
        ]
    );
    assert_eq!(
        of_a_site("'https://a.example'", "tls = { certificates = [{ certificate = 'a' }] }"),
        ["4:25: site.a.tls.certificates[1].key: is missing; a certificate needs its key, both as PEM files"]
    );
    assert_eq!(
        of_a_site("'http://a.example'", "tls = { certificate = 'a', key = 'b' }"),
        ["4:7: site.a.tls: has no effect without an https:// binding"]
    );
}

#[test]
fn a_port_speaks_tls_or_not() {
    assert_eq!(
        of_a_site("'http://*:443', 'https://a.example'", "tls = { certificate = 'a', key = 'b' }"),
        [
            "3:29: site.a.bindings: https://a.example and http://*:443 (line 3) are the same port, where clients \
             speak either TLS or not; use another port for one of them"
        ]
    );
}

#[test]
fn certificates_of_clients_need_somebody_who_vouches_for_them() {
    let of = |lines: &str| {
        of_a_site("'https://a.example'", &format!("tls = {{ certificate = 'a', key = 'b', {lines} }}"))
    };
    let missing = "4:7: site.a.tls.client_ca: is missing; name the PEM file with the authorities that vouch for clients";
    assert_eq!(of("client_certificates = 'required'"), [missing]);
    assert_eq!(of("client_certificates = 'optional'"), [missing]);
    assert_eq!(
        of("client_ca = 'c'"),
        [
            "4:51: site.a.tls.client_ca: has no effect without client_certificates = \"optional\" or \"required\""
        ]
    );
    assert_eq!(
        of("client_crl = 'c'"),
        [
            "4:52: site.a.tls.client_crl: has no effect without client_certificates = \"optional\" or \"required\""
        ]
    );
    assert_eq!(of("client_certificates = 'required', client_crl = 'c'"), [missing]);
}
