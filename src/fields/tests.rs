//! Fields as clients and applications send them, and what is left of them.

use super::*;

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect::<Vec<(HeaderName, HeaderValue)>>()
        .into_iter()
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn cleaned(lines: &[(&'static str, &'static str)], sender: Sender) -> Vec<String> {
    let mut map = fields(lines);
    clean_request(&mut map, sender);
    let mut lines: Vec<String> =
        map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort_by_key(|line| line.split(':').next().map(str::to_owned)); // stable: repeated ones in their order
    lines
}

#[test]
fn fields_about_the_connection_end_here() {
    let left = cleaned(
        &[
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAM"),
            ("proxy", "http://evil/"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ],
        Sender::Untrusted,
    );

    assert_eq!(left, ["accept: */*"]);
}

#[test]
fn no_connection_becomes_one_of_http() {
    let wanted = |to: &[u8]| {
        let mut map = fields(&[("connection", "upgrade")]);
        map.insert(UPGRADE, HeaderValue::from_bytes(to).unwrap());
        upgrade_wanted(&map, Version::HTTP_11, &crate::Body::empty()).is_some()
    };
    for to in
        [&b"h2c"[..], b"H2C", b"websocket, h2c", b"\xff, h2c", b"h2c\xff", b"TLS/1.2", b"HTTP/2.0", b"h2c/1"]
    {
        assert!(!wanted(to), "{:?}", String::from_utf8_lossy(to));
    }
    for to in [&b"websocket"[..], b"h2cool", b"a/h2c"] {
        assert!(wanted(to), "{:?}", String::from_utf8_lossy(to));
    }
}

#[test]
fn no_name_that_is_removed_begins_like_those_that_stay() {
    let removed = "connection keep-alive proxy-connection proxy-authenticate transfer-encoding te upgrade \
                   http2-settings proxy proxy-authorization trailer forwarded x-forwarded-for x-real-ip \
                   cohost-facts ms-aspnetcore-token content-length";
    for name in removed.split_whitespace() {
        assert!(may_be_unclean(name), "{name}");
    }
}

#[test]
fn te_says_trailers_and_nothing_else() {
    assert_eq!(cleaned(&[("te", "gzip, Trailers;q=0.5")], Sender::Untrusted), ["te: trailers"]);
}

#[test]
fn fields_named_in_connection_go_except_host_and_length() {
    let left = cleaned(
        &[
            ("connection", "keep-alive, X-Mine, Host, content-length"),
            ("connection", "authorization, not a token"),
            ("x-mine", "1"),
            ("authorization", "Basic x"),
            ("host", "a.example"),
            ("content-length", "5"),
            ("x-other", "2"),
        ],
        Sender::Untrusted,
    );

    assert_eq!(left, ["content-length: 5", "host: a.example", "x-other: 2"]);
}

#[test]
fn fields_of_the_host_are_removed_in_every_spelling() {
    let left = cleaned(
        &[
            ("MS-ASPNETCORE-TOKEN", "1"),
            ("ms_aspnetcore_token", "1"),
            ("ms-aspnetcore_token", "2"),
            ("ms-aspnetcore-event", "shutdown"),
            ("cohost-facts", "id=1"),
            ("Cohost_Facts", "id=1"),
            ("cohost-anything", "1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x_forwarded_for", "1.1.1.1"),
            ("X-Forwarded_Proto", "https"),
            ("x-real-ip", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1"),
            ("cohosted", "stays"),
        ],
        Sender::Untrusted,
    );

    assert_eq!(left, ["cohosted: stays"]);
}

#[test]
fn a_trusted_proxy_keeps_its_forwarding_fields_but_not_the_private_ones() {
    let left = cleaned(
        &[
            ("x-real-ip", "1.1.1.1"),
            ("x_real_ip", "2.2.2.2"),
            ("cohost-facts", "1"),
            ("x-forwarded-prefix", "/a"),
        ],
        Sender::Trusted,
    );

    assert_eq!(left, ["x-forwarded-prefix: /a", "x-real-ip: 1.1.1.1"]);
}

#[test]
fn repeated_fields_stay_separate_and_ordered_but_cookies_become_one() {
    let left =
        cleaned(&[("x-a", "1"), ("cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2")], Sender::Untrusted);

    assert_eq!(left, ["cookie: a=1; b=2", "x-a: 1", "x-a: 2"]);
}

#[test]
fn a_library_sees_what_is_meant_for_it() {
    let mut plain = fields(&[("host", "a"), ("content-length", "5"), ("x-forwarded-for", "1.1.1.1")]);
    let as_sent = plain.clone();
    clean_for_library(&mut plain);
    assert_eq!(plain, as_sent);

    let mut map = fields(&[
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("cohost-facts", "1"),
        ("content-length", "5, 5"),
        ("x-real-ip", "1.1.1.1"),
    ]);
    clean_for_library(&mut map);
    let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-length", "te", "trailer", "x-real-ip"]);
    assert_eq!(map[CONTENT_LENGTH], "5");
}

#[test]
fn a_length_said_twice_goes_on_once() {
    assert_eq!(cleaned(&[("content-length", "5, 5")], Sender::Untrusted), ["content-length: 5"]);
    let twice = [("content-length", "5"), ("content-length", "5")];
    assert_eq!(cleaned(&twice, Sender::Untrusted), ["content-length: 5"]);
}

#[test]
fn trailers_cannot_say_what_only_fields_may() {
    let mut trailers = fields(&[
        ("ms-aspnetcore-token", "1"),
        ("content-length", "1"),
        ("host", "b"),
        ("x-forwarded-for", "1.1.1.1"),
        ("grpc-status", "0"),
    ]);

    clean_request_trailers(&mut trailers);

    assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
}

#[cfg(feature = "front")]
#[test]
fn a_field_that_is_put_is_there_whatever_the_client_says() {
    let user: HeaderName = "x-user".parse().unwrap();
    for connection in ["x-user", "close, X-User", "X-USER,upgrade"] {
        let mut map = fields(&[("connection", connection), ("x_user", "root"), ("x-user", "root")]);

        put(&mut map, &user, [&HeaderValue::from_static("ana")]);
        assert_eq!(has_token(&map, &CONNECTION, "upgrade"), connection.contains("upgrade"));
        clean_for_library(&mut map);

        assert_eq!(map.iter().collect::<Vec<_>>(), [(&user, &HeaderValue::from_static("ana"))]);
    }
}

#[test]
fn a_response_keeps_its_announced_trailers() {
    let mut answer = fields(&[
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("trailer", "x-sum"),
        ("cohost-any", "1"),
        ("upgrade", "h2c"),
    ]);

    clean_response(&mut answer);

    assert_eq!(answer.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["trailer"]);
}
