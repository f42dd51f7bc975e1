//! Answers as an application that breaks the contract could make them, out of any bytes: for a property test here, and
//! for `fuzz/`.
//!
//! In: bytes, which choose sizes, statuses, fields, lengths and pointers. Out: nothing. Panics when something that was
//! given is not given back exactly once, or a refused answer leaves a trace.
#![expect(unsafe_code, reason = "the other side of the seam, which makes what is hostile")]

use std::{
    ffi::c_void,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use cohost_abi as abi;
use http_body::Body as _;

use super::answer::{self, Asked};
use crate::{dispatcher::in_process::generation::Lease, facts::Facts};

/// More than a map of fields can hold.
const TOO_MANY: usize = 40_000;

/// What an answer gave, and what it got back.
#[derive(Default)]
struct Account {
    given: AtomicU32,
    back: AtomicU32,
}

/// Reads an answer that is made of `choices`, and everything that comes of it.
///
/// # Errors
/// Returns the code with which it was refused.
#[cfg_attr(not(feature = "fuzz"), expect(unreachable_pub, reason = "for the fuzz target"))]
pub fn answer(choices: &[u8]) -> Result<(), abi::Code> {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime =
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().build().expect("threads"));
    let _entered = runtime.enter();
    static LEASE: OnceLock<std::sync::Arc<Lease>> = OnceLock::new();
    let lease = LEASE.get_or_init(Lease::of_nothing);

    let account = Account::default();
    let choices = &mut Choices(choices);
    let fields = Fields::new(choices);
    let mut body = some_bytes(choices, &account);
    let mut script = Script { choices: choices.split(), account: &account, fields: Fields::new(choices) };
    let mut stream = abi::Stream {
        size: choices.size::<abi::Stream>(),
        state: (&raw mut script).cast(),
        content_length: if choices.rarely() { choices.number() } else { abi::NO_LENGTH },
        poll_frame: (!choices.rarely()).then_some(poll_frame),
        drop: Some(drop_stream),
    };
    let mut upgrade = abi::Upgrade {
        size: choices.size::<abi::Upgrade>(),
        state: (&raw const account).cast_mut().cast(),
        on_io: (!choices.rarely()).then_some(on_io),
        drop: Some(drop_upgrade),
    };
    let file = abi::File {
        size: choices.size::<abi::File>(),
        fd: -1 - i32::from(choices.byte()),
        flags: choices.byte().into(),
        offset: choices.number(),
        length: choices.number(),
    };
    let mut sink = abi::Sink::NONE;
    let kind = u32::from(choices.byte() % 6);
    let nothing = choices.rarely();
    let mut response = abi::Response {
        size: choices.size::<abi::Response>(),
        status: if choices.rarely() { choices.number() as u16 } else { 200 + u16::from(choices.byte()) },
        flags: 0,
        n_headers: fields.list.len() as u32,
        headers: if choices.rarely() { ptr::null() } else { fields.list.as_ptr() },
        body_kind: kind,
        reserved: 0,
        body: ptr::null_mut(),
        stream: ptr::null_mut(),
        sink: ptr::null_mut(),
        file: ptr::null(),
        upgrade: ptr::null_mut(),
    };
    let is_read = response.size >= size_of::<abi::Response>();
    let given = |this: bool| this && !nothing && is_read;
    if given(kind == abi::body_kind::BYTES) {
        response.body = &raw mut body;
    } else {
        account.forget(body.release.is_some());
    }
    if given(kind == abi::body_kind::STREAM) {
        account.given.fetch_add(1, Relaxed);
        response.stream = &raw mut stream;
    }
    if !nothing {
        response.sink = &raw mut sink;
        response.file = &raw const file;
    }
    if given(choices.rarely()) {
        account.given.fetch_add(1, Relaxed);
        response.upgrade = &raw mut upgrade;
    }
    let asked = Asked { upgrade: choices.rarely(), head: choices.rarely(), connect: choices.rarely() };

    let (parts, ()) = http::Request::new(()).into_parts();
    // SAFETY: every pointer is null or to what is alive until the end of this function, where all is given back.
    let answer = unsafe { answer::read(&raw const response, lease, asked, (&parts, &Facts::unknown())) };
    let outcome = answer.map(|answer| exhaust(answer.response.into_body()));
    if let Err(code) = outcome {
        assert!(code < 0, "refused with {code}");
        assert_eq!(sink.0, 0, "a refused answer has a sink");
    }
    if sink.0 != 0 {
        assert!(lease.objects.remove(sink.0));
    }
    assert_eq!(account.given.load(Relaxed), account.back.load(Relaxed), "given and given back");
    outcome
}

/// Asks a body for some frames.
fn exhaust(mut body: crate::Body) {
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..20 {
        match std::pin::Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            _ => return,
        }
    }
}

impl Account {
    /// What was made is not given.
    fn forget(&self, was_made: bool) {
        self.given.fetch_sub(u32::from(was_made), Relaxed);
    }

    /// # Safety
    /// `this` is an account.
    unsafe fn is_back(this: *const c_void) {
        // SAFETY: says the caller.
        unsafe { &*this.cast::<Self>() }.back.fetch_add(1, Relaxed);
    }
}

/// The bytes that choose; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn rarely(&mut self) -> bool {
        self.byte() % 8 == 7
    }

    fn number(&mut self) -> u64 {
        (0..self.byte() % 9).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn text(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte() % 32).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        text
    }

    /// Half of what is left.
    fn split(&mut self) -> Choices<'a> {
        let (half, rest) = self.0.split_at(self.0.len() / 2);
        self.0 = rest;
        Choices(half)
    }

    /// Mostly what it should be.
    fn size<T>(&mut self) -> usize {
        let right = size_of::<T>();
        match self.byte() {
            253 => 0,
            254 => right - 1,
            255 => right + 64,
            _ => right,
        }
    }
}

/// Header fields, and what they point at.
struct Fields<'a> {
    list: Vec<abi::Header>,
    _names: Vec<String>,
    _choices: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn new(choices: &mut Choices<'a>) -> Self {
        let wanted = usize::from(choices.byte() % 6);
        let mut list: Vec<abi::Header> = (0..wanted).map(|_| field(choices)).collect();
        let too_many = if choices.byte() == 255 { TOO_MANY } else { 0 };
        let names: Vec<String> = (0..too_many).map(|number| format!("x-{number}")).collect();
        let name = |name: &String| (name.as_ptr(), name.len() as u32);
        let none = &mut Choices(&[]);
        list.extend(names.iter().map(name).map(|(name, name_len)| abi::Header {
            name,
            name_len,
            ..field(none)
        }));
        Self { list, _names: names, _choices: std::marker::PhantomData }
    }
}

fn field(choices: &mut Choices<'_>) -> abi::Header {
    const NAMES: [&str; 8] = [
        "x-a",
        "content-length",
        "content-type",
        "connection",
        "upgrade",
        "transfer-encoding",
        "cohost-facts",
        "te",
    ];
    const VALUES: [&str; 6] = ["", "0", "5", "18446744073709551616", "a, b", "text/plain"];
    let known =
        |known: &[&'static str], choice: u8| known.get(usize::from(choice)).map(|text| text.as_bytes());
    let name = known(&NAMES, choices.byte() % 12).unwrap_or_else(|| choices.text());
    let value = known(&VALUES, choices.byte() % 9).unwrap_or_else(|| choices.text());
    abi::Header {
        name: if choices.rarely() { ptr::null() } else { name.as_ptr() },
        value: if choices.rarely() { ptr::null() } else { value.as_ptr() },
        name_len: name.len() as u32,
        value_len: value.len() as u32,
        name_id: if choices.rarely() { choices.number() as u16 } else { abi::header_id::NONE },
        flags: choices.byte().into(),
        reserved: 0,
    }
}

/// Bytes with or without an owner, here, nowhere, or more than can be.
fn some_bytes(choices: &mut Choices<'_>, account: &Account) -> abi::Bytes {
    static TEXT: [u8; 1000] = [b't'; 1000];
    let (ptr, len) = match choices.byte() % 8 {
        0 => (ptr::null(), 0),
        1 => (ptr::null(), usize::from(choices.byte())),
        2 => (TEXT.as_ptr(), usize::MAX),
        3 => (TEXT.as_ptr(), TEXT.len()),
        _ => (TEXT.as_ptr(), usize::from(choices.byte())),
    };
    let release =
        choices.byte().is_multiple_of(2).then_some(release as unsafe extern "C" fn(*mut abi::Bytes));
    account.given.fetch_add(u32::from(release.is_some()), Relaxed);
    let owner = [ptr::from_ref(account) as usize, 0, 0, 0];
    abi::Bytes { ptr, len, owner, release, flags: choices.byte().into() }
}

unsafe extern "C" fn release(this: *mut abi::Bytes) {
    // SAFETY: the host passes the bytes, wherever they are now.
    let account = unsafe { (*this).owner[0] };
    // SAFETY: made by `some_bytes`.
    unsafe { Account::is_back(ptr::with_exposed_provenance(account)) };
}

/// What a stream does next.
struct Script<'a> {
    choices: Choices<'a>,
    account: &'a Account,
    fields: Fields<'a>,
}

unsafe extern "C" fn poll_frame(state: *mut c_void, _: *const abi::Waker, out: *mut abi::Frame) -> abi::Code {
    // SAFETY: the state of the stream, alive as long as the answer.
    let script = unsafe { &mut *state.cast::<Script<'_>>() };
    let code = match script.choices.byte() % 8 {
        0..5 => abi::code::DONE,
        5 => abi::code::PENDING,
        6 => abi::code::EOF,
        _ => abi::Code::from(script.choices.byte().cast_signed()),
    };
    if code == abi::code::DONE {
        // SAFETY: the host's, to be filled.
        let out = unsafe { &mut *out };
        out.kind = u32::from(script.choices.byte() % 3);
        out.data = some_bytes(&mut script.choices, script.account);
        out.headers = script.fields.list.as_ptr();
        out.n_headers = script.fields.list.len() as u32;
    }
    code
}

unsafe extern "C" fn drop_stream(state: *mut c_void) {
    // SAFETY: the state of the stream, alive as long as the answer.
    let script = unsafe { &*state.cast::<Script<'_>>() };
    script.account.back.fetch_add(1, Relaxed);
}

unsafe extern "C" fn on_io(state: *mut c_void, _: abi::Io) {
    // SAFETY: the state of the upgrade is an account.
    unsafe { Account::is_back(state) };
}

unsafe extern "C" fn drop_upgrade(state: *mut c_void) {
    // SAFETY: the state of the upgrade is an account.
    unsafe { Account::is_back(state) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn every_answer_is_read_or_refused_and_what_it_owns_given_back_once(
            choices in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let _ = super::answer(&choices);
        }
    }

    #[test]
    fn an_answer_with_more_fields_than_can_be_is_refused() {
        assert_eq!(super::answer(&[1, 0, 0, 0, 0, 0, 0, 255]), Err(cohost_abi::code::E_INVALID));
        assert_eq!(super::answer(&[1, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
    }
}
