//! Behaviour 56: which requests are let through, by what is written in them.

use http::Method;
use http_body_util::Empty;

use crate::{
    both_models,
    host::{Host, Model, Setup},
};

/// Status and code of the answer to a target, exactly as it is written here.
async fn judged(host: &Host, target: &str) -> (u16, String) {
    let mut wire = host.wire().await;
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let reply = wire.reply().await;
    let head = String::from_utf8_lossy(&reply.head).into_owned();
    let code = head.lines().find_map(|line| line.strip_prefix("cohost-failure: ")).unwrap_or_default();
    (reply.status(), code.to_owned())
}

both_models! {
    // C6
    async fn a_denied_path_is_denied_in_every_spelling(model: Model) {
        let host = Setup::sample(model).site("[site.filter]\ndenied_sequences = [\"/info\"]").start().await;
        for target in [
            "/info", "/%69nfo", "//info", "/./info", "/x/../info", "/INFO", "/info%2f", "/info;x", "/x%2f..%2finfo",
            "/%5cinfo", "http://a/info", "/%2e/info", "/.%2Finfo", "/info%20", "/x/..%3b/info", "/x/%2e%2e/info?a",
        ] {
            assert_eq!(judged(&host, target).await, (404, "filter_sequence".to_owned()), "{target}");
        }
        assert_eq!(judged(&host, "/%2569nfo").await, (404, "filter_double_escaping".to_owned()));
        assert_eq!(judged(&host, "/plaintext?/info").await.0, 200);
    }

    async fn what_iis_refuses_is_refused_with_the_rule_as_its_code(model: Model) {
        let filter = "[site.filter]\npreset = \"iis\"\ndenied_verbs = [\"TRACE\"]\ndenied_query_sequences = [\"<script\"]\n\
                      max_field = { cookie = 10 }";
        let host = Setup::sample(model).site(filter).start().await;
        let long = format!("/{}", "x".repeat(4096));
        let query = format!("/?{}", "x".repeat(2049));
        for (target, status, code) in [
            ("/web.config", 404, "filter_segment"),
            ("/app_DATA/shop.db", 404, "filter_segment"),
            ("/appsettings.config", 404, "filter_extension"),
            ("/a%252eb", 404, "filter_double_escaping"),
            ("/?q=%3Cscript%3E", 404, "filter_query_sequence"),
            (&*long, 414, "filter_url"),
            (&*query, 414, "filter_query"),
            ("/plaintext", 200, ""),
        ] {
            assert_eq!(judged(&host, target).await, (status, code.to_owned()), "{target}");
        }
        let client = host.client();
        let request = client.request(Method::TRACE, "/").body(Empty::<bytes::Bytes>::new()).unwrap();
        assert_eq!(client.send(request).await.unwrap().header("cohost-failure"), "filter_verb");
        let request = client.request(Method::GET, "/").header("cookie", "a=123456789");
        let answer = client.send(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (431, "filter_field"));
    }

    async fn an_application_has_a_filter_of_its_own_and_one_may_be_on_trial(model: Model) {
        let host = Setup::sample(model)
            .site("[site.filter]\nallowed_verbs = [\"POST\"]\nlog_only = true")
            .more("[site.application.filter]\nhidden_segments = [\"plaintext\"]")
            .beside(&crate::host::library("sample_app"), model)
            .start()
            .await;
        assert_eq!(judged(&host, "/plaintext").await, (404, "filter_segment".to_owned()));
        assert_eq!(judged(&host, "/healthy/plaintext").await.0, 200);
        let told = host.log.message("would be refused").await;
        assert_eq!((told["code"].as_str(), told["client"].as_str()), (Some("filter_verb"), Some("127.0.0.1")));
    }
}
