//! Answers that are none, are too many, or are not HTTP: given in the call itself.

use std::ptr;

use cohost_abi::{self as abi, Body, Code, Header, Io, Sink, Token, body_kind, code};

use crate::{
    host::{Call, borrowed, empty, field, owned, with_bytes, with_fields},
    record::{line, set_report},
};

pub(crate) fn route(call: &Call<'_>, name: &str, number: Option<i64>) -> Option<Code> {
    Some(match name {
        "none" => code::DONE,
        "twice" => twice(call),
        "forged" => forged(call),
        // `handle` returns the number without having answered.
        "code" => number.map_or(code::E_APP, |number| number as Code),
        "unknown-code" => -77,
        "answer-and-fail" => answer_and_fail(call),
        "owned" => call.respond(&with_bytes(&mut owned(b"owned\n"))),
        "bad-status" => refused(call, name, &empty(number.map_or(99, |number| number as u16))),
        "bad-header" => with_field(call, name, field("x-value", "one\r\nx-injected: two")),
        "bad-name" => with_field(call, name, field("x name", "one")),
        "framing" => with_field(call, name, field("transfer-encoding", "chunked")),
        "bad-length" => bad_length(call, name),
        "null-response" => report(call, name, call.respond_raw(ptr::null())),
        "null-headers" => refused(call, name, &abi::Response { n_headers: 1, ..empty(200) }),
        "null-field" => with_field(call, name, Header { value: ptr::null(), ..field("x-value", "one") }),
        "null-body" => refused(call, name, &abi::Response { body_kind: body_kind::BYTES, ..empty(200) }),
        "null-stream" => refused(call, name, &abi::Response { body_kind: body_kind::STREAM, ..empty(200) }),
        "null-sink" => refused(call, name, &abi::Response { body_kind: body_kind::PUSH, ..empty(200) }),
        "null-file" => refused(call, name, &abi::Response { body_kind: body_kind::FILE, ..empty(200) }),
        "bad-file" => bad_file(call, name),
        "bad-kind" => refused(call, name, &abi::Response { body_kind: 99, ..empty(200) }),
        "bad-size" => refused(call, name, &abi::Response { size: 8, ..empty(200) }),
        "huge-length" => huge_length(call, name),
        "bad-then-good" => bad_then_good(call, name),
        _ => return None,
    })
}

/// The first answer is the one that counts.
fn twice(call: &Call<'_>) -> Code {
    let first = call.say("the first\n");
    let second = call.say("the second\n");
    set_report("twice", &[first, second]);
    code::DONE
}

/// An answer was given, and `handle` says that it failed.
fn answer_and_fail(call: &Call<'_>) -> Code {
    call.say("answered\n");
    code::E_APP
}

/// Tries handles that nobody gave out, and says what became of it.
fn forged(call: &Call<'_>) -> Code {
    const INVENTED: [usize; 6] = [0, 1, 0x1_0000_0001, 0xdead_beef, usize::MAX / 2, usize::MAX];
    let host = call.host;
    let try_all = |what: &str, try_one: &dyn Fn(usize) -> Code| line(what, &INVENTED.map(try_one));
    let text = [
        try_all("token_respond", &|n| host.token_respond(Token(n), &empty(200))),
        try_all("token_drop", &|n| host.token_drop(Token(n), code::E_APP)),
        try_all("token_head", &|n| Code::from(host.has_head(Token(n)))),
        try_all("token_take_body", &|n| Code::from(host.token_take_body(Token(n)) != Body::NONE)),
        try_all("body_drop", &|n| host.body_drop(Body(n))),
        try_all("sink_write", &|n| host.sink_write(Sink(n), owned(b"forged"))),
        try_all("sink_end", &|n| host.sink_end(Sink(n), &[])),
        try_all("sink_abort", &|n| host.sink_abort(Sink(n))),
        try_all("io_drop", &|n| host.io_drop(Io(n))),
    ];
    call.say(&text.concat())
}

/// Reports the code; the host has no answer but its own.
fn refused(call: &Call<'_>, name: &str, response: &abi::Response) -> Code {
    report(call, name, call.respond(response))
}

fn report(_: &Call<'_>, name: &str, answered: Code) -> Code {
    set_report(name, &[answered]);
    code::DONE
}

fn with_field(call: &Call<'_>, name: &str, header: Header) -> Code {
    refused(call, name, &with_fields(with_bytes(&mut borrowed(b"body\n")), &[header]))
}

/// Says 5 bytes and gives 10.
fn bad_length(call: &Call<'_>, name: &str) -> Code {
    let mut body = borrowed(b"0123456789");
    refused(call, name, &with_fields(with_bytes(&mut body), &[field("content-length", "5")]))
}

/// Bytes that no memory has.
fn huge_length(call: &Call<'_>, name: &str) -> Code {
    let mut body = abi::Bytes { len: usize::MAX, ..borrowed(b"small") };
    refused(call, name, &with_bytes(&mut body))
}

/// No descriptor at all.
fn bad_file(call: &Call<'_>, name: &str) -> Code {
    let file = abi::File { size: size_of::<abi::File>(), fd: -1, flags: 0, offset: 0, length: 1 };
    let response = abi::Response { body_kind: body_kind::FILE, file: &raw const file, ..empty(200) };
    refused(call, name, &response)
}

/// What is refused can be replaced.
fn bad_then_good(call: &Call<'_>, name: &str) -> Code {
    let bad = call.respond(&empty(99));
    let good = call.say("the better one\n");
    set_report(name, &[bad, good]);
    code::DONE
}
