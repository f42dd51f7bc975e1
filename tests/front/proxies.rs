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
}
