//! Behaviours 54 and 45, row C11: answers are compressed for who can read it, and events still come one by one.

use bytes::Bytes;
use compression_codecs::{
    BrotliDecoder, DecodeV2, EncodeV2 as _, GzipDecoder, GzipEncoder, ZstdDecoder,
    core::{
        Level,
        util::{PartialBuffer, WriteBuffer},
    },
};
use http::Method;
use http_body_util::Full;

use crate::{
    both_models,
    host::{Answer, Host, Model, Setup},
};

const ON: &str = "[site.compression]\nmin_size = 1\ntypes = [\"text/*\", \"*/*\"]";

async fn ask(
    host: &Host,
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let client = host.client();
    let request = client.request(method, path);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.send(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

fn decoder(encoding: &str) -> Box<dyn DecodeV2> {
    match encoding {
        "zstd" => Box::new(ZstdDecoder::new()),
        "br" => Box::new(BrotliDecoder::new()),
        _ => Box::new(GzipDecoder::new()),
    }
}

/// What these bytes say, as far as they go.
fn said(decoder: &mut dyn DecodeV2, packed: &[u8]) -> String {
    let mut room = vec![0; 100_000];
    let mut output = WriteBuffer::new_initialized(&mut room);
    let mut input = PartialBuffer::new(packed);
    while !input.unwritten().is_empty() {
        decoder.decode(&mut input, &mut output).unwrap();
    }
    String::from_utf8(output.written().to_vec()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Level::Best.into());
    let mut room = vec![0; bytes.len() + 100];
    let mut output = WriteBuffer::new_initialized(&mut room);
    let mut input = PartialBuffer::new(bytes);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut output).unwrap();
    }
    assert!(encoder.finish(&mut output).unwrap());
    output.written().to_vec()
}

both_models! {
    async fn a_page_comes_compressed_for_who_can_read_it(model: Model) {
        let host = Setup::sample(model).site(ON).start().await;
        let plain = ask(&host, Method::GET, "/", &[], "").await;
        assert_eq!((plain.headers.get("content-encoding"), plain.header("vary")), (None, "Accept-Encoding"));
        for (accept, encoding) in [("gzip, br, zstd", "zstd"), ("gzip, br", "br"), ("gzip;q=1, br;q=0", "gzip")] {
            let fields = [("accept-encoding", accept)];
            let packed = ask(&host, Method::GET, "/", &fields, "").await;
            assert_eq!((packed.header("content-encoding"), packed.header("vary")), (encoding, "Accept-Encoding"));
            assert!(packed.body.len() * 2 < plain.body.len(), "{} bytes", packed.body.len());
            assert_eq!(said(&mut *decoder(encoding), &packed.body), plain.text());
            let head = ask(&host, Method::HEAD, "/", &fields, "").await;
            assert_eq!((head.header("content-encoding"), head.headers.get("content-length")), (encoding, None));
        }
    }

    async fn events_come_one_by_one_also_compressed(model: Model) {
        let host = Setup::sample(model).site(ON).start().await;
        for encoding in ["gzip", "br", "zstd"] {
            let mut wire = host.wire().await;
            wire.send(format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/event-stream\r\nAccept-Encoding: {encoding}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
            ))
            .await;
            let mut decoder = decoder(encoding);
            for n in 0..20 {
                let event = format!("data: {n}\n\n");
                wire.send_chunk(event.as_bytes()).await;
                if n == 0 {
                    let head = wire.head().await.to_lowercase();
                    assert!(head.contains(&format!("content-encoding: {encoding}")), "{head}");
                }
                let mut come = String::new();
                // The next one is not sent before this one has come, whole.
                while come.len() < event.len() {
                    come.push_str(&said(&mut *decoder, &wire.chunk().await.expect("not the end")));
                }
                assert_eq!(come, event);
            }
            wire.send("0\r\n\r\n").await;
            while wire.chunk().await.is_some() {}
        }
    }

    async fn what_a_client_refuses_or_is_no_page_comes_as_it_is(model: Model) {
        let host = Setup::sample(model).site(ON).start().await;
        for accept in ["gzip;q=0", "*;q=0", "identity", &"x, ".repeat(2500)] {
            let answer = ask(&host, Method::GET, "/", &[("accept-encoding", accept)], "").await;
            assert_eq!(answer.headers.get("content-encoding"), None);
            assert!(answer.text().contains("<html"));
        }
        let grpc = [("accept-encoding", "gzip"), ("content-type", "application/grpc")];
        let answer = ask(&host, Method::POST, "/echo", &grpc, "message").await;
        assert_eq!((answer.headers.get("content-encoding"), answer.text()), (None, "message"));
    }

    async fn requests_are_unpacked_and_the_limit_counts_what_comes_out(model: Model) {
        let site = "[site.compression]\nalgorithms = []\ndecompress = true";
        let host = Setup::sample(model).site(site).application("max_request_body = 50000").start().await;
        let packed = [("content-encoding", "gzip")];
        let answer = ask(&host, Method::POST, "/upload", &packed, gzip(&[0; 50_000])).await;
        assert_eq!(answer.json()["size"], 50_000);
        for (encoding, body, status, code) in [
            ("gzip", gzip(&[0; 50_001]), 413, "body_too_large"),
            ("deflate", gzip(b"x"), 415, "unknown_encoding"),
            ("gzip", b"not that".to_vec(), 400, "bad_request"),
        ] {
            let answer = ask(&host, Method::POST, "/upload", &[("content-encoding", encoding)], body).await;
            assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (status, code));
            // What the client may try instead.
            let known = answer.headers.get("accept-encoding").map(|value| value.to_str().unwrap());
            assert_eq!(known, (status == 415).then_some("zstd, br, gzip"), "{encoding}");
        }
        let answer = ask(&host, Method::GET, "/", &[("accept-encoding", "gzip")], "").await;
        assert_eq!((answer.headers.get("content-encoding"), answer.headers.get("vary")), (None, None));
    }
}
