//! Where requests go that came in clear text or under another name, and what browsers remember.

use crate::{
    both_models,
    host::{Host, Model, Reply, Setup},
};

/// The answer to a GET of `/info?a=b` with these fields.
async fn asked(host: &Host, fields: &str) -> Reply {
    let mut wire = host.wire().await;
    wire.send(format!("GET /info?a=b HTTP/1.1\r\n{fields}\r\n")).await;
    wire.reply().await
}

const BY_TLS: &str = "Host: shop.example\r\nX-Forwarded-Proto: https\r\n";

both_models! {
    async fn clear_text_is_redirected_and_tls_is_remembered(model: Model) {
        let site = "[site.https]\nredirect = true\nport = 8443\nhsts = '365d'\ninclude_subdomains = true";
        let host = Setup::sample(model).server("trusted_proxies = ['127.0.0.0/8']").site(site).start().await;
        let reply = asked(&host, "Host: shop.example:8080\r\n").await;
        assert_eq!(reply.status(), 308);
        assert_eq!(reply.field("location"), Some("https://shop.example:8443/info?a=b"));
        // In clear text nobody would believe it.
        assert_eq!(reply.field("strict-transport-security"), None);
        let reply = asked(&host, BY_TLS).await;
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.field("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
    }

    async fn a_site_is_known_under_one_name_after_one_redirect(model: Model) {
        let site = "canonical_host = 'www.shop.example'\n[site.https]\nredirect = true\nstatus = 301";
        let host = Setup::sample(model).server("trusted_proxies = ['127.0.0.0/8']").site(site).start().await;
        let reply = asked(&host, "Host: shop.example\r\n").await;
        let there = Some("https://www.shop.example/info?a=b");
        assert_eq!((reply.status(), reply.field("location")), (301, there));
        let reply = asked(&host, BY_TLS).await;
        assert_eq!((reply.status(), reply.field("location")), (308, there));
        let reply = asked(&host, "Host: WWW.Shop.example\r\nX-Forwarded-Proto: https\r\n").await;
        assert_eq!(reply.status(), 200);
    }

    async fn a_port_that_no_client_writes_is_asked_for_all_the_same(model: Model) {
        let site = "canonical_host = 'www.shop.example:443'";
        let host = Setup::sample(model).server("trusted_proxies = ['127.0.0.0/8']").site(site).start().await;
        let reply = asked(&host, BY_TLS).await;
        let there = Some("https://www.shop.example:443/info?a=b");
        assert_eq!((reply.status(), reply.field("location")), (308, there));
        let reply = asked(&host, "Host: www.shop.example\r\nX-Forwarded-Proto: https\r\n").await;
        assert_eq!(reply.status(), 200);
    }

    async fn no_target_leads_to_another_authority(model: Model) {
        let host = Setup::sample(model).site("[site.https]\nredirect = true").start().await;
        let mut wire = host.wire().await;
        wire.send("GET //evil.example/..//x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.reply().await.field("location"), Some("https://a///x"));
        let mut wire = host.wire().await;
        wire.send("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(wire.reply().await.status(), 400);
    }
}
