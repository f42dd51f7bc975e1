//! Requests and answers over HTTP/1.1.

use tokio::time::timeout;

use super::*;
use crate::{
    dispatcher::out_of_process::facts,
    facts::{Base, Forwarded, Scheme, Tls},
    failure::Code,
};

#[tokio::test]
async fn a_connection_is_used_again_after_the_answer_has_ended() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let instance = async {
        let mut wire = fake.accept().await;
        wire.answer(OK).await;
        wire.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n").await;
        wire.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
        wire.answer(OK).await;
    };
    let client = async {
        assert_eq!(text(forwarder.forward(get("/1")).await.unwrap()).await, "ok");
        assert_eq!(text(forwarder.forward(get("/2")).await.unwrap()).await, "yes");
        assert_eq!(text(forwarder.forward(get("/3")).await.unwrap()).await, "");
        assert_eq!(text(forwarder.forward(post("/4", "body")).await.unwrap()).await, "ok");
    };

    timeout(SOON, futures_util::future::join(instance, client)).await.unwrap();

    assert!(!fake.was_called_again());
}

#[tokio::test]
async fn a_request_on_a_dead_kept_connection_goes_to_a_fresh_one() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let instance = async {
        let mut wire = fake.accept().await;
        wire.answer(OK).await;
        drop(wire);
        fake.accept().await.answer(OK).await;
    };
    let client = async {
        text(forwarder.forward(get("/1")).await.unwrap()).await;
        assert_eq!(text(forwarder.forward(post("/2", "body")).await.unwrap()).await, "ok");
    };

    timeout(SOON, futures_util::future::join(instance, client)).await.unwrap();
}

#[tokio::test]
async fn a_kept_connection_that_the_instance_closes_is_closed_at_once() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    let instance = async {
        let mut wire = fake.accept().await;
        wire.answer(OK).await;
        wire
    };
    let (mut wire, answer) = futures_util::future::join(instance, forwarder.forward(get("/"))).await;
    text(answer.unwrap()).await;

    wire.stream.shutdown().await.unwrap();

    timeout(SOON, wire.closed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_program_is_left_before_it_gets_tired_of_waiting() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let mut wires = Vec::new();
    for _ in 0..2 {
        let instance = async {
            let mut wire = fake.accept().await;
            wire.answer(OK).await;
            wires.push(wire);
        };
        let (answer, ()) = futures_util::future::join(forwarder.forward(get("/")), instance).await;
        text(answer.unwrap()).await;

        wires.last_mut().unwrap().closed().await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_reads_the_answer() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    let (frames, body) = stream();
    frames.send(data("first")).unwrap();
    let mut wire = None;
    let instance = async {
        let wire = wire.insert(fake.accept().await);
        wire.until("first").await;
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nbegun").await;
    };
    let ((), unread) = futures_util::future::join(instance, forwarder.forward(post("/", body))).await;

    frames.send(data("second")).unwrap();

    timeout(SOON, wire.unwrap().until("second")).await.unwrap();
    drop(unread);
}

#[tokio::test]
async fn a_request_of_which_a_byte_was_sent_is_not_sent_again() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let (frames, body) = stream();
    let instance = async {
        let mut wire = fake.accept().await;
        wire.answer(OK).await;
        wire.head().await;
        frames.send(data("some")).unwrap();
        wire.until("some").await;
    };
    let client = async {
        text(forwarder.forward(get("/1")).await.unwrap()).await;
        forwarder.forward(post("/2", body)).await.unwrap_err()
    };

    let ((), failure) = timeout(SOON, futures_util::future::join(instance, client)).await.unwrap();

    assert_eq!(failure.code, Code::InstanceLost);
    assert!(!fake.was_called_again());
}

#[tokio::test]
async fn a_client_cannot_speak_for_the_host() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Foreign { token: Some("secret".into()) });
    let mut client = front(&forwarder);
    client
        .say(
            "GET /a?b=%2F HTTP/1.1\r\nHost: shop.example\r\n\
             Connection: x-forwarded-for, ms-aspnetcore-token, host, x-mine\r\nX-Mine: 1\r\n\
             X-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
             Forwarded: for=3.3.3.3\r\nMS-ASPNETCORE-TOKEN: forged\r\nms_aspnetcore_token: forged\r\n\
             Cohost-Facts: id=1\r\nTE: gzip\r\nKeep-Alive: 5\r\nProxy: evil\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
        )
        .await;

    let head = fake.accept().await.head().await;

    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "get /a?b=%2f http/1.1",
            "forwarded: for=198.51.100.7;host=\"shop.example\";proto=http",
            "host: shop.example",
            "ms-aspnetcore-token: secret",
            "x-a: 1",
            "x-a: 2",
            "x-forwarded-for: 198.51.100.7",
            "x-forwarded-host: shop.example",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
        ]
    );
}

#[tokio::test]
async fn a_trusted_proxy_is_added_to_the_list_that_it_was_believed() {
    let fake = Fake::listen();
    let forwarder = Forwarder::new(fake.target(Peer::Foreign { token: None }));
    let mut request = get("/");
    let client = End::Ip("203.0.113.1:0".parse().unwrap());
    let facts = request.extensions_mut().get_mut::<Facts>().unwrap();
    facts.forwarded = Some(Box::new(Forwarded { client, proxies: Vec::new(), port: None }));
    facts.scheme = Scheme::Https;
    request.headers_mut().insert("x-forwarded-for", "1.1.1.1, 203.0.113.1".parse().unwrap());
    request.headers_mut().insert("connection", "x-forwarded-for".parse().unwrap());

    let (head, answer) = fake.answers(&forwarder, request).await;

    answer.unwrap();
    assert!(head.contains("x-forwarded-for: 203.0.113.1, 198.51.100.7\r\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
}

#[tokio::test]
async fn the_runner_gets_the_facts_in_one_private_field() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    let mut request = get("/shop/cart");
    request.headers_mut().insert(facts::FIELD, "id=forged".parse().unwrap());
    let facts = request.extensions_mut().get_mut::<Facts>().unwrap();
    facts.path_base = "/shop".into();
    facts.base = Base::InPath;
    facts.scheme = Scheme::Https;
    let sent = facts.clone();

    let (head, answer) = fake.answers(&forwarder, request).await;

    answer.unwrap();
    let field = head.lines().find_map(|line| line.strip_prefix("cohost-facts: ")).unwrap();
    let carried = facts::decode(&field.parse().unwrap(), facts::Clock::read).unwrap();
    assert_eq!(format!("{:?}", carried.facts), format!("{sent:?}"));
    assert_eq!(head.matches("cohost-facts").count(), 1);
    assert!(head.starts_with("get /shop/cart http/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn a_paired_program_gets_the_clients_certificate() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Foreign { token: Some("secret".into()) });
    let mut request = get("/");
    let tls = Tls {
        version: 0x0304,
        cipher: 0x1301,
        sni: "".into(),
        alpn: Bytes::new(),
        asked: crate::facts::Asked::Nothing,
        client_chain: vec![Bytes::from_static(&[0x30, 0x82]), Bytes::from_static(b"issuer")],
    };
    request.headers_mut().insert("ms-aspnetcore-clientcert", "forged".parse().unwrap());
    let connection = Connection::new(End::Unknown, End::Unknown, empty_base(), Some(tls));
    request.extensions_mut().insert(Facts::new(Arc::new(connection)));

    let (head, answer) = fake.answers(&forwarder, request).await;

    answer.unwrap();
    assert!(head.contains("ms-aspnetcore-clientcert: mii=\r\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
}

#[tokio::test]
async fn a_foreign_program_gets_its_path_base_back() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let mut request = get("/cart?x=1");
    request.extensions_mut().get_mut::<Facts>().unwrap().path_base = "/my shop".into();

    let (head, answer) = fake.answers(&forwarder, request).await;

    answer.unwrap();
    assert!(head.starts_with("get /my%20shop/cart?x=1 http/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let (frames, body) = stream();
    let request = get("/").map(|_| body);
    frames.send(data("query")).unwrap();
    drop(frames);
    let instance = async {
        let mut wire = fake.accept().await;
        let head = wire.head().await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        wire.until("5\r\nquery\r\n0\r\n\r\n").await;
        wire.say(OK).await;
    };

    let ((), answer) =
        timeout(SOON, futures_util::future::join(instance, forwarder.forward(request))).await.unwrap();

    assert_eq!(text(answer.unwrap()).await, "ok");
}

#[tokio::test]
async fn head_keeps_the_length_that_get_would_have() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let mut request = get("/");
    *request.method_mut() = http::Method::HEAD;
    let instance =
        async { fake.accept().await.answer("HTTP/1.1 299 Odd\r\ncontent-length: 50\r\n\r\n").await };

    let (_, answer) = futures_util::future::join(instance, forwarder.forward(request)).await;

    let answer = answer.unwrap();
    assert_eq!(answer.status(), 299);
    assert_eq!(answer.headers()["content-length"], "50");
    assert_eq!(text(answer).await, "");
}

#[tokio::test]
async fn an_answer_may_end_while_the_request_still_arrives() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let (frames, body) = stream();
    frames.send(data("first")).unwrap();
    let mut wire = None;
    let instance = async {
        let wire = wire.insert(fake.accept().await);
        wire.until("first").await;
        wire.say(OK).await;
    };

    let ((), answer) =
        timeout(SOON, futures_util::future::join(instance, forwarder.forward(post("/", body))))
            .await
            .unwrap();
    assert_eq!(text(answer.unwrap()).await, "ok");
    frames.send(data("second")).unwrap();

    timeout(SOON, wire.unwrap().until("second")).await.unwrap();
    let next = tokio::spawn(async move { forwarder.forward(get("/")).await });
    timeout(SOON, fake.accept()).await.unwrap(); // not on the connection that is still busy
    next.abort();
}

#[tokio::test]
async fn an_early_refusal_arrives_although_the_instance_closes() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let (frames, body) = stream();
    for _ in 0..64 {
        frames.send(Ok(http_body::Frame::data(Bytes::from(vec![b'x'; 64 * 1024])))).unwrap();
    }
    let instance = async {
        let mut wire = fake.accept().await;
        wire.answer("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig").await;
    };

    let ((), answer) =
        timeout(SOON, futures_util::future::join(instance, forwarder.forward(post("/", body))))
            .await
            .unwrap();

    let answer = answer.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(text(answer).await, "big");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_closes_the_connection() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let request = tokio::spawn(async move { forwarder.forward(get("/")).await });
    let mut wire = fake.accept().await;
    wire.head().await;

    request.abort();

    timeout(SOON, wire.closed()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_during_a_silent_answer_closes_the_connection() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let mut wire = None;
    let instance = async {
        let wire = wire.insert(fake.accept().await);
        wire.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    };
    let ((), answer) = futures_util::future::join(instance, forwarder.forward(get("/"))).await;

    drop(answer.unwrap());

    timeout(SOON, wire.unwrap().closed()).await.unwrap();
}

#[tokio::test]
async fn the_client_is_told_to_continue_when_the_instance_is_ready_to_read() {
    let fake = Fake::listen();
    let mut client = front(&fake.forwarder(Peer::Runner));
    client.say("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    let mut wire = fake.accept().await;
    let head = wire.head().await;
    assert!(head.contains("expect: 100-continue"), "{head}");
    assert!(client.stream.read_u8().now_or_never().is_none(), "nobody has asked for the body");

    wire.say("HTTP/1.1 100 Continue\r\n\r\n").await;

    assert_eq!(timeout(SOON, client.head()).await.unwrap(), "http/1.1 100 continue\r\n\r\n");
    client.say("body").await;
    wire.until("body").await;
    wire.say(OK).await;
    assert!(client.until("ok").await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_refusal_instead_of_continue_wants_no_body() {
    let fake = Fake::listen();
    let mut client = front(&fake.forwarder(Peer::Runner));
    client.say("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    let mut wire = fake.accept().await;

    wire.answer("HTTP/1.1 417 No\r\ncontent-length: 2\r\n\r\nno").await;

    assert!(timeout(SOON, client.until("no")).await.unwrap().starts_with("http/1.1 417"));
    timeout(SOON, wire.closed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ignores_the_expectation_gets_the_body_all_the_same() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let mut request = post("/", "body");
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let instance = async {
        let mut wire = fake.accept().await;
        wire.until("body").await;
        wire.say(OK).await;
    };

    let ((), answer) = futures_util::future::join(instance, forwarder.forward(request)).await;

    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn large_bodies_stream_both_ways_at_once() {
    let fake = Fake::listen();
    let path = fake.forwarder(Peer::Runner);
    fake.serve(|request| async move { Response::new(Body::from(request.into_body())) });
    let (frames, body) = stream();
    let pieces = 400;

    let answer = timeout(SOON, path.forward(post("/echo", body))).await.unwrap().unwrap();
    let mut echoed = answer.into_body();
    let mut length = 0;
    for _ in 0..pieces {
        frames.send(Ok(http_body::Frame::data(Bytes::from(vec![7; 10_000])))).unwrap();
        while length % 10_000 != 0 || length == 0 {
            let frame = timeout(SOON, echoed.frame()).await.unwrap().unwrap().unwrap();
            length += frame.data_ref().unwrap().len();
        }
    }
    drop(frames);
    while let Some(frame) = echoed.frame().await {
        length += frame.unwrap().data_ref().unwrap().len();
    }

    assert_eq!(length, pieces * 10_000);
}
