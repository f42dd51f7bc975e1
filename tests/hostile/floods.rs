//! Rows B1 to B5 and B7: frames of HTTP/2 as no library sends them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use super::canary;
use crate::{
    both_models,
    host::{Host, Model, Setup},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds of frames that tests send.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
    pub(super) const UNKNOWN: u8 = 0xbe;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields without compression (RFC 7541, 6.2.2), each written whole.
fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let text = |text: &[u8]| [&[u8::try_from(text.len()).unwrap()][..], text].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

const GET: [(&[u8], &[u8]); 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/json"), (b":authority", b"a")];

/// GET, with these in the place of its own, and others behind it.
fn changed(fields: &[(&'static [u8], &'static [u8])]) -> Vec<u8> {
    let own = |name: &[u8]| fields.iter().find(|(other, _)| *other == name);
    let first = GET.map(|field| *own(field.0).unwrap_or(&field));
    let behind = fields.iter().filter(|(name, _)| !GET.iter().any(|(own, _)| own == name)).copied();
    block(&first.into_iter().chain(behind).collect::<Vec<_>>())
}

async fn begun(host: &Host) -> TcpStream {
    let mut stream = host.raw().await;
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(kind::SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Writes for as long as the host takes it, while it reads; returns what came, once the host has closed.
async fn flooded(stream: TcpStream, bytes: Vec<u8>) -> Vec<u8> {
    let (mut reading, mut writing) = stream.into_split();
    let writing = tokio::spawn(async move {
        let _closed = writing.write_all(&bytes).await;
        writing
    });
    let mut seen = Vec::new();
    let _reset = reading.read_to_end(&mut seen).await;
    drop(writing.await.unwrap());
    seen
}

/// The frames that came: kind, stream, and what is in it.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, s, t, u, v, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let payload = &rest[..length.min(rest.len())];
        frames.push((*kind, u32::from_be_bytes([*s, *t, *u, *v]), payload.to_vec()));
        bytes = &rest[payload.len()..];
    }
    frames
}

/// Why the host said good-bye, if it did.
fn goodbye(bytes: &[u8]) -> Option<u32> {
    let last = frames(bytes).into_iter().rfind(|(kind, ..)| *kind == kind::GOAWAY);
    last.map(|(.., payload)| u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

const CALM: u32 = 0xb;

both_models! {
    async fn frames_of_no_use_end_a_connection(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let open = frame(kind::HEADERS, 4, 1, &changed(&[(b":method", b"POST"), (b":path", b"/upload")]));
        let none: &[u8] = &[];
        for (flood, before) in [
            (frame(kind::PING, 0, 0, &[7; 8]), none),
            (frame(kind::SETTINGS, 0, 0, &[]), none),
            (frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 1]), none),
            (frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), none),
            (frame(kind::UNKNOWN, 0, 0, b"whatever"), none),
            (frame(kind::DATA, 0, 1, &[]), &open),
        ] {
            let mut stream = begun(&host).await;
            stream.write_all(before).await.unwrap();
            let began = Instant::now();
            let seen = flooded(stream, flood.repeat(60_000)).await;
            assert!(began.elapsed() < Duration::from_secs(2), "{flood:?}: {:?}", began.elapsed());
            if let Some(reason) = goodbye(&seen) {
                assert_eq!(reason, CALM, "{flood:?}");
            }
        }
        canary(&host).await;
    }

    async fn who_never_reads_what_is_answered_to_a_flood_costs_no_memory(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let before = host.status("VmRSS");
        let mut stream = begun(&host).await;
        let flood = frame(kind::PING, 0, 0, &[7; 8]).repeat(60_000);
        let _cut = tokio::time::timeout(Duration::from_secs(5), stream.write_all(&flood)).await;
        canary(&host).await;
        assert!(host.status("VmRSS") < before + 8_000, "{before} kB before, {} kB after", host.status("VmRSS"));
    }

    async fn requests_that_are_cancelled_at_once_end_a_connection(model: Model) {
        let host = Setup::broken(model, "none").start_preloaded().await;
        let mut bytes = Vec::new();
        for number in 0..5000_u32 {
            let stream = number * 2 + 1;
            bytes.extend(frame(kind::HEADERS, 5, stream, &changed(&[(b":path", b"/hang")])));
            bytes.extend(frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        }
        let seen = flooded(begun(&host).await, bytes).await;
        if let Some(reason) = goodbye(&seen) {
            assert_eq!(reason, CALM);
        }
        canary(&host).await;
    }

    async fn streams_that_the_host_has_to_reset_end_a_connection(model: Model) {
        let host = Setup::broken(model, "none").start_preloaded().await;
        let mut bytes = Vec::new();
        for number in 0..3000_u32 {
            let stream = number * 2 + 1;
            bytes.extend(frame(kind::HEADERS, 4, stream, &changed(&[(b":path", b"/hang")])));
            // A window of nothing more is an error of the stream.
            bytes.extend(frame(kind::WINDOW_UPDATE, 0, stream, &[0, 0, 0, 0]));
        }
        let seen = flooded(begun(&host).await, bytes).await;
        assert!(goodbye(&seen).is_none_or(|reason| reason != 0), "{:?}", goodbye(&seen));
        canary(&host).await;
    }

    async fn heads_without_an_end_are_not_collected(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let before = host.status("VmRSS");
        let begin = frame(kind::HEADERS, 0, 1, &block(&GET));
        // A field of the table, again and again: a byte that stands for many.
        let table = [&[0x40, 1, b'x'][..], &[0x7f, 0xa1, 0x1e], &[b'a'; 4000]].concat();
        let bomb = [&block(&GET)[..], &table, &[0xbe; 10_000]].concat();
        let garbage = [&[0, 1, b'x', 0xff, 0x81, 0x7f][..], &[0xff; 12_000]].concat();
        for attack in [
            [&begin[..], &frame(kind::CONTINUATION, 0, 1, &[]).repeat(60_000)].concat(),
            [&begin[..], &frame(kind::CONTINUATION, 0, 1, &block(&[(b"x", &[b'a'; 120])]).repeat(100)).repeat(500)]
                .concat(),
            frame(kind::HEADERS, 5, 1, &bomb),
            frame(kind::HEADERS, 5, 1, &garbage),
        ] {
            let mut stream = begun(&host).await;
            let _cut = stream.write_all(&attack).await;
            let _done = stream.write_all(&frame(kind::GOAWAY, 0, 0, &[0; 8])).await;
            stream.shutdown().await.unwrap_or_default();
            let mut seen = Vec::new();
            let _reset = stream.read_to_end(&mut seen).await;
        }
        canary(&host).await;
        assert!(host.status("VmRSS") < before + 16_000, "{before} kB before, {} kB after", host.status("VmRSS"));
    }

    async fn what_only_http2_can_say_is_not_said_in_http1(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let cases: &[&[(&[u8], &[u8])]] = &[
            &[(b":path", b"")],
            &[(b":path", b"/a b")],
            &[(b":path", b"/a\r\nX: y")],
            &[(b":path", b"/a\0b")],
            &[(b":path", b"a")],
            &[(b":path", b"*")],
            &[(b":method", b"GET /x HTTP/1.1\r\nX: y")],
            &[(b":method", b"")],
            &[(b":scheme", b"ftp")],
            &[(b":authority", b"a"), (b"host", b"b")],
            &[(b":authority", b"u@a")],
            &[(b":authority", b"a b")],
            &[(b":authority", b"evil.org,a.example.com")],
            &[(b":authority", b"a;b")],
            &[(b":authority", b"*")],
            &[(b":authority", b"a:99999")],
            &[(b"X-Upper", b"1")],
            &[(b"x", b"a\r\nb: c")],
            &[(b"x", b"a\0")],
            &[(b"x y", b"1")],
            &[(b"connection", b"close")],
            &[(b"transfer-encoding", b"chunked")],
            &[(b"upgrade", b"h2c")],
            &[(b"te", b"gzip")],
            &[(b"content-length", b"5")],
            &[(b"x", b"1"), (b":late", b"1")],
        ];
        for fields in cases {
            let mut stream = begun(&host).await;
            stream.write_all(&frame(kind::HEADERS, 5, 1, &changed(fields))).await.unwrap();
            stream.write_all(&frame(kind::GOAWAY, 0, 0, &[0; 8])).await.unwrap();
            let mut seen = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut seen));
            let _reset = read.await.unwrap();
            let refused = frames(&seen).iter().any(|(kind, stream, payload)| match *kind {
                kind::RST_STREAM | kind::GOAWAY => payload.iter().rev().take(4).any(|byte| *byte != 0),
                // The table of HPACK: 0x8c is `:status: 400`.
                kind::HEADERS => *stream == 1 && payload.contains(&0x8c),
                _ => false,
            });
            assert!(refused, "{fields:?}: {:?}", frames(&seen));
        }
        canary(&host).await;
    }

    async fn pieces_of_a_cookie_are_one_field_and_too_many_fields_are_431(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let client = host.client().http2();
        let mut cookies = client.request(http::Method::GET, "/info");
        let mut others = client.request(http::Method::GET, "/info");
        for number in 0..1000 {
            cookies = cookies.header("cookie", format!("c{number}=1"));
            if number < 200 {
                others = others.header(format!("x-{number}"), "1");
            }
        }
        let body = http_body_util::Empty::<bytes::Bytes>::new;
        let answer = client.send(cookies.body(body()).unwrap()).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("c999=1"));
        let answer = client.send(others.body(body()).unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (431, "too_many_fields"));
        let large = client.request(http::Method::GET, "/info").header("x", "a".repeat(70_000));
        let answer = client.send(large.body(body()).unwrap()).await.unwrap();
        assert_eq!(answer.status, 431);
    }

    async fn more_fields_may_be_allowed_in_either_version(model: Model) {
        let host = Setup::sample(model).server("max_header_fields = 300").start_preloaded().await;
        for client in [host.client(), host.client().http2()] {
            let mut request = client.request(http::Method::GET, "/info");
            for number in 0..250 {
                request = request.header(format!("x-{number}"), "1");
            }
            let answer = client.send(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains("x-249"));
        }
    }
}
