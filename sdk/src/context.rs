//! What an application is told about itself, and how it hears that it is to end.
//!
//! In: what the host passed to `init`. Out: answers, some of them asked of the host when they are wanted.
//! Never: reads the environment: that belongs to the process, which applications share.

use std::{
    future::{Future, IntoFuture},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::ffi::Host;

/// The application's place in the host.
#[derive(Clone)]
pub struct Context {
    host: Host,
    place: Arc<Place>,
    drain: watch::Receiver<bool>,
}

/// What the host says of an application when it starts.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) content_root: PathBuf,
    pub(crate) path_base: String,
    pub(crate) generation: u32,
    pub(crate) threads: u32,
}

impl Context {
    pub(crate) fn new(host: Host, place: Place, drain: watch::Receiver<bool>) -> Self {
        Self { host, place: Arc::new(place), drain }
    }

    /// The application's name in configuration, logs and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Directory of the application's files, absolute. Not the working directory, which applications share.
    #[must_use]
    pub fn content_root(&self) -> &Path {
        &self.place.content_root
    }

    /// The path prefix the application is mounted at, `""` at the root. Requests come without it.
    #[must_use]
    pub fn path_base(&self) -> &str {
        &self.place.path_base
    }

    /// Which loaded copy of the application this is, from 1.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.place.generation
    }

    /// How many requests may run at the same moment: the threads of the host that serve.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.place.threads
    }

    /// The application's settings, from the host's configuration. Without any, what `{}` gives.
    ///
    /// Asks the host each time: after a change of the configuration, the answer is new.
    ///
    /// # Errors
    /// When they do not fit `T`.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let json = self.host.setting("").filter(|json| !json.is_empty());
        serde_json::from_slice(json.as_deref().unwrap_or(b"{}")).map_err(SettingsError)
    }

    /// One setting, as text.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<String> {
        let value = self.host.setting(key)?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// For hearing that the application is to end.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.drain.clone())
    }

    /// Opens or closes the gate for requests. It is open after a start that went well, unless this closed it.
    pub fn set_ready(&self, ready: bool) {
        self.host.set_ready(ready);
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name())
            .field("content_root", &self.content_root())
            .field("path_base", &self.path_base())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// The application's settings do not fit the type they were asked as.
#[derive(Debug, thiserror::Error)]
#[error("the application's settings are not as expected")]
pub struct SettingsError(#[source] serde_json::Error);

/// Tells when no new requests will come: long polls, event streams and background tasks should end.
///
/// ```
/// # async fn background(cx: cohost_app::Context) {
/// let shutdown = cx.shutdown();
/// tokio::select! {
///     () = shutdown.wait() => {}
///     () = tokio::time::sleep(std::time::Duration::from_secs(60)) => {}
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Waits until the application is being drained. At once, when it is already.
    pub async fn wait(&self) {
        // An error means that the instance is gone: later than drained.
        let _ = self.0.clone().wait_for(|draining| *draining).await;
    }

    /// Whether the application is being drained.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }
}

impl IntoFuture for Shutdown {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}
