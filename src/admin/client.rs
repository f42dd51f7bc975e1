//! Whoever asks a running host: one request on one connection.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{
    command::{Changed, Command, GivingWay, Logs, Named, Stop, Stopped, Upgrade},
    directory::socket,
    problem::Problem,
    status::Status,
};

/// Asks the host in one runtime directory. Needs a tokio runtime.
///
/// Nothing here has a limit of time: a change may well take as long as its application takes to start, and a host that
/// was suspended does not answer. Dropping a future gives the question up; a change that has begun goes on all the same.
#[derive(Clone, Debug)]
pub struct Client {
    directory: PathBuf,
}

/// A host did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// There is no socket, or nobody behind it.
    #[error("no host runs in {directory}; if it has another, name that with --runtime-dir")]
    NoHost {
        /// The runtime directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The socket cannot be used.
    #[error("cannot ask the host in {directory}: {source}")]
    Unreachable {
        /// The runtime directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It says no, and why.
    #[error(transparent)]
    Refused(Problem),
    /// It ended, or closed the connection.
    #[error("the host did not answer: {0}")]
    Broken(#[from] hyper::Error),
    /// It said something that this program does not understand.
    #[error("the host's answer makes no sense to this program ({0}); are they of the same version?")]
    Unreadable(#[from] serde_json::Error),
}

impl Client {
    /// For the host with this runtime directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The runtime directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How things are.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn status(&self) -> Result<Status, AskError> {
        self.ask(&Command::Status).await
    }

    /// Changes something, with one of the commands that are answered with [`Changed`]; returns once that is in force.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn change(&self, command: &Command) -> Result<Changed, AskError> {
        self.ask(command).await
    }

    /// Where it is kept what an application prints.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn logs(&self, application: Named) -> Result<Logs, AskError> {
        self.ask(&Command::Logs(application)).await
    }

    /// Has another program take the host's place, and returns when it does; what comes of it is in its status.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn upgrade(&self, upgrade: Upgrade) -> Result<GivingWay, AskError> {
        self.ask(&Command::Upgrade(upgrade)).await
    }

    /// Has the host end; returns once nothing is left of it but the answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn stop(&self, stop: Stop) -> Result<Stopped, AskError> {
        self.ask(&Command::Stop(stop)).await
    }

    async fn ask<A: DeserializeOwned>(&self, command: &Command) -> Result<A, AskError> {
        let (method, path, body) = command.write();
        let stream =
            UnixStream::connect(socket(&self.directory)).await.map_err(|error| self.nobody(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer: the host keeps no connection.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            // HTTP wants one; there is but one host behind a socket.
            .header(header::HOST, "cohost")
            .body(Full::<Bytes>::from(body.unwrap_or_default()))
            .expect("a command has a path of its own");
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() {
            Ok(serde_json::from_slice(&body)?)
        } else {
            Err(AskError::Refused(serde_json::from_slice(&body)?))
        }
    }

    fn nobody(&self, source: io::Error) -> AskError {
        let directory = self.directory.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NoHost { directory, source }
            }
            _ => AskError::Unreachable { directory, source },
        }
    }
}
