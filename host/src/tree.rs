//! How a host is, for people: a tree that fits into 80 columns where names let it.
//!
//! In: what the door tells, and the time. Out: text. Never: leaves anything out that is wrong.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use cohost::admin::{
    Application, Certificate, Crashed, Host, HostState, Site, State, Status, Upstream, UpstreamState, Worker,
    WorkerState,
};

/// Whether words have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Busy,
    Bad,
    Quiet,
}

/// The whole tree.
pub(crate) fn text(status: &Status, now: SystemTime, paint: Paint) -> String {
    let mut text = String::new();
    host(&mut text, &status.host, now, paint);
    for site in &status.sites {
        text.push('\n');
        self::site(&mut text, site, now, paint);
    }
    text.push_str("\nworkers\n");
    if let Some(crashed) = &status.host.crashed {
        let line = format!("one crashed, nobody knows by which application, {}", crash(crashed, now));
        wrapped(&line, WIDTH).into_iter().for_each(|line| text.extend([&*line, "\n"]));
    }
    let pid = width(status.workers.iter().map(|worker| worker.pid.to_string()));
    for (worker, branch) in branches(&status.workers) {
        let _ = writeln!(text, "{branch}{}", self::worker(worker, pid, now, paint));
    }
    text
}

fn host(text: &mut String, host: &Host, now: SystemTime, paint: Paint) {
    let (word, mood) = match host.state {
        HostState::Serving => ("serving", Mood::Good),
        HostState::Starting => ("starting", Mood::Busy),
        HostState::Stopping => ("stopping", Mood::Busy),
        _ => ("unknown", Mood::Quiet),
    };
    let (state, up) = (paint.word(word, mood, 0), span(host.since.ago(now)));
    let _ = writeln!(text, "cohost {}  {state}  pid {}  up {up}", host.version, host.pid);
    let file = host.configuration.as_ref().map(|file| format!("  {}", file.display())).unwrap_or_default();
    let _ = writeln!(text, "edition {}{file}", host.edition);
    if !host.addresses.is_empty() {
        let _ = writeln!(text, "on {}", host.addresses.join(", "));
    }
}

fn site(text: &mut String, site: &Site, now: SystemTime, paint: Paint) {
    let _ = writeln!(text, "{}  {}", site.name, site.bindings.join(", "));
    for line in site.certificates.iter().flat_map(|one| certificate(one, now, paint)) {
        let _ = writeln!(text, "│   {line}");
    }
    let path = width(site.applications.iter().map(|application| application.path.clone()));
    let name = width(site.applications.iter().map(|application| application.name.clone()));
    for (application, branch) in branches(&site.applications) {
        let (word, mood) = state(application.state);
        let state = paint.word(word, mood, 8);
        let line = format!(
            "{:path$}  {:name$}  {state}  {}",
            application.path,
            application.name,
            model(application)
        );
        let _ = writeln!(text, "{branch}{}", line.trim_end());
        let stem = if branch == LAST { "    " } else { "│   " };
        let place = width(application.upstreams.iter().map(|upstream| upstream.place.clone()));
        let upstreams = application.upstreams.iter().flat_map(|one| upstream(one, place, now, paint));
        for line in notes(application, now).into_iter().chain(upstreams) {
            let _ = writeln!(text, "{stem}{:path$}  {line}", "");
        }
    }
}

/// How long a certificate is valid, and why there is none.
fn certificate(certificate: &Certificate, now: SystemTime, paint: Paint) -> Vec<String> {
    let left = certificate.expires.map(|expires| expires.from(now));
    let (word, mood) = match left {
        None if certificate.ordered => ("ordered", Mood::Busy),
        None => ("missing", Mood::Bad),
        Some(left) if left.is_zero() => ("expired", Mood::Bad),
        Some(_) => ("valid", Mood::Good),
    };
    let mut first = format!("certificate  {}  {}", paint.word(word, mood, 7), certificate.names.join(", "));
    if let Some(left) = left.filter(|left| !left.is_zero()) {
        let _ = write!(first, "  for {}", span(left));
    }
    if certificate.ordered {
        first += "  by acme";
    }
    let failed = certificate.failed.iter().flat_map(|failed| {
        let (ago, again) = (span(failed.at.ago(now)), span(failed.retry_at.from(now)));
        wrapped(&format!("{ago} ago: {}; tried again in {again}", failed.detail), WIDTH)
    });
    std::iter::once(first).chain(failed.map(|line| format!("  {line}"))).collect()
}

/// How it is hosted, and by whom.
fn model(application: &Application) -> String {
    let mut text = application.hosting_model.clone();
    if application.configured_hosting_model != application.hosting_model {
        let _ = write!(text, " (configured: {})", application.configured_hosting_model);
    }
    if let Some(generation) = application.generation {
        let _ = write!(text, "  generation {generation}");
    }
    if !application.pids.is_empty() {
        let pids: Vec<String> = application.pids.iter().map(u32::to_string).collect();
        let _ = write!(text, "  pid {}", pids.join(", "));
    }
    for (number, what) in [(application.in_flight, "in flight"), (application.waiting, "waiting")] {
        if number > 0 {
            let _ = write!(text, "  {number} {what}");
        }
    }
    text
}

/// What went wrong with it.
fn notes(application: &Application, now: SystemTime) -> Vec<String> {
    let mut notes = Vec::new();
    if application.rolled_back {
        notes.push("rolled back to the generation before".to_owned());
    }
    if let Some(failed) = &application.failed {
        let mut first = format!("{}, {} ago", failed.code, span(failed.at.ago(now)));
        if let Some(retry_at) = failed.retry_at {
            let _ = write!(first, "; tried again in {}", span(retry_at.from(now)));
        }
        notes.push(first);
        notes.extend(failed.detail.lines().flat_map(|line| wrapped(line, WIDTH)));
    }
    if let Some(crashed) = &application.crashed {
        notes.extend(wrapped(&format!("crashed its worker {}", crash(crashed, now)), WIDTH));
    }
    notes
}

/// How one of its servers is, and what went wrong with it last.
fn upstream(upstream: &Upstream, width: usize, now: SystemTime, paint: Paint) -> Vec<String> {
    let (word, mood) = match upstream.state {
        UpstreamState::Up => ("up", Mood::Good),
        UpstreamState::Trying => ("trying", Mood::Busy),
        UpstreamState::Out => ("out", Mood::Bad),
        UpstreamState::Down => ("down", Mood::Bad),
        _ => ("unknown", Mood::Quiet),
    };
    let mut first = format!("{:width$}  {}", upstream.place, paint.word(word, mood, 7));
    let _ = write!(first, "  {} requests", upstream.requests);
    for (number, what) in [(upstream.failures, "failed"), (upstream.in_flight, "in flight")] {
        if number > 0 {
            let _ = write!(first, "  {number} {what}");
        }
    }
    let again = upstream.retry_at.map(|retry_at| format!("tried again in {}", span(retry_at.from(now))));
    let failed = upstream.failed.iter().flat_map(|failed| {
        wrapped(&format!("{} ago: {}", span(failed.at.ago(now)), failed.detail), WIDTH - 2)
    });
    std::iter::once(first).chain(again.into_iter().chain(failed).map(|line| format!("  {line}"))).collect()
}

fn crash(crashed: &Crashed, now: SystemTime) -> String {
    let mut text = format!("{} ago: {}", span(crashed.at.ago(now)), crashed.exit);
    if let Some(request) = &crashed.request {
        let _ = write!(text, ", at {request}");
    }
    if !crashed.suspects.is_empty() {
        let _ = write!(text, ", perhaps by {}", crashed.suspects.join(" or "));
    }
    if crashed.times > 1 {
        let _ = write!(text, "; {} times since the host was started", crashed.times);
    }
    text
}

fn worker(worker: &Worker, pid: usize, now: SystemTime, paint: Paint) -> String {
    let (word, mood) = match worker.state {
        WorkerState::Serving => ("serving", Mood::Good),
        WorkerState::Waiting => ("waiting", Mood::Quiet),
        WorkerState::Starting => ("starting", Mood::Busy),
        WorkerState::Draining => ("draining", Mood::Busy),
        WorkerState::Killed => ("killed", Mood::Bad),
        _ => ("unknown", Mood::Quiet),
    };
    let mut text = format!(
        "{}  pid {:<pid$}  {}  edition {}  up {}",
        worker.generation,
        worker.pid,
        paint.word(word, mood, 8),
        worker.edition,
        span(worker.since.ago(now))
    );
    if worker.safe {
        text += &paint.word("  without the applications in process", Mood::Bad, 0);
    }
    if worker.in_flight > 0 {
        let _ = write!(text, "  {} in flight", worker.in_flight);
    }
    if !worker.answers {
        text += &paint.word("  does not answer", Mood::Bad, 0);
    }
    text
}

fn state(state: State) -> (&'static str, Mood) {
    match state {
        State::Running => ("running", Mood::Good),
        State::Starting => ("starting", Mood::Busy),
        State::Failed => ("failed", Mood::Bad),
        State::Idle => ("idle", Mood::Quiet),
        State::Stopped => ("stopped", Mood::Quiet),
        State::Offline => ("offline", Mood::Bad),
        _ => ("unknown", Mood::Quiet),
    }
}

/// Each with the branch that it hangs on.
fn branches<T>(all: &[T]) -> impl Iterator<Item = (&T, &'static str)> {
    let last = all.len().saturating_sub(1);
    all.iter().enumerate().map(move |(place, one)| (one, if place == last { LAST } else { "├── " }))
}

fn width(words: impl Iterator<Item = String>) -> usize {
    // One that is longer than that pushes its own line only.
    words.map(|word| word.chars().count()).filter(|width| *width <= 20).max().unwrap_or_default()
}

/// Lines of words that are no longer than `most` where words let them.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the start");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > most {
            lines.push(word.to_owned());
        } else {
            let space = if line.is_empty() { "" } else { " " };
            let _ = write!(line, "{space}{word}");
        }
    }
    lines
}

/// A span of time in its two largest units.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

impl Paint {
    /// A word with a colour, at least `width` wide.
    fn word(self, word: &str, mood: Mood, width: usize) -> String {
        let word = format!("{word:width$}");
        let colour = match (self, mood) {
            (Self::Plain, _) => return word,
            (Self::Colours, Mood::Good) => 32,
            (Self::Colours, Mood::Busy) => 33,
            (Self::Colours, Mood::Bad) => 31,
            (Self::Colours, Mood::Quiet) => 2,
        };
        format!("\x1b[{colour}m{word}\x1b[0m")
    }
}

/// Of notes, which are indented.
const WIDTH: usize = 66;

const LAST: &str = "└── ";

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Status {
        // The one of the door's description, so that all that it shows is shown here, too.
        let description: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/admin.openapi.json")).unwrap();
        let content = "/paths/~1v1~1status/get/responses/200/content/application~1json/example";
        serde_json::from_value(description.pointer(content).unwrap().clone()).unwrap()
    }

    fn shown(paint: Paint) -> String {
        let status = example();
        text(&status, status.host.since.0 + Duration::from_secs(3 * 3600 + 12 * 60), paint)
    }

    #[test]
    fn everything_stands_in_the_tree() {
        assert_eq!(
            shown(Paint::Plain),
            "\
cohost 0.1.0  serving  pid 4711  up 3h 12m
edition 3  /etc/cohost/cohost.toml
on http://127.0.0.1:8080

shop  http://127.0.0.1:8080, https://shop.example
│   certificate  valid    shop.example  for 21d 0h  by acme
│     12s ago: the authority says rateLimited: too many certificates for
│     this name, look again tomorrow; tried again in 1m 48s
├── /      shop       running   inprocess  generation 1  2 in flight
│          rolled back to the generation before
│          crashed its worker 1h 2m ago: signal: 11 (SIGSEGV), at GET
│          /basket; 2 times since the host was started
├── /cart  shop/cart  running   outofprocess  pid 4720  1 in flight
├── /blog  blog       failed    inprocess
│          start_failed, 12s ago; tried again in 3s
│          /srv/blog/libblog.so: its constructor failed: no database at
│          db.example:5432, or it does not let us in
└── /api   api        running   upstreams  1 in flight
           10.0.0.1:8080       up       4123 requests  1 in flight
           unix:/run/api.sock  out      277 requests  6 failed
             tried again in 3s
             12s ago: connect_failed: cannot connect to unix:/run/api.sock

workers
one crashed, nobody knows by which application, 2h 12m ago:
signal: 6 (SIGABRT), perhaps by shop or blog
├── 3  pid 4712  serving   edition 3  up 2h 12m  3 in flight
└── 4  pid 4713  waiting   edition 3  up 2h 12m  does not answer
"
        );
    }

    #[test]
    fn eighty_columns_are_enough() {
        for line in shown(Paint::Plain).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn colours_change_nothing_else() {
        let (mut plain, coloured) = (String::new(), shown(Paint::Colours));
        for (place, part) in coloured.split('\x1b').enumerate() {
            plain += if place == 0 { part } else { part.split_once('m').unwrap().1 };
        }
        assert_eq!(plain, shown(Paint::Plain));
        assert!(coloured.contains("\x1b[31mfailed"), "{coloured}");
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([said(59), said(61), said(3700), said(90_000)], ["59s", "1m 1s", "1h 1m", "1d 1h"]);
    }
}
