//! Behaviour 55: rules that give requests another path, send clients elsewhere, or answer them.

use crate::{
    both_models,
    host::{Host, Model, Reply, Setup},
};

/// The answer to a GET of this target.
async fn get(host: &Host, target: &str) -> Reply {
    let mut wire = host.wire().await;
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n")).await;
    wire.reply().await
}

both_models! {
    async fn an_application_gets_the_new_path_and_still_knows_the_one_that_was_asked_for(model: Model) {
        let rule = "[[site.rewrite]]\nmatch = '^facts/([0-9]+)$'\nrewrite = '/info?id={1}'";
        let host = Setup::sample(model).site(rule).start().await;
        let info = get(&host, "/%66acts/7?a=b").await.json();
        assert_eq!((&info["path"], &info["query"]), (&"/info".into(), &"id=7&a=b".into()));
        assert_eq!((&info["target"], &info["authority"]), (&"/%66acts/7?a=b".into(), &"shop.example".into()));
    }

    async fn rules_of_an_application_stay_below_its_path(model: Model) {
        let rules = "[[site.application.rewrite]]\nmatch = '^old$'\nrewrite = '/info'\n\
                     [[site.application.rewrite]]\nmatch = '^gone$'\nredirect = '/new'";
        let site = "[[site.rewrite]]\nmatch = '^(old)$'\nrewrite = '/shop/{1}'";
        let host = Setup::sample(model).application("path = '/shop'").site(site).more(rules).start().await;
        let info = get(&host, "/old").await.json();
        assert_eq!((&info["path_base"], &info["path"]), (&"/shop".into(), &"/info".into()));
        assert_eq!(get(&host, "/shop/old").await.json()["target"], "/shop/old");
        let reply = get(&host, "/shop/gone?a=b").await;
        assert_eq!((reply.status(), reply.field("location")), (302, Some("/shop/new?a=b")));
    }

    async fn rules_answer_and_redirect_and_stop(model: Model) {
        let rules = "[[site.rewrite]]\nmatch = '^info$'\nstop = true\n\
                     [[site.rewrite]]\nmatch = '^wp-'\nrespond = 410\nbody = 'gone'\n\
                     [[site.rewrite]]\nmatch = '^(.*)$'\nredirect = '/{1}'\nstatus = 308\n\
                     conditions = [{ input = 'header:X-Old', matches = '.' }, { input = 'method', differs = '^POST$' }]\n\
                     [[site.rewrite]]\nredirect = '{map:moved:path}'\n\
                     conditions = [{ input = 'map:moved:path', matches = '.' }]\n\
                     [site.maps.moved]\n'/a' = 'https://other.example/b'";
        let host = Setup::sample(model).site(rules).start().await;
        assert_eq!(get(&host, "/info").await.status(), 200);
        let reply = get(&host, "/wp-login.php").await;
        assert_eq!((reply.status(), reply.text().as_str()), (410, "gone"));
        assert_eq!(reply.field("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(get(&host, "/a").await.field("location"), Some("https://other.example/b"));
        let mut wire = host.wire().await;
        wire.send("GET //evil.example/%2e%2e HTTP/1.1\r\nHost: a\r\nX-Old: 1\r\n\r\n").await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.field("location")), (308, Some("/")));
        wire.send("GET //evil.example/x HTTP/1.1\r\nHost: a\r\nX-Old: 1\r\n\r\n").await;
        assert_eq!(wire.reply().await.field("location"), Some("/evil.example/x"));
    }

    async fn a_request_that_is_aborted_gets_no_answer_and_leaves_a_record(model: Model) {
        let rule = "[[site.rewrite]]\nmatch = '^[.]env$'\nabort = true";
        let host = Setup::sample(model).site(rule).start().await;
        assert_eq!(host.exchange("GET /.env HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
        let record = host.log.wait(|event| event["target"] == "cohost::access").await;
        assert_eq!((record["status"].as_u64(), record["failure"].as_str()), (Some(444), Some("aborted")));
        // In HTTP/2 only the stream is reset.
        let client = host.client().http2();
        let request = client.request(http::Method::GET, "/.env").body(http_body_util::Empty::new()).unwrap();
        assert!(client.send(request).await.is_err());
        assert_eq!(client.get("/info").await.status, 200);
    }

    async fn rules_that_go_round_in_a_circle_are_named(model: Model) {
        let rules = "[[site.rewrite]]\nname = 'there'\nmatch = '^a$'\nrewrite = '/b'\n\
                     [[site.rewrite]]\nname = 'back'\nmatch = '^b$'\nrewrite = '/a'\nagain = true";
        let host = Setup::sample(model).site(rules).start().await;
        let reply = get(&host, "/a").await;
        assert_eq!((reply.status(), reply.field("cohost-failure")), (500, Some("rewrite_failed")));
        let told = host.log.message("request failed").await;
        assert!(told["detail"].as_str().unwrap().contains("\"back\""), "{told}");
        assert_eq!(get(&host, "/info").await.status(), 200);
    }

    async fn what_is_no_file_goes_to_one_page(model: Model) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there"), "").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("out")).unwrap();
        let root = folder.path().display();
        let rule = format!(
            "[[site.rewrite]]\nrewrite = '/info'\nconditions = [{{ is_not = 'file', root = '{root}' }}]"
        );
        let host = Setup::sample(model).site(&rule).start().await;
        assert_eq!(get(&host, "/anything").await.json()["path"], "/info");
        // What links lead to outside is not there.
        assert_eq!(get(&host, "/out").await.json()["path"], "/info");
        assert_eq!(get(&host, "/there").await.status(), 404);
    }

    async fn rules_for_answers_look_at_the_answer_and_at_what_was_asked(model: Model) {
        let rules = "[[site.outbound]]\nstatus = ['404', '5xx']\nfield = 'X-Failed'\nmatch = '^$'\nadd = true\n\
                     value = '{status} for {header:user-agent}'\n\
                     [[site.outbound]]\nfield = 'X-Kind'\nmatch = '^$'\nadd = true\nvalue = '{C:1}'\n\
                     conditions = [{ input = 'answer:content-type', matches = '^application/(json)' }]";
        let host = Setup::sample(model).site(rules).start().await;
        let fields = |reply: &Reply| {
            let text = |name| reply.field(name).map(str::to_owned);
            (reply.status(), text("x-failed"), text("x-kind"))
        };
        assert_eq!(fields(&get(&host, "/info").await), (200, None, Some("json".into())));
        assert_eq!(fields(&get(&host, "/plaintext").await), (200, None, None));
        let mut wire = host.wire().await;
        wire.send("GET /none HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\n\r\n").await;
        assert_eq!(fields(&wire.reply().await), (404, Some("404 for me".into()), None));
    }

    async fn a_file_is_there_for_rules_if_it_would_be_sent(model: Model) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["there", ".env", "web.config"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let root = folder.path().display();
        let rule = format!(
            "[[site.rewrite]]\nmatch = '^(.*)$'\nrewrite = '/info'\n\
             conditions = [{{ input = '1', is_not = 'file', root = '{root}' }}]"
        );
        let host = Setup::sample(model).site(&rule).start().await;
        // Of which the first has no slash, as what was found in a path.
        assert_eq!(get(&host, "/there").await.status(), 404);
        for path in ["/there/", "/.env", "/web.config", "/none", "/there/x", "/"] {
            // Twice: what is not known by heart is looked for.
            for _ in 0..2 {
                assert_eq!(get(&host, path).await.json()["path"], "/info", "{path}");
            }
        }
        drop(folder);
        assert_eq!(get(&host, "/there").await.json()["path"], "/info");
    }

    async fn fields_of_answers_follow_rules(model: Model) {
        let rules = "[site.application.headers]\nset = { Location = 'http://inside:8080/x' }\n\
                     append = { Set-Cookie = ['a=1', 'b=2'] }";
        let site = "[[site.outbound]]\nfield = 'Location'\nmatch = '^http://inside:8080/(.*)$'\n\
                    value = '{scheme}://{authority}/{1}'\n\
                    [[site.outbound]]\nfield = 'Set-Cookie'\nmatch = '^(a=.*)$'\nvalue = '{1}; Secure'";
        let host = Setup::sample(model).site(site).more(rules).start().await;
        let reply = get(&host, "/info").await;
        assert_eq!(reply.field("location"), Some("http://shop.example/x"));
        assert_eq!(reply.values("set-cookie").collect::<Vec<_>>(), [&b"a=1; Secure"[..], b"b=2"]);
    }
}
