//! Events of a runner, carried to its host: one line of JSON each on stderr, behind a mark.
//!
//! The application's events are then the same in the host's log under both hosting models: target, level, fields, the
//! application's name, the request's id. What else is printed stays what it is.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use serde_json::{Map, Value};
use tracing_core::{
    Event, Level, LevelFilter, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::foreign::{self, Callsite, Typed};
use crate::facts::RequestId;

/// The modules whose events the host writes itself: that the application started, or did not.
const HOSTS: &str = "cohost::application";

/// What such a line begins with; no text does.
const MARK: &str = "\u{1}cohost\u{1}";
/// What the line begins with that tells why there is nothing to serve.
const TOLD: &str = "\u{1}cohost failure\u{1}";

/// Sends all events of this process to its host, up to `level`.
///
/// Does nothing if the program has a subscriber of its own already.
pub(crate) fn start(level: LevelFilter) {
    STARTED.store(true, Ordering::Relaxed);
    let _ = tracing::subscriber::set_global_default(Relay { level });
}

/// Whether a host reads what this process writes to stderr.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Tells the host why there is nothing to serve; false if there is no host.
pub(crate) fn tell(said: &str) -> bool {
    let line = format!("{TOLD}{}\n", Value::from(said));
    STARTED.load(Ordering::Relaxed) && std::io::stderr().lock().write_all(line.as_bytes()).is_ok()
}

/// What a line tells, if it tells why there is nothing to serve.
pub(crate) fn told(line: &[u8]) -> Option<String> {
    serde_json::from_slice(line.strip_prefix(TOLD.as_bytes())?).ok()
}

/// Writes events to stderr. Spans are not carried: the SDK has put them into the events.
struct Relay {
    level: LevelFilter,
}

impl Subscriber for Relay {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && !metadata.target().starts_with(HOSTS)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = encode(event);
        line.push('\n');
        // One write, so that lines of several threads do not mix. If the host is gone, so is the log.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        span::Id::from_u64(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn encode(event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut fields = Fields(Vec::new());
    event.record(&mut fields);
    let fields: Vec<Value> =
        fields.0.into_iter().map(|(name, value)| Value::from(vec![name.into(), value])).collect();
    let mut told = Map::new();
    told.insert("level".into(), metadata.level().as_str().into());
    told.insert("target".into(), metadata.target().into());
    told.insert("name".into(), metadata.name().into());
    told.insert("file".into(), metadata.file().into());
    told.insert("line".into(), metadata.line().into());
    told.insert("fields".into(), fields.into());
    let mut line = MARK.to_owned();
    let _ = write!(line, "{}", Value::Object(told));
    line
}

/// Fields in the order in which they were written.
struct Fields(Vec<(&'static str, Value)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}").into()));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.into()));
    }
}

/// Writes the event that a line carries; false if it carries none.
pub(crate) fn write(application: &str, line: &[u8]) -> bool {
    decode(line).is_some_and(|(site, request, values)| {
        let (number, values) = match foreign::register_told(site) {
            Ok((number, _)) => (number, values),
            Err(site) => {
                let (site, values) = common(site, values);
                (foreign::register(site).0, values)
            }
        };
        if foreign::enabled(number) == foreign::Wanted::Always {
            foreign::write(number, application, request, &values);
        }
        true
    })
}

/// The same event at a callsite that it shares with all of its level: the names are values there. So whatever a process
/// tells, it costs no memory that stays.
fn common(site: Callsite, values: Vec<(usize, Typed)>) -> (Callsite, Vec<(usize, Typed)>) {
    let Callsite { level, target, fields, .. } = site;
    let (mut message, mut others) = (None, String::new());
    for (place, value) in values {
        match (fields.get(place).map(String::as_str), value) {
            (Some("message"), value) => message = Some(value),
            (name, value) => {
                let separator = if others.is_empty() { "" } else { " " };
                let _never_fails = write!(others, "{separator}{}={value}", name.unwrap_or("?"));
            }
        }
    }
    let site = Callsite {
        level,
        line: None,
        target: "cohost::events".to_owned(),
        file: None,
        name: "event".to_owned(),
        fields: ["message", "of", "fields"].map(str::to_owned).to_vec(),
    };
    let message = message.map(|message| (0, message));
    let others = [(1, Typed::Text(target)), (2, Typed::Text(others))];
    (site, message.into_iter().chain(others).collect())
}

type Carried = (Callsite, Option<RequestId>, Vec<(usize, Typed)>);

fn decode(line: &[u8]) -> Option<Carried> {
    let told: Value = serde_json::from_slice(line.strip_prefix(MARK.as_bytes())?).ok()?;
    let text = |key: &str| told.get(key)?.as_str().map(str::to_owned);
    let level: Level = text("level")?.parse().ok()?;
    let line = told.get("line").and_then(Value::as_u64).and_then(|line| u32::try_from(line).ok());
    let (mut request, mut fields, mut values) = (None, Vec::new(), Vec::new());
    for field in told.get("fields")?.as_array()? {
        let name = field.get(0)?.as_str()?;
        match (name, typed(field.get(1)?)) {
            // Said by the host anyway.
            ("application", _) => {}
            ("request_id", Some(Typed::Text(id))) => {
                request = u64::from_str_radix(&id, 16).ok().map(RequestId);
            }
            (name, Some(value)) => {
                values.push((fields.len(), value));
                fields.push(name.to_owned());
            }
            (_, None) => {}
        }
    }
    let site =
        Callsite { level, line, target: text("target")?, file: text("file"), name: text("name")?, fields };
    Some((site, request, values))
}

fn typed(value: &Value) -> Option<Typed> {
    Some(match value {
        Value::String(text) => Typed::Text(text.clone()),
        Value::Bool(value) => Typed::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Typed::U64(value),
            (None, Some(value)) => Typed::I64(value),
            (None, None) => Typed::F64(number.as_f64()?),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what there is to tell of events instead of writing them.
    struct Kept<T> {
        told: fn(&Event<'_>) -> T,
        events: Arc<Mutex<Vec<T>>>,
    }

    impl<T> Kept<T> {
        fn new(told: fn(&Event<'_>) -> T) -> Self {
            Self { told, events: Arc::default() }
        }
    }

    impl<T: Send + 'static> Subscriber for Kept<T> {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, event: &Event<'_>) {
            self.events.lock().unwrap().push((self.told)(event));
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn an_event_arrives_as_it_was_written() {
        let kept = Kept::new(encode);
        let lines = Arc::clone(&kept.events);
        tracing::subscriber::with_default(kept, || {
            let (application, request_id) = ("shop", tracing::field::display(RequestId(0x1f)));
            tracing::warn!(target: "shop::db", application, request_id, n = 7_u64, "line\none");
        });
        let line = lines.lock().unwrap().pop().unwrap();
        assert_eq!(line.lines().count(), 1);
        let (site, request, values) = decode(line.as_bytes()).unwrap();
        assert_eq!((site.level, &*site.target, request), (Level::WARN, "shop::db", Some(RequestId(0x1f))));
        assert_eq!(site.fields, ["message", "n"]);
        assert_eq!(values, [(0, Typed::Text("line\none".into())), (1, Typed::U64(7))]);
    }

    #[test]
    fn whatever_a_process_tells_its_events_are_written_and_no_more_than_so_much_is_kept() {
        let seen = Kept::new(target_and_text);
        let events = Arc::clone(&seen.events);
        let long = "x".repeat(3000);
        let line = |target: &str, n: usize| {
            let fields = format!(r#"[["message","hello"],["n",{n}]]"#);
            format!(r#"{MARK}{{"level":"INFO","target":"{target}","name":"e","fields":{fields}}}"#)
        };
        tracing::subscriber::with_default(seen, || {
            for n in 0..20_000 {
                assert!(write("shop", line(&format!("t{n}"), n).as_bytes()));
            }
            assert!(write("shop", line(&long, 7).as_bytes()));
        });
        let events = events.lock().unwrap();
        assert_eq!(events.len(), 20_001);
        let own = events.iter().filter(|event| event.0.starts_with('t')).count();
        assert!((9_000..=10_000).contains(&own), "{own}");
        let last =
            ("cohost::events", format!("application=\"shop\" message=hello of=\"{long}\" fields=\"n=7\""));
        assert_eq!(events.last().map(|(target, text)| (&**target, text.clone())), Some(last));
    }

    fn target_and_text(event: &Event<'_>) -> (String, String) {
        let mut text = Vec::new();
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| text.push(format!("{field}={value:?}")));
        (event.metadata().target().to_owned(), text.join(" "))
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["", "hello", "{}", MARK, "\u{1}cohost\u{1}{}", "\u{1}cohost\u{1}[1,2"] {
            assert!(decode(line.as_bytes()).is_none(), "{line:?}");
        }
    }
}
