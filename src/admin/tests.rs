//! The door as its description says it is, and as clients that mean no good find it.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{mpsc, oneshot},
};

use super::*;

fn description() -> Value {
    serde_json::from_str(include_str!("../../docs/admin.openapi.json")).unwrap()
}

/// Whether nothing is lost or added when an example becomes what we make of it.
fn survives<T: DeserializeOwned + Serialize>(example: &Value) -> bool {
    serde_json::to_value(serde_json::from_value::<T>(example.clone()).unwrap()).unwrap() == *example
}

#[test]
fn the_description_has_every_path_and_no_other() {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let known = Command::PATHS.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(described, known.collect());
}

#[test]
fn every_path_is_a_command_that_is_sent_as_it_is_read() {
    let description = description();
    for (method, path) in Command::PATHS {
        let item = &description["paths"][path][method.to_lowercase()];
        let body = &item["requestBody"]["content"]["application/json"]["example"];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let query = match item["parameters"][0]["name"].as_str() {
            Some(name) => format!("?{name}=shop%2Fcart"),
            None => String::new(),
        };
        let target = format!("{path}{query}");
        let command =
            Command::read(&method.parse().unwrap(), &target.parse().unwrap(), body.as_bytes()).unwrap();
        let (sent, to, with) = command.write();
        assert_eq!((sent.as_str(), &*to), (*method, &*target));
        let read = Command::read(&sent, &to.parse().unwrap(), with.unwrap_or_default().as_bytes());
        assert_eq!(read, Ok(command));
    }
}

#[test]
fn the_examples_of_answers_are_what_the_types_say() {
    let description = description();
    for (method, path) in Command::PATHS {
        let answer = &description["paths"][path][method.to_lowercase()]["responses"]["200"];
        let answer = &answer["content"]["application/json"];
        let schema = answer["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let survives = match schema {
            "Status" => survives::<Status>,
            "Changed" => survives::<Changed>,
            "Logs" => survives::<Logs>,
            "GivingWay" => survives::<GivingWay>,
            "Stopped" => survives::<Stopped>,
            other => panic!("{other} is no answer"),
        };
        assert!(survives(&answer["example"]), "{path}");
    }
    let problem = &description["components"]["responses"]["Problem"]["content"]["application/problem+json"];
    assert!(survives::<Problem>(&problem["example"]));
}

#[test]
fn every_field_of_an_answer_is_described_and_there_is_an_example_of_it() {
    let description = description();
    let schemas = &description["components"]["schemas"];
    let status = &description["paths"]["/v1/status"]["get"]["responses"]["200"];
    let status = &status["content"]["application/json"]["example"];
    let all = |values: &Value| values.as_array().unwrap().clone();
    let sites = all(&status["sites"]);
    let applications: Vec<Value> = sites.iter().flat_map(|site| all(&site["applications"])).collect();
    let failed = applications.iter().map(|application| application["failed"].clone());
    let upstreams: Vec<Value> = applications
        .iter()
        .filter_map(|application| application["upstreams"].as_array())
        .flatten()
        .cloned()
        .collect();
    let certificates: Vec<Value> = sites.iter().flat_map(|site| all(&site["certificates"])).collect();
    let not_issued = certificates.iter().map(|certificate| certificate["failed"].clone());
    let of_upstreams = upstreams.iter().map(|upstream| upstream["failed"].clone());
    for (schema, examples) in [
        ("UpstreamFailed", of_upstreams.filter(Value::is_object).collect()),
        ("Upstream", upstreams),
        ("NotIssued", not_issued.filter(Value::is_object).collect()),
        ("Certificate", certificates),
        ("Status", vec![status.clone()]),
        ("Host", vec![status["host"].clone()]),
        ("Worker", all(&status["workers"])),
        ("Upgraded", vec![status["host"]["upgraded"].clone()]),
        ("Failed", failed.filter(Value::is_object).collect()),
        ("Crashed", vec![status["host"]["crashed"].clone(), applications[0]["crashed"].clone()]),
        ("Application", applications),
        ("Site", sites),
    ] {
        let described: BTreeSet<&String> =
            schemas[schema]["properties"].as_object().unwrap().keys().collect();
        let shown = examples.iter().flat_map(|example| example.as_object().unwrap().keys());
        assert_eq!(shown.collect::<BTreeSet<_>>(), described, "{schema}");
    }
}

#[test]
fn every_code_of_a_refusal_is_described() {
    let description = description();
    let described = &description["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    assert_eq!(described, &serde_json::to_value(Code::ALL).unwrap());
}

#[test]
fn words_of_a_later_build_are_unknown_and_not_an_error() {
    assert_eq!(serde_json::from_str::<State>("\"dreaming\"").unwrap(), State::Unknown);
    assert_eq!(serde_json::from_str::<Code>("\"too_late\"").unwrap(), Code::Unknown);
}

#[test]
fn what_is_refused_names_what_to_send_instead() {
    let read = |method: Method, path: &str, body: &str| {
        let problem = Command::read(&method, &path.parse().unwrap(), body.as_bytes()).unwrap_err();
        (problem.status, problem.detail)
    };
    let (status, detail) = read(Method::GET, "/v1/staus", "");
    assert_eq!((status, &*detail), (404, "there is no /v1/staus; did you mean /v1/status?"));
    let (status, detail) = read(Method::GET, "/", "");
    assert!(status == 404 && detail.contains("there are /v1/status, /v1/reload"), "{detail}");
    let (status, detail) = read(Method::GET, "/v1/stop", "");
    assert_eq!((status, &*detail), (405, "/v1/stop is for POST, and not for GET"));
    let (status, detail) = read(Method::POST, "/v1/stop", "{\"at_onc\": true}");
    assert!(status == 400 && detail.contains("unknown field `at_onc`, expected `at_once`"), "{detail}");
    for query in ["", "?application", "?application=a&follow=true", "?app=a"] {
        let (status, detail) = read(Method::GET, &format!("/v1/logs{query}"), "");
        assert!(status == 400 && detail.contains("/v1/logs?application=NAME"), "{detail}");
    }
    let (status, detail) = read(Method::POST, "/v1/reload", "{");
    assert!(status == 400 && detail.contains("EOF"), "{detail}");
}

/// A door that is open until the end of the test, and whatever is asked there.
struct Open {
    _folder: tempfile::TempDir,
    directory: PathBuf,
    calls: mpsc::Receiver<Call>,
    _closing: oneshot::Sender<()>,
}

impl Open {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("run");
        let door = Door::open(Directory::take(&directory).unwrap()).unwrap();
        let (sender, calls) = mpsc::channel(1);
        let (closing, closed) = oneshot::channel();
        tokio::spawn(door.serve(sender, async { drop(closed.await) }));
        Self { _folder: folder, directory, calls, _closing: closing }
    }

    /// Answers the next that wants a reload.
    fn answering(mut self) -> Self {
        let (_, calls) = mpsc::channel(1);
        let mut calls = std::mem::replace(&mut self.calls, calls);
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                call.reply.done(&Changed { edition: 7 });
            }
        });
        self
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(socket(&self.directory)).await.unwrap()
    }

    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // The door may have closed before it has read all.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn a_client_gets_what_was_replied() {
    let mut open = Open::new();
    let client = Client::new(&open.directory);
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.change(&Command::Reload).await }
    });
    let call = open.calls.recv().await.unwrap();
    assert_eq!(call.command, Command::Reload);
    call.reply.done(&Changed { edition: 7 });
    assert_eq!(asking.await.unwrap().unwrap(), Changed { edition: 7 });

    let asking = tokio::spawn(async move { client.change(&Command::Reload).await });
    let refusal = Problem::new(Code::Superseded, "no").faults(["a", "b"]);
    open.calls.recv().await.unwrap().reply.refuse(refusal.clone());
    let Err(AskError::Refused(refused)) = asking.await.unwrap() else { panic!("it was refused") };
    assert_eq!(refused, refusal);
}

#[tokio::test]
async fn whoever_is_not_answered_hears_that_the_host_is_ending() {
    let mut open = Open::new();
    let client = Client::new(&open.directory);
    let asking = tokio::spawn(async move { client.change(&Command::Reload).await });
    drop(open.calls.recv().await.unwrap());
    let Err(AskError::Refused(refused)) = asking.await.unwrap() else { panic!("it was refused") };
    assert_eq!(refused.code, Code::Stopping);
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_host() {
    let folder = tempfile::tempdir().unwrap();
    let error = Client::new(folder.path()).change(&Command::Reload).await.unwrap_err();
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    assert!(matches!(error, AskError::NoHost { .. }));
    // One that a host has left behind when it was killed.
    drop(std::os::unix::net::UnixListener::bind(socket(folder.path())).unwrap());
    assert!(matches!(
        Client::new(folder.path()).change(&Command::Reload).await,
        Err(AskError::NoHost { .. })
    ));
}

#[tokio::test]
async fn a_socket_that_was_left_is_replaced_and_goes_with_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::take(&folder.path().join("run")).unwrap();
    let path = socket(directory.path());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let door = Door::open(directory).unwrap();
    let (sender, _calls) = mpsc::channel(1);
    door.serve(sender, async {}).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_is_answered() {
    let open = Open::new().answering();
    assert!(open.exchange(b"\x16\x03\x01\x00\x00garbage\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(open.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
    let long = [b"POST /v1/reload HTTP/1.1\r\na: ".to_vec(), vec![b'x'; 100_000]].concat();
    assert!(open.exchange(&long).await.starts_with("HTTP/1.1 431"));
    let large = format!("POST /v1/reload HTTP/1.1\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
    let answer = open.exchange(large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("application/problem+json"), "{answer}");
    assert_eq!(Client::new(&open.directory).change(&Command::Reload).await.unwrap().edition, 7);
}

#[tokio::test]
async fn clients_that_say_nothing_hold_up_nobody_and_are_sent_away() {
    let open = Open::new().answering();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(open.connect().await);
    }
    assert_eq!(Client::new(&open.directory).change(&Command::Reload).await.unwrap().edition, 7);
    tokio::time::pause();
    for mut stream in silent {
        let mut said = Vec::new();
        let sent_away = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut said));
        sent_away.await.expect("sent away in time").unwrap();
    }
}

#[tokio::test]
async fn when_all_places_are_taken_the_next_waits_for_one_that_gets_free() {
    let open = Open::new().answering();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(open.connect().await);
    }
    tokio::time::pause();
    // Time goes by as nobody has anything to do.
    assert_eq!(Client::new(&open.directory).change(&Command::Reload).await.unwrap().edition, 7);
}
