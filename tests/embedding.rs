//! The library inside somebody else's program: a service among others, in a router that is not ours.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use axum::{Router, routing::get};
use bytes::Bytes;
use cohost::{
    Application, HostingModel,
    application::Successor,
    dispatcher::in_process::Ended,
    stage::{self, Serve, Stage},
    supervisor::Runner,
};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::Method;
use http_body_util::{BodyExt as _, channel::Channel};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_service::Service as _;

use crate::{
    both_models,
    host::{Answer, Client, Model, Workshop, library, program},
};

both_models! {
    async fn an_axum_router_mounts_an_application(model: Model) {
        let app = described(model).path_base("/app").build().unwrap();
        let server = Server::start(&app).await;
        let client = server.client();
        assert_eq!(client.get("/").await.text(), "not the application");

        assert_eq!(client.get("/app/plaintext").await.text(), "Hello, World!");
        assert_eq!(client.post("/app/echo", "there and back").await.text(), "there and back");
        assert_eq!(client.get("/elsewhere").await.status, 404);
        let told = client.get("/app/info?x").await.json();
        assert_eq!((&told["path_base"], &told["path"], &told["query"]), (&"/app".into(), &"/info".into(), &"x".into()));
        assert_eq!(told["authority"], server.address.to_string());
        let own = u64::from(std::process::id());
        assert_eq!(told["pid"] == own, model == Model::InProcess);

        assert_eq!(app.stop().await, Ended::Gracefully);
        let answer = client.get("/app/plaintext").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "draining"));
        assert_eq!(client.get("/").await.status, 200);
    }

    // Behaviour 33, where there is no next generation.
    async fn who_comes_while_it_drains_is_told_to_come_back(model: Model) {
        let app = described(model).build().unwrap();
        let server = Server::start(&app).await;
        let client = server.client();
        let (mut source, body) = Channel::<Bytes>::new(1);
        source.send_data("first".into()).await.unwrap();
        let request = client.request(Method::POST, "/app/echo").body(body).unwrap();
        let mut in_flight = client.begin(request).await.unwrap();
        assert_eq!(in_flight.frame().await.unwrap().unwrap().into_data().unwrap(), "first");

        let mut stop = std::pin::pin!(app.stop());
        assert!(stop.as_mut().now_or_never().is_none());

        let late = client.get("/app/plaintext").await;
        assert_eq!((late.status.as_u16(), late.header("cohost-failure")), (503, "draining"));
        assert!(late.header("retry-after").parse::<u64>().is_ok(), "{late:?}");
        source.send_data("last".into()).await.unwrap();
        drop(source);
        assert_eq!(Answer::of(in_flight).await.unwrap().text(), "last");
        assert_eq!(stop.await, Ended::Gracefully);
    }

    async fn a_failure_is_an_answer_and_not_an_error_of_the_router(model: Model) {
        let app = described(model).library("/no/such/library.so").build().unwrap();
        assert_eq!(app.start().await.unwrap_err().code.as_str(), "file_missing");
        let server = Server::start(&app).await;
        let answer = server.client().get("/app/x").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "file_missing"));
    }

    async fn a_large_body_is_refused_by_the_applications_own_limit(model: Model) {
        let options = cohost::Options { max_request_body: Some(10), ..cohost::Options::default() };
        let app = described(model).options(options).build().unwrap();
        let server = Server::start(&app).await;
        let client = server.client();
        assert_eq!(client.post("/app/echo", "0123456789").await.status, 200);
        assert_eq!(client.post("/app/echo", "0123456789a").await.status, 413);
        assert_eq!(app.stop().await, Ended::Gracefully);
    }

    async fn a_web_socket_goes_through_the_router(model: Model) {
        let app = described(model).build().unwrap();
        let server = Server::start(&app).await;
        let url = format!("ws://{}/app/ws", server.address);
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        socket.send("hello".into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "hello");
        socket.close(None).await.unwrap();
    }

    async fn the_example_serves_and_ends(model: Model) {
        let mut example = Command::new(example())
            .arg(library("sample_app"))
            .arg(model.as_str())
            .stdout(Stdio::piped())
            .spawn()
            .map(Example)
            .unwrap();
        let mut line = String::new();
        BufReader::new(example.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address: SocketAddr = line.trim().strip_prefix("http://").unwrap().parse().unwrap();
        let client = Client::new(address);
        assert_eq!(client.get("/").await.text(), "not the application");
        assert_eq!(client.get("/app/plaintext").await.text(), "Hello, World!");

        let pid = rustix::process::Pid::from_child(&example.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let ended = tokio::task::spawn_blocking(move || example.0.wait().unwrap()).await.unwrap();
        assert!(ended.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_outlives_its_application_finds_a_host_that_does_nothing() {
    let workshop = Workshop::new();
    let told = workshop.path("told");
    assert!(Command::new("mkfifo").arg(&told).status().unwrap().success());
    let app = Application::builder()
        .name("leaves-a-thread")
        .library(workshop.library("libleaves_a_thread.so", LEAVES_A_THREAD, &["-pthread"]))
        .settings(serde_json::json!({ "told": told }))
        .build()
        .unwrap();
    app.start().await.unwrap();
    assert_eq!(app.stop().await, Ended::Gracefully);
    let said = tokio::task::spawn_blocking(|| std::fs::read_to_string(told).unwrap()).await.unwrap();
    assert_eq!(said, "before: 0 0 0 0 1 -4\nafter: -4 -4 0 0 0 -4\n");
}

/// An application with a thread that `shutdown` does not end. It tells what the host's functions return before and
/// after that: config_get, set_ready, log_enabled, log_register, query, sink_abort.
const LEAVES_A_THREAD: &str = r#"
#include "cohost.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
static const cohost_host *host;
static char path[4096], before[256];
static uint64_t id;

static void ask(char *into, size_t len, const char *when) {
  cohost_callsite site = { .size = sizeof site, .level = COHOST_LEVEL_ERROR, .target = cohost_s("late") };
  cohost_str value = { 0 };
  cohost_code config = host->config_get(host, cohost_s(""), &value), ready = host->set_ready(host, 1);
  uint32_t interest = host->log_register(host, &site, &id), enabled = host->log_enabled(host, id);
  int table = host->query(host, "informational.v1") != NULL;
  host->log_event(host, id, 0, NULL, 0);
  host->log_text(host, COHOST_LEVEL_ERROR, 0, cohost_s("late"), cohost_s("too late"));
  cohost_sink none = { 1 };
  snprintf(into, len, "%s: %d %d %u %u %d %d\n", when, config, ready, enabled, interest, table,
           host->sink_abort(host, none));
}
static void *outlive(void *nothing) {
  cohost_str value;
  while (host->config_get(host, cohost_s("told"), &value) == COHOST_DONE) sched_yield();
  char after[256];
  ask(after, sizeof after, "after");
  FILE *out = fopen(path, "w");
  fprintf(out, "%s%s", before, after);
  fclose(out);
  return nothing;
}
static cohost_code init(const cohost_host *its, const cohost_init *about, cohost_err *err, void **instance) {
  (void)about, (void)err, (void)instance;
  host = its;
  cohost_str told;
  if (host->config_get(host, cohost_s("told"), &told) != COHOST_DONE) return COHOST_E_APP;
  snprintf(path, sizeof path, "%.*s", (int)told.len, (const char *)told.ptr);
  ask(before, sizeof before, "before");
  pthread_t thread;
  return pthread_create(&thread, NULL, outlive, NULL) || pthread_detach(thread) ? COHOST_E_APP : COHOST_DONE;
}
static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
  (void)instance, (void)req, (void)head, (void)waker, (void)task;
  return COHOST_E_UNAVAILABLE;
}
COHOST_NOTE(COHOST_APP_RUNTIME, 0);
COHOST_PUBLIC const cohost_app cohost_app_v1 = {
  .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .minor = COHOST_ABI_MINOR,
  .flags = COHOST_APP_RUNTIME, .init = init, .handle = handle,
};
"#;

/// What was on its way to an instance that accepts nothing any more gets to the application in its place.
#[tokio::test]
async fn a_request_that_no_instance_has_seen_goes_to_the_successor() {
    // Closes its socket when it is asked for anything, and answers; then it does nothing.
    let deaf = "import os, socket, time
listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
while True:
    client = listener.accept()[0]
    if client.recv(4096):
        listener.close()
        client.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n')
        client.close()
        time.sleep(600)
    client.close()";
    let mut old = Application::builder()
        .command(["python3", "-c", deaf])
        .inherited_environment(std::env::vars_os())
        .runner(Runner { program: program(), directory: std::env::temp_dir() })
        .build()
        .unwrap();
    let get = || http::Request::get("/plaintext").body(cohost::Body::empty()).unwrap();
    assert_eq!(old.call(get()).await.unwrap().status(), 200);
    let new = described(Model::OutOfProcess).build().unwrap();
    let answer = old.call(get());
    let (_ended, answer) = tokio::join!(old.retire(&new), answer);
    let answer = answer.unwrap();
    assert_eq!(answer.headers().get("cohost-failure"), None);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "Hello, World!");
    new.stop().await;
}

/// Says why there is no application.
struct Page;

impl Serve for Page {
    fn serve(&self, _: http::Request<cohost::Body>) -> stage::Answering {
        Box::pin(async { Ok(http::Response::new("back at noon".into())) })
    }
}

/// As when it goes offline: who was routed to it already gets the page too.
#[tokio::test]
async fn a_request_that_still_comes_to_what_has_gone_is_answered_by_the_stage_in_its_place() {
    let old = described(Model::InProcess).build().unwrap();
    let mut hosted = old.hosted();
    old.retire(Successor::Stage(Stage::new(Page))).await;
    let get = http::Request::get("/plaintext").body(cohost::Body::empty()).unwrap();
    let answer = hosted.call(get).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "back at noon");
}

/// The sample application, in this very process or in one of the program's.
fn described(model: Model) -> cohost::application::Builder {
    let model = match model {
        Model::InProcess => HostingModel::InProcess,
        Model::OutOfProcess => HostingModel::OutOfProcess,
    };
    Application::builder()
        .library(library("sample_app"))
        .hosting_model(model)
        .inherited_environment(std::env::vars_os())
        .runner(Runner { program: program(), directory: std::env::temp_dir() })
}

/// An axum server. Dropping it ends it.
struct Server {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(app: &Application) -> Self {
        let own = Router::new().route("/", get(async || "not the application"));
        let router = own.nest_service("/app", app.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, serving }
    }

    fn client(&self) -> Client {
        Client::new(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The example's process, which does not outlive the test.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Cargo builds it with the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let example = test.parent().unwrap().parent().unwrap().join("examples/embed");
    assert!(
        example.exists(),
        "not built: run `cargo build --example embed` first, or `cargo test` without a choice"
    );
    example
}
