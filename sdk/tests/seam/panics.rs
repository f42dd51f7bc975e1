//! Panics, wherever the application can have them: none leaves it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use cohost_app::{Context, abi::code};
use http_body::Frame;

use crate::fake::{App, Call, Fake, Handled, Pulled};

async fn app(_: Context) -> Result<Router, Infallible> {
    Ok(Router::new()
        .route("/now", get(async || panics("in the first poll")))
        .route("/later", get(later))
        .route("/drop", get(drops))
        .route("/frame", get(async || Body::new(Mine { polls: true })))
        .route("/body", get(async || Body::new(Mine { polls: false })))
        .route("/bytes", get(async || Bytes::from_owner(Owner)))
        .route("/hello", get(async || "hello")))
}

fn start() -> App {
    Fake::new().start(cohost_app::linked_descriptor(app, "panics\0", "1\0")).unwrap()
}

fn panics(place: &str) {
    panic!("{place}");
}

async fn later() {
    tokio::task::yield_now().await;
    panics("in a later poll");
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panics("in a drop");
    }
}

async fn drops() {
    let _bomb = Bomb;
    std::future::pending::<()>().await;
}

/// A body that panics when it is polled, or when it is dropped.
struct Mine {
    polls: bool,
}

impl http_body::Body for Mine {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.polls {
            panics("in a body's poll");
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"some")))))
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        if !self.polls {
            panics("in a body's drop");
        }
    }
}

/// Bytes that panic when they are given back.
struct Owner;

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        b"owned"
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        panics("in a release");
    }
}

#[test]
fn a_panic_in_the_future_is_a_code_and_the_instance_goes_on() {
    let app = start();

    assert_eq!(app.call(Call::get("/now")).err(), Some(code::E_PANIC));
    assert_eq!(app.call(Call::get("/later")).err(), Some(code::E_PANIC));
    assert_eq!(app.call(Call::get("/hello")).unwrap().text(), "hello");
}

#[test]
fn a_panic_while_a_request_is_cancelled_stays_inside() {
    let app = start();
    let Handled::Pending(pending) = app.handle(Call::get("/drop")) else { panic!("it never answers") };

    drop(pending);

    assert_eq!(app.call(Call::get("/hello")).unwrap().text(), "hello");
}

#[test]
fn a_panic_in_a_response_body_cuts_it() {
    let app = start();

    let mut answer = app.call(Call::get("/frame")).unwrap();

    assert_eq!(answer.stream.as_mut().unwrap().next(), Pulled::Failed(code::E_PANIC));
}

#[test]
fn a_panic_while_a_body_or_its_bytes_are_dropped_stays_inside() {
    let app = start();

    let mut answer = app.call(Call::get("/body")).unwrap();
    assert_eq!(answer.stream.as_mut().unwrap().next(), Pulled::Data(b"some".to_vec()));
    drop(answer);
    assert_eq!(app.call(Call::get("/bytes")).unwrap().text(), "owned");

    assert_eq!(app.call(Call::get("/hello")).unwrap().text(), "hello");
}
