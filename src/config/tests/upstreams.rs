//! Servers that somebody else runs, as an application: what is read, and what is refused.

use std::{num::NonZeroU16, time::Duration};

use proptest::prelude::*;

use super::parse;
use crate::{
    config::{Application, Artifact},
    facts::Scheme,
    front::{
        Balance, Endpoint, HashKey, Outward, Own, Passive, Place, Policy, Probe, Retry, Upstream, Upstreams,
    },
    options::Protocol,
};

fn application(more: &str) -> Application {
    let text = format!("site = [{{ name = 'a', bindings = ['http://*'], application = [{{ {more} }}] }}]");
    let config = parse(&text).unwrap();
    config.sites[0].applications[0].clone()
}

fn upstreams(more: &str) -> Upstreams {
    match application(more).artifact {
        Artifact::Upstreams(upstreams) => upstreams,
        other => panic!("{other:?}"),
    }
}

/// The only fault of an application with these lines, without its place.
fn fault(more: &str) -> String {
    let text = format!("[[site]]\nname = 'a'\nbindings = ['http://*']\n[[site.application]]\n{more}\n");
    let faults = parse(&text).expect_err("a fault");
    let [fault] = faults.iter().collect::<Vec<_>>().try_into().unwrap();
    fault.to_string().split_once(".application./.").unwrap().1.to_owned()
}

#[test]
fn upstreams_are_places_with_weights() {
    let Upstreams { members, balance, .. } = upstreams(
        "upstreams = ['http://10.0.0.1:8080', 'http://[::1]:9000/', 'unix:/run/x.sock', 'http://10.0.0.2', \
         { url = 'http://Api.example', weight = 3 }, 'http://[::1]']",
    );
    let tcp = |text: &str| Place::At(Endpoint::Tcp(text.parse().unwrap()));
    let places = [
        (tcp("10.0.0.1:8080"), 1),
        (tcp("[::1]:9000"), 1),
        (Place::At(Endpoint::Unix("/run/x.sock".into())), 1),
        (tcp("10.0.0.2:80"), 1),
        (Place::Named { host: "api.example".into(), port: 80 }, 3),
        (tcp("[::1]:80"), 1),
    ];
    let upstream =
        |(place, weight)| Upstream { place, scheme: Scheme::Http, weight: NonZeroU16::new(weight).unwrap() };
    assert_eq!(members, places.map(upstream));
    assert_eq!(balance, Balance::default());
}

#[test]
fn everything_about_balancing_is_read() {
    let Upstreams { balance, .. } = upstreams(
        "upstreams = ['http://a'], balance = { policy = 'round_robin', sticky = 'node', \
         health = { path = '/health', interval = '1s', timeout = '500ms', healthy = 4, unhealthy = 5, \
         status = [204, '300-302'] }, max_fails = 2, fail_window = '3s', fail_statuses = ['500-503'], \
         out_time = '7s', longest_out_time = '8s', slow_start = '9s', retry = 'idempotent', retry_budget = 10 }",
    );
    let seconds = Duration::from_secs;
    let expected = Balance {
        policy: Policy::RoundRobin,
        sticky: Some("node".to_owned()),
        probe: Some(Probe {
            path: "/health".to_owned(),
            interval: seconds(1),
            timeout: Duration::from_millis(500),
            healthy: 4,
            unhealthy: 5,
            expected: vec![204..=204, 300..=302],
        }),
        passive: Some(Passive {
            max_fails: 2,
            window: seconds(3),
            out: seconds(7),
            longest_out: seconds(8),
            statuses: vec![500..=503],
        }),
        slow_start: Some(seconds(9)),
        retry: Retry::Idempotent,
        retry_budget: 10,
    };
    assert_eq!(balance, expected);
    let policy = |written: &str| {
        upstreams(&format!("upstreams = ['http://a'], balance = {{ {written} }}")).balance.policy
    };
    assert_eq!(policy("hash = 'client'"), Policy::Hash(HashKey::Client));
    assert_eq!(policy("hash = 'path'"), Policy::Hash(HashKey::Path));
    assert_eq!(policy("hash = 'header:X-User'"), Policy::Hash(HashKey::Header("x-user".parse().unwrap())));
    assert_eq!(policy("policy = 'random_two'"), Policy::RandomTwo);
    let never =
        upstreams("upstreams = ['http://a'], balance = { max_fails = 'none', retry = 'never' }").balance;
    assert_eq!((never.passive, never.retry), (None, Retry::Never));
}

#[test]
fn https_is_another_port_and_says_whom_to_believe() {
    let Upstreams { members, outward, .. } = upstreams(
        "upstreams = ['https://a', 'https://10.0.0.1:8443', 'http://b'], balance = { tls = { \
         ca = ['ca.pem', '/other.pem'], server_name = 'api.internal', certificate = 'own.pem', key = 'own.key' } }",
    );
    let shown: Vec<_> = members.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["https://a:443", "https://10.0.0.1:8443", "b:80"]);
    let path = |name: &str| std::path::Path::new("/etc/shop").join(name);
    let expected = Outward {
        ca: vec![path("ca.pem"), "/other.pem".into()],
        server_name: Some("api.internal".to_owned()),
        own: Some(Own { certificate: path("own.pem"), key: path("own.key") }),
    };
    assert_eq!(*outward, expected);
    let one = upstreams("upstreams = ['https://a'], balance = { tls = { ca = 'ca.pem' } }");
    assert_eq!(one.outward.ca, [path("ca.pem")]);
}

#[test]
fn limits_of_requests_hold_for_upstreams_too() {
    let application = application("upstreams = ['http://a'], connect_timeout = '1s', protocol = 'h2c'");
    assert_eq!(application.options.connect_timeout, Duration::from_secs(1));
    assert_eq!(application.process.protocol, Protocol::H2c);
    assert_eq!(application.hosted_as(), "upstreams");
}

#[test]
fn what_is_no_upstream_is_refused() {
    for (written, expected) in [
        ("upstreams = []", "upstreams: needs at least one, as \"http://10.0.0.1:8080\""),
        ("upstreams = 'http://a'", "upstreams: must be a list (is text); did you mean ['http://a']?"),
        (
            "upstreams = ['a:1']",
            "upstreams: must begin with http://, https:// or unix: (is \"a:1\"); did you mean \"http://a:1\"?",
        ),
        (
            "upstreams = ['http://a:1/x']",
            "upstreams: must end with the port; paths stay as clients ask (is \"http://a:1/x\"); did you mean \"http://a:1\"?",
        ),
        ("upstreams = ['http://a:0']", "upstreams: must name a host and perhaps a port (is \"http://a:0\")"),
        (
            "upstreams = ['http://a:+80']",
            "upstreams: must name a host and perhaps a port (is \"http://a:+80\")",
        ),
        (
            "upstreams = ['http://[10.0.0.1]']",
            "upstreams: must name a host and perhaps a port (is \"http://[10.0.0.1]\")",
        ),
        (
            "upstreams = ['http://[[::1]']",
            "upstreams: must name a host and perhaps a port (is \"http://[[::1]\")",
        ),
        (
            "upstreams = ['http://::1:8080']",
            "upstreams: an IPv6 address stands in brackets (is \"http://::1:8080\"); did you mean \"http://[::1:8080]\"?",
        ),
        (
            "upstreams = ['http://a..b']",
            "upstreams: must name a host and perhaps a port (is \"http://a..b\")",
        ),
        (
            "upstreams = ['http://10.0.0']",
            "upstreams: must name a host and perhaps a port (is \"http://10.0.0\")",
        ),
        ("upstreams = ['http://u@a']", "upstreams: must name a host and perhaps a port (is \"http://u@a\")"),
        (
            "upstreams = ['http://a', 'http://A:80']",
            "upstreams: is there twice: a:80; one that is to have more requests gets a weight",
        ),
        ("upstreams = [{ weight = 2 }]", "upstreams: has no url, which says where it listens"),
        ("upstreams = [{ url = 'http://a', weight = 0 }]", "upstreams.weight: must be at least 1 (is 0)"),
        (
            "upstreams = ['http://a']\npreload = true",
            "preload: is for applications that run here; leave it out for upstreams",
        ),
        (
            "upstreams = ['http://a']\nlibrary = 'x'",
            "upstreams: an application runs here, or is upstreams that run elsewhere; leave one out",
        ),
        (
            "library = 'x'\nbalance = {}",
            "balance: is for upstreams = [\"http://…\"]; leave it out for one that runs here",
        ),
        (
            "upstreams = ['http://a']\nbalance = { policy = 'round_robin', hash = 'path' }",
            "balance.hash: decides instead of a policy; leave one of them out",
        ),
        (
            "upstreams = ['http://a']\nbalance = { health = { interval = '1s' } }",
            "balance.health.path: is missing; say what upstreams are asked for",
        ),
        (
            "upstreams = ['http://a']\nbalance = { health = { path = '/', status = ['2xx'] } }",
            "balance.health.status: must be a status, as 204, or a range of them, as \"200-299\"",
        ),
        (
            "upstreams = ['http://a']\nbalance = { out_time = '5s', longest_out_time = '1s' }",
            "balance.longest_out_time: must be no shorter than out_time, which is 5s",
        ),
        (
            "upstreams = ['https://a/x']",
            "upstreams: must end with the port; paths stay as clients ask (is \"https://a/x\"); did you mean \"https://a\"?",
        ),
        (
            "upstreams = ['https://a', 'http://a:443']",
            "upstreams: is there twice: a:443; one that is to have more requests gets a weight",
        ),
        (
            "upstreams = ['http://a']\nbalance = { tls = { ca = 'ca.pem' } }",
            "balance.tls: has no effect without an upstream at https://; leave it out",
        ),
        (
            "upstreams = ['https://a']\nbalance = { tls = { key = 'key.pem' } }",
            "balance.tls.certificate: is missing; a certificate needs its key, both as PEM files",
        ),
        (
            "upstreams = ['https://a']\nbalance = { tls = { server_name = 'a:1' } }",
            "balance.tls.server_name: must be a host name or an address, without a port (is \"a:1\")",
        ),
        (
            "upstreams = ['https://a']\nbalance = { tls = { ca = [] } }",
            "balance.tls.ca: needs at least one file; leave it out for those that the system believes",
        ),
        (
            "upstreams = ['https://a']\nprotocol = 'h2c'",
            "protocol: h2c is HTTP/2 in clear text, and an upstream at https:// is spoken to in HTTP/1.1; leave it out, or write http://",
        ),
        (
            "upstreams = ['http://a']\nbalance = { sticky = 'a b' }",
            "balance.sticky: must be the name of a cookie: 1 to 64 of a-z A-Z 0-9 - _ . (is \"a b\")",
        ),
    ] {
        assert_eq!(fault(written), expected, "{written}");
    }
}

proptest! {
    #[test]
    fn a_place_is_the_same_when_it_is_written_down_and_read_again(
        text in "(http://|unix:)?(\\[{0,2}[0-9a-f:.+]{0,12}\\]{0,2}|[a-zA-Z0-9.@_-]{0,12})(:[0-9+]{0,6})?/?",
    ) {
        let place = |text: &str| {
            let text = format!("site = [{{ name = 'a', bindings = ['http://*'], application = [{{ upstreams = ['{text}'] }}] }}]");
            match parse(&text).ok()?.sites[0].applications[0].artifact.clone() {
                Artifact::Upstreams(upstreams) => Some(upstreams.members[0].place.clone()),
                _ => None,
            }
        };
        if let Some(read) = place(&text) {
            let written = match &read {
                Place::At(Endpoint::Unix(path)) => format!("unix:{}", path.display()),
                other => format!("http://{other}"),
            };
            prop_assert_eq!(place(&written), Some(read));
        }
    }
}
