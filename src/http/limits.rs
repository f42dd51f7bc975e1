//! What connections may cost, and how the versions of HTTP are spoken for it.

use std::{num::NonZeroU32, time::Duration};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::streams::Streams;

/// What connections may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a request's head may take to arrive, from its first byte on. `None`: as long as it likes, for clients that
    /// are believed.
    pub header_timeout: Option<Duration>,
    /// How long a connection may stay open without a request. `None`: as long as it likes.
    pub keep_alive_timeout: Option<Duration>,
    /// How long a client may take nothing of an answer. `None`: as long as it likes.
    pub send_timeout: Option<Duration>,
    /// How slowly a request's body may come.
    pub body: Option<Pace>,
    /// Size of a request's head.
    pub max_head: usize,
    /// Fields in a request's head; 100, which is hyper's own, costs least. `None`: as many as are no larger than that.
    pub max_fields: Option<usize>,
    /// Requests at a time on an HTTP/2 connection.
    pub max_streams: u32,
    /// Frames of HTTP/2 that are of no use and may come within ten seconds, beyond those that usual clients send.
    /// `None`: as many as come.
    pub useless_frames: Option<u32>,
}

/// How slowly something may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long one may wait for a byte.
    pub patience: Duration,
    /// Bytes a second that have to come, on average over that time. `None`: one byte will do.
    pub rate: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Some(Duration::from_secs(30)),
            keep_alive_timeout: Some(Duration::from_secs(75)),
            send_timeout: Some(Duration::from_secs(60)),
            body: Some(Pace { patience: Duration::from_secs(30), rate: NonZeroU32::new(240) }),
            max_head: 64 * 1024,
            max_fields: Some(FIELDS),
            max_streams: 128,
            useless_frames: Some(4000),
        }
    }
}

impl Limits {
    /// For clients that are believed: a host that has waited for its own clients.
    #[cfg(feature = "out-of-process")]
    pub(crate) fn none() -> Self {
        Self {
            header_timeout: None,
            keep_alive_timeout: None,
            send_timeout: None,
            body: None,
            max_head: 2 << 20,
            max_fields: None,
            useless_frames: None,
            ..Self::default()
        }
    }
}

/// Fields that hyper takes without asking for memory.
pub(crate) const FIELDS: usize = 100;

/// How the versions of HTTP are spoken; the same for all connections.
pub(super) struct Protocols {
    pub(super) http1: http1::Builder,
    pub(super) limits: Limits,
    /// How long an idle connection stays open after a stop: a client may be about to send.
    pub(super) linger: Duration,
}

impl Protocols {
    pub(super) fn new(limits: &Limits, linger: Duration) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(limits.header_timeout.or(limits.keep_alive_timeout))
            // Not max_buf_size, which limits bodies too: they would go in small pieces, with a system call each.
            .max_header_size(limits.max_head);
        // Not pipeline_flush: `socket` says why, and does it better.
        let fields = limits.max_fields.unwrap_or(FIELDS + PRIVATE);
        if fields != FIELDS {
            http1.max_headers(fields);
        }
        Self { http1, limits: limits.clone(), linger }
    }

    /// One for each connection, for `streams` is.
    pub(super) fn http2(&self, streams: Streams) -> http2::Builder<Streams> {
        let mut http2 = http2::Builder::new(streams);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.max_streams)
            .max_header_list_size(u32::try_from(self.limits.max_head).unwrap_or(u32::MAX))
            .enable_connect_protocol()
            .keep_alive_interval(Duration::from_secs(60))
            .adaptive_window(true);
        http2
    }
}

/// What a host adds to a client's fields on the way to an instance.
const PRIVATE: usize = 4;
