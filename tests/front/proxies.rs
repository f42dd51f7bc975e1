//! Behaviours 34, 46 and 57 behind a proxy: the client is whom a trusted proxy names, for everything that asks for it.

use crate::{
    both_models,
    host::{Host, Model, Setup},
};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

/// What the sample application sees of a request with these fields.
async fn seen(host: &Host, fields: &str) -> serde_json::Value {
    let mut wire = host.wire().await;
    wire.send(format!("GET /info HTTP/1.1\r\nHost: inside\r\n{fields}\r\n")).await;
    wire.reply().await.json()
}

both_models! {
    async fn an_application_sees_the_client_that_a_trusted_proxy_names(model: Model) {
        let host = Setup::sample(model).server(TRUSTED).start().await;
        let said = "X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n\
                    X-Forwarded-Host: shop.example\r\nForwarded: for=203.0.113.9\r\n";
        let info = seen(&host, said).await;
        assert_eq!((&info["client"], &info["scheme"], &info["authority"]), (
            &"192.0.2.1:0".into(),
            &"https".into(),
            &"shop.example".into(),
        ));
        let record = host.log.wait(|event| event["target"] == "cohost::access").await;
        assert_eq!((record["client"].as_str(), record["authority"].as_str()), (Some("192.0.2.1"), Some("shop.example")));
    }

    async fn every_request_of_a_proxys_connection_has_its_own_client(model: Model) {
        let host = Setup::sample(model).server(TRUSTED).start().await;
        let mut wire = host.wire().await;
        for client in ["192.0.2.1", "192.0.2.2"] {
            wire.send(format!("GET /info HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n")).await;
            assert_eq!(wire.reply().await.json()["client"], format!("{client}:0"));
        }
        wire.send("GET /info HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let info = wire.reply().await.json();
        assert!(info["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{info}");
    }

    async fn nobody_else_is_believed(model: Model) {
        for server in ["", "trusted_proxies = [\"10.0.0.0/8\"]"] {
            let host = Setup::sample(model).server(server).start().await;
            let said = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                        Forwarded: for=192.0.2.1;proto=https\r\n";
            let info = seen(&host, said).await;
            assert!(info["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{info}");
            assert_eq!((&info["scheme"], &info["authority"]), (&"http".into(), &"inside".into()));
        }
    }

    async fn restrictions_are_for_the_client_and_not_for_its_proxy(model: Model) {
        let host = Setup::sample(model)
            .server(TRUSTED)
            .site("[site.ip]\nallow = [\"192.0.2.0/24\"]")
            .start()
            .await;
        for (said, status) in [
            ("X-Forwarded-For: 192.0.2.1\r\n", 200),
            ("X-Forwarded-For: 192.0.2.1, 203.0.113.9\r\n", 403),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", 200),
            ("Forwarded: for=192.0.2.1\r\n", 403),
            ("", 403),
        ] {
            let mut wire = host.wire().await;
            wire.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{said}\r\n")).await;
            assert_eq!(wire.reply().await.status(), status, "{said}");
        }
    }

    async fn a_proxy_may_say_it_in_the_standards_field(model: Model) {
        let server = format!("{TRUSTED}\ntrusted_fields = \"forwarded\"");
        let host = Setup::sample(model).server(&server).start().await;
        let said = "Forwarded: for=\"x, for=\"[2001:db8::1]:443\";proto=https;host=shop.example\r\n\
                    X-Forwarded-For: 192.0.2.1\r\n";
        let info = seen(&host, said).await;
        assert_eq!((&info["client"], &info["scheme"], &info["authority"]), (
            &"[2001:db8::1]:443".into(),
            &"https".into(),
            &"shop.example".into(),
        ));
    }

    async fn a_proxy_that_carries_connections_says_for_whom_before_anything_else(model: Model) {
        let server = format!("{TRUSTED}\nheader_timeout = \"500ms\"");
        let host = Setup::sample(model).server(&server).site("proxy_protocol = true").start_preloaded().await;
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x30\x39\x01\xbb";
        for preamble in [&b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n"[..], v2] {
            let mut wire = host.wire().await;
            wire.send(preamble).await;
            wire.send("GET /info HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n").await;
            let info = wire.reply().await.json();
            assert_eq!((&info["client"], &info["local"]), (&"192.0.2.1:12345".into(), &"10.0.0.1:443".into()));
        }
        // Who does not say it is not served, and neither is who does not say it in time.
        for begun in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 192.", ""] {
            assert_eq!(host.exchange(begun).await, "", "{begun}");
        }
    }

    async fn nobody_but_a_trusted_proxy_may_say_for_whom_a_connection_is(model: Model) {
        let host = Setup::sample(model)
            .server("trusted_proxies = [\"10.0.0.0/8\"]")
            .site("proxy_protocol = true")
            .start_preloaded()
            .await;
        let request = "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(host.exchange(request).await, "");
    }

    async fn a_client_has_so_many_connections_and_not_more(model: Model) {
        let host = Setup::sample(model).server("max_connections_per_client = 3").start_preloaded().await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut wire = host.wire().await;
            wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(wire.reply().await.status(), 200);
            open.push(wire);
        }
        assert_eq!(host.exchange("").await, "");
        drop(open);
        host.log.wait(|event| event["target"] == "cohost::access").await;
        let mut served = false;
        while !served {
            let answer = host.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            served = answer.starts_with("HTTP/1.1 200 ");
        }
    }
}
