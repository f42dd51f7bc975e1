//! Events of somebody else's `tracing`, written as if they were ours.
//!
//! In: callsites and events of an application, whether it is in this process or in one of its own. Out: events with
//! the application's target, level and fields, and two fields more: `application` and `request_id`. Filters and
//! formats work as for the host's own. Never: forgets a callsite. They are leaked, as `tracing` asks, and there are as
//! many as there are places in the code of all applications that log. A process that tells of more is not believed.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        LazyLock, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
};

use tracing_core::{
    Event, Interest, Kind, Level, Metadata,
    callsite::{self, Identifier},
    field::{DisplayValue, Field, FieldSet, Value, display},
};

use crate::facts::RequestId;

/// `tracing` takes 32 fields; two are the host's.
pub(crate) const MOST_FIELDS: usize = 32 - OURS.len();

const OURS: [&str; 2] = ["application", "request_id"];

/// What makes two callsites the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Callsite {
    pub(crate) level: Level,
    pub(crate) line: Option<u32>,
    pub(crate) target: String,
    pub(crate) file: Option<String>,
    pub(crate) name: String,
    /// At most [`MOST_FIELDS`]; more are not written.
    pub(crate) fields: Vec<String>,
}

/// Whether events of a callsite are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Until the filter changes: no.
    Never,
    /// Ask each time.
    Sometimes,
    /// Yes.
    Always,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Typed {
    Text(String),
    U64(u64),
    I64(i64),
    Bool(bool),
    F64(f64),
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::U64(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::F64(value) => value.fmt(f),
        }
    }
}

/// Makes a callsite known; the number is for [`enabled`] and [`write`], and for ever.
pub(crate) fn register(site: Callsite) -> (u64, Wanted) {
    let known = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner).get(&site).copied();
    // Not under the lock: registering calls the subscriber. Two of one callsite at a time both work.
    let number = known.unwrap_or_else(|| leak(site));
    (number, find(number).map_or(Wanted::Never, Leaked::wanted))
}

/// The same for callsites that another process tells of, which may tell anything: those beyond a number that no code
/// reaches, or with names that nobody writes, are not made known.
#[cfg(feature = "out-of-process")]
pub(crate) fn register_told(site: Callsite) -> Result<(u64, Wanted), Callsite> {
    let is_known = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&site);
    if is_known || site.length() <= LONGEST_TOLD && count() < MOST_TOLD {
        Ok(register(site))
    } else {
        Err(site)
    }
}

#[cfg(feature = "out-of-process")]
fn count() -> usize {
    CALLSITES.read().unwrap_or_else(PoisonError::into_inner).len()
}

/// Callsites of all processes of applications together. A large program has some thousand.
#[cfg(feature = "out-of-process")]
const MOST_TOLD: usize = 10_000;

/// Bytes of all that a callsite says.
#[cfg(feature = "out-of-process")]
const LONGEST_TOLD: usize = 2048;

#[cfg(feature = "out-of-process")]
impl Callsite {
    fn length(&self) -> usize {
        let fields: usize = self.fields.iter().map(String::len).sum();
        self.target.len() + self.name.len() + self.file.as_ref().map_or(0, String::len) + fields
    }
}

/// Whether an event would be written now. Numbers may come from anywhere; one that is none is never written.
pub(crate) fn enabled(number: u64) -> Wanted {
    let Some(callsite) = find(number) else { return Wanted::Never };
    match callsite.wanted() {
        Wanted::Sometimes => {
            let enabled = tracing_core::dispatcher::get_default(|current| current.enabled(callsite.known()));
            if enabled { Wanted::Always } else { Wanted::Never }
        }
        settled => settled,
    }
}

/// Writes an event. Values name their fields by place.
pub(crate) fn write(number: u64, application: &str, request: Option<RequestId>, values: &[(usize, Typed)]) {
    let Some(callsite) = find(number) else { return };
    let fields = callsite.fields.get().expect("set before it has a number");
    let request = request.map(display);
    let messages: Vec<_> = values.iter().map(|(_, value)| value.as_message()).collect();
    // Places that are not filled name the first field without a value, which is skipped.
    let mut set: [(&Field, Option<&dyn Value>); 32] = [(&fields[0], None); 32];
    set[0] = (&fields[0], Some(&application));
    set[1] = (&fields[1], request.as_ref().map(|request| request as &dyn Value));
    for (place, ((field, value), message)) in set[OURS.len()..].iter_mut().zip(values.iter().zip(&messages)) {
        let Some(field) = fields.get(field + OURS.len()) else { continue };
        // A message is shown without quotes when it is formatted text, as `tracing`'s macros make it.
        let message = message.as_ref().filter(|_| field.name() == "message");
        *place = (field, Some(message.map_or_else(|| value.as_value(), |message| message as &dyn Value)));
    }
    let metadata = callsite.known();
    Event::dispatch(metadata, &metadata.fields().value_set(&set));
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

    fn as_message(&self) -> Option<DisplayValue<&str>> {
        if let Self::Text(text) = self { Some(display(text.as_str())) } else { None }
    }
}

/// A callsite that `tracing` knows.
struct Leaked {
    wanted: AtomicU8,
    metadata: OnceLock<Metadata<'static>>,
    /// In order, to make value sets of.
    fields: OnceLock<Vec<Field>>,
}

/// Numbers of callsites: their places in the list below, plus one.
static NUMBERS: LazyLock<Mutex<HashMap<Callsite, u64>>> = LazyLock::new(Mutex::default);
static CALLSITES: RwLock<Vec<&'static Leaked>> = RwLock::new(Vec::new());

fn find(number: u64) -> Option<&'static Leaked> {
    let callsites = CALLSITES.read().unwrap_or_else(PoisonError::into_inner);
    callsites.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

fn leak(site: Callsite) -> u64 {
    let callsite: &'static Leaked = Box::leak(Box::new(Leaked {
        wanted: AtomicU8::new(SOMETIMES),
        metadata: OnceLock::new(),
        fields: OnceLock::new(),
    }));
    let theirs = site.fields.iter().take(MOST_FIELDS).map(|name| &*name.clone().leak());
    let names: Vec<&'static str> = OURS.into_iter().chain(theirs).collect();
    let metadata = Metadata::new(
        site.name.clone().leak(),
        site.target.clone().leak(),
        site.level,
        site.file.clone().map(|file| &*file.leak()),
        site.line,
        None,
        FieldSet::new(names.leak(), Identifier(callsite)),
        Kind::EVENT,
    );
    let fields = metadata.fields().iter().collect();
    callsite.fields.get_or_init(|| fields);
    callsite.metadata.get_or_init(|| metadata);
    callsite::register(callsite);
    let mut callsites = CALLSITES.write().unwrap_or_else(PoisonError::into_inner);
    callsites.push(callsite);
    let number = callsites.len() as u64;
    drop(callsites);
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner).insert(site, number);
    number
}

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

impl Leaked {
    fn wanted(&self) -> Wanted {
        match self.wanted.load(Ordering::Relaxed) {
            NEVER => Wanted::Never,
            ALWAYS => Wanted::Always,
            _ => Wanted::Sometimes,
        }
    }

    fn known(&self) -> &Metadata<'static> {
        self.metadata.get().expect("set before it is registered")
    }
}

impl callsite::Callsite for Leaked {
    fn set_interest(&self, interest: Interest) {
        let wanted = match interest {
            interest if interest.is_never() => NEVER,
            interest if interest.is_always() => ALWAYS,
            _ => SOMETIMES,
        };
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.known()
    }
}
