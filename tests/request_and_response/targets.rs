//! Behaviour 35: targets stay as they were sent, except for dot segments; what has no meaning is refused.

use crate::{
    both_models,
    host::{Host, Model, Reply, Setup},
};

both_models! {
    async fn what_a_path_says_stays_as_it_was_sent(model: Model) {
        let host = Setup::broken(model, "none").more(&crate::request_and_response::sample_at("/shop", model)).start().await;
        for (target, path, query) in [
            ("/shop/info", "/info", None),
            ("/shop/info?", "/info", Some("")),
            ("/shop/info?a+b=%2F&&c=/../%2e%2e//#no", "/info", Some("a+b=%2F&&c=/../%2e%2e//")),
            ("/shop/info?a?b", "/info", Some("a?b")),
            ("/shop/./info", "/info", None),
            ("/shop/x/../info", "/info", None),
            ("/shop/x/%2e%2E/info", "/info", None),
            ("/./%2e/shop/info", "/info", None),
            // Into the path base of another application: it is the resulting path that counts.
            ("/status/../shop/info", "/info", None),
            ("/x/%2e./shop/info", "/info", None),
            ("/../../shop/info", "/info", None),
            // What need not be escaped is the same without.
            ("/%73hop/%69nf%6F", "/info", None),
            ("/%73hop/%2e%2E/sho%70/info?%69", "/info", Some("%69")),
        ] {
            let reply = get(&host, target).await;
            assert_eq!(reply.status(), 200, "{target}: {reply:?}");
            let info = reply.json();
            assert_eq!(info["path_base"], "/shop", "{target}");
            assert_eq!(info["path"], path, "{target}");
            assert_eq!(info["query"].as_str(), query, "{target}");
            let sent = target.split('#').next().unwrap();
            assert_eq!(info["target"], sent, "{target}");
        }
    }

    async fn a_path_that_leaves_a_path_base_leaves_the_application(model: Model) {
        let host = Setup::broken(model, "none").more(&crate::request_and_response::sample_at("/shop", model)).start().await;
        for target in ["/shop/../setting/fault", "/shop/%2e%2e/setting/fault", "/shop/a/.%2e/../setting/fault"] {
            let reply = get(&host, target).await;
            assert_eq!((reply.status(), reply.text()), (200, "none".to_owned()), "{target}");
        }
        // An escaped slash separates nothing; nor does a name that only begins alike.
        for target in ["/shop%2Finfo", "/shop%2F..%2Finfo", "/shopping/info", "/Shop/info"] {
            assert_eq!(get(&host, target).await.status(), 404, "{target}");
        }
    }

    async fn escapes_plus_and_double_slashes_reach_the_application(model: Model) {
        // The only one whose answer shows a path that it does not know: its page for any path.
        let host = Setup::broken(model, "none").start().await;
        for (target, status) in [
            // The parameter of the route: one segment, decoded by the router of the application.
            ("/setting/fault", 200),
            ("/setting/faul%74", 200),
            ("//setting/fault", 404),
            ("/setting//fault", 404),
            ("/setting%2Ffault", 404),
            ("/setting/fault+", 404),
        ] {
            let reply = get(&host, target).await;
            assert_eq!(reply.status(), status, "{target}");
            assert_eq!(reply.field("cohost-failure"), None, "{target}: the host itself answered");
        }
        let host = Setup::sample(model).application("path = \"/a+b\"").start().await;
        // Elsewhere these two may differ.
        assert_eq!(get(&host, "/a%2Bb/info").await.json()["path_base"], "/a+b");
        let info = get(&host, "/a+b/info?%2F+//").await.json();
        assert_eq!(info["path_base"], "/a+b");
        assert_eq!(info["query"], "%2F+//");
    }

    async fn targets_with_control_characters_are_refused(model: Model) {
        let host = Setup::sample(model).start().await;
        for target in ["/%00", "/info%00.html", "/a%0d%0ab", "/%1f", "/%7F", "/info%0A"] {
            refused(&get(&host, target).await, target);
        }
        for target in [&b"/\x01"[..], b"/\x7f", b"/\xc3\xa4", b"/\xff", b"/a\tb", b"/a b", b"/\x00"] {
            let request = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let reply = first(&host, &request).await;
            assert_eq!(reply.status(), 400, "{target:?}: {reply:?}");
        }
        // In a query they are the application's affair.
        assert_eq!(get(&host, "/info?%00%0d%0a").await.json()["query"], "%00%0d%0a");
    }

    async fn options_with_an_asterisk_reaches_the_application(model: Model) {
        let host = Setup::sample(model).start().await;
        let reply = first(&host, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // axum knows no route for it; what matters is who answered.
        assert_eq!(reply.status(), 404);
        assert_eq!(reply.field("cohost-failure"), None, "{reply:?}");
        let record = host.log.wait(|event| event["target"] == "cohost::access").await;
        assert_eq!((&record["method"], &record["path"]), (&"OPTIONS".into(), &"*".into()));
    }

    async fn targets_without_a_meaning_are_refused(model: Model) {
        let host = Setup::sample(model).start().await;
        for line in [
            "GET *", "OPTIONS **", "GET a.com:80", "CONNECT a:443", "CONNECT /", "GET ../x", "GET info",
            "GET http://", "GET ",
        ] {
            let reply = first(&host, format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
            assert_eq!(reply.status(), 400, "{line}: {reply:?}");
        }
    }

    async fn a_request_has_one_authority_that_is_one(model: Model) {
        let host = Setup::sample(model).start().await;
        for fields in [
            "", "Host: a\r\nHost: b\r\n", "Host: a\r\nhost: a\r\n", "Host:\r\n", "Host: \r\n", "Host: a, b\r\n",
            "Host: u@a\r\n", "Host: a/b\r\n", "Host: a:99999\r\n", "Host: [::1\r\n", "Host: a\tb\r\n",
            "Host: a b\r\n", "Host: a:b\r\n", "Host: \u{e4}\r\n", "Host : a\r\n",
        ] {
            let reply = first(&host, format!("GET /info HTTP/1.1\r\n{fields}\r\n").as_bytes()).await;
            assert_eq!(reply.status(), 400, "{fields:?}: {reply:?}");
        }
        for (authority, host_field) in [("b", "a"), ("a:80", "a"), ("u@a", "a"), ("a.", "a")] {
            let request = format!("GET http://{authority}/info HTTP/1.1\r\nHost: {host_field}\r\n\r\n");
            let reply = first(&host, request.as_bytes()).await;
            assert_eq!(reply.status(), 400, "{authority} {host_field}: {reply:?}");
        }
        let reply = first(&host, b"GET http://A:80/info HTTP/1.1\r\nHost: a:80\r\n\r\n").await;
        assert_eq!(reply.json()["authority"].as_str().unwrap().to_lowercase(), "a:80");
        // HTTP/1.0 may leave it out.
        assert_eq!(first(&host, b"GET /info HTTP/1.0\r\n\r\n").await.json()["authority"], "");
    }

    async fn an_authority_and_a_host_field_of_http2_do_not_differ(model: Model) {
        let host = Setup::sample(model).start().await;
        let client = host.client().http2();
        let send = async |field: &str| {
            let request = client.request(http::Method::GET, "/info").header("host", field);
            client.send(request.body(http_body_util::Empty::new()).unwrap()).await.map(|answer| answer.status)
        };
        assert_ne!(send("other").await.ok(), Some(http::StatusCode::OK));
        assert_eq!(send(&host.address.to_string()).await.unwrap(), 200);
    }
}

async fn get(host: &Host, target: &str) -> Reply {
    first(host, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await
}

/// The first response to some bytes.
async fn first(host: &Host, request: &[u8]) -> Reply {
    let mut wire = host.wire().await;
    wire.send(request).await;
    wire.reply().await
}

/// The host itself said no.
fn refused(reply: &Reply, what: &str) {
    assert_eq!(
        (reply.status(), reply.field("cohost-failure")),
        (400, Some("bad_request")),
        "{what}: {reply:?}"
    );
}
