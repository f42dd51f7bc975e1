//! What is believed of what, and what is not.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::facts::{Connection, empty_base};

const TRUSTED: &str = "10.0.0.0/8";

fn trust() -> Trust {
    Trust::networks([TRUSTED.parse().unwrap()])
}

fn facts(peer: &str) -> Facts {
    let peer = End::Ip(peer.parse().unwrap());
    Facts::new(Arc::new(Connection::new(peer, End::Unknown, empty_base(), None)))
}

/// What is believed of a proxy at 10.0.0.9 that says this.
fn believed(trust: &Trust, lines: &[(&str, &str)]) -> (Facts, Request<()>) {
    let mut request = Request::builder().uri("/").header(HOST, "inside:8080");
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    let mut facts = facts("10.0.0.9:1234");
    believe(&mut request, &mut facts, trust);
    (facts, request)
}

fn client(lines: &[(&str, &str)]) -> String {
    believed(&trust(), lines).0.client().to_string()
}

fn client_by_forwarded(lines: &[(&str, &str)]) -> String {
    believed(&trust().saying(Fields::Forwarded), lines).0.client().to_string()
}

#[test]
fn the_client_is_the_first_from_the_right_that_is_no_proxy_of_ours() {
    for (list, is) in [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 10.0.0.2,10.0.0.3", "192.0.2.1"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("203.0.113.9, garbage, 10.0.0.2", "10.0.0.2"),
        ("garbage", "10.0.0.9:1234"),
        ("192.0.2.1,", "10.0.0.9:1234"),
        ("", "10.0.0.9:1234"),
        ("x, [2001:db8::1]:443", "[2001:db8::1]:443"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
    ] {
        assert_eq!(client(&[("x-forwarded-for", list)]), is, "{list}");
    }
    assert_eq!(client(&[]), "10.0.0.9:1234");
}

#[test]
fn a_list_may_stand_in_several_fields() {
    let lines = [("x-forwarded-for", "203.0.113.9, 192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
    assert_eq!(client(&lines), "192.0.2.1");
}

#[test]
fn a_long_list_is_not_read_to_its_end() {
    let long = format!("{}, {}", ["203.0.113.9"; 5000].join(","), ["10.0.0.2"; 100].join(","));
    let (facts, _) = believed(&trust(), &[("x-forwarded-for", &long)]);
    let forwarded = facts.forwarded.unwrap();
    assert_eq!((forwarded.client.to_string().as_str(), forwarded.proxies.len()), ("10.0.0.2", HOPS - 1));
}

#[test]
fn the_proxies_between_are_kept_in_their_order() {
    let (facts, _) = believed(&trust(), &[("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.2, 10.0.0.3")]);
    let proxies = facts.forwarded.unwrap().proxies;
    assert_eq!(proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn scheme_host_and_port_are_what_the_proxy_of_the_client_says() {
    let lines = [
        ("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.2"),
        ("x-forwarded-proto", "gopher, https, http"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "8443"),
    ];
    let (facts, request) = believed(&trust(), &lines);
    assert_eq!((facts.scheme, facts.forwarded.unwrap().port), (Scheme::Https, Some(8443)));
    assert_eq!(request.headers()[HOST], "shop.example");
}

#[test]
fn what_a_client_has_put_to_the_left_is_not_the_proxys_word() {
    let lines = [("x-forwarded-proto", "https, http"), ("x-forwarded-host", "evil.example, shop.example")];
    let (facts, request) = believed(&trust(), &lines);
    assert_eq!((facts.scheme, request.headers()[HOST].as_bytes()), (Scheme::Http, &b"shop.example"[..]));
}

#[test]
fn claims_that_make_no_sense_are_not_believed() {
    for host in ["a b", "u@a", "", "a/b"] {
        let lines =
            [("x-forwarded-proto", "gopher"), ("x-forwarded-host", host), ("x-forwarded-port", "99999")];
        let (facts, request) = believed(&trust(), &lines);
        assert_eq!((facts.scheme, facts.forwarded.unwrap().port), (Scheme::Http, None));
        assert_eq!(request.headers()[HOST], "inside:8080", "{host}");
    }
}

#[test]
fn a_target_with_an_authority_gets_the_clients_too_unless_it_contradicts_itself() {
    for (host, kept) in [(Some("inside"), false), (None, false), (Some("other"), true)] {
        let mut request =
            Request::builder().uri("http://inside/a").header("x-forwarded-host", "shop.example");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.body(()).unwrap();
        believe(&mut request, &mut facts("10.0.0.9:1234"), &trust());
        let is = if kept { "http://inside/a" } else { "http://shop.example/a" };
        assert_eq!(request.uri(), is, "{host:?}");
    }
}

#[test]
fn only_the_fields_that_the_proxies_write_are_believed() {
    let lines = [("forwarded", "for=192.0.2.1;proto=https"), ("x-forwarded-for", "192.0.2.2")];
    assert_eq!(client(&lines), "192.0.2.2");
    assert_eq!(client_by_forwarded(&lines), "192.0.2.1");
    assert_eq!(client(&lines[..1]), "10.0.0.9:1234");
    assert_eq!(client_by_forwarded(&lines[1..]), "10.0.0.9:1234");
}

#[test]
fn forwarded_is_read_from_the_right_whatever_stands_on_the_left() {
    for (list, is) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=\"[2001:db8::1]:4711\"", "[2001:db8::1]:4711"),
        ("for=203.0.113.9, for=192.0.2.1;by=x , FOR=10.0.0.2;proto=http", "192.0.2.1"),
        ("for=\"unbalanced, for=192.0.2.1", "192.0.2.1"),
        ("for=\"192.0.2.\\1\"", "192.0.2.1"),
        ("for=192.0.2.1;host=\"a, for=203.0.113.9\"", "192.0.2.1"),
        ("for=203.0.113.9, for=unknown", "10.0.0.9:1234"),
        ("for=203.0.113.9, for=_hidden, for=10.0.0.2", "10.0.0.2"),
        ("for=203.0.113.9, proto=https", "10.0.0.9:1234"),
        ("for=192.0.2.1;for=192.0.2.2", "10.0.0.9:1234"),
        ("nonsense", "10.0.0.9:1234"),
    ] {
        assert_eq!(client_by_forwarded(&[("forwarded", list)]), is, "{list}");
    }
}

#[test]
fn forwarded_says_scheme_and_host_of_the_clients_own_proxy() {
    let list = "for=192.0.2.1;proto=https;host=\"shop.example:8443\", for=10.0.0.2;proto=http;host=inside";
    let (facts, request) = believed(&trust().saying(Fields::Forwarded), &[("forwarded", list)]);
    assert_eq!(facts.scheme, Scheme::Https);
    assert_eq!(request.headers()[HOST], "shop.example:8443");
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader_and_none_make_a_client_of_what_no_trusted_proxy_wrote(
        garbage in vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\\'), Just(b';'), Just(b'='), any::<u8>()], 0..60),
        forwarded in any::<bool>(),
    ) {
        let (name, own, fields) = match forwarded {
            true => ("forwarded", "for=192.0.2.1", Fields::Forwarded),
            false => ("x-forwarded-for", "192.0.2.1", Fields::XForwarded),
        };
        let line = [&garbage[..], b",", own.as_bytes()].concat();
        if let Ok(value) = HeaderValue::from_bytes(&line) {
            let mut request = Request::builder().uri("/").header(name, value).body(()).unwrap();
            let mut facts = facts("10.0.0.9:1234");
            believe(&mut request, &mut facts, &trust().saying(fields));
            prop_assert_eq!(facts.client().to_string(), "192.0.2.1");
        }
    }
}
