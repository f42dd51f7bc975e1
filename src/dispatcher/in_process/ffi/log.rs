//! Events of an application's `tracing` or `log`, written as if they were ours, with its name and the request's id.
//!
//! Each callsite of the application becomes a callsite here, once: filters by target and level, fields and formats
//! work as for the host's own. Callsites are leaked, as `tracing` asks, and shared by all generations of a library.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    collections::HashMap,
    sync::{
        LazyLock, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
};

use cohost_abi as abi;
use tracing_core::{
    Event, Interest, Kind, Level, Metadata,
    callsite::{Callsite, Identifier},
    field::{Field, FieldSet, Value},
};

use crate::{dispatcher::in_process::generation::Generation, facts::RequestId};

/// `tracing` takes 32 fields; two are the host's.
const MOST: usize = 32;
const OURS: [&str; 2] = ["application", "request_id"];

/// A callsite of an application's.
struct Foreign {
    interest: AtomicU8,
    metadata: OnceLock<Metadata<'static>>,
    /// The fields, in order, to make value sets of.
    fields: OnceLock<Vec<Field>>,
}

const NEVER: u8 = abi::interest::NEVER as u8;
const SOMETIMES: u8 = abi::interest::SOMETIMES as u8;
const ALWAYS: u8 = abi::interest::ALWAYS as u8;

impl Callsite for Foreign {
    fn set_interest(&self, interest: Interest) {
        let interest = match interest {
            interest if interest.is_never() => NEVER,
            interest if interest.is_always() => ALWAYS,
            _ => SOMETIMES,
        };
        self.interest.store(interest, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("set before it is registered")
    }
}

/// What makes two callsites the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    level: u32,
    line: u32,
    target: String,
    file: String,
    name: String,
    fields: Vec<String>,
}

/// Numbers of callsites, which are their places in the list below, plus one.
static NUMBERS: LazyLock<Mutex<HashMap<Key, u64>>> = LazyLock::new(Mutex::default);
static CALLSITES: RwLock<Vec<&'static Foreign>> = RwLock::new(Vec::new());

/// # Safety
/// `site` is null or keeps the contract; so does `id`.
pub(super) unsafe fn register(site: *const abi::Callsite, id: *mut u64) -> u32 {
    // SAFETY: says the caller.
    let Some(site) = (unsafe { site.as_ref() }) else { return abi::interest::NEVER };
    if site.size < size_of::<abi::Callsite>() || id.is_null() {
        return abi::interest::NEVER;
    }
    // SAFETY: says the caller.
    let key = unsafe { key(site) };
    let known = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
    // Not under the lock: registering calls the subscriber. Two of one callsite at a time both work.
    let number = known.unwrap_or_else(|| leak(key));
    // SAFETY: not null.
    unsafe { id.write(number) };
    callsite(number).map_or(abi::interest::NEVER, |site| u32::from(site.interest.load(Ordering::Relaxed)))
}

/// # Safety
/// As for [`register`].
unsafe fn key(site: &abi::Callsite) -> Key {
    // SAFETY: says the caller.
    let text = |part| String::from_utf8_lossy(unsafe { super::slice(part) }).into_owned();
    let n = if site.fields.is_null() { 0 } else { site.n_fields.min(MOST - OURS.len()) };
    // SAFETY: not null, and says the caller.
    let fields = if n == 0 { &[] } else { unsafe { std::slice::from_raw_parts(site.fields, n) } };
    Key {
        level: site.level,
        line: site.line,
        target: text(site.target),
        file: text(site.file),
        name: text(site.name),
        fields: fields.iter().map(|field| text(*field)).collect(),
    }
}

fn leak(key: Key) -> u64 {
    let callsite: &'static Foreign = Box::leak(Box::new(Foreign {
        interest: AtomicU8::new(SOMETIMES),
        metadata: OnceLock::new(),
        fields: OnceLock::new(),
    }));
    let names: Vec<&'static str> =
        OURS.into_iter().chain(key.fields.iter().map(|name| &*name.clone().leak())).collect();
    let metadata = Metadata::new(
        key.name.clone().leak(),
        key.target.clone().leak(),
        level(key.level),
        (!key.file.is_empty()).then(|| &*key.file.clone().leak()),
        (key.line != 0).then_some(key.line),
        None,
        FieldSet::new(names.leak(), Identifier(callsite)),
        Kind::EVENT,
    );
    let fields = metadata.fields().iter().collect();
    callsite.fields.set(fields).expect("new");
    callsite.metadata.set(metadata).expect("new");
    tracing_core::callsite::register(callsite);
    let mut callsites = CALLSITES.write().unwrap_or_else(PoisonError::into_inner);
    callsites.push(callsite);
    let number = callsites.len() as u64;
    drop(callsites);
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner).insert(key, number);
    number
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

/// The callsite of an id, if it is one: ids come from the application.
fn callsite(id: u64) -> Option<&'static Foreign> {
    let callsites = CALLSITES.read().unwrap_or_else(PoisonError::into_inner);
    callsites.get(usize::try_from(id).ok()?.checked_sub(1)?).copied()
}

/// Whether an event would be written now.
pub(super) fn enabled(id: u64) -> u32 {
    let Some(callsite) = callsite(id) else { return abi::interest::NEVER };
    let interest = callsite.interest.load(Ordering::Relaxed);
    if interest != SOMETIMES {
        return u32::from(interest);
    }
    let metadata = callsite.metadata();
    let enabled = tracing_core::dispatcher::get_default(|current| current.enabled(metadata));
    if enabled { abi::interest::ALWAYS } else { abi::interest::NEVER }
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
    let Some(callsite) = callsite(id) else { return };
    let values = if n == 0 || values.is_null() {
        &[]
    } else {
        // SAFETY: not null, and says the caller.
        unsafe { std::slice::from_raw_parts(values, n.min(MOST - OURS.len())) }
    };
    // SAFETY: says the caller.
    let values: Vec<_> = values.iter().map(|value| (value.field, unsafe { typed(value) })).collect();
    write(callsite, generation, request, &values);
}

enum Typed {
    Text(String),
    U64(u64),
    I64(i64),
    Bool(bool),
    F64(f64),
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

fn write(callsite: &'static Foreign, generation: &Generation, request: u64, values: &[(u32, Typed)]) {
    let fields = callsite.fields.get().expect("set before it is registered");
    let name = &**generation.name();
    let request = (request != 0).then(|| tracing_core::field::display(RequestId(request)));
    // A message is shown without quotes when it is not a string: formatted text, as `tracing`'s macros make it.
    let texts: Vec<_> = values.iter().map(|(_, value)| value.message()).collect();
    let mut set: [(&Field, Option<&dyn Value>); MOST] = [(&fields[0], None); MOST];
    set[0] = (&fields[0], Some(&name));
    set[1] = (&fields[1], request.as_ref().map(|request| request as &dyn Value));
    for (place, ((field, value), message)) in set[OURS.len()..].iter_mut().zip(values.iter().zip(&texts)) {
        let Some(field) = fields.get(*field as usize + OURS.len()) else { continue };
        let as_message = message.as_ref().filter(|_| field.name() == "message");
        *place = (field, Some(as_message.map_or_else(|| value.as_value(), |message| message as &dyn Value)));
    }
    // Places that are not filled name the first field without a value, which is skipped.
    let metadata = callsite.metadata.get().expect("set before it is registered");
    let set = metadata.fields().value_set(&set);
    Event::dispatch(metadata, &set);
}

impl Typed {
    fn as_value(&self) -> &dyn Value {
        match self {
            Self::Text(text) => text,
            Self::U64(value) => value,
            Self::I64(value) => value,
            Self::Bool(value) => value,
            Self::F64(value) => value,
        }
    }

    fn message(&self) -> Option<tracing_core::field::DisplayValue<&str>> {
        if let Self::Text(text) = self { Some(tracing_core::field::display(text.as_str())) } else { None }
    }
}

/// Writes a line of text.
pub(super) fn text(generation: &Generation, level: u32, request: u64, target: &str, message: &str) {
    let application = &**generation.name();
    let request = (request != 0).then(|| tracing::field::display(RequestId(request)));
    macro_rules! at {
        ($level:ident) => {
            tracing::$level!(
                target: "cohost::application",
                application,
                request_id = request,
                source = target,
                "{message}"
            )
        };
    }
    match level {
        abi::level::ERROR => at!(error),
        abi::level::WARN => at!(warn),
        abi::level::INFO => at!(info),
        abi::level::DEBUG => at!(debug),
        _ => at!(trace),
    }
}
