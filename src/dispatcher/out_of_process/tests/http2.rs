//! Requests that are carried in HTTP/2.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, Version};
use tokio::{sync::oneshot, time::timeout};

use super::*;
use crate::dispatcher::out_of_process::facts;

fn in_http2(mut request: Request<Body>) -> Request<Body> {
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = format!("https://shop.example{}", request.uri().path()).parse().unwrap();
    request.headers_mut().remove("host");
    request
}

fn trailers(name: &'static str, value: &'static str) -> Result<http_body::Frame<Bytes>, BodyError> {
    let mut map = HeaderMap::new();
    map.insert(name, value.parse().unwrap());
    map.insert("cohost-secret", "1".parse().unwrap());
    Ok(http_body::Frame::trailers(map))
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    fake.serve(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let sent = request.into_body().collect().await.unwrap().trailers().cloned().unwrap();
        assert!(!sent.contains_key("cohost-secret"));
        let (frames, body) = stream();
        frames.send(data("answer")).unwrap();
        frames.send(Ok(http_body::Frame::trailers(sent))).unwrap();
        Response::new(body)
    });
    // By HTTP/2, and by HTTP/1.1 with the announcement.
    for by_http2 in [true, false] {
        let (frames, body) = stream();
        frames.send(data("question")).unwrap();
        frames.send(trailers("grpc-status", "0")).unwrap();
        let mut request = post("/", body);
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let request = if by_http2 { in_http2(request) } else { request };

        let answer = timeout(SOON, forwarder.forward(request)).await.unwrap().unwrap();
        let whole = timeout(SOON, answer.into_body().collect()).await.unwrap().unwrap();

        assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(whole.to_bytes(), "answer");
    }
}

#[tokio::test]
async fn the_runner_is_told_what_the_client_spoke() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    fake.serve(|request| async move {
        let carried = facts::decode(&request.headers()[facts::FIELD], facts::Clock::read).unwrap();
        Response::new(Body::from(format!("{:?} in {:?}", carried.version, request.version())))
    });
    let mut announced = get("/");
    announced.headers_mut().insert("te", "trailers".parse().unwrap());

    assert_eq!(text(forwarder.forward(get("/")).await.unwrap()).await, "HTTP/1.1 in HTTP/1.1");
    assert_eq!(text(forwarder.forward(in_http2(get("/"))).await.unwrap()).await, "HTTP/2.0 in HTTP/2.0");
    assert_eq!(text(forwarder.forward(announced).await.unwrap()).await, "HTTP/1.1 in HTTP/2.0");
}

#[tokio::test]
async fn streams_share_a_connection_until_it_is_full() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = fake.listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            serve_on(TokioIo::new(stream), |_| async { Response::new(stream_without_end()) });
        }
    });

    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(timeout(SOON, forwarder.forward(in_http2(get("/")))).await.unwrap().unwrap());
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    open.push(timeout(SOON, forwarder.forward(in_http2(get("/")))).await.unwrap().unwrap());
    assert_eq!(connections.load(Ordering::Relaxed), 2);

    open.clear();
    timeout(SOON, forwarder.forward(in_http2(get("/")))).await.unwrap().unwrap();
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

fn stream_without_end() -> Body {
    Body::new(StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, BodyError>>()))
}

#[tokio::test]
async fn a_connection_on_which_no_answer_comes_gets_no_more_requests() {
    let fake = Fake::listen();
    let mut target = fake.target(Peer::Foreign { token: None });
    target.protocol = Protocol::Http2;
    target.limits.first_byte = Duration::from_millis(50);
    let forwarder = Forwarder::new(target);
    let silent = tokio::spawn(async move {
        let (stream, _) = fake.listener.accept().await.unwrap();
        fake.serve(|_| async { Response::new(Body::from("ok")) });
        stream
    });

    let failure = timeout(SOON, forwarder.forward(get("/"))).await.unwrap().unwrap_err();
    let _still_open = silent.await.unwrap();

    assert_eq!(failure.code, crate::failure::Code::FirstByteTimeout);
    assert_eq!(text(timeout(SOON, forwarder.forward(get("/"))).await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn a_dead_connection_is_made_anew() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = service_fn(|_: Request<Incoming>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("ok")))
    });
    let instance = tokio::spawn(async move {
        let (stream, _) = fake.listener.accept().await.unwrap();
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let connection = server.serve_connection(TokioIo::new(stream), handler);
        tokio::select! {
            _ = connection => {}
            _ = stopped => {}
        }
        fake.serve(|_| async { Response::new(Body::from("again")) });
    });
    assert_eq!(text(forwarder.forward(in_http2(get("/"))).await.unwrap()).await, "ok");
    stop.send(()).unwrap();
    instance.await.unwrap();

    let mut answer = Err(crate::failure::Code::InstanceLost.into());
    for _ in 0..3 {
        // The first may be lost on the dead connection: hyper cannot tell whether it was seen.
        answer = timeout(SOON, forwarder.forward(in_http2(get("/")))).await.unwrap();
        if answer.is_ok() {
            break;
        }
    }

    assert_eq!(text(answer.unwrap()).await, "again");
}

#[tokio::test]
async fn a_client_that_leaves_resets_the_stream_and_nothing_else() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    let (left, mut leaving) = mpsc::unbounded_channel::<&'static str>();
    fake.serve(move |request| {
        let left = left.clone();
        async move {
            let at = if request.uri().path() == "/before" { "before" } else { "during" };
            let mark = Mark(left, at);
            if at == "before" {
                mark.0.send("begun").unwrap();
                std::future::pending::<()>().await;
            }
            let body = futures_util::stream::once(async move {
                std::future::pending::<()>().await;
                drop(mark);
                data("never")
            });
            Response::new(Body::new(StreamBody::new(body)))
        }
    });

    let waiting = tokio::spawn({
        let forwarder = forwarder.clone();
        async move { forwarder.forward(in_http2(get("/before"))).await }
    });
    assert_eq!(timeout(SOON, leaving.recv()).await.unwrap(), Some("begun"));
    waiting.abort();
    assert_eq!(timeout(SOON, leaving.recv()).await.unwrap(), Some("before"));

    let (frames, body) = stream();
    frames.send(data("still sending")).unwrap();
    let answer = timeout(SOON, forwarder.forward(in_http2(post("/during", body)))).await.unwrap().unwrap();
    drop(answer);
    assert_eq!(timeout(SOON, leaving.recv()).await.unwrap(), Some("during"));
    assert!(frames.is_closed() || timeout(SOON, frames.closed()).await.is_ok());
}

struct Mark(mpsc::UnboundedSender<&'static str>, &'static str);

impl Drop for Mark {
    fn drop(&mut self) {
        let _gone = self.0.send(self.1);
    }
}

#[tokio::test]
async fn an_answer_cut_short_is_an_error_to_its_reader() {
    let fake = Fake::listen();
    let forwarder = fake.forwarder(Peer::Runner);
    let (hand, mut handed) = mpsc::unbounded_channel();
    fake.serve(move |_| {
        let (frames, body) = stream();
        frames.send(data("some")).unwrap();
        hand.send(frames).unwrap();
        async { Response::new(body) }
    });
    let answer = timeout(SOON, forwarder.forward(in_http2(get("/")))).await.unwrap().unwrap();
    let mut body = answer.into_body();
    assert_eq!(timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap(), "some");

    handed.recv().await.unwrap().send(Err("the application broke".into())).unwrap();

    assert!(timeout(SOON, body.collect()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_foreign_program_may_speak_http_2_only() {
    let fake = Fake::listen();
    let mut target = fake.target(Peer::Foreign { token: Some("secret".into()) });
    target.protocol = Protocol::Http2;
    let forwarder = Forwarder::new(target);
    fake.serve(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["ms-aspnetcore-token"], "secret");
        assert_eq!(request.headers()["x-forwarded-for"], "198.51.100.7");
        assert!(!request.headers().contains_key("host"));
        Response::new(Body::from(request.uri().to_string()))
    });

    let answer = timeout(SOON, forwarder.forward(get("/a?b=c"))).await.unwrap().unwrap();

    assert_eq!(text(answer).await, "http://shop.example/a?b=c");
}
