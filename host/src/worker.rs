//! The program as a worker: serves what its supervisor hands it.
//!
//! In: orders of the supervisor. Out: answers to clients, reports to the supervisor. Never: outlives the supervisor,
//! opens a listening socket of its own, or obeys signals.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use cohost::{
    dispatcher::in_process,
    listener::{Bound, Listener},
    recorder,
    server::Stopping,
    supervisor::{
        Instances,
        lending::Borrower,
        worker::{self, Order, Orders, Report, Reports, Start, Stuck, Warm},
    },
};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::{
    edition::Edition,
    exit::{Exit, Refused},
    gate,
    hosting::{self, Hosting},
    log, serve,
    serving::Serving,
    signals, sockets, told, warm,
};

/// Serves, if this process was started to.
pub(crate) fn enter_if_asked() -> Option<Result<Exit, Refused>> {
    worker::asked().then(work)
}

/// An order, with the descriptor that came with it.
type Told = (Order, Option<OwnedFd>);

/// What the thread that hears orders tells of the applications.
pub(crate) type Shown = Mutex<told::Told>;

fn work() -> Result<Exit, Refused> {
    let (mut orders, reports) = worker::inherited()
        .map_err(|error| Exit::Usage.because(format!("not started by a supervisor: {error}")))?;
    let (start, log) = match first(&mut orders) {
        Some((Order::Start(start), log)) if start.version == worker::VERSION => (start, log),
        Some((Order::Start(start), _)) => {
            let (theirs, ours) = (start.version, worker::VERSION);
            let message =
                format!("the supervisor speaks version {theirs} to its workers, this is version {ours}");
            return Err(Exit::Failed.because(message));
        }
        _ => {
            return Err(
                Exit::Failed.because("the supervisor ended, or said nothing that could be understood")
            );
        }
    };
    let edition: Edition = serde_json::from_value(start.edition.clone()).map_err(|error| {
        Exit::Failed.because(format!("the supervisor's configuration is unreadable: {error}"))
    })?;
    let config = edition.config()?;
    match log {
        Some(log) => log::start_on(&config.log, log)?,
        None => log::start(&config.log)?,
    }
    let reports = Arc::new(reports);
    let borrower = Borrower::new({
        let reports = Arc::clone(&reports);
        move |report| reports.send(report)
    });
    let instances = Instances::lent(borrower.clone());
    let hosting = Hosting::new(&edition, config.clone(), start.part, &instances)?;
    let (sender, told) = unbounded_channel();
    let applications = Arc::new(Mutex::new(hosting.told()));
    // A thread of its own: whatever applications do to the others, this one notices the supervisor's end.
    std::thread::Builder::new()
        .name("cohost-orders".to_owned())
        .spawn({
            let (applications, reports) = (Arc::clone(&applications), Arc::clone(&reports));
            move || listen(orders, &borrower, &sender, &applications, &reports)
        })
        .map_err(|error| Exit::Failed.because(format!("no thread to hear orders with: {error}")))?;
    let runtime = hosting::runtime(&config)?;
    let exit = runtime.block_on(run((hosting, edition.asked), start, told, (reports, applications)));
    // An application may have left work behind, which must not keep the process.
    runtime.shutdown_background();
    exit
}

/// The first order that is about more than one application, or the process itself.
fn first(orders: &mut Orders) -> Option<Told> {
    loop {
        match orders.next()? {
            // Before anything of an application is loaded. Without it, only crashes have no name.
            (Order::Recorder, Some(page)) => {
                if let Err(error) = recorder::record_into(&page).and_then(|()| recorder::note_crashes()) {
                    eprintln!("the flight recorder does not work: {error}");
                }
            }
            (Order::Refuse(refuse), _) => gate::close(&refuse, Instant::now()),
            told => return Some(told),
        }
    }
}

fn listen(
    orders: Orders,
    borrower: &Borrower,
    told: &UnboundedSender<Told>,
    applications: &Shown,
    reports: &Reports,
) {
    for (order, descriptor) in orders {
        // Answered here, so that it is answered also while applications hold all other threads.
        if let Order::Ask { id } = order {
            let applications = applications.lock().unwrap_or_else(PoisonError::into_inner).clone();
            reports.send(&Report::Told { id, status: applications.now() });
            continue;
        }
        match &order {
            Order::Refuse(refuse) => {
                gate::close(refuse, Instant::now());
                continue;
            }
            Order::Allow { application } => {
                gate::of(application).open();
                continue;
            }
            _ => {}
        }
        let Some(order) = borrower.heard(order) else { continue };
        if told.send((order, descriptor)).is_err() {
            // It is ending by itself.
            return;
        }
    }
    worker::end_at_once();
}

async fn run(
    (hosting, asked): (Hosting, u64),
    start: Start,
    mut told: UnboundedReceiver<Told>,
    (reports, shown): (Arc<Reports>, Arc<Shown>),
) -> Result<Exit, Refused> {
    let _deaf = signals::deafen()?;
    tell_of_hangs(&reports);
    reports.send(&Report::Configured);
    let (first, later) = hosting.preloaded(start.preload);
    let (warm, running) = oneshot::channel();
    tokio::spawn({
        let (reports, all) = (Arc::clone(&reports), hosting.startable_twice());
        let balancers = hosting.balancers().cloned().collect();
        async move {
            let (failed, ()) = tokio::join!(hosting::start(first), warm::start(running, all, balancers));
            let failed = failed.iter().map(ToString::to_string).collect();
            reports.send(&Report::Ready { failed });
        }
    });
    let applications = hosting.applications();
    let Some(listeners) = until_served(&mut told, start.warm.then_some(warm)).await? else {
        return Ok(serve::end(cohost::server::Stopped::Gracefully, applications).await);
    };
    if listeners.len() != hosting::listens(hosting.config()).len() {
        return Err(
            Exit::Failed.because("the supervisor handed over other sockets than the configuration names")
        );
    }
    let (mut serving, server) = Serving::new((hosting, asked), listeners, Arc::clone(&reports), shown);
    // What comes of it is logged where it happens; requests will try again.
    tokio::spawn(hosting::start(later));
    let stopping = Stopping::new();
    tokio::spawn({
        let (stopping, reports) = (stopping.clone(), Arc::clone(&reports));
        async move {
            stopping.closed().await;
            reports.send(&Report::Closed);
        }
    });
    // Whoever connects from here on is served: the sockets are watched.
    reports.send(&Report::Serving);
    let mut server = std::pin::pin!(server.serve(stopping.clone()));
    let stopped = loop {
        tokio::select! {
            stopped = server.as_mut() => break stopped,
            () = serving.go_on() => {}
            Some(told) = told.recv() => obey(told, &mut serving, &stopping),
        }
    };
    Ok(serving.end(stopped).await)
}

fn obey((order, socket): Told, serving: &mut Serving, stopping: &Stopping) {
    match (order, socket) {
        (Order::Socket, Some(socket)) => serving.socket(socket),
        (Order::Change(change), _) => serving.change(&change),
        (Order::GiveUp, _) => serving.give_up_change(),
        (Order::Drain, _) => {
            stopping.stop();
            serving.drain();
        }
        (Order::Hurry, _) => stopping.stop(),
        // What makes no sense here.
        _ => {}
    }
}

/// Has the supervisor replace this worker when an application keeps one of its threads.
fn tell_of_hangs(reports: &Arc<Reports>) {
    let reports = Arc::clone(reports);
    in_process::when_one_hangs(move |hang| {
        let request = hang.request.map(|request| format!(" (request {request})")).unwrap_or_default();
        let at = format!("{} {}{request}", hang.method, hang.path);
        reports.send(&Report::Stuck(Stuck { application: hang.application.to_string(), at }));
    });
}

/// The listeners to serve on; `None` if it has to end instead.
async fn until_served(
    told: &mut UnboundedReceiver<Told>,
    mut warm: Option<oneshot::Sender<Warm>>,
) -> Result<Option<Vec<Listener>>, Refused> {
    let mut listeners = Vec::new();
    loop {
        match told.recv().await {
            Some((Order::Socket, Some(socket))) => {
                let bound = Bound::inherited(socket)
                    .map_err(|error| Exit::Failed.because(format!("cannot take over a socket: {error}")))?;
                listeners.push(Listener::new(bound).map_err(|error| sockets::refused(&error))?);
            }
            Some((Order::Warm(running), _)) => {
                // It may be ending by now.
                let _gone = warm.take().map(|warm| warm.send(running));
            }
            Some((Order::Serve, _)) => return Ok(Some(listeners)),
            Some((Order::Drain | Order::Hurry, _)) | None => return Ok(None),
            // What makes no sense here.
            Some(_) => {}
        }
    }
}
