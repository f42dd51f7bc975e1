//! Behaviour 57: how many requests, and how many at a time, those who are counted together may make.

use crate::{
    both_models,
    host::{Host, Model, Setup},
    supervision::rewrite,
};

/// One request of each line of fields, and what became of it.
async fn statuses(host: &Host, fields: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for fields in fields {
        let mut wire = host.wire().await;
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
        wire.send(format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        statuses.push(wire.reply().await.status());
    }
    statuses
}

both_models! {
    async fn who_asks_too_often_is_told_when_to_come_again(model: Model) {
        let host = Setup::sample(model).site("[[site.limit]]\nrate = \"2/1h\"").start().await;
        assert_eq!(statuses(&host, &["", ""]).await, [200, 200]);
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (429, "rate_limited"));
        let after: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1700..=1800).contains(&after), "{after}");
    }

    // D6
    async fn clients_are_counted_apart_and_cannot_choose_who_they_are(model: Model) {
        let limit = "[[site.limit]]\nrate = \"1/1h\"";
        let host = Setup::sample(model).site(limit).start().await;
        let spoofed = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2", "Forwarded: for=192.0.2.3"];
        assert_eq!(statuses(&host, &spoofed).await, [200, 429, 429]);
        let host = Setup::sample(model).server("trusted_proxies = [\"127.0.0.1\"]").site(limit).start().await;
        let named = [
            "X-Forwarded-For: 192.0.2.1",
            "X-Forwarded-For: ::ffff:192.0.2.1",
            "X-Forwarded-For: 192.0.2.9, 192.0.2.1",
            "X-Forwarded-For: 192.0.2.2",
            "X-Forwarded-For: 2001:db8:1:2::1",
            "X-Forwarded-For: 2001:db8:1:2:3:4:5:6",
            "X-Forwarded-For: 2001:db8:1:3::1",
        ];
        assert_eq!(statuses(&host, &named).await, [200, 429, 429, 200, 200, 429, 200]);
    }

    async fn requests_are_counted_by_a_field_or_by_the_authority(model: Model) {
        let host = Setup::sample(model)
            .site("[[site.limit]]\nkey = \"header:x-key\"\nrate = \"1/1h\"")
            .start()
            .await;
        assert_eq!(statuses(&host, &["X-Key: a", "X-Key: b", "x-key: a", "", ""]).await, [200, 200, 429, 200, 429]);
        let host = Setup::sample(model).site("[[site.limit]]\nkey = \"authority\"\nrate = \"1/1h\"").start().await;
        for (authority, status) in [("a", 200), ("A:80", 429), ("a.", 429), ("b", 200)] {
            let mut wire = host.wire().await;
            wire.send(format!("GET /plaintext HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
            assert_eq!(wire.reply().await.status(), status, "{authority}");
        }
    }

    async fn what_one_limit_refuses_takes_nothing_from_the_others(model: Model) {
        let limits = "[[site.limit]]\nkey = \"authority\"\nrate = \"3/1h\"\n[[site.limit]]\nrate = \"1/1h\"";
        let host = Setup::sample(model).server("trusted_proxies = [\"127.0.0.1\"]").site(limits).start().await;
        let (one, two, three) =
            ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2", "X-Forwarded-For: 192.0.2.3");
        assert_eq!(
            statuses(&host, &[one, one, one, one, one, two, three]).await,
            [200, 429, 429, 429, 429, 200, 200]
        );
        assert_eq!(statuses(&host, &["X-Forwarded-For: 192.0.2.4"]).await, [429]);
    }

    async fn a_request_counts_until_its_answer_is_complete(model: Model) {
        let host = Setup::sample(model).site("[[site.limit]]\nconcurrent = 1").start().await;
        let mut events = host.wire().await;
        events.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
        events.until("\r\n\r\n").await;
        let answer = host.get("/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (429, "too_many_at_once"));
        assert_eq!(answer.header("retry-after"), "1");
        drop(events);
        // That the client has left is an event like others: it has to be seen first.
        let mut answer = host.get("/plaintext").await;
        while answer.status == 429 {
            answer = host.get("/plaintext").await;
        }
        assert_eq!(answer.status, 200);
    }

    async fn limits_on_trial_refuse_nobody(model: Model) {
        let limit = "[[site.limit]]\nrate = \"1/1h\"\nlog_only = true";
        let host = Setup::sample(model).site(limit).start().await;
        assert_eq!(statuses(&host, &["", ""]).await, [200, 200]);
        assert_eq!(host.log.message("would be refused").await["code"], "rate_limited");
    }

    async fn counts_outlive_a_reload_that_leaves_their_table_as_it_is(model: Model) {
        let limit = |rate: &str| Setup::sample(model).site(&format!("[[site.limit]]\nrate = \"{rate}\""));
        let host = limit("1/1h").start().await;
        assert_eq!(statuses(&host, &["", ""]).await, [200, 429]);
        rewrite(&host, &limit("1/1h").site("[site.ip]\ndeny = [\"192.0.2.1\"]").text());
        assert_eq!(host.operator(&["reload"]).await.code, 0);
        assert_eq!(statuses(&host, &[""]).await, [429]);
        rewrite(&host, &limit("1/2h").text());
        assert_eq!(host.operator(&["reload"]).await.code, 0);
        assert_eq!(statuses(&host, &["", ""]).await, [200, 429]);
    }
}
