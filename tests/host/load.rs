//! Clients that ask again and again, and to whom nothing but the right answer may happen.
//!
//! As strict as `wrk` and stricter: a refused connection, a reset, a connection that ends without having said so, a
//! status other than 200, a body that is not whole: each fails the test, unless the test has said which other answers
//! may come. A connection may end only where its end was announced: by `Connection: close`, or by GOAWAY before the next
//! request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use tokio::task::JoinSet;

use super::{Answer, Client, Host, PATIENCE};

/// Clients at work. They go on until [`stop`](Load::stop).
pub struct Load {
    answered: Arc<[AtomicUsize; KINDS.len()]>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

/// How a client uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP/1.1, one after the other, as long as the host lets it.
    Kept,
    /// HTTP/1.1, a new connection for each request.
    New,
    /// HTTP/2, one after the other, as long as the host lets it.
    KeptHttp2,
    /// HTTP/2, a new connection for each request.
    NewHttp2,
}

const KINDS: [Kind; 4] = [Kind::Kept, Kind::New, Kind::KeptHttp2, Kind::NewHttp2];

/// What is asked for, and what has to come.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub path: &'static str,
    /// Whether these are the right words.
    pub right: fn(&str) -> bool,
}

/// What the applications of the tests say at `/`.
pub const OK: Ask = Ask { path: "/", right: |body| body == "ok\n" };

/// Whether an answer is as good as the right one.
type Other = fn(&Answer) -> bool;

/// One client's view of it.
struct Asker {
    client: Client,
    ask: Ask,
    other: Other,
    answered: Arc<[AtomicUsize; KINDS.len()]>,
    kind: usize,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// One client of each kind.
    pub fn start(host: &Host, ask: Ask) -> Self {
        Self::start_with(host, ask, |_| false)
    }

    /// The same, to whom another answer may come as well.
    pub fn start_with(host: &Host, ask: Ask, other: Other) -> Self {
        let (answered, stop) = (Arc::default(), Arc::default());
        let mut clients = JoinSet::new();
        for (kind, _) in KINDS.iter().enumerate() {
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            clients.spawn(Asker { client: host.client(), ask, other, answered, kind, stop }.go_on());
        }
        Self { answered, stop, clients }
    }

    /// Waits until clients of every kind have had that many answers more.
    pub async fn answers(&mut self, more: usize) {
        let counts = || self.answered.each_ref().map(|count| count.load(Ordering::Relaxed));
        let before = counts();
        let counting = async {
            while counts().iter().zip(before).any(|(now, before)| *now < before + more) {
                tokio::time::sleep(BRIEFLY).await;
            }
        };
        tokio::select! {
            counted = tokio::time::timeout(PATIENCE, counting) => counted.expect("answers in time"),
            Some(ended) = self.clients.join_next() => panic!("a client ended: {ended:?}"),
        }
    }

    /// Ends it. Returns how many requests were answered, all of them well.
    pub async fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("every request was answered well");
        }
        self.answered.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Asker {
    async fn go_on(self) {
        while self.goes_on() {
            let round = async {
                match KINDS[self.kind] {
                    Kind::Kept => self.keep().await,
                    Kind::KeptHttp2 => self.keep_http2().await,
                    Kind::New => self.check(&self.client.get(self.ask.path).await),
                    Kind::NewHttp2 => self.check(&self.client.http2().get(self.ask.path).await),
                }
            };
            round.await;
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn check(&self, answer: &Answer) {
        let kind = KINDS[self.kind];
        let right = answer.status == 200 && (self.ask.right)(answer.text());
        assert!(right || (self.other)(answer), "{kind:?}: {answer:?}");
        self.answered[self.kind].fetch_add(1, Ordering::Relaxed);
    }

    fn request(&self, client: Client) -> Request<Empty<Bytes>> {
        client.request(Method::GET, self.ask.path).body(Empty::new()).unwrap()
    }

    /// Until the host says that it was the last answer.
    async fn keep(&self) {
        let mut connection = self.client.connect().await;
        while self.goes_on() {
            connection.ready().await.expect("open, since nothing else was announced");
            let answering =
                async { Answer::of(connection.send_request(self.request(self.client)).await?).await };
            let answer = in_time(answering).await.expect("a whole answer on a kept connection");
            self.check(&answer);
            if answer.headers.get("connection").is_some_and(|value| value == "close") {
                return;
            }
        }
    }

    /// Until the host says that it wants no more requests on it.
    async fn keep_http2(&self) {
        let client = self.client.http2();
        let mut connection = client.connect_http2().await;
        while self.goes_on() && connection.ready().await.is_ok() {
            let answering = async {
                match connection.send_request(self.request(client)).await {
                    Ok(response) => Answer::of(response).await.map(Some),
                    Err(error) if was_announced(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            };
            match in_time(answering).await.expect("a whole answer on a kept connection of HTTP/2") {
                Some(answer) => self.check(&answer),
                None => return,
            }
        }
    }
}

/// Whether a request was not sent because the host had said by then that it takes no more on this connection.
fn was_announced(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    // A stream that the host had seen would get its answer, or an error of its own: RFC 9113, section 6.8.
    let gone = cause.is_some_and(|cause| cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR));
    error.is_canceled() || gone
}

async fn in_time<T>(answering: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answering).await.expect("an answer in time")
}

/// Between two looks at the counts.
const BRIEFLY: Duration = Duration::from_millis(1);
