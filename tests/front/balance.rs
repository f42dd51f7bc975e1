//! Behaviour 58: requests are spread over servers that somebody else runs.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use http_body_util::{BodyExt as _, Empty};
use serde_json::Value;
use test_grpc::{EchoClient, Text};
use tokio_tungstenite::{client_async, tungstenite::Message};

use super::upstream::Upstream;
use crate::{
    host::{Answer, Host, Model, Setup},
    supervision::rewrite,
};

/// A host of these, with lines for `[site.application.balance]`.
fn before(upstreams: &[&Upstream], balance: &str) -> Setup {
    let urls: Vec<String> = upstreams.iter().map(|upstream| upstream.url()).collect();
    at(&urls, balance)
}

fn at(urls: &[String], balance: &str) -> Setup {
    Setup::upstreams(&format!("{urls:?}")).more(&format!("[site.application.balance]\n{balance}"))
}

async fn two() -> [Upstream; 2] {
    [Upstream::start("one").await, Upstream::start("two").await]
}

/// Who answers so many requests, each after the other.
async fn counts(host: &Host, requests: usize, path: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(host.get(path).await.text().to_owned()).or_default() += 1;
    }
    counts
}

async fn with_fields(host: &Host, path: &str, fields: &[(&str, &str)]) -> Answer {
    let client = host.client();
    let request = client.request(Method::GET, path);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.send(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
}

/// What an operator gets to see of the only application.
pub async fn told(host: &Host) -> Value {
    host.tells().await["sites"][0]["applications"][0].clone()
}

/// Waits until the upstreams are in these states.
pub async fn states(host: &Host, wanted: &[&str]) {
    let waiting = async {
        loop {
            let told = told(host).await;
            let upstreams = told["upstreams"].as_array().unwrap();
            let states: Vec<&str> = upstreams.iter().map(|one| one["state"].as_str().unwrap()).collect();
            if states == wanted {
                return;
            }
        }
    };
    tokio::time::timeout(crate::host::PATIENCE / 2, waiting).await.expect("these states in time");
}

// ---- who gets a request

#[tokio::test]
async fn requests_are_spread_by_weight() {
    let [one, two] = two().await;
    let urls = format!("[{{ url = {:?}, weight = 3 }}, {:?}]", one.url(), two.url());
    for policy in ["least_outstanding", "round_robin"] {
        let policy_line = format!("[site.application.balance]\npolicy = {policy:?}");
        let host = Setup::upstreams(&urls).more(&policy_line).start().await;
        let counts = counts(&host, 20, "/").await;
        assert_eq!((counts["one"], counts["two"]), (15, 5), "{policy}");
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn a_slow_upstream_is_avoided() {
    let [one, two] = two().await;
    let host = before(&[&one, &two], "").start().await;
    let slow = tokio::spawn({
        let client = host.client();
        async move { client.get("/slow").await }
    });
    // The first one, since nobody has anything to do.
    one.has_been_asked().await;
    assert_eq!(counts(&host, 10, "/").await, BTreeMap::from([("two".to_owned(), 10)]));
    let told = told(&host).await;
    assert_eq!((&told["in_flight"], &told["requests"]), (&1.into(), &11.into()));
    one.go();
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_is_alike_goes_to_the_same_upstream() {
    let [one, two] = two().await;
    let host = before(&[&one, &two], "hash = \"path\"").start().await;
    let mut all = BTreeMap::<String, usize>::new();
    for path in 0..16 {
        let counts = counts(&host, 3, &format!("/{path}?{path}")).await;
        assert_eq!(counts.len(), 1, "{counts:?}");
        *all.entry(counts.into_keys().next().unwrap()).or_default() += 1;
    }
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_cookie_brings_a_client_back_and_a_forged_one_means_a_new_choice() {
    let [one, two] = two().await;
    let host = before(&[&one, &two], "policy = \"round_robin\"\nsticky = \"node\"").start().await;
    let first = host.get("/").await;
    let name = first.text().to_owned();
    let set = first.header("set-cookie").to_owned();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    for _ in 0..6 {
        let again = with_fields(&host, "/", &[("cookie", cookie)]).await;
        assert_eq!((again.text(), again.headers.get("set-cookie")), (&*name, None));
    }
    let long = format!("node={}", "x".repeat(4096));
    for forged in ["node=", "node=0", "node=\"one\"; node", &long] {
        let answer = with_fields(&host, "/", &[("cookie", forged)]).await;
        assert!(answer.status == 200 && answer.header("set-cookie").starts_with("node="), "{forged}");
    }
    // The one that it names is gone: another, and a cookie for that.
    let (gone, other) = if name == "one" { (one, two) } else { (two, one) };
    gone.end().await;
    let moved = with_fields(&host, "/", &[("cookie", cookie)]).await;
    assert!(moved.status == 200 && moved.text() != name, "{moved:?}");
    assert_ne!(moved.header("set-cookie").split(';').next(), Some(cookie));
    assert!(other.asked() > 0);
    assert!(host.stop().await.success());
}

// ---- what an upstream hears

#[tokio::test]
async fn an_upstream_hears_for_whom_it_is_and_nothing_that_is_between_host_and_instances() {
    let one = Upstream::start("one").await;
    let host = before(&[&one], "").application("path = \"/shop\"").start().await;
    let lies = [("x-forwarded-for", "6.6.6.6"), ("ms-aspnetcore-token", "x"), ("cohost-facts", "x")];
    assert_eq!(with_fields(&host, "/shop/x", &lies).await.text(), "one");
    assert_eq!(one.field("host"), Some(host.address.to_string()));
    assert_eq!(one.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(one.field("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!((one.field("ms-aspnetcore-token"), one.field("cohost-facts")), (None, None));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_name_leads_to_whichever_of_its_addresses_accepts() {
    let one = Upstream::start("one").await;
    let host = at(&[format!("http://localhost:{}", one.address.port())], "").start().await;
    assert_eq!(host.get("/").await.text(), "one");
    assert!(host.stop().await.success());
}

// ---- upstreams that fail

#[tokio::test]
async fn all_down_is_503_with_a_time_to_come_back() {
    let [one, two] = two().await;
    let urls = [one.url(), two.url()];
    let addresses = [one.end().await, two.end().await];
    let host = at(&urls, "max_fails = 1\nout_time = \"20s\"").start().await;
    // Each is tried, and then known to be out.
    assert_eq!(host.get("/").await.header("cohost-failure"), "connect_failed");
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "no_upstream"));
    let after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&after), "{after}");
    let told = told(&host).await;
    assert_eq!((&told["state"], &told["upstreams"][0]["state"]), (&"failed".into(), &"out".into()));
    assert!(told["upstreams"][1]["failed"]["detail"].as_str().unwrap().contains(&addresses[1].to_string()));
    let shown = host.operator(&["status"]).await.stdout;
    assert!(shown.contains("out") && shown.contains("connect_failed"), "{shown}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_goes_to_another_whatever_it_is() {
    let [one, two] = two().await;
    let urls = [one.url(), two.url()];
    one.end().await;
    let host = at(&urls, "max_fails = 2\nout_time = \"1m\"").start().await;
    for _ in 0..6 {
        assert_eq!(host.client().post("/", "body").await.text(), "two");
    }
    states(&host, &["out", "up"]).await;
    let told = told(&host).await;
    assert_eq!((&told["state"], &told["upstreams"][0]["failures"]), (&"running".into(), &2.into()));
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn one_that_may_have_seen_it_is_not_asked_twice_unless_that_is_wanted() {
    let [one, two] = two().await;
    let host = before(&[&one, &two], "max_fails = \"none\"").start().await;
    let answer = host.get("/close").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (502, "instance_lost"));
    assert_eq!(one.asked() + two.asked(), 1);
    assert!(host.stop().await.success());

    let host = before(&[&one, &two], "max_fails = \"none\"\nretry = \"idempotent\"").start().await;
    assert_eq!(host.get("/close").await.header("cohost-failure"), "instance_lost");
    assert_eq!(one.asked() + two.asked(), 3);
    // Whoever posts twice may buy twice.
    assert_eq!(host.client().post("/close", "x").await.header("cohost-failure"), "instance_lost");
    assert_eq!(one.asked() + two.asked(), 4);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_answer_of_500_is_an_answer_unless_it_is_to_count() {
    let [one, two] = two().await;
    let host = before(&[&one, &two], "max_fails = 1").start().await;
    for _ in 0..4 {
        let answer = host.get("/500").await;
        assert_eq!((answer.status.as_u16(), answer.headers.get("cohost-failure")), (500, None));
    }
    assert_eq!((one.asked(), two.asked()), (2, 2));
    assert!(host.stop().await.success());

    let host = before(&[&one], "max_fails = 2\nfail_statuses = [\"500-503\"]").start().await;
    assert_eq!([host.get("/500").await.status, host.get("/500").await.status], [500, 500]);
    assert_eq!(host.get("/").await.header("cohost-failure"), "no_upstream");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn an_answer_that_an_upstream_cuts_is_cut_for_the_client_and_asked_for_only_once() {
    let [one, two] = two().await;
    let host =
        before(&[&one, &two], "max_fails = 1\nretry = \"idempotent\"\nout_time = \"1m\"").start().await;
    // The second has the other one, since the first is out by then.
    for (client, upstream) in [(host.client(), &one), (host.client().http2(), &two)] {
        let request = client.request(Method::GET, "/cut").body(Empty::<Bytes>::new()).unwrap();
        let mut answer = client.begin(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "begun");
        upstream.go();
        assert!(answer.body_mut().frame().await.is_none_or(|end| end.is_err()));
    }
    assert_eq!((one.asked(), two.asked()), (1, 1));
    states(&host, &["out", "out"]).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn one_that_recovers_is_tried_and_then_has_requests_again() {
    let one = Upstream::start("one").await;
    let urls = [one.url()];
    let address = one.end().await;
    let host = at(&urls, "max_fails = 1\nout_time = \"100ms\"").start().await;
    assert_eq!(host.get("/").await.status, 502);
    let _one = Upstream::at("one", address).await;
    states(&host, &["trying"]).await;
    assert_eq!(host.get("/").await.text(), "one");
    host.log.message("upstream is back").await;
    states(&host, &["up"]).await;
    assert!(host.stop().await.success());
}

// ---- health

const HEALTH: &str =
    "health = { path = \"/health\", interval = \"50ms\", timeout = \"1s\", healthy = 2, unhealthy = 2 }";

#[tokio::test]
async fn one_that_says_that_it_is_unwell_gets_no_requests_until_it_is_well() {
    let [one, two] = two().await;
    let host = before(&[&one, &two], HEALTH).start().await;
    host.get("/").await;
    one.set_well(false);
    states(&host, &["down", "up"]).await;
    assert_eq!(counts(&host, 4, "/").await, BTreeMap::from([("two".to_owned(), 4)]));
    two.set_well(false);
    states(&host, &["down", "down"]).await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "no_upstream"));
    assert_eq!(answer.header("retry-after"), "1");
    one.set_well(true);
    states(&host, &["up", "down"]).await;
    assert_eq!(host.get("/").await.text(), "one");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_is_known_of_upstreams_outlives_a_reload_that_changes_none_of_them() {
    let [one, two] = two().await;
    let setup = |one: &Upstream, more: &str| {
        before(&[one, &two], "max_fails = 1\nout_time = \"1m\"").site(more).text()
    };
    let urls = [one.url(), two.url()];
    let (text, with_more) = (setup(&one, ""), setup(&one, "[site.ip]\ndeny = [\"10.0.0.0/8\"]"));
    one.end().await;
    let host = at(&urls, "max_fails = 1\nout_time = \"1m\"").start().await;
    assert_eq!(counts(&host, 2, "/").await, BTreeMap::from([("two".to_owned(), 2)]));
    for text in [with_more, text.clone()] {
        rewrite(&host, &text);
        assert_eq!(host.operator(&["reload"]).await.code, 0);
        states(&host, &["out", "up"]).await;
    }
    rewrite(&host, &text.replace("1m", "2m"));
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    states(&host, &["up", "up"]).await;
    let refused = host.operator(&["promote", "app"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("app is upstreams"), "{refused:?}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_worker_that_takes_over_does_not_begin_with_an_upstream_that_is_out() {
    let [one, two] = two().await;
    let (urls, address) = ([one.url(), two.url()], one.end().await);
    let host = at(&urls, "max_fails = 1\nout_time = \"1m\"").start().await;
    assert_eq!(counts(&host, 4, "/").await, BTreeMap::from([("two".to_owned(), 4)]));
    assert_eq!(host.operator(&["recycle"]).await.code, 0);
    let told = told(&host).await;
    assert_eq!((&told["requests"], &told["upstreams"][0]["state"]), (&0.into(), &"out".into()));
    // It would answer by now, and is not asked.
    let _one = Upstream::at("one", address).await;
    assert_eq!(counts(&host, 4, "/").await, BTreeMap::from([("two".to_owned(), 4)]));
    assert!(host.stop().await.success());
}

// ---- everything else that goes through

/// Hosts of the same application, as upstreams of a host.
async fn behind(setup: fn(Model) -> Setup, more: &str) -> (Host, [Host; 2]) {
    let hosts = [setup(Model::InProcess).start().await, setup(Model::OutOfProcess).start().await];
    let urls: Vec<String> = hosts.iter().map(|host| format!("http://{}", host.address)).collect();
    (at(&urls, "policy = \"round_robin\"").application(more).start().await, hosts)
}

#[tokio::test]
async fn web_sockets_and_streams_go_through_in_both_protocols() {
    let (host, _hosts) = behind(Setup::sample, "").await;
    for _ in 0..2 {
        let url = format!("ws://{}/ws", host.address);
        let (mut socket, _) = client_async(url, host.raw().await).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        // It is a request as long as it is open.
        assert_eq!(told(&host).await["in_flight"], 1);
        drop(socket);
        host_is_free(&host).await;
    }
    let large = vec![7; 3_000_000];
    for client in [host.client(), host.client().http2()] {
        assert_eq!(client.get("/plaintext").await.text(), "Hello, World!");
        assert!(client.post("/echo", large.clone()).await.body == large);
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn grpc_goes_through_where_upstreams_speak_http2() {
    let (host, _hosts) = behind(|model| Setup::broken(model, "none"), "protocol = \"h2c\"").await;
    let origin = format!("http://{}", host.address).parse().unwrap();
    let mut client = EchoClient::connect(origin).await.unwrap();
    for _ in 0..2 {
        let answer = client.echo(tonic::Request::new(Text::new("hello"))).await.unwrap();
        assert_eq!(answer.into_inner(), Text::new("hello"));
        let status = client.echo(tonic::Request::new(Text::new("fail"))).await.unwrap_err();
        assert_eq!(status.message(), "told to fail");
    }
    let messages = futures_util::stream::iter(["a", "b"]).map(Text::new);
    let mut answers = client.echo_stream(tonic::Request::new(messages)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap(), Some(Text::new("a")));
    assert!(host.stop().await.success());
}

/// Waits until nothing is in flight.
async fn host_is_free(host: &Host) {
    let waiting = async { while told(host).await["in_flight"] != 0 {} };
    tokio::time::timeout(crate::host::PATIENCE / 2, waiting).await.expect("an end in time");
}

#[tokio::test]
async fn who_is_no_upstream_any_more_is_not_asked_how_it_is() {
    let [one, two] = two().await;
    let probe =
        "health = { path = \"/health\", interval = \"20ms\", timeout = \"1s\", healthy = 2, unhealthy = 2 }";
    let host = before(&[&one], probe).start().await;
    states(&host, &["up"]).await;
    rewrite(&host, &before(&[&two], probe).text());
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    for upstream in [&one, &two] {
        upstream.set_well(false);
    }
    // Time enough for both.
    for (state, is_well) in [("down", true), ("up", false), ("down", false)] {
        states(&host, &[state]).await;
        two.set_well(is_well);
    }
    let down = host.log.of("upstream is down");
    assert!(
        down.iter().all(|event| event["upstream"].as_str().unwrap().contains(&two.address.to_string())),
        "{down:?}"
    );
}
