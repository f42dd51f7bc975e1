//! Behaviour 36: names in any case, every value of its own and in its place, values of any bytes.

use serde_json::{Value, json};

use crate::{
    both_models,
    host::{Model, Setup},
};

both_models! {
    async fn names_are_case_insensitive(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        wire.send("POST /echo HTTP/1.1\r\nhOSt: a\r\nCONTENT-length: 2\r\ncontent-TYPE: x/Y\r\n\r\nhi").await;
        let reply = wire.reply().await;
        assert_eq!(reply.field("Content-Type"), Some("x/Y"));
        assert_eq!(reply.text(), "hi");
        wire.send("GET /info HTTP/1.1\r\nHOST: a\r\nX-MiXeD: Value\r\nx-mixed: value\r\n\r\n").await;
        let fields = json!([["host", "a"], ["x-mixed", "Value"], ["x-mixed", "value"]]);
        assert_eq!(wire.reply().await.json()["headers"], fields);
    }

    async fn repeated_fields_stay_separate_and_in_order_both_ways(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut wire = host.wire().await;
        wire.send(
            "GET /fields HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: x\r\nX-A: 2, 3\r\nX-A:\r\nX-B: y\r\nx-a: 4\r\n\r\n",
        )
        .await;
        let reply = wire.reply().await;
        assert_eq!(reply.values("x-a").collect::<Vec<_>>(), [&b"1"[..], b"2, 3", b"", b"4"]);
        assert_eq!(reply.values("x-b").collect::<Vec<_>>(), [b"x", b"y"]);
        // The same over HTTP/2.
        let client = host.client().http2();
        let request = client.request(http::Method::GET, "/fields");
        let request = request.header("x-a", "1").header("x-b", "x").header("x-a", "2, 3").header("x-a", "");
        let answer = client.send(request.body(http_body_util::Empty::new()).unwrap()).await.unwrap();
        assert_eq!(answer.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2, 3", ""]);
    }

    async fn cookies_reach_the_application_as_the_client_sent_them(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        wire.send("GET /info HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2\r\n\r\n").await;
        let fields = wire.reply().await.json()["headers"].clone();
        assert_eq!(fields, json!([["host", "a"], ["cookie", "a=1; b=2"]]));
    }

    async fn values_are_bytes_both_ways(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut wire = host.wire().await;
        let value: Vec<u8> = (0x21..=0xff).filter(|byte| *byte != 0x7f).collect();
        wire.send([b"GET /fields HTTP/1.1\r\nHost: a\r\nX-Bytes: ", &value[..], b"\r\n\r\n"].concat()).await;
        let reply = wire.reply().await;
        assert_eq!(reply.values("x-bytes").collect::<Vec<_>>(), [&value[..]]);
        // The same over HTTP/2.
        let client = host.client().http2();
        let request = client.request(http::Method::GET, "/fields").header("x-bytes", &value[..]);
        let answer = client.send(request.body(http_body_util::Empty::new()).unwrap()).await.unwrap();
        assert_eq!(answer.headers["x-bytes"].as_bytes(), value);
    }

    async fn values_with_control_characters_and_names_that_are_none_are_refused(model: Model) {
        let host = Setup::sample(model).start().await;
        for field in [
            &b"X: a\0b"[..], b"X: a\rb", b"X: a\x0bb", b"X: a\x0cb", b"X: \x7f", b"X\0: a", b"\x80: a", b"X y: a",
            b"X : a", b"(: a", b": a", b"no colon", b"X: a\r\n folded", b"\tX: a",
        ] {
            let mut wire = host.wire().await;
            wire.send([b"GET /info HTTP/1.1\r\nHost: a\r\n", field, b"\r\n\r\n"].concat()).await;
            let reply = wire.reply().await;
            assert_eq!(reply.status(), 400, "{:?}: {reply:?}", String::from_utf8_lossy(field));
        }
    }

    async fn a_hundred_fields_arrive_and_one_more_is_too_many(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        let fields = |n| (0..n).map(|n| format!("X-{n}: {}\r\n", "v".repeat(n * 2))).collect::<String>();
        wire.send(format!("GET /info HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(99))).await;
        let info = wire.reply().await.json();
        let Value::Array(seen) = &info["headers"] else { panic!("{info}") };
        assert_eq!(seen.len(), 100);
        assert_eq!(seen[99], json!(["x-98", "v".repeat(196)]));
        wire.send(format!("GET /info HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(100))).await;
        assert_eq!(wire.reply().await.status(), 431);
    }

    async fn a_head_of_more_than_64_kib_is_refused(model: Model) {
        let host = Setup::sample(model).start().await;
        for (length, status) in [(60 * 1024, 200), (64 * 1024 + 1, 431)] {
            let head = |field: &str| format!("GET /plaintext HTTP/1.1\r\nHost: a\r\nX: {field}\r\n\r\n");
            let mut wire = host.wire().await;
            wire.send(head(&"x".repeat(length - head("").len()))).await;
            assert_eq!(wire.reply().await.status(), status);
        }
    }
}
