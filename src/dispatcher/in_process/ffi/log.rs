//! Events of an application's `tracing` or `log`, from the contract's form to the host's log.
#![expect(unsafe_code, reason = "the seam")]

use cohost_abi as abi;
use tracing_core::Level;

use crate::{
    dispatcher::in_process::generation::Generation,
    facts::RequestId,
    telemetry::foreign::{self, Callsite, MOST_FIELDS, Typed, Wanted},
};

/// # Safety
/// `site` is null or keeps the contract; so does `id`.
pub(super) unsafe fn register(site: *const abi::Callsite, id: *mut u64) -> u32 {
    // SAFETY: says the caller.
    let Some(site) = (unsafe { site.as_ref() }) else { return abi::interest::NEVER };
    if site.size < size_of::<abi::Callsite>() || id.is_null() {
        return abi::interest::NEVER;
    }
    // SAFETY: says the caller.
    let (number, wanted) = foreign::register(unsafe { callsite(site) });
    // SAFETY: not null.
    unsafe { id.write(number) };
    interest(wanted)
}

/// # Safety
/// As for [`register`].
unsafe fn callsite(site: &abi::Callsite) -> Callsite {
    // SAFETY: says the caller.
    let text = |part| String::from_utf8_lossy(unsafe { super::slice(part) }).into_owned();
    let n = if site.fields.is_null() { 0 } else { site.n_fields.min(MOST_FIELDS) };
    // SAFETY: not null, and says the caller.
    let fields = if n == 0 { &[] } else { unsafe { std::slice::from_raw_parts(site.fields, n) } };
    Callsite {
        level: level(site.level),
        line: (site.line != 0).then_some(site.line),
        target: text(site.target),
        file: Some(text(site.file)).filter(|file| !file.is_empty()),
        name: text(site.name),
        fields: fields.iter().map(|field| text(*field)).collect(),
    }
}

/// Whether an event would be written now.
pub(super) fn enabled(id: u64) -> u32 {
    interest(foreign::enabled(id))
}

/// Writes an event.
///
/// # Safety
/// The values keep the contract.
pub(super) unsafe fn event(
    generation: &Generation,
    id: u64,
    request: u64,
    values: *const abi::Value,
    n: usize,
) {
    let n = if values.is_null() { 0 } else { n.min(MOST_FIELDS) };
    // SAFETY: not null, and says the caller.
    let values = if n == 0 { &[] } else { unsafe { std::slice::from_raw_parts(values, n) } };
    // SAFETY: says the caller.
    let typed = values.iter().map(|value| (value.field as usize, unsafe { typed(value) }));
    foreign::write(id, generation.name(), request_id(request), &typed.collect::<Vec<_>>());
}

/// # Safety
/// The value keeps the contract.
unsafe fn typed(value: &abi::Value) -> Typed {
    match value.kind {
        abi::value_kind::U64 => Typed::U64(value.u),
        abi::value_kind::I64 => Typed::I64(value.u.cast_signed()),
        abi::value_kind::BOOL => Typed::Bool(value.u != 0),
        abi::value_kind::F64 => Typed::F64(value.f),
        // SAFETY: says the caller.
        _ => Typed::Text(String::from_utf8_lossy(unsafe { super::slice(value.s) }).into_owned()),
    }
}

/// Writes a line of text, as an event with one field.
pub(super) fn text(generation: &Generation, wanted: u32, request: u64, target: &str, message: &str) {
    let target = if target.is_empty() { "cohost::application" } else { target };
    let site = Callsite {
        level: level(wanted),
        line: None,
        target: target.to_owned(),
        file: None,
        name: "text".to_owned(),
        fields: vec!["message".to_owned()],
    };
    let (number, _) = foreign::register(site);
    if foreign::enabled(number) == Wanted::Always {
        let values = [(0, Typed::Text(message.to_owned()))];
        foreign::write(number, generation.name(), request_id(request), &values);
    }
}

fn request_id(request: u64) -> Option<RequestId> {
    (request != 0).then_some(RequestId(request))
}

fn interest(wanted: Wanted) -> u32 {
    match wanted {
        Wanted::Never => abi::interest::NEVER,
        Wanted::Sometimes => abi::interest::SOMETIMES,
        Wanted::Always => abi::interest::ALWAYS,
    }
}

fn level(level: u32) -> Level {
    match level {
        abi::level::ERROR => Level::ERROR,
        abi::level::WARN => Level::WARN,
        abi::level::INFO => Level::INFO,
        abi::level::DEBUG => Level::DEBUG,
        _ => Level::TRACE,
    }
}
