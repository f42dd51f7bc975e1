//! Answers that take their time, and end when the application has to.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Query, State, WebSocketUpgrade, ws},
    response::{IntoResponse, Response, Sse, sse::Event},
};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;

use crate::Sample;

/// When the client goes away meanwhile, the host drops this future.
pub(crate) async fn sleep(Path(ms): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    format!("slept {ms} ms\n")
}

/// How much is sent, and how fast.
#[derive(Deserialize)]
pub(crate) struct Pace {
    chunks: Option<u64>,
    delay_ms: Option<u64>,
}

/// Lines with a delay before each: five, unless the query says otherwise.
pub(crate) async fn stream(Query(pace): Query<Pace>) -> Body {
    let ticks = ticks(pace.chunks.unwrap_or(5), pace.delay_ms.unwrap_or(200));
    Body::from_stream(ticks.map(|n| Ok::<_, Infallible>(format!("chunk {n}\n"))))
}

/// A counter as server-sent events: without end, unless the query says otherwise.
pub(crate) async fn events(State(sample): State<Arc<Sample>>, Query(pace): Query<Pace>) -> impl IntoResponse {
    let ticks = ticks(pace.chunks.unwrap_or(u64::MAX), pace.delay_ms.unwrap_or(1000));
    let events = ticks.map(|n| Ok::<_, Infallible>(Event::default().data(n.to_string())));
    // A host that replaces the application would have to cut an endless stream.
    Sse::new(events.take_until(ending(sample)))
}

fn ticks(n: u64, delay_ms: u64) -> impl Stream<Item = u64> {
    stream::iter(1..=n).then(move |n| async move {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        n
    })
}

/// Says everything back over a WebSocket.
pub(crate) async fn web_socket(State(sample): State<Arc<Sample>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        let mut ending = std::pin::pin!(ending(sample));
        loop {
            let message = tokio::select! {
                message = socket.recv() => message,
                () = &mut ending => break,
            };
            let Some(Ok(message)) = message else { return };
            // Pings and the client's close are answered by axum, when the next message is waited for.
            if matches!(message, ws::Message::Ping(_) | ws::Message::Pong(_) | ws::Message::Close(_)) {
                continue;
            }
            let Ok(()) = socket.send(message).await else { return };
        }
        // Fails when the client is gone already; then there is nobody to tell.
        let _ = socket.send(ws::Message::Close(None)).await;
    })
}

async fn ending(sample: Arc<Sample>) {
    let Some(cx) = &sample.host else { return pending().await };
    cx.shutdown().await;
}
