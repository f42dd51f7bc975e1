//! Behaviour 34: what an application sees of a request.

use http::Method;
use http_body_util::Empty;
use serde_json::{Value, json};

use crate::{
    both_models,
    host::{Host, Model, Setup},
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

both_models! {
    async fn an_application_sees_the_whole_request(model: Model) {
        let host = Setup::sample(model).application("path = \"/shop\"").start().await;
        let mut wire = host.wire().await;
        let client = wire.stream.local_addr().unwrap();
        wire.send(format!(
            "PATCH /shop/info?a=%20b&c HTTP/1.1\r\nHost: shop.example:8080\r\ntraceparent: {TRACE}\r\n\
             X-Mine: 1\r\n\r\n"
        ))
        .await;
        let info = wire.reply().await.json();
        assert_eq!(info["method"], "PATCH");
        assert_eq!(info["scheme"], "http");
        assert_eq!(info["authority"], "shop.example:8080");
        assert_eq!(info["target"], "/shop/info?a=%20b&c");
        assert_eq!(info["path_base"], "/shop");
        assert_eq!(info["path"], "/info");
        assert_eq!(info["query"], "a=%20b&c");
        assert_eq!(info["version"], "HTTP/1.1");
        assert_eq!(info["client"], client.to_string());
        assert_eq!(info["local"], host.address.to_string());
        assert_eq!(info["tls"], Value::Null);
        assert_eq!(
            info["trace"],
            json!({
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "parent_span_id": "00f067aa0ba902b7",
                "flags": 1,
            })
        );
        assert_eq!(
            info["headers"],
            json!([["host", "shop.example:8080"], ["traceparent", TRACE], ["x-mine", "1"]])
        );
        // The number that the host's own records have.
        let record = host.log.wait(|event| event["target"] == "cohost::access").await;
        assert_eq!(record["request_id"], info["request_id"]);
        assert_eq!(record["client"], client.to_string());
    }

    async fn a_path_is_shown_as_sent_and_decoded(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let target = "/seen/a%20b%2Fc+d//e%C3%a4%zz%2b?x=%20+%2F%61";
        let mut wire = host.wire().await;
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let seen = json!({
            "target": target,
            "path": "/seen/a%20b%2Fc+d//e%C3%a4%zz%2b",
            // Except for the slash, which would become a separator.
            "decoded": "/seen/a b%2Fc+d//e\u{e4}%zz+",
            "query": "x=%20+%2F%61",
        });
        assert_eq!(wire.reply().await.json(), seen);
    }

    async fn a_request_of_http2_is_shown_as_what_it_is(model: Model) {
        let host = Setup::sample(model).start().await;
        let info = host.client().http2().get("/info?q").await.json();
        assert_eq!(info["version"], "HTTP/2.0");
        assert_eq!(info["scheme"], "http");
        assert_eq!(info["authority"], host.address.to_string());
        assert_eq!(info["target"], "/info?q");
        assert_eq!(info["headers"], json!([]));
    }

    async fn an_unknown_method_reaches_the_application_as_it_is(model: Model) {
        let host = Setup::sample(model).start().await;
        for method in ["get", "GeT", "PROPFIND", "X"] {
            let mut wire = host.wire().await;
            wire.send(format!("{method} /info HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            assert_eq!(wire.reply().await.json()["method"], method);
        }
    }

    async fn the_requests_of_a_connection_share_its_number_and_have_their_own(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        let mut infos = Vec::new();
        for _ in 0..3 {
            wire.send("GET /info HTTP/1.1\r\nHost: a\r\n\r\n").await;
            infos.push(wire.reply().await.json());
        }
        let other = host.get("/info").await.json();
        assert!(infos.iter().all(|info| info["connection_id"] == infos[0]["connection_id"]));
        assert_ne!(infos[0]["connection_id"], other["connection_id"]);
        infos.push(other);
        let mut ids: Vec<_> = infos.iter().map(|info| info["request_id"].to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4);
    }

    async fn a_trace_context_that_is_broken_is_none(model: Model) {
        let host = Setup::sample(model).start().await;
        for broken in ["", "00-0-0-0", &TRACE.to_uppercase(), &TRACE[..54]] {
            let mut wire = host.wire().await;
            wire.send(format!("GET /info HTTP/1.1\r\nHost: a\r\ntraceparent: {broken}\r\n\r\n")).await;
            assert_eq!(wire.reply().await.json()["trace"], Value::Null, "{broken}");
        }
    }
}

/// The same requests to the same application under both models: the same answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_models_show_the_same_request() {
    let start = async |model| Setup::sample(model).application("path = \"/shop\"").start().await;
    let (inside, outside) = (start(Model::InProcess).await, start(Model::OutOfProcess).await);
    for request in REQUESTS {
        let (one, other) = (shown(&inside, request).await, shown(&outside, request).await);
        assert_eq!(one, other, "{request}");
    }
    let (one, other) = (shown_by_http2(&inside).await, shown_by_http2(&outside).await);
    assert_eq!(one, other);
}

/// Each in a form of its own.
const REQUESTS: &[&str] = &[
    "GET /shop/info HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /shop/info HTTP/1.0\r\n\r\n",
    "GET /shop/info HTTP/1.0\r\nHost: a:1\r\nConnection: keep-alive\r\n\r\n",
    "GET http://a/shop/info HTTP/1.0\r\n\r\n",
    "GET http://a/shop/info?x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /other/../shop/./%2e/info?../x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "DELETE /shop/info? HTTP/1.1\r\nHost: A.Example\r\nAccept: a\r\naccept: b\r\nCookie: a=1\r\nCookie: b=2\r\n\
     X-Empty:\r\nX-Last: \x09 spaces \x09\r\n\r\n",
    "POST /shop/info HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nabc",
    "POST /shop/info HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "POST /shop/info HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "POST /shop/info HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    // About the connection, for a proxy, and in the host's own name.
    "GET /shop/info HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
     TE: trailers, gzip\r\nTrailer: x-sum\r\nUpgrade: h2c\r\nProxy-Authorization: Basic x\r\n\
     Proxy-Connection: keep-alive\r\nProxy: http://evil/\r\nCohost-Facts: id=1\r\ncohost_any: 1\r\n\
     MS-ASPNETCORE-TOKEN: 1\r\nAuthorization: Basic y\r\n\r\n",
    "GET /shop/info HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\
     X_Forwarded_Host: evil\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\n\r\n",
    "GET /shop/info HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
];

async fn shown(host: &Host, request: &str) -> Value {
    let mut wire = host.wire().await;
    wire.send(request).await;
    comparable(host, wire.reply().await.json())
}

async fn shown_by_http2(host: &Host) -> Value {
    let client = host.client().http2();
    let request = client
        .request(Method::POST, "/shop/info?x=1")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-forwarded-for", "1.1.1.1");
    let answer = client.send(request.body(Empty::new()).unwrap()).await.unwrap();
    comparable(host, answer.json())
}

/// Without what differs between any two requests, and any two hosts.
fn comparable(host: &Host, mut info: Value) -> Value {
    for differs in ["pid", "thread", "connection_id", "request_id", "client"] {
        info[differs].take();
    }
    let text = info.to_string().replace(&host.address.to_string(), "HOST");
    serde_json::from_str(&text).unwrap()
}
