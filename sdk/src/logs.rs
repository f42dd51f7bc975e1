//! Events of `tracing` and `log`, in the host's log.
//!
//! In: what the application's copy of `tracing` hands to its subscriber. Out: callsites and typed values.
//! Never: formats an event that the host does not want, or calls the host with a lock held.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::{LazyLock, OnceLock, PoisonError, RwLock},
};

use cohost_abi::{interest, level};
use smallvec::SmallVec;
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    dispatcher::{self, DefaultGuard},
    field::{Field, Visit},
    span,
    subscriber::Interest,
};
use tracing_log::{LogTracer, NormalizeEvent};
use tracing_subscriber::{
    Registry,
    layer::{Context, Layer, SubscriberExt},
    registry::{LookupSpan, SpanRef},
};

use crate::{
    ffi::{Host, Site, Value},
    scope,
};

/// The last field of every event: the application's own spans around it, `outer{user=3}:inner`.
const SPANS: &str = "spans";

/// As many fields as the contract has room for, the spans among them.
const FIELDS: usize = 32;

/// Level and interest of records of the crate `log` are looked up by these.
type OfLog = HashMap<String, [Option<Known>; 5]>;

static HOST: OnceLock<Host> = OnceLock::new();
static SITES: LazyLock<RwLock<HashMap<Identifier, Known>>> = LazyLock::new(RwLock::default);
static LOG_TARGETS: LazyLock<RwLock<OfLog>> = LazyLock::new(RwLock::default);

/// A subscriber that is not yet the global one.
pub(crate) struct Starting(Option<(Dispatch, DefaultGuard)>);

/// Sends this thread's events to `host`, until the application is started.
///
/// The global subscriber is set only then: an application that sets one of its own has it.
pub(crate) fn starting(host: Host) -> Starting {
    if HOST.set(host).is_err() {
        return Starting(None);
    }
    let dispatch = Dispatch::new(Registry::default().with(ToHost));
    let guard = dispatcher::set_default(&dispatch);
    Starting(Some((dispatch, guard)))
}

impl Starting {
    /// Makes it the global subscriber, unless the application has set one.
    pub(crate) fn finish(self) {
        let Some((dispatch, guard)) = self.0 else { return };
        drop(guard);
        if dispatcher::set_global_default(dispatch).is_ok() {
            // An error: the application has a logger of its own.
            let _ = LogTracer::init();
        }
    }
}

/// What the host answered before may have changed.
pub(crate) fn filter_changed() {
    LOG_TARGETS.write().unwrap_or_else(PoisonError::into_inner).clear();
    tracing_core::callsite::rebuild_interest_cache();
}

/// What the host said of a callsite.
#[derive(Clone, Copy)]
struct Known {
    id: u64,
    interest: u32,
}

impl Known {
    fn register(host: Host, metadata: &Metadata<'_>, fields: &[&str]) -> Self {
        let (interest, id) = host.log_register(&Site {
            level: number(*metadata.level()),
            line: metadata.line().unwrap_or(0),
            target: metadata.target(),
            file: metadata.file().unwrap_or_default(),
            name: metadata.name(),
            fields,
        });
        Self { id, interest }
    }

    /// Of an event or a span of `tracing`: registered when its callsite was.
    fn of(host: Host, metadata: &'static Metadata<'static>) -> Self {
        let sites = SITES.read().unwrap_or_else(PoisonError::into_inner);
        let known = sites.get(&metadata.callsite()).copied();
        drop(sites);
        known.unwrap_or_else(|| Self::again(host, metadata))
    }

    fn again(host: Host, metadata: &'static Metadata<'static>) -> Self {
        let fields = metadata.fields().iter().map(|field| field.name()).take(FIELDS - 1);
        let fields: SmallVec<[&str; 16]> = fields.chain([SPANS]).collect();
        let known = Self::register(host, metadata, &fields);
        SITES.write().unwrap_or_else(PoisonError::into_inner).insert(metadata.callsite(), known);
        known
    }

    /// Of a record of the crate `log`, where a callsite is a target and a level.
    fn of_log(host: Host, metadata: &Metadata<'_>) -> Self {
        let level = number(*metadata.level()) as usize;
        let targets = LOG_TARGETS.read().unwrap_or_else(PoisonError::into_inner);
        let known = targets.get(metadata.target()).and_then(|levels| levels[level]);
        drop(targets);
        known.unwrap_or_else(|| {
            let known = Self::register(host, metadata, &["message", SPANS]);
            let mut targets = LOG_TARGETS.write().unwrap_or_else(PoisonError::into_inner);
            targets.entry(metadata.target().to_owned()).or_default()[level] = Some(known);
            known
        })
    }

    fn enabled(self, host: Host) -> bool {
        match self.interest {
            interest::NEVER => false,
            interest::ALWAYS => true,
            _ => host.log_enabled(self.id),
        }
    }
}

struct ToHost;

impl<S> Layer<S> for ToHost
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let Some(host) = HOST.get() else { return Interest::never() };
        match Known::again(*host, metadata).interest {
            interest::NEVER => Interest::never(),
            interest::ALWAYS => Interest::always(),
            _ => Interest::sometimes(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let Some(host) = HOST.get() else { return false };
        if is_of_log(metadata) {
            return Known::of_log(*host, metadata).enabled(*host);
        }
        let sites = SITES.read().unwrap_or_else(PoisonError::into_inner);
        let known = sites.get(&metadata.callsite()).copied();
        drop(sites);
        known.is_none_or(|known| known.enabled(*host))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut seen = Seen { request_id: scope::current().request_id, fields: String::new() };
        attributes.record(&mut Flat(&mut seen.fields));
        span.extensions_mut().insert(seen);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        if let Some(seen) = span.extensions_mut().get_mut::<Seen>() {
            values.record(&mut Flat(&mut seen.fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let Some(host) = HOST.get() else { return };
        let mut values = Values::default();
        let (known, spans_at) = if let Some(metadata) = event.normalized_metadata() {
            event.record(&mut OfRecord(&mut values));
            (Known::of_log(*host, &metadata), 1)
        } else {
            event.record(&mut values);
            let metadata = event.metadata();
            (Known::of(*host, metadata), metadata.fields().len().min(FIELDS - 1) as u32)
        };
        let mut request_id = scope::current().request_id;
        if let Some(scope) = cx.event_scope(event) {
            let spans =
                scope.from_root().fold(String::new(), |spans, span| add(spans, &span, &mut request_id));
            values.text(spans_at, |text| text.push_str(&spans));
        }
        host.log_event(known.id, request_id, &values.list());
    }
}

/// What a span remembers.
struct Seen {
    /// The request it was made in; 0 for none.
    request_id: u64,
    /// `user=3 order=7`
    fields: String,
}

/// Adds `span` to the text, and its request to an event that knows none.
fn add<'a, S: LookupSpan<'a>>(mut spans: String, span: &SpanRef<'a, S>, request_id: &mut u64) -> String {
    if !spans.is_empty() {
        spans.push(':');
    }
    spans.push_str(span.name());
    if let Some(seen) = span.extensions().get::<Seen>() {
        if *request_id == 0 {
            *request_id = seen.request_id;
        }
        if !seen.fields.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(spans, "{{{}}}", seen.fields);
        }
    }
    spans
}

/// Fields of a span, as text.
struct Flat<'a>(&'a mut String);

impl Visit for Flat<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let _ = write!(self.0, "{space}{}={value:?}", field.name());
    }
}

/// Fields of an event, with types. Text is kept in one buffer: what is visited does not outlive its visit.
#[derive(Default)]
struct Values {
    buffer: String,
    fields: SmallVec<[(u32, Kept); 16]>,
}

#[derive(Clone, Copy)]
enum Kept {
    Text { start: usize, end: usize },
    Plain(Value<'static>),
}

impl Values {
    fn text(&mut self, field: u32, write: impl FnOnce(&mut String)) {
        let start = self.buffer.len();
        write(&mut self.buffer);
        self.fields.push((field, Kept::Text { start, end: self.buffer.len() }));
    }

    fn plain(&mut self, field: &Field, value: Value<'static>) {
        if let Some(field) = place(field) {
            self.fields.push((field, Kept::Plain(value)));
        }
    }

    fn list(&self) -> SmallVec<[(u32, Value<'_>); 16]> {
        let value = |kept: Kept| match kept {
            Kept::Text { start, end } => Value::Text(&self.buffer[start..end]),
            Kept::Plain(value) => value,
        };
        self.fields.iter().map(|(field, kept)| (*field, value(*kept))).collect()
    }
}

impl Visit for Values {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, Value::Unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(field) = place(field) {
            self.text(field, |text| text.push_str(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(field) = place(field) {
            self.text(field, |text| {
                let _ = write!(text, "{value:?}");
            });
        }
    }
}

/// The message of a record of the crate `log`; its other fields say what the callsite says.
struct OfRecord<'a>(&'a mut Values);

impl Visit for OfRecord<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.text(0, |text| {
                let _ = write!(text, "{value:?}");
            });
        }
    }
}

/// Place of a field in what was registered, if it has one.
fn place(field: &Field) -> Option<u32> {
    (field.index() < FIELDS - 1).then_some(field.index() as u32)
}

/// What `tracing-log` asks with: a place that is none of `tracing`'s.
fn is_of_log(metadata: &Metadata<'_>) -> bool {
    metadata.name() == "log record" && metadata.fields().field("log.target").is_some()
}

fn number(of: Level) -> u32 {
    match of {
        Level::ERROR => level::ERROR,
        Level::WARN => level::WARN,
        Level::INFO => level::INFO,
        Level::DEBUG => level::DEBUG,
        Level::TRACE => level::TRACE,
    }
}
