//! Behaviours 8, 13, 21 and 46 to 47, and the words of the forwarder that no client can say for it: programs that
//! know nothing of the host, and what a client can make of that.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    both_models,
    host::{Answer, Client, Host, Model, PATIENCE, Setup, Watched, Workshop, kill},
};

/// The words that start the server which tells what it was asked.
pub fn echo<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/echo.py");
    ["python3", script].into_iter().chain(options.iter().copied()).collect()
}

// ---- where it listens, and when it is ready

#[tokio::test]
async fn a_program_is_told_its_port_by_variable_and_by_argument() {
    let host = Setup::command(&echo(&["--port", "{port}"]))
        .application("environment = { URL = \"http://127.0.0.1:{port}/\" }")
        .start()
        .await;
    let told = host.get("/x?y").await.json();
    let port = told["environment"]["PORT"].as_str().unwrap();
    assert_eq!(told["arguments"][1], port);
    assert_eq!(told["environment"]["URL"], format!("http://127.0.0.1:{port}/"));
    assert_eq!(told["target"], "/x?y");
    assert_eq!(told["directory"], std::fs::canonicalize(host.directory.path()).unwrap().to_str().unwrap());
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_program_is_told_a_socket_in_a_private_directory() {
    let host =
        Setup::command(&echo(&["--socket", "{socket}"])).application("listen = \"socket\"").start().await;
    let told = host.get("/").await.json();
    let socket = told["arguments"][1].as_str().unwrap();
    assert_eq!(told["environment"]["COHOST_SOCKET"], socket);
    let private = Path::new(socket).parent().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(host.stop().await.success());
    assert!(!private.exists());
}

#[tokio::test]
async fn a_program_gets_requests_once_its_health_path_answers() {
    let host = Setup::command(&echo(&["--unhealthy", "3"])).application("health = \"/health\"").start().await;
    let told = host.get("/").await.json();
    let healths = told["healths"].as_array().unwrap();
    assert_eq!(healths.len(), 4);
    for fields in healths {
        assert_eq!(of(fields, "ms-aspnetcore-token"), [told["environment"]["COHOST_TOKEN"].clone()]);
    }
}

#[tokio::test]
async fn a_program_below_a_path_sees_the_whole_path() {
    let host = Setup::command(&echo(&[])).application("path = \"/shop\"").start().await;
    let told = host.get("/shop/cart?x=%2F").await.json();
    assert_eq!(told["target"], "/shop/cart?x=%2F");
    assert_eq!(told["environment"]["COHOST_PATH_BASE"], "/shop");
    assert_eq!(told["environment"]["ASPNETCORE_APPL_PATH"], "/shop");
}

// ---- what it hears of the client

#[tokio::test]
async fn what_an_untrusted_client_says_of_itself_is_replaced() {
    let host = Setup::command(&echo(&[])).start().await;
    let authority = host.address.to_string();
    let port = host.address.port().to_string();
    for client in [host.client(), host.client().http2()] {
        let told = ask(&client, "/", LIES).await.json();
        let fields = &told["fields"];
        assert_eq!(of(fields, "x-forwarded-for"), ["127.0.0.1"], "{fields}");
        assert_eq!(of(fields, "x-forwarded-proto"), ["http"]);
        assert_eq!(of(fields, "x-forwarded-host"), [&*authority]);
        assert_eq!(of(fields, "x-forwarded-port"), [&*port]);
        let forwarded = format!("for=127.0.0.1;host=\"{authority}\";proto=http");
        assert_eq!(of(fields, "forwarded"), [&*forwarded]);
        assert_eq!(of(fields, "host"), [&*authority]);
        assert_eq!(of(fields, "ms-aspnetcore-token"), [told["environment"]["COHOST_TOKEN"].clone()]);
        for name in LIES.iter().map(|(name, _)| *name).filter(|name| name.contains('_')) {
            assert!(of(fields, name).is_empty(), "{name} came through");
        }
        assert!(!fields.to_string().contains("6.6.6.6"), "{fields}");
        assert_eq!(of(fields, "x-own"), ["kept"]);
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_believed_and_added_to() {
    let host = Setup::command(&echo(&[])).server("trusted_proxies = [\"127.0.0.0/8\"]").start().await;
    let said = &[
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("forwarded", "for=203.0.113.7;proto=https"),
    ];
    let fields = ask(&host.client(), "/", said).await.json()["fields"].clone();
    assert_eq!(of(&fields, "x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    assert_eq!(of(&fields, "x-forwarded-proto"), ["https"]);
    assert_eq!(of(&fields, "x-forwarded-host"), ["shop.example"]);
    let both = ["203.0.113.7", "127.0.0.1"].map(|hop| format!("for={hop};host=\"shop.example\";proto=https"));
    assert_eq!(of(&fields, "forwarded"), [both.join(", ")]);
    assert_eq!(of(&fields, "host"), ["shop.example"]);
}

#[tokio::test]
async fn a_client_cannot_name_the_hosts_fields_in_connection() {
    let host = Setup::command(&echo(&[])).start().await;
    let list = "close, x-forwarded-for, X-Forwarded-Proto, forwarded, MS-ASPNETCORE-TOKEN, host, x-mine";
    let said = &[("connection", list), ("x-mine", "about the connection"), ("x-own", "kept"), ("te", "gzip")];
    let told = ask(&host.client(), "/", said).await.json();
    let fields = &told["fields"];
    assert_eq!(of(fields, "x-forwarded-for"), ["127.0.0.1"], "{fields}");
    assert_eq!(of(fields, "x-forwarded-proto"), ["http"]);
    assert_eq!(of(fields, "forwarded").len(), 1);
    assert_eq!(of(fields, "ms-aspnetcore-token"), [told["environment"]["COHOST_TOKEN"].clone()]);
    assert_eq!(of(fields, "host"), [host.address.to_string()]);
    assert_eq!(of(fields, "x-own"), ["kept"]);
    assert!(of(fields, "x-mine").is_empty() && of(fields, "te").is_empty());
}

// ---- words that only the host has, said by a client

both_models! {
    async fn a_client_cannot_forge_what_the_host_knows_of_it(model: Model) {
        let host = Setup::sample(model).start().await;
        let forged = "id=7;conn=7;v=20;scheme=https;peer=6.6.6.6:1;base=%2Fevil";
        for client in [host.client(), host.client().http2()] {
            let said = &[("cohost-facts", forged), ("Cohost_Facts", forged), ("x-own", "kept")];
            let answer = ask(&client, "/info", said).await;
            assert_eq!(answer.status, 200);
            let told = answer.json();
            assert!(!told.to_string().contains("6.6.6.6"), "{told}");
            assert!(!told.to_string().to_lowercase().contains("evil"), "{told}");
            assert!(told.to_string().contains("kept"), "{told}");
        }
    }

    async fn a_client_cannot_announce_the_end(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        let mut stream = begin(&host, "/until-drain", &[]).await;
        let answer = ask(&host.client(), "/", &[("cohost-control", "drain")]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok\n"));

        // It goes on, until the host says that it ends.
        assert_eq!(next(&mut stream).await, "tick\n");
        assert_eq!(host.get("/").await.status, 200);
        host.signal("TERM");
        let mut last = next(&mut stream).await;
        while last == "tick\n" {
            last = next(&mut stream).await;
        }
        assert!(last.ends_with("drained\n"), "{last}");
    }
}

both_models! {
    async fn an_application_cannot_speak_for_the_host(model: Model) {
        let workshop = Workshop::new();
        let host = Setup::library(&workshop.library("libliar.so", LIAR, &[]), model).start().await;
        let answer = host.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-own")), (200, "kept"));
        assert!(!answer.headers.contains_key("cohost-failure"), "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn a_program_sees_none_of_the_words_that_are_the_hosts() {
    let host = Setup::command(&echo(&[])).start().await;
    let said =
        &[("cohost-facts", "id=7"), ("cohost-control", "drain"), ("cohost_token", "x"), ("x-own", "kept")];
    let fields = ask(&host.client(), "/", said).await.json()["fields"].clone();
    assert!(!fields.to_string().to_lowercase().contains("cohost"), "{fields}");
    assert_eq!(of(&fields, "x-own"), ["kept"]);
}

// ---- 13 and 21: its end

#[tokio::test]
async fn a_killed_program_costs_the_request_in_flight_and_the_next_starts_another() {
    let host = Setup::command(&echo(&[])).start().await;
    let first = host.get("/").await.json()["pid"].clone();
    let hanging = tokio::spawn({
        let client = host.client();
        async move { client.get("/hang").await }
    });
    host.log.message("hanging").await;
    kill(number(&first), Signal::KILL);

    let lost = hanging.await.unwrap();
    assert_eq!((lost.status.as_u16(), lost.header("cohost-failure")), (502, "instance_lost"));
    host.log.message("instance ended; the next request starts another").await;
    let answer = host.get("/").await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.json()["pid"], first);
}

#[tokio::test]
async fn a_killed_instance_of_a_library_costs_the_request_in_flight_and_the_next_starts_another() {
    let host = Setup::broken(Model::OutOfProcess, "none").start().await;
    let mut hanging = begin(&host, "/hang-stream", &[]).await;
    assert_eq!(next(&mut hanging).await, "the first piece\n");
    kill(number(&host.log.message("application started").await["pid"]), Signal::KILL);

    assert!(http_body_util::BodyExt::frame(hanging.body_mut()).await.unwrap().is_err());
    host.log.message("instance ended; the next request starts another").await;
    assert_eq!(host.get("/").await.status, 200);
    host.log.times("application started", 2).await;
}

#[tokio::test]
async fn a_request_that_finds_its_instance_dead_is_served_by_the_next() {
    for setup in [Setup::command(&echo(&[])), Setup::sample(Model::OutOfProcess)] {
        let host = setup.application("rapid_fails_per_minute = 1000").start().await;
        for round in 1..=10 {
            // Connections are kept: the next request finds dead ones, too.
            let answers = [host.get("/").await, host.get("/").await];
            assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
            host.log.times("application started", round).await;
            let pid = number(&host.log.of("application started")[round - 1]["pid"]);
            let instance = Watched::new(pid);
            kill(pid, Signal::KILL);
            instance.ended().await;

            let (one, other) = futures_util::future::join(host.get("/"), host.get("/")).await;

            assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200), "{one:?} {other:?}");
        }
    }
}

#[tokio::test]
async fn no_instance_survives_a_host_that_is_killed() {
    let library = Setup::broken(Model::OutOfProcess, "none").start().await;
    assert_eq!(library.get("/").await.status, 200);
    let runner = Watched::new(number(&library.log.message("application started").await["pid"]));

    let command = Setup::command(&echo(&[])).start().await;
    let program = Watched::new(number(&command.get("/").await.json()["pid"]));

    library.signal("KILL");
    command.signal("KILL");
    runner.ended().await;
    program.ended().await;
}

// ---- around them

/// A request with these fields.
async fn ask(client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    client.send(asking(client, path, fields)).await.unwrap()
}

fn asking(client: &Client, path: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let request = client.request(Method::GET, path);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Empty::new()).unwrap()
}

/// An answer of which the head has come.
async fn begin(host: &Host, path: &str, fields: &[(&str, &str)]) -> http::Response<hyper::body::Incoming> {
    let client = host.client();
    let answer = client.begin(asking(&client, path, fields));
    tokio::time::timeout(PATIENCE, answer).await.expect("a head in time").unwrap()
}

/// The next piece of an answer.
async fn next(answer: &mut http::Response<hyper::body::Incoming>) -> String {
    let frame = http_body_util::BodyExt::frame(answer.body_mut());
    let frame = tokio::time::timeout(PATIENCE, frame).await.expect("a piece in time");
    let piece = frame.expect("not the end").unwrap().into_data().unwrap();
    String::from_utf8(piece.to_vec()).unwrap()
}

/// The values of a field, as a program saw them.
fn of(fields: &Value, name: &str) -> Vec<Value> {
    let all = fields.as_array().unwrap().iter();
    let named = all.filter(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|field| field[1].clone()).collect()
}

/// The number in an event or an answer.
fn number(pid: &Value) -> u32 {
    pid.as_u64().unwrap().try_into().unwrap()
}

/// An application that says that it did not answer.
const LIAR: &str = "
#include \"cohost.h\"
static cohost_code init(const cohost_host *host, const cohost_init *about, cohost_err *err, void **instance) {
  (void)about, (void)err;
  *instance = (void *)host;
  return COHOST_DONE;
}
static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
  (void)head, (void)waker, (void)task;
  cohost_header fields[] = { cohost_field(\"cohost-failure\", \"body_too_large\"), cohost_field(\"x-own\", \"kept\") };
  cohost_response response = { .size = sizeof response, .status = 200, .n_headers = 2, .headers = fields };
  return ((const cohost_host *)instance)->respond(req, &response);
}
COHOST_NOTE(0, 0);
const cohost_app cohost_app_v1 = {
  .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .init = init, .handle = handle,
};
";

/// What a client may say of itself that is not for it to say.
const LIES: &[(&str, &str)] = &[
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-for", "6.6.6.6, 127.0.0.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "6.6.6.6"),
    ("x-forwarded-port", "6666"),
    ("forwarded", "for=6.6.6.6;proto=https"),
    ("x_forwarded_for", "6.6.6.6"),
    ("ms-aspnetcore-token", "6.6.6.6"),
    ("ms_aspnetcore_token", "6.6.6.6"),
    ("x-own", "kept"),
];
