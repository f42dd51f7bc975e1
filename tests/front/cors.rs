//! What pages of other origins may: by configuration, for applications that know nothing of it.

use http::Method;
use http_body_util::Empty;

use crate::{
    both_models,
    host::{Answer, Host, Model, Setup},
};

const CORS: &str = "[site.cors]\norigins = [\"https://shop.example\"]\nmethods = [\"PUT\"]\nheaders = [\"x-key\"]\n\
                    expose = [\"x-answer\"]\ncredentials = true\nmax_age = \"1h\"";

async fn ask(host: &Host, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
    let client = host.client();
    let mut request = client.request(method, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap()
}

both_models! {
    async fn browsers_are_told_what_pages_may_before_the_application_starts(model: Model) {
        let host = Setup::sample(model).site(CORS).start().await;
        let question = [("origin", "https://shop.example"), ("access-control-request-method", "PUT")];
        let answer = ask(&host, Method::OPTIONS, "/echo", &question).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
        assert_eq!(answer.header("access-control-allow-methods"), "PUT");
        assert_eq!(answer.header("access-control-allow-headers"), "x-key");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("access-control-max-age"), "3600");
        assert!(answer.header("vary").contains("origin"));
        let other = [("origin", "https://evil.example"), ("access-control-request-method", "PUT")];
        let answer = ask(&host, Method::OPTIONS, "/echo", &other).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        assert!(host.log.of("application started").is_empty());
    }

    async fn pages_may_read_answers_and_failures_and_others_may_not(model: Model) {
        let site = format!("{CORS}\n[site.filter]\nhidden_segments = [\"hidden\"]");
        let host = Setup::sample(model).site(&site).start().await;
        for (path, status) in [("/plaintext", 200), ("/hidden", 404)] {
            let answer = ask(&host, Method::GET, path, &[("origin", "https://shop.example")]).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example", "{path}");
            assert_eq!(answer.header("access-control-expose-headers"), "x-answer", "{path}");
            let answer = ask(&host, Method::GET, path, &[("origin", "https://evil.example")]).await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
        }
    }

    async fn an_application_answers_options_that_no_browser_asks_with(model: Model) {
        let host = Setup::sample(model).site("[site.cors]\norigins = \"any\"").start().await;
        let info = ask(&host, Method::OPTIONS, "/info", &[]).await.json();
        assert_eq!(info["method"], "OPTIONS");
        let answer = ask(&host, Method::GET, "/plaintext", &[("origin", "https://anybody.example")]).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}
