//! Instances that are lent: a lender and its borrowers in this very process, with real instances between them.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use cohost::{
    Application, HostingModel, Options,
    failure::Code,
    supervisor::{
        Instances, Runner,
        lending::{Borrower, Lender, UNCLAIMED},
        worker::{Generation, Order, Report},
    },
};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    watch,
};
use tower_service::Service as _;

use crate::host::{PATIENCE, Watched, kill, library, program};

#[tokio::test]
async fn what_is_released_for_good_is_stopped() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let mut worker = supervisor.worker(1);
    let instance = Watched::new(worker.ask().await);
    worker.application.stop().await;
    instance.ended().await;
    supervisor.is_over().await;
}

#[tokio::test]
async fn an_application_that_is_dropped_gives_its_instance_back() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let mut worker = supervisor.worker(1);
    let instance = Watched::new(worker.ask().await);
    drop(worker);
    instance.ended().await;
    supervisor.is_over().await;
}

#[tokio::test]
async fn what_a_worker_leaves_behind_is_what_the_next_one_gets() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let (mut first, mut second) = (supervisor.worker(1), supervisor.worker(2));
    let instance = first.ask().await;
    first.leave();
    first.application.stop().await;
    supervisor.gone(1);
    assert_eq!(second.ask().await, instance);
    // Also while both have it.
    let mut third = supervisor.worker(3);
    assert_eq!(third.ask().await, instance);
    third.application.stop().await;
    assert_eq!(second.ask().await, instance);
}

#[tokio::test]
async fn what_nobody_claims_is_stopped() {
    let supervisor = Supervisor::start(Duration::from_millis(50));
    let instance = Watched::new(supervisor.worker(1).ask_and_crash(&supervisor).await);
    instance.ended().await;
    supervisor.is_over().await;
}

#[tokio::test]
async fn one_that_ends_while_no_worker_lives_is_noticed() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let instance = supervisor.worker(1).ask_and_crash(&supervisor).await;
    kill(instance, rustix::process::Signal::KILL);
    supervisor.is_over().await;
    assert_ne!(supervisor.worker(2).ask().await, instance);
}

#[tokio::test]
async fn everybody_who_has_one_hears_of_its_end() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let mut workers = [supervisor.worker(1), supervisor.worker(2)];
    let [first, second] = &mut workers;
    let instance = first.ask().await;
    assert_eq!(second.ask().await, instance);
    let gone = Watched::new(instance);
    kill(instance, rustix::process::Signal::KILL);
    gone.ended().await;
    let next = first.ask().await;
    assert_ne!(next, instance);
    assert_eq!(second.ask().await, next);
}

#[tokio::test]
async fn one_that_fails_too_often_is_left_alone_by_the_next_worker_too() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let fails = |number| {
        let described = Application::builder().command(["sh", "-c", "exit 3"]).runner(runner());
        let described = described.instances(supervisor.instances(number).0);
        described.options(Options { rapid_fails_per_minute: 0, ..Options::default() }).build().unwrap()
    };
    let first = fails(1).start().await.unwrap_err();
    supervisor.gone(1);
    let next = fails(2).start().await.unwrap_err();
    for told in [&first, &next] {
        assert_eq!(told.code, Code::FailFast);
        assert!(told.detail.contains("the last time: instance_exited"), "{told:?}");
        assert!(told.retry_after.is_some_and(|after| after > Duration::from_secs(50)), "{told:?}");
    }
}

#[tokio::test]
async fn one_that_does_not_get_warm_is_left_alone_by_the_next_worker_too() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let cold = |number| {
        let options = Options {
            warmup: vec!["/status/503".to_owned()],
            rapid_fails_per_minute: 0,
            ..Options::default()
        };
        let described = Application::builder().library(library("test_apps")).options(options);
        let described = described.hosting_model(HostingModel::OutOfProcess);
        described.instances(supervisor.instances(number).0).build().unwrap()
    };
    let first = cold(1).start().await.unwrap_err();
    supervisor.is_over().await;
    supervisor.gone(1);
    let next = cold(2).start().await.unwrap_err();
    for told in [&first, &next] {
        assert_eq!(told.code, Code::FailFast, "{told:?}");
        assert!(told.detail.contains("the last time: warmup_failed"), "{told:?}");
        assert!(told.retry_after.is_some_and(|after| after > Duration::from_secs(50)), "{told:?}");
    }
}

#[tokio::test]
async fn a_failed_start_says_what_it_says_without_a_supervisor() {
    let supervisor = Supervisor::start(UNCLAIMED);
    let described = || Application::builder().command(["sh", "-c", "echo so; exit 3"]).runner(runner());
    let own = described().build().unwrap().start().await.unwrap_err();
    let lent = described().instances(supervisor.instances(1).0).build().unwrap().start().await.unwrap_err();
    assert_eq!((own.code, &own.detail, &own.output), (lent.code, &lent.detail, &lent.output));
    assert!(lent.output.is_some_and(|output| output.contains("so")));
}

// ---- around them

fn runner() -> Runner {
    Runner { program: program(), directory: std::env::temp_dir() }
}

/// A lender that is at work, and those who borrow of it.
struct Supervisor {
    lender: UnboundedSender<Said>,
    over: watch::Receiver<bool>,
}

enum Said {
    Came(Generation, Box<dyn Fn(&Order) + Send>),
    Gone(Generation),
    Report(Generation, Report),
}

impl Supervisor {
    fn start(unclaimed: Duration) -> Self {
        let (sender, mut said) = unbounded_channel();
        let (empty, over) = watch::channel(true);
        tokio::spawn(async move {
            let mut lender = Lender::new(runner(), unclaimed);
            loop {
                tokio::select! {
                    told = said.recv() => match told {
                        Some(Said::Came(worker, say)) => lender.came(worker, say),
                        Some(Said::Gone(worker)) => lender.gone(worker),
                        Some(Said::Report(worker, report)) => assert_eq!(lender.heard(worker, report), None),
                        None => return,
                    },
                    () = lender.turn() => {}
                }
                empty.send_replace(lender.is_over());
            }
        });
        Self { lender: sender, over }
    }

    fn instances(&self, number: u64) -> (Instances, Borrower) {
        let worker = Generation(number);
        let lender = self.lender.clone();
        let borrower = Borrower::new(move |report| {
            let _over = lender.send(Said::Report(worker, through_json(report)));
        });
        let hears = Mutex::new(borrower.clone());
        let say = move |order: &Order| assert_eq!(hears.lock().unwrap().heard(through_json(order)), None);
        assert!(self.lender.send(Said::Came(worker, Box::new(say))).is_ok());
        (Instances::lent(borrower.clone()), borrower)
    }

    fn worker(&self, number: u64) -> Worker {
        let (instances, borrower) = self.instances(number);
        let application = Application::builder()
            .library(library("sample_app"))
            .hosting_model(HostingModel::OutOfProcess)
            .instances(instances)
            .build()
            .unwrap();
        Worker { number, application, borrower }
    }

    fn gone(&self, number: u64) {
        assert!(self.lender.send(Said::Gone(Generation(number))).is_ok());
    }

    async fn is_over(&self) {
        let mut over = self.over.clone();
        let waiting = over.wait_for(|over| *over);
        tokio::time::timeout(PATIENCE, waiting).await.expect("it ends in time").unwrap();
    }
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(it: &T) -> T {
    serde_json::from_str(&serde_json::to_string(it).unwrap()).unwrap()
}

struct Worker {
    number: u64,
    application: Application,
    borrower: Borrower,
}

impl Worker {
    /// The number of the process that answers.
    async fn ask(&mut self) -> u32 {
        let request = Request::get("/info").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
        let answer = self.application.call(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        told["pid"].as_u64().unwrap().try_into().unwrap()
    }

    async fn ask_and_crash(mut self, supervisor: &Supervisor) -> u32 {
        let instance = self.ask().await;
        supervisor.gone(self.number);
        instance
    }

    fn leave(&self) {
        assert_eq!(self.borrower.heard(Order::Drain), Some(Order::Drain));
    }
}
