//! Facts as they travel: what is written is what is read, and nothing else is believed.

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, option, prelude::*};

use super::*;

fn ends() -> impl Strategy<Value = End> {
    let ip = any::<(IpAddr, u16)>().prop_map(|(ip, port)| End::Ip(SocketAddr::new(ip, port)));
    prop_oneof![Just(End::Unknown), Just(End::Unix), ip]
}

fn handshakes() -> impl Strategy<Value = Tls> {
    let chain = vec(vec(any::<u8>(), 0..40).prop_map(Bytes::from), 0..3);
    (any::<u16>(), any::<u16>(), ".{0,20}", vec(any::<u8>(), 0..9), chain).prop_map(
        |(version, cipher, sni, alpn, client_chain)| Tls {
            version,
            cipher,
            sni: sni.into(),
            alpn: alpn.into(),
            asked: crate::facts::Asked::Nothing,
            client_chain,
        },
    )
}

fn connections() -> impl Strategy<Value = Connection> {
    (any::<u64>(), ends(), ends(), ".{0,20}", option::of(handshakes())).prop_map(
        |(id, peer, local, binding, tls)| Connection::numbered(id, (peer, local), binding.into(), tls),
    )
}

proptest! {
    #[test]
    fn facts_arrive_as_they_left(
        connection in connections(),
        client in option::of(ends().prop_filter("known", |end| *end != End::Unknown)),
        id in any::<u64>(),
        https in any::<bool>(),
        target in option::of(vec(any::<u8>(), 0..60)),
        path_base in ".{0,30}",
        in_path in any::<bool>(),
        left in option::of(0_u64..10_000_000_000_000),
    ) {
        let clock = Clock::read();
        let sent = Facts {
            connection: Arc::new(connection),
            forwarded: client.map(|client| Box::new(Forwarded { client, proxies: Vec::new(), port: None })),
            request_id: RequestId(id),
            scheme: if https { Scheme::Https } else { Scheme::Http },
            target: target.map(Bytes::from),
            path_base: path_base.into(),
            base: if in_path { Base::InPath } else { Base::Removed },
            deadline: left.map(|left| clock.now + Duration::from_nanos(left)),
        };

        let arrived = decode(&encode(&sent, Version::HTTP_2, Host::Unnamed, || clock), || clock).unwrap();

        prop_assert_eq!(format!("{:?}", sent), format!("{:?}", arrived.facts));
        prop_assert_eq!(arrived.version, Version::HTTP_2);
        prop_assert_eq!(arrived.host, Host::Unnamed);
    }

    #[test]
    fn no_value_breaks_the_reader(bytes in vec(any::<u8>(), 0..80)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let _: Result<Carried, Malformed> = decode(&value, Clock::read);
        }
    }
}

#[test]
fn the_field_is_short_and_legible() {
    let local = End::Ip("192.0.2.1:80".parse().unwrap());
    let mut facts = Facts::unknown();
    facts.connection = Arc::new(Connection::numbered(3, (End::Unix, local), "*:80".into(), None));
    facts.request_id = RequestId(255);
    facts.path_base = "/my shop".into();

    let value = encode(&facts, Version::HTTP_11, Host::Named, Clock::read);

    assert_eq!(value, "conn=3;peer=unix;local=192.0.2.1:80;binding=%2A:80;id=ff;v=11;base=/my%20shop");
}

#[test]
fn keys_of_another_version_are_skipped_and_malformed_ones_named() {
    let carried = decode(&HeaderValue::from_static("new=1;id=a;new-key=1;alone"), Clock::read).unwrap();
    assert_eq!(carried.facts.request_id, RequestId(10));

    let malformed = decode(&HeaderValue::from_static("peer=nonsense;id=a"), Clock::read).unwrap_err();
    assert_eq!(malformed, Malformed { key: "peer" });
}

#[test]
fn a_deadline_that_has_passed_is_now() {
    let clock = Clock::read();
    let mut facts = Facts::unknown();
    facts.deadline = Some(clock.now - Duration::from_secs(1));

    assert_eq!(
        decode(&encode(&facts, Version::HTTP_11, Host::Named, || clock), || clock).unwrap().facts.deadline,
        Some(clock.now)
    );
}
