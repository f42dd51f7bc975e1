//! The socket, and how a request on it becomes a [`Call`].
//!
//! In: connections. Out: calls, and answers to those who made them. Never: has more than [`MOST_CONNECTIONS`] at a time,
//! or any of them for longer than it may take, but for the time that the command itself takes.

use std::{
    convert::Infallible, fs, future::Future, os::unix::fs::PermissionsExt as _, path::Path, time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::geteuid;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc::Sender, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    command::{Call, Command, Reply},
    directory::{Directory, socket},
    problem::{Code, Problem},
};
use crate::listener::{Address, Bound, ListenError};

/// The socket of a running host.
#[derive(Debug)]
pub struct Door {
    directory: Directory,
    listener: UnixListener,
}

impl Door {
    /// Opens the door in `directory`. A socket that a former host has left there is replaced. Needs a tokio runtime.
    ///
    /// # Errors
    /// Returns the socket's path and what the system says.
    pub fn open(directory: Directory) -> Result<Self, ListenError> {
        let path = socket(directory.path());
        let failed = |source| ListenError { address: Address::Unix(path.clone()), source };
        let bound = Bound::to(Address::Unix(path.clone()))?;
        // Nobody else can enter the directory, so nobody was in time before this.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let listener = std::os::fd::OwnedFd::from(bound).into();
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { directory, listener })
    }

    /// The runtime directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Hands what is asked to `calls`, until `closing` ends; then removes the socket, and waits a moment for answers
    /// that are on their way.
    pub async fn serve(self, calls: Sender<Call>, closing: impl Future<Output = ()>) {
        let mut closing = std::pin::pin!(closing);
        let mut connections = JoinSet::new();
        loop {
            let has_room = connections.len() < MOST_CONNECTIONS;
            tokio::select! {
                () = closing.as_mut() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(connection(stream, calls.clone()))),
                    Err(error) => {
                        tracing::warn!(%error, "the operator's door cannot accept; trying again");
                        sleep(PAUSE).await;
                    }
                },
            }
        }
        let _gone = fs::remove_file(socket(self.directory.path()));
        let _late = timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
    }
}

/// One connection, with one request.
async fn connection(stream: UnixStream, calls: Sender<Call>) {
    let stranger = stranger(&stream).map(|who| {
        Problem::new(Code::Forbidden, format!("{who}; ask as the user that the host runs as, or as root"))
    });
    let (answered, mut waiting) = watch::channel(());
    let service = service_fn(move |request| {
        let (stranger, calls, answered) = (stranger.clone(), calls.clone(), answered.clone());
        async move {
            let outcome = match stranger {
                Some(problem) => Err(problem),
                None => outcome(request, &calls).await,
            };
            answered.send_replace(());
            Ok::<_, Infallible>(response(outcome))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PROMPT)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What the client has to do, it has to do soon; how long the command takes is not its doing.
    let overdue = async {
        if waiting.changed().await.is_ok() {
            sleep(PROMPT).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::debug!(%error, "a connection to the operator's door broke off");
        },
        () = overdue => tracing::debug!("a client of the operator's door does not read its answer"),
    }
}

/// What is wrong with whoever connected.
fn stranger(stream: &UnixStream) -> Option<String> {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == geteuid().as_raw() => None,
        Ok(peer) => Some(format!("user {} may not ask this host", peer.uid())),
        Err(error) => Some(format!("nobody knows who asks: {error}")),
    }
}

async fn outcome(request: Request<Incoming>, calls: &Sender<Call>) -> Result<serde_json::Value, Problem> {
    let (head, body) = request.into_parts();
    let body = match timeout(PROMPT, Limited::new(body, MOST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::new(Code::TooLarge, format!("the body has more than {MOST_BODY} bytes")));
        }
        Ok(Err(error)) => {
            return Err(Problem::new(Code::BadRequest, format!("the body broke off: {error}")));
        }
        Err(_) => return Err(Problem::new(Code::TooSlow, format!("the body took more than {PROMPT:?}"))),
    };
    let command = Command::read(&head.method, &head.uri, &body)?;
    let (reply, replied) = Reply::new();
    let stopping = |_| Problem::new(Code::Stopping, "the host is ending, and answers no more");
    calls.send(Call { command, reply }).await.map_err(|_| stopping(()))?;
    replied.await.map_err(|_| stopping(()))?
}

fn response(outcome: Result<serde_json::Value, Problem>) -> Response<Full<Bytes>> {
    let (status, content, body) = match outcome {
        Ok(answer) => (StatusCode::OK, "application/json", answer.to_string()),
        Err(problem) => (
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            "application/problem+json",
            serde_json::to_string(&problem).unwrap_or_default(),
        ),
    };
    let mut response = Response::new(Full::from(body + "\n"));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

/// Whoever comes then waits in the system's queue; places are free again soon, see [`PROMPT`].
const MOST_CONNECTIONS: usize = 64;
/// A page to show in an application's place fits in.
const MOST_BODY: usize = 256 * 1024;
/// Bytes of a request's head.
const BUFFER: usize = 16 * 1024;
/// How long a client may take for each thing that it has to do: send the head, send the body, read the answer.
const PROMPT: Duration = Duration::from_secs(5);
/// How long answers may take that are on their way when the host ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// After a failure to accept: the usual reason is that there are no descriptors.
const PAUSE: Duration = Duration::from_millis(100);
