//! An HTTP/1.1 connection to an instance, driven by whoever uses it.
//!
//! In: a connected socket, a request. Out: what hyper makes of them. Never: has a task of its own, as long as the
//! exchange is polled for as long as there is something to do.
//!
//! hyper's connection is a future that somebody has to poll. A task for it would be woken by each request, and wake the
//! request's task in turn, twice; that costs more than all else that the forwarder does. So the exchange polls it.
//! Nobody polls an answer whose client reads slowly, though, and then a request body that is still on its way must go
//! on nevertheless: for that there is [`Connection::detach`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, Sleep},
};

use super::{socket::Socket, upload::Upload};

/// A connection that carries one request at a time. Dropping it closes it, whatever it is doing.
pub(super) struct Connection {
    sender: http1::SendRequest<Upload>,
    driver: Driver,
    pub(super) timer: Timer,
}

/// Who polls hyper's side.
enum Driver {
    /// Who has the connection.
    Here { hypers: Pin<Box<dyn Future<Output = ()> + Send>>, bell: Arc<Bell>, waker: Waker },
    /// A task.
    Task(JoinHandle<()>),
    /// Nobody: it has ended.
    Ended,
}

impl Connection {
    /// Begins to speak HTTP/1.1. While the connection is idle, `news` hears of what happens on it.
    pub(super) async fn new(socket: Socket, news: Arc<Notify>) -> io::Result<Self> {
        let io = TokioIo::new(socket);
        let (sender, connection) = http1::Builder::new().handshake(io).await.map_err(io::Error::other)?;
        let hypers = Box::pin(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to the instance ended");
            }
        });
        let bell = Arc::new(Bell { state: AtomicU8::new(POLLED), user: AtomicWaker::new(), news });
        let waker = Waker::from(Arc::clone(&bell));
        Ok(Self { sender, driver: Driver::Here { hypers, bell, waker }, timer: Timer::new() })
    }

    /// Sends a request, as far as polling goes. The error has it back if none of it was sent.
    pub(super) fn send(&mut self, request: Request<Upload>) -> impl Future<Output = Sent> + use<> {
        // Somebody uses it now: that there is something to send is no news to anybody else.
        if let Driver::Here { bell, .. } = &self.driver {
            bell.state.store(RUNG, Ordering::Release);
        }
        self.sender.try_send_request(request)
    }

    /// Goes on until `done` is, which depends on nothing else than this connection.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut done: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        for _ in 0..TURNS {
            let Driver::Here { .. } = &self.driver else { return done(cx) };
            self.turn();
            // What is waited for comes about in a turn, so that it need not wake anybody besides.
            if let Poll::Ready(outcome) = done(&mut unwoken()) {
                return Poll::Ready(outcome);
            }
            if let Driver::Here { bell, .. } = &self.driver
                && bell.is_awaited_by(cx.waker())
            {
                return Poll::Pending;
            }
            // It rang during its turn, or has ended.
        }
        // Others want to go on, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Has hyper do what it can.
    fn turn(&mut self) {
        let Driver::Here { hypers, bell, waker } = &mut self.driver else { return };
        bell.state.swap(POLLED, Ordering::AcqRel);
        if hypers.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            self.driver = Driver::Ended;
        }
    }

    /// Gives it a task, for the time when nobody will poll the exchange.
    pub(super) fn detach(&mut self) {
        if let Driver::Here { hypers, .. } = std::mem::replace(&mut self.driver, Driver::Ended) {
            self.driver = Driver::Task(tokio::spawn(hypers));
        }
    }

    /// Lets go of it, without cutting short what is still to be sent.
    pub(super) fn leave(mut self) {
        self.detach();
        // Only the handle is dropped: the task goes on until the rest has been sent.
        self.driver = Driver::Ended;
    }

    /// From now on nobody uses it.
    pub(super) fn rest(&mut self) {
        if let Driver::Here { bell, .. } = &self.driver {
            bell.state.swap(IDLE, Ordering::AcqRel);
        }
    }

    /// What has become of it while nobody used it.
    pub(super) fn look(&mut self) -> Condition {
        if let Driver::Here { bell, .. } = &self.driver
            && bell.state.load(Ordering::Acquire) == RUNG
        {
            self.turn();
            self.rest();
        }
        if matches!(self.driver, Driver::Ended) || self.sender.is_closed() {
            Condition::Dead
        } else if self.sender.is_ready() {
            Condition::Ready
        } else {
            Condition::Busy
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // At once, whatever hyper still waits for or would rather drain.
        if let Driver::Task(task) = &self.driver {
            task.abort();
        }
    }
}

/// What comes of sending a request.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

/// Whether a connection that was used before can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It can.
    Ready,
    /// Its task has yet to notice that the last exchange is over.
    Busy,
    /// It has ended.
    Dead,
}

/// What hyper's side wakes: who waits for an answer, if somebody does.
///
/// Much of what an exchange does wakes hyper's side, which will have its turn anyway; passed on to the task, each of
/// these would cost a needless round through it.
struct Bell {
    state: AtomicU8,
    user: AtomicWaker,
    /// Hears it when nobody uses the connection.
    news: Arc<Notify>,
}

impl Bell {
    /// Has `waker` woken by the next thing that happens. Not if something has happened already.
    fn is_awaited_by(&self, waker: &Waker) -> bool {
        self.user.register(waker);
        self.state.compare_exchange(POLLED, AWAITED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// For polls whose outcome is looked at anyway.
pub(super) fn unwoken() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Has had its turn, or has it now.
const POLLED: u8 = 0;
/// Something has happened since.
const RUNG: u8 = 1;
/// A task waits for something to happen.
const AWAITED: u8 = 2;
/// Nobody uses the connection.
const IDLE: u8 = 3;

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.state.swap(RUNG, Ordering::AcqRel) {
            AWAITED => self.user.wake(),
            IDLE => self.news.notify_one(),
            _ => {}
        }
    }
}

/// Measures how long an instance takes.
///
/// Kept with its connection, since making a timer for each request would cost more than looking at one: it stays set
/// to a moment that some earlier request waited for, and is moved on only when that has come.
pub(super) struct Timer {
    began: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), sleep: None }
    }

    /// Begins anew.
    pub(super) fn start(&mut self, now: Instant) {
        self.began = now;
    }

    /// When it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Ready when `limit` is over. All limits of a timer are the same.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let until = self.began + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        loop {
            std::task::ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

/// How often hyper's side may ring during its own turn before others have theirs.
const TURNS: usize = 4;

#[cfg(all(test, feature = "front"))]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::endpoint::{Endpoint, Place};

    #[tokio::test]
    async fn who_uses_a_connection_again_is_no_news() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("instance");
        let _instance = tokio::net::UnixListener::bind(&path).unwrap();
        let socket = Socket::connect(&Place::At(Endpoint::Unix(path)), None).await.unwrap();
        let news = Arc::new(Notify::new());
        let mut connection = Connection::new(socket, Arc::clone(&news)).await.unwrap();
        connection.turn();
        connection.rest();
        assert_eq!(connection.look(), Condition::Ready);
        let request = Request::builder().uri("/").header("host", "a").body(Upload::none()).unwrap();
        let _answer = connection.send(request);
        assert_eq!(news.notified().now_or_never(), None);
    }
}
