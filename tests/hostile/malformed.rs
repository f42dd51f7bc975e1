//! Rows A1 to A26, from the bytes on the wire: what each gets, and that nothing behind it is taken for a request.

use super::canary;
use crate::{
    both_models,
    host::{Host, Model, Setup},
};

/// A whole request, which is to be answered only where one may begin; or never.
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The statuses that come for these bytes, to the end of the connection.
async fn statuses(host: &Host, bytes: &[u8]) -> Vec<u16> {
    let mut wire = host.wire().await;
    // The host may close before it has taken all of it.
    let (mut reading, mut writing) = wire.stream.split();
    let sent = bytes.to_vec();
    let mut seen = Vec::new();
    let sending = async {
        use tokio::io::AsyncWriteExt as _;
        let _closed = writing.write_all(&sent).await;
        std::future::pending::<()>().await;
    };
    let reading = async {
        use tokio::io::AsyncReadExt as _;
        let mut piece = [0; 8192];
        while let Ok(read @ 1..) = reading.read(&mut piece).await {
            seen.extend_from_slice(&piece[..read]);
        }
    };
    tokio::select! {
        () = sending => {}
        ended = tokio::time::timeout(crate::host::PATIENCE / 3, reading) => ended.expect("an end of the connection"),
    }
    let text = String::from_utf8_lossy(&seen);
    text.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).collect()
}

async fn gets(host: &Host, row: &str, bytes: impl AsRef<[u8]>, expected: &[u16]) {
    let bytes = bytes.as_ref();
    let came = statuses(host, bytes).await;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    assert_eq!(came, expected, "{row}: {shown:?}");
}

fn upload(fields: &str, body: &str) -> String {
    format!("POST /upload HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}{NEXT}")
}

fn chunked(body: &str) -> String {
    upload("Transfer-Encoding: chunked", body)
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n")
}

fn with(field: &str) -> String {
    format!("GET /json HTTP/1.1\r\nHost: a\r\n{field}\r\nConnection: close\r\n\r\n")
}

both_models! {
    async fn a_length_is_one_number_or_none(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        for fields in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"] {
            // The chunks count, and it is the last request of its connection.
            gets(&host, "A1", upload(fields, "0\r\n\r\n"), &[200]).await;
        }
        for length in ["5\r\nContent-Length: 6", "5, 6", "-1", "+5", "0x5", "1e1", "", "5 5", "5,", "18446744073709551616",
            "99999999999999999999"]
        {
            gets(&host, "A2, A4", upload(&format!("Content-Length: {length}"), "hello"), &[400]).await;
        }
        for length in ["5", "5 ", "05", "5\r\nContent-Length: 5"] {
            gets(&host, "A3, A4", upload(&format!("Content-Length: {length}"), "hello"), &[200, 404]).await;
        }
        canary(&host).await;
    }

    async fn a_coding_is_chunked_or_none(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        for coding in ["xchunked", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked, chunked",
            "chunked;q=1", "\x0bchunked", "chunk ed", "identity", "chunked\r\nTransfer-Encoding: identity",
            "chunked\r\nTransfer-Encoding: chunked", ""]
        {
            gets(&host, "A5", upload(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n"), &[400]).await;
        }
        gets(&host, "A5", upload("Transfer-Encoding: CHUNKED", "0\r\n\r\n"), &[200, 404]).await;
        gets(&host, "A6", upload("Transfer-Encoding : chunked", "0\r\n\r\n"), &[400]).await;
        gets(&host, "A6", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400]).await;
        canary(&host).await;
    }

    async fn a_body_in_chunks_is_what_the_chunks_say(model: Model) {
        let host = Setup::sample(model).server("body_timeout = \"500ms\"").start_preloaded().await;
        for size in ["FFFFFFFFFFFFFFFF1", "-1", "0x5", " 5", "", "+5", "5\n", "g"] {
            gets(&host, "A8", chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n")), &[400]).await;
        }
        // What follows the size goes no further: a body is divided anew.
        for size in ["5 ", "5;", "5\t", "5;a=b", "0005"] {
            gets(&host, "A8", chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n")), &[200, 404]).await;
        }
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(1_000_000));
        gets(&host, "A9", chunked(&long), &[400]).await;
        let many = format!("1;{}\r\nx\r\n", "a".repeat(100)).repeat(10_000);
        gets(&host, "A9", chunked(&many), &[400]).await;
        for body in ["5\r\nhelloXX0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n"] {
            gets(&host, "A10", chunked(body), &[400]).await;
        }
        gets(&host, "A10", chunked("5\r\nhello\r\n0\r\n\r\nGARBAGE\r\n\r\n"), &[200, 400]).await;
        let unfinished = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
        gets(&host, "A10", unfinished, &[408]).await;
        let trailers = |lines: &str| chunked(&format!("0\r\n{lines}\r\n"));
        gets(&host, "A11", trailers("Content-Length: 5\r\nHost: b\r\nAuthorization: x\r\n"), &[200, 404]).await;
        gets(&host, "A11", trailers(&"X-T: 1\r\n".repeat(1000)), &[400]).await;
        gets(&host, "A11", trailers(&format!("X-T: {}\r\n", "a".repeat(1_000_000))), &[400]).await;
        canary(&host).await;
    }

    async fn lines_end_as_lines_do(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let get = line("GET /json HTTP/1.1");
        gets(&host, "A12", get.replace("\r\n", "\n"), &[200]).await;
        gets(&host, "A12", get.replace("\r\n", "\r"), &[400]).await;
        gets(&host, "A12", with("X: a\rY: b"), &[400]).await;
        gets(&host, "A12", format!("\r\n{get}"), &[200]).await;
        gets(&host, "A12", format!("{}{get}", "\r\n".repeat(50_000)), &[431]).await;
        gets(&host, "A13", "GET /json HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n", &[400]).await;
        gets(&host, "A13", with("X: a\r\n b"), &[400]).await;
        canary(&host).await;
    }

    async fn fields_have_names_and_a_size(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        for byte in [0, 1, 0x1f, 0x7f, 0x80, 0xff, b' ', b'(', b'"', b'@'] {
            let name = [b"GET /json HTTP/1.1\r\nHost: a\r\nX", &[byte][..], b"Y: 1\r\n\r\n"].concat();
            gets(&host, "A14", name, &[400]).await;
        }
        for byte in [0, 1, b'\r', 0x0b, 0x0c, 0x7f] {
            let value = [b"GET /json HTTP/1.1\r\nHost: a\r\nX: a", &[byte][..], b"b\r\n\r\n"].concat();
            gets(&host, "A14", value, &[400]).await;
        }
        for size in [1 << 16, 1 << 20] {
            gets(&host, "A15", with(&format!("X: {}", "a".repeat(size))), &[431]).await;
        }
        for count in [101, 1000, 100_000] {
            gets(&host, "A16", with("X: 1\r\n".repeat(count).trim_end()), &[431]).await;
        }
        for size in [1 << 16, 1 << 20] {
            gets(&host, "A17", line(&format!("GET /{} HTTP/1.1", "a".repeat(size))), &[431]).await;
            gets(&host, "A17", line(&format!("{} / HTTP/1.1", "A".repeat(size))), &[431]).await;
        }
        let before = host.status("VmRSS");
        let mut endless = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        endless.resize(100 << 20, b'a');
        gets(&host, "A15", endless, &[431]).await;
        assert!(host.status("VmRSS") < before + 8_000);
        canary(&host).await;
    }

    async fn a_request_line_is_three_words(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        for target in ["*", "a.com:80", "../x", "x", "?x", "ws://a/", "ftp://a/", "javascript:1", "http://b/json", "http://"] {
            gets(&host, "A19, A20", line(&format!("GET {target} HTTP/1.1")), &[400]).await;
        }
        for other in ["OPTIONS ** HTTP/1.1", "CONNECT a:443 HTTP/1.1", "GET /a b HTTP/1.1", "GET /a\tb HTTP/1.1",
            "GET  /json HTTP/1.1", "GET\t/json\tHTTP/1.1", "GET /json HTTP/1.1 ", "GET /json http/1.1",
            "GET /json HTTP/1.2", "GET /json HTTP/2.0", "GET /json HTTP/0.9", "GET /json HTTP/1.10", "GET /json",
            " GET /json HTTP/1.1", "( /json HTTP/1.1", "GET\0 /json HTTP/1.1", " /json HTTP/1.1", "G\u{e9}T /json HTTP/1.1"]
        {
            gets(&host, "A20, A21, A22", line(other), &[400]).await;
        }
        for method in ["get", "GeT", "FOO"] {
            let answer = host.exchange(&line(&format!("{method} /info HTTP/1.1"))).await;
            assert!(answer.contains(&format!("\"method\":\"{method}\"")), "A22: {answer}");
        }
        canary(&host).await;
    }

    async fn no_tunnel_is_opened_that_is_none(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let settings = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__";
        gets(&host, "A23", format!("GET /json HTTP/1.1\r\nHost: a\r\n{settings}\r\n\r\n{NEXT}"), &[200, 404]).await;
        let upgrade = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (head, status) in [
            (format!("POST /ws HTTP/1.1\r\n{upgrade}"), 405),
            (format!("GET /ws HTTP/1.1\r\n{}", upgrade.replace(": 13", ": 12")), 400),
            (format!("GET /ws HTTP/1.1\r\n{}", upgrade.split("Sec-WebSocket-Key").next().unwrap()), 400),
        ] {
            gets(&host, "A23", format!("{head}\r\n{NEXT}"), &[status, 404]).await;
        }
        canary(&host).await;
    }

    async fn bytes_of_a_body_are_no_request(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let length = NEXT.len();
        for (row, head) in [
            ("A24", format!("POST /upload HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}")),
            ("A26", format!("GET /json HTTP/1.1\r\nContent-Length: {length}")),
            ("A26", format!("HEAD /json HTTP/1.1\r\nContent-Length: {length}")),
        ] {
            let expected: &[u16] = if row == "A24" { &[100, 200, 404] } else { &[200, 404] };
            gets(&host, row, format!("{head}\r\nHost: a\r\n\r\n{NEXT}{NEXT}"), expected).await;
        }
        gets(&host, "A24", "POST /upload HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", &[200]).await;
        canary(&host).await;
    }

    async fn a_thousand_requests_in_one_write_are_answered_in_order(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        let many = "GET /json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
        let expected: Vec<u16> = std::iter::repeat_n(200, 1000).chain([404]).collect();
        gets(&host, "A25", format!("{many}{NEXT}"), &expected).await;
    }
}
