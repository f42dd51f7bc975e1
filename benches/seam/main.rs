//! The seam alone: what one dispatch costs, in one process and without sockets.
//!
//! In: a case, by name. Out: its time (`cargo bench --bench seam -- get_12`), or nothing but its work, for a tool that
//! counts instructions (`seam --count seam_c_get_12_fields 3000`). Never: a socket, or a thread the case does not name.
//!
//! Each case has its baseline beside it: the same request to the same kind of handler, called in place.

mod asked;
mod c_application;
mod cases;
mod rust_service;
mod sdk_application;
mod wait;

use criterion::{BatchSize, Criterion};

use cases::Case;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a thread can be started");
    let _entered = runtime.enter();
    // Before the SDK sets its own, which would carry the host's events to the host: here they are one program.
    let silent = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::default());
    silent.expect("nobody logs before this");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [flag, name, times] if flag == "--count" => count(name, times),
        _ => time(),
    }
}

/// Does the work of the case `times` times.
fn count(name: &str, times: &str) {
    let case = cases::all().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("no case is called {name}"));
    let mut run = case.start();
    for _ in 0..times.parse().expect("a number of dispatches") {
        assert_eq!(run(case.asked.request()), case.answer);
    }
}

fn time() {
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases::all() {
        time_one(&mut criterion, &case);
    }
    criterion.final_summary();
}

fn time_one(criterion: &mut Criterion, case: &Case) {
    criterion.bench_function(&case.name, |bencher| {
        // Here, so that a case which the filter leaves out starts no application.
        let mut run = case.start();
        assert_eq!(run(case.asked.request()), case.answer);
        bencher.iter_batched(|| case.asked.request(), &mut run, BatchSize::SmallInput);
    });
}
