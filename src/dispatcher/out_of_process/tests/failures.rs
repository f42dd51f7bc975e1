//! What goes wrong at the instance, and what the client is told.

use tokio::time::timeout;

use super::*;
use crate::failure::Code;

/// What comes of a request that is answered with these bytes and then the end of the connection.
async fn outcome(answer: &str) -> Result<Result<String, Failure>, Failure> {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let instance = async { fake.accept().await.answer(answer).await };
    let (_, response) =
        timeout(SOON, futures_util::future::join(instance, forwarder.forward(get("/")))).await.unwrap();
    let collected = timeout(SOON, response?.into_body().collect()).await.unwrap();
    Ok(match collected {
        Ok(whole) => Ok(String::from_utf8(whole.to_bytes().to_vec()).unwrap()),
        Err(error) => Err(*error.downcast::<Failure>().unwrap()),
    })
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_bad_gateway() {
    let answers = [
        "nonsense\r\n\r\n",
        "HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
    ];
    for answer in answers {
        assert_eq!(outcome(answer).await.unwrap_err().code, Code::BadGateway, "{answer:?}");
    }
}

#[tokio::test]
async fn a_head_of_a_megabyte_is_a_bad_gateway() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let instance = async {
        let mut wire = fake.accept().await;
        wire.head().await;
        let huge = format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\n\r\n", "x".repeat(1 << 20));
        drop(wire.stream.write_all(huge.as_bytes()).await); // not read to its end
    };

    let ((), answer) =
        timeout(SOON, futures_util::future::join(instance, forwarder.forward(get("/")))).await.unwrap();

    assert_eq!(answer.unwrap_err().code, Code::BadGateway);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_means_that_the_instance_is_lost() {
    assert_eq!(outcome("").await.unwrap_err().code, Code::InstanceLost);
    assert_eq!(outcome("HTTP/1.1 200 OK\r\ncontent-").await.unwrap_err().code, Code::InstanceLost);
}

#[tokio::test]
async fn an_answer_cut_short_is_an_error_to_its_reader() {
    let cut = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ];
    for answer in cut {
        assert_eq!(outcome(answer).await.unwrap().unwrap_err().code, Code::InstanceLost, "{answer:?}");
    }
}

#[tokio::test]
async fn a_cut_answer_never_looks_complete_to_the_client() {
    let fake = Fake::listen();
    let mut client = front(&fake.foreign());
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    fake.accept().await.answer(chunked).await;

    let mut received = Vec::new();
    timeout(SOON, client.stream.read_to_end(&mut received)).await.unwrap().unwrap();

    assert!(find(&received, b"abc").is_some());
    assert!(find(&received, b"0\r\n\r\n").is_none());
}

#[tokio::test]
async fn bytes_after_the_answer_reach_nobody() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let instance = async {
        let mut wire = fake.accept().await;
        wire.answer(&format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")).await;
        fake.accept().await.answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmine").await;
    };
    let client = async {
        assert_eq!(text(forwarder.forward(get("/1")).await.unwrap()).await, "ok");
        assert_eq!(text(forwarder.forward(get("/2")).await.unwrap()).await, "mine");
    };

    timeout(SOON, futures_util::future::join(instance, client)).await.unwrap();
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let answer = format!("{}{OK}", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100));

    assert_eq!(outcome(&answer).await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connection() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    drop(fake);

    assert_eq!(forwarder.forward(get("/")).await.unwrap_err().code, Code::ConnectFailed);

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut target = Fake::listen().target(Peer::Foreign { token: None });
    target.endpoint = Endpoint::Tcp(port).into();
    let failure = Forwarder::new(target).forward(get("/")).await.unwrap_err();
    assert_eq!(failure.code, Code::ConnectFailed);
    assert!(failure.detail.contains(&port.to_string()), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_full_queue_is_a_failed_connection_when_the_limit_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full");
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    while let Ok(connection) = UnixStream::connect(&path).await {
        waiting.push(connection);
        assert!(waiting.len() < 100, "the queue has no end");
    }
    let mut target = Fake::listen().target(Peer::Runner);
    target.endpoint = Endpoint::Unix(path).into();

    let failure = Forwarder::new(target).forward(get("/")).await.unwrap_err();

    assert_eq!(failure.code, Code::ConnectFailed);
    assert!(failure.detail.contains("within 5s"), "{failure}");
    drop(listener);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_not_answer_is_given_up() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let mut wire = None;
    let instance = async { wire.insert(fake.accept().await).head().await };

    let (_, answer) = futures_util::future::join(instance, forwarder.forward(get("/"))).await;

    assert_eq!(answer.unwrap_err().code, Code::FirstByteTimeout);
    wire.unwrap().closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_does_not_use_up_the_instances_time() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let (frames, body) = stream();
    let client = async {
        tokio::time::sleep(Limits::default().first_byte * 3).await;
        frames.send(data("late")).unwrap();
        drop(frames);
    };
    let instance = async {
        let mut wire = fake.accept().await;
        wire.until("late\r\n0\r\n\r\n").await;
        wire.say(OK).await;
    };

    let (answer, (), ()) =
        futures_util::future::join3(forwarder.forward(post("/", body)), client, instance).await;

    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stops_reading_is_given_up() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let (frames, body) = stream();
    for _ in 0..64 {
        frames.send(Ok(http_body::Frame::data(Bytes::from(vec![b'x'; 64 * 1024])))).unwrap();
    }
    let mut wire = None;
    let instance = async { wire.insert(fake.accept().await).head().await };

    let (_, answer) = futures_util::future::join(instance, forwarder.forward(post("/", body))).await;

    assert_eq!(answer.unwrap_err().code, Code::FirstByteTimeout);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_is_cut() {
    let fake = Fake::listen();
    let mut target = fake.target(Peer::Runner);
    target.limits.idle = Some(Duration::from_secs(30));
    let forwarder = Forwarder::new(target);
    let mut wire = None;
    let instance = async {
        let wire = wire.insert(fake.accept().await);
        wire.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123").await;
    };
    let ((), answer) = futures_util::future::join(instance, forwarder.forward(get("/"))).await;

    let error = answer.unwrap().into_body().collect().await.unwrap_err();

    let failure = error.downcast::<Failure>().unwrap();
    assert!(failure.detail.contains("within 30s"), "{failure}");
    wire.unwrap().closed().await;
}

#[tokio::test]
async fn the_clients_own_failure_keeps_its_code() {
    for peer in [Peer::Runner, Peer::Foreign { token: None }] {
        let fake = Fake::listen();
        let forwarder = fake.forwarder(peer);
        fake.serve(|request| async move {
            drop(request.into_body().collect().await);
            Response::new(Body::empty())
        });
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            let (frames, body) = stream();
            frames.send(data("some")).unwrap();
            frames.send(Err(Failure::new(Code::BodyTooLarge).into())).unwrap();
            let mut request = post("/", body);
            *request.version_mut() = version;

            let failure = timeout(SOON, forwarder.forward(request)).await.unwrap().unwrap_err();

            assert_eq!(failure.code, Code::BodyTooLarge, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_its_body_is_to_blame_itself() {
    let fake = Fake::listen();
    let forwarder = fake.foreign();
    let (frames, body) = stream();
    frames.send(data("some")).unwrap();
    frames.send(Err("connection reset".into())).unwrap();
    let instance = async { fake.accept().await.closed().await };

    let ((), answer) =
        timeout(SOON, futures_util::future::join(instance, forwarder.forward(post("/", body))))
            .await
            .unwrap();

    assert_eq!(answer.unwrap_err().code, Code::BadRequest);
}
