//! The requests that an instance has, for whoever asks what it was doing when it ended.
//!
//! In: the begin and the end of each exchange. Out: the requests that were on their way at an end. Never: names more than
//! a few, or the query of one.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{Method, uri::PathAndQuery};
use slab::Slab;

use crate::facts::RequestId;

/// What names a request.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) request: RequestId,
    pub(super) method: Method,
    pub(super) path: Option<PathAndQuery>,
}

/// The requests that one instance has.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    /// Each with its number, which tells who came first.
    under_way: Slab<(u64, Line)>,
    /// Those whose connection broke: often that is seen before the end of the instance is.
    broken: VecDeque<(Instant, u64, Line)>,
}

/// A request that the instance has. It has it no more when this is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Arc<Flights>,
    place: Option<usize>,
}

impl Flights {
    pub(super) fn begin(self: &Arc<Self>, line: Line) -> Flight {
        let mut book = self.book();
        let number = book.next;
        book.next += 1;
        let place = book.under_way.insert((number, line));
        Flight { flights: Arc::clone(self), place: Some(place) }
    }

    /// Those that an instance had which has ended just now, as text; `None` if it had none.
    pub(crate) fn lost(&self, now: Instant) -> Option<String> {
        let book = self.book();
        let broken = book.broken.iter().filter(|(at, ..)| now.saturating_duration_since(*at) < JUST_NOW);
        let broken = broken.map(|(_, number, line)| (number, line));
        let under_way = book.under_way.iter().map(|(_, (number, line))| (number, line));
        let mut lines: Vec<_> = broken.chain(under_way).collect();
        // As they came.
        lines.sort_by_key(|(number, _)| **number);
        let mut text = String::new();
        for (_, line) in lines.iter().take(MOST_NAMED) {
            let path = line.path.as_ref().map_or("", PathAndQuery::path);
            let cut = path.floor_char_boundary(LONGEST_PATH);
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{} {} ({})", line.method, &path[..cut], line.request);
        }
        match lines.len().saturating_sub(MOST_NAMED) {
            0 => {}
            more => {
                let _ = write!(text, ", and {more} more");
            }
        }
        (!text.is_empty()).then_some(text)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Its connection broke, and nobody on our side had meant it to.
    pub(super) fn broke(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut book = self.flights.book();
        let (number, line) = book.under_way.remove(place);
        if book.broken.len() == MOST_BROKEN {
            book.broken.pop_front();
        }
        book.broken.push_back((Instant::now(), number, line));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.flights.book().under_way.remove(place);
        }
    }
}

/// How long before the end of an instance its connections may break because of that.
const JUST_NOW: Duration = Duration::from_secs(1);
const MOST_BROKEN: usize = 256;
const MOST_NAMED: usize = 16;
/// As much as the recorder of a worker has room for.
const LONGEST_PATH: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: u64, path: &str) -> Line {
        Line { request: RequestId(request), method: Method::GET, path: path.parse().ok() }
    }

    #[test]
    fn what_is_under_way_or_broke_just_now_is_lost_and_what_has_ended_is_not() {
        let (flights, now) = (Arc::new(Flights::default()), Instant::now());
        assert_eq!(flights.lost(now), None);
        let mut first = flights.begin(line(2, "/broke"));
        let _under_way = flights.begin(line(1, "/slow?secret=1"));
        first.broke();
        drop(flights.begin(line(3, "/ended")));
        let told = "GET /broke (0000000000000002), GET /slow (0000000000000001)";
        assert_eq!(flights.lost(now).as_deref(), Some(told));
        assert_eq!(flights.lost(now + JUST_NOW * 2).as_deref(), Some("GET /slow (0000000000000001)"));
    }

    #[test]
    fn of_many_only_a_few_are_named_and_none_in_full_length() {
        let flights = Arc::new(Flights::default());
        let mut all: Vec<_> =
            (0..20).map(|n| flights.begin(line(n, &format!("/{}", "é".repeat(1000))))).collect();
        let told = flights.lost(Instant::now()).unwrap();
        assert!(told.ends_with(", and 4 more") && told.len() < MOST_NAMED * 256, "{told}");
        all.iter_mut().for_each(Flight::broke);
        assert!(flights.lost(Instant::now()).unwrap().ends_with(", and 4 more"));
    }
}
