//! Behaviour 39: trailers, in both directions.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::{
    both_models,
    host::{Answer, Host, Model, Setup},
};

both_models! {
    async fn trailers_of_http2_reach_the_application_and_come_back(model: Model) {
        let host = Setup::sample(model).start().await;
        let answer = echo(&host, &[("x-sum", "42"), ("x-more", "a"), ("x-more", "b")]).await;
        assert_eq!(answer.text(), "some body");
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers["x-sum"], "42");
        assert_eq!(trailers.get_all("x-more").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(trailers.len(), 3);
    }

    async fn trailers_of_http11_reach_the_application_and_come_back(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        wire.send(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nTE: trailers\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
        )
        .await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.text()), (200, "abc".to_owned()));
        assert_eq!(reply.field("trailer"), Some("x-sum"));
        assert_eq!(String::from_utf8_lossy(&reply.trailers).to_lowercase(), "x-sum: 42\r\n");
        // The connection goes on behind them.
        wire.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.reply().await.text(), "Hello, World!");
    }

    async fn trailers_of_a_response_reach_those_who_want_them(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let answer = host.client().http2().get("/trailers").await;
        assert_eq!(answer.text(), "body\n");
        assert_eq!(answer.trailers.expect("trailers")["x-checksum"], "42");

        let mut wire = host.wire().await;
        wire.send("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await;
        let reply = wire.reply().await;
        assert_eq!(reply.text(), "body\n");
        assert_eq!(reply.field("trailer"), Some("x-checksum"));
        assert_eq!(String::from_utf8_lossy(&reply.trailers).to_lowercase(), "x-checksum: 42\r\n");

        // Who did not say TE: trailers may not expect any, and gets the whole body.
        wire.send("GET /trailers HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let reply = wire.reply().await;
        assert_eq!((reply.text(), &reply.trailers[..]), ("body\n".to_owned(), &b""[..]));
    }

    async fn trailers_say_nothing_that_only_fields_may(model: Model) {
        let host = Setup::sample(model).start().await;
        let answer = echo(
            &host,
            &[("x-sum", "42"), ("content-length", "1"), ("host", "b"), ("authorization", "Basic x"),
              ("cohost-facts", "id=1"), ("x-forwarded-for", "1.1.1.1")],
        )
        .await;
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
    }
}

/// A body with trailers, said back over HTTP/2.
async fn echo(host: &Host, trailers: &[(&'static str, &'static str)]) -> Answer {
    let trailers: HeaderMap = trailers.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(*name, HeaderValue::from_static(value));
        map
    });
    let frames = [
        Frame::data(Bytes::from_static(b"some ")),
        Frame::data(Bytes::from_static(b"body")),
        Frame::trailers(trailers),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
    let client = host.client().http2();
    client.send(client.request(Method::POST, "/echo").body(body).unwrap()).await.unwrap()
}
