//! The processes of a host: who is whose child, who obeys whom, and whoever started the host.

use std::{net::TcpListener, os::unix::net::UnixDatagram, time::Duration};

use rustix::process::{Signal, getpgid};

use super::started;
use crate::host::{Model, PATIENCE, Setup, Watched, kill};

#[tokio::test]
async fn processes_are_called_what_they_are() {
    let host = Setup::sample(Model::OutOfProcess).start().await;
    host.get("/plaintext").await;
    let instance = host.log.message("application started").await["pid"].as_u64().unwrap();
    let called = |pid: u64| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(called(host.worker().into()), "cohost-worker\n");
    assert_eq!(called(instance), "cohost-app\n");
}

#[tokio::test]
async fn nothing_survives_a_supervisor_that_is_killed() {
    let host = Setup::sample(Model::OutOfProcess).server("standby = true").start().await;
    host.get("/plaintext").await;
    let instance = host.log.message("application started").await["pid"].as_u64().unwrap();
    let processes = [instance.try_into().unwrap(), started(&host, 1).await, started(&host, 2).await];
    let watched = processes.map(Watched::new);
    host.signal("KILL");
    for process in watched {
        process.ended().await;
    }
}

#[tokio::test]
async fn a_worker_whose_threads_are_all_busy_goes_with_its_supervisor() {
    let host = Setup::broken(Model::InProcess, "none").server("threads = 1").start().await;
    let mut socket = host.wire().await;
    socket.send("GET /block/600000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    host.log.wait(|event| event["message"].as_str().is_some_and(|it| it.contains("blocks a thread"))).await;
    let worker = Watched::new(host.worker());
    host.signal("KILL");
    worker.ended().await;
}

#[tokio::test]
async fn a_stop_leaves_no_process_behind() {
    let host = Setup::sample(Model::OutOfProcess).server("standby = true").start().await;
    host.get("/plaintext").await;
    let instance = host.log.message("application started").await["pid"].as_u64().unwrap();
    let processes = [instance.try_into().unwrap(), started(&host, 1).await, started(&host, 2).await];
    assert!(host.stop().await.success());
    for pid in processes {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left");
    }
}

#[tokio::test]
async fn a_supervisor_has_no_threads_to_serve_with_and_its_worker_a_group_of_its_own() {
    let host = Setup::sample(Model::InProcess).start().await;
    let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
    for thread in threads {
        let name = std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default();
        // One decides, and the others wait for files.
        assert!(
            ["cohost", "cohost-files", "cohost-blocking", "cohost-signals", ""].contains(&name.trim()),
            "{name}"
        );
    }
    let worker = rustix::process::Pid::from_raw(host.worker().cast_signed()).unwrap();
    assert_eq!(getpgid(Some(worker)).unwrap(), worker, "Ctrl+C on a terminal does not reach it");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_worker_takes_no_orders_by_signal() {
    let host = Setup::sample(Model::InProcess).start().await;
    let worker = host.worker();
    host.get("/plaintext").await;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill(worker, signal);
    }
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    assert_eq!(host.worker(), worker);
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn without_a_supervisor_everything_is_one_process() {
    let host = Setup::sample(Model::InProcess).option("--no-supervisor").start().await;
    assert!(host.workers().is_empty());
    assert_eq!(host.get("/info").await.json()["pid"], host.pid());
    assert!(host.stop().await.success());
}

// ---- who started us

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Whoever connects before the host is there waits for it.
    let mut early = tokio::net::TcpStream::connect(address).await.unwrap();
    let host = Setup::sample(Model::InProcess).given(socket).start().await;
    assert_eq!(host.address, address);
    assert_eq!(host.get("/plaintext").await.text(), "Hello, World!");
    tokio::io::AsyncWriteExt::write_all(&mut early, b"GET /plaintext HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut early, &mut answer).await.unwrap();
    assert!(answer.ends_with("Hello, World!"), "{answer}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_service_manager_hears_of_readiness_reloads_life_and_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = Setup::sample(Model::InProcess)
        .variable("NOTIFY_SOCKET", path.to_str().unwrap())
        .variable("WATCHDOG_USEC", "200000")
        .start()
        .await;
    let hears = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if told.lines().any(|line| line == wanted) {
                return told;
            }
        }
    };
    let told = hears("READY=1");
    assert!(told.contains(&format!("MAINPID={}\n", host.pid())), "{told}");
    hears("WATCHDOG=1");
    host.signal("HUP");
    assert!(hears("RELOADING=1").contains("MONOTONIC_USEC="));
    hears("READY=1");
    host.signal("TERM");
    hears("STOPPING=1");
    let mut host = host;
    let ended = tokio::time::timeout(Duration::from_secs(20), host.ended()).await.expect("in time");
    assert!(ended.success());
}

#[tokio::test]
async fn a_service_manager_may_keep_the_sockets_for_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = || Setup::broken(Model::InProcess, "none").variable("NOTIFY_SOCKET", path.to_str().unwrap());
    let first = setup().start().await;
    let kept =
        kept(&socket, &format!("FDNAME=cohost.http_//{}", first.address).replace("127.0.0.1:", "127.0.0.1_"));
    assert_eq!(kept.local_addr().unwrap(), first.address);
    assert!(first.stop().await.success());

    // Nobody serves, and still nobody is refused.
    let mut early = tokio::net::TcpStream::connect(kept.local_addr().unwrap()).await.unwrap();
    let address = kept.local_addr().unwrap();
    let next = setup().given(kept).variable("LISTEN_FDNAMES", "cohost.x").start().await;
    assert_eq!(next.address, address);
    tokio::io::AsyncWriteExt::write_all(&mut early, b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut early, &mut answer).await.unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    assert!(next.stop().await.success());
}

/// The socket that the host wants kept under this name.
fn kept(manager: &UnixDatagram, name: &str) -> TcpListener {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    loop {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 4096];
        let mut into = [std::io::IoSliceMut::new(&mut bytes)];
        let length = recvmsg(manager, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let told = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if told.lines().any(|line| line == "FDSTORE=1") {
            assert!(told.lines().any(|line| line == name), "{told}");
            return descriptor.expect("it comes with its descriptor").into();
        }
    }
}
