//! Behaviour 60, as far as output goes, and faults F7 and H1: what applications print is kept, in order, and nobody waits
//! for that.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, Signal, prlimit};

use crate::{
    both_models,
    foreign::echo,
    host::{Host, Model, PATIENCE, Setup, kill, status_of},
};

/// The lines of a file, each as stream, process and text.
fn lines(path: &Path) -> Vec<(String, String, String)> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let words = text.lines().map(|line| {
        // One that broke off has fewer.
        let mut words = line.splitn(4, ' ').map(str::to_owned);
        assert!(words.next().is_some_and(|time| time.starts_with("20")), "{line:?}");
        let mut word = || words.next().unwrap_or_default();
        (word(), word(), word())
    });
    words.collect()
}

fn texts(path: &Path) -> Vec<String> {
    lines(path).into_iter().map(|line| line.2).collect()
}

fn log(host: &Host) -> PathBuf {
    host.directory.path().join("logs/app.log")
}

/// How many lines a file has, or says that are missing.
fn accounted(path: &Path) -> usize {
    let of = |text: String| match text.split_once(" lines (") {
        Some((count, _)) => count.parse().unwrap(),
        None => 1,
    };
    texts(path).into_iter().map(of).sum()
}

/// Waits until it is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE / 2, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const FILES: &str = "output = \"files\"";

both_models! {
    async fn what_an_application_prints_is_in_its_file_in_order(model: Model) {
        let host = Setup::broken(model, "none").log(FILES).start().await;
        host.get("/print/8").await;
        until("all lines", || lines(&log(&host)).len() >= 128).await;
        let found = lines(&log(&host));
        let pid = if model == Model::InProcess {
            host.worker().to_string()
        } else {
            host.log.message("application started").await["pid"].to_string()
        };
        for (number, (stream, tag, text)) in found.iter().enumerate() {
            assert_eq!((stream.as_str(), tag), ("stdout", &format!("F:{pid}")));
            assert_eq!(text, &format!("line {number:010} {:.<47}", ""));
        }
        host.get("/print-error/1").await;
        until("the other stream", || lines(&log(&host)).len() >= 144).await;
        assert!(lines(&log(&host))[128..].iter().all(|line| line.0 == "stderr"));
        // Events are no output, and what is in the file is in no other place.
        host.get("/log").await;
        host.log.message("a warning").await;
        assert!(!host.log.text().contains("line 0000000000"));
        assert_eq!(lines(&log(&host)).len(), 144);
        assert!(host.stop().await.success());
    }

    async fn what_an_application_prints_is_in_the_log_without_files(model: Model) {
        let host = Setup::broken(model, "none").start().await;
        host.get("/print-error/1").await;
        let line = host.log.message(&format!("line {:010} {:.<47}", 15, "")).await;
        assert_eq!((&line["application"], &line["stream"]), (&"app".into(), &"stderr".into()));
        assert!(!host.directory.path().join("logs").exists());
        assert!(host.stop().await.success());
    }

    async fn files_are_rotated_by_size(model: Model) {
        let host = Setup::broken(model, "none")
            .log("output_size = \"20kB\"\noutput_files = 3")
            .application(FILES)
            .start()
            .await;
        host.get("/print/100").await;
        let last = format!("line {:010} {:.<47}", 1599, "");
        until("the last line", || texts(&log(&host)).last() == Some(&last)).await;
        let folder = host.directory.path().join("logs");
        let mut all: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        assert_eq!(all, ["app.log", "app.log.1", "app.log.2"].map(|name| folder.join(name)));
        for file in &all {
            assert!(fs::metadata(file).unwrap().len() <= 20_000);
        }
        let kept: Vec<_> = all.iter().rev().flat_map(|file| texts(file)).collect();
        let first = 1600 - kept.len();
        assert!(kept.iter().enumerate().all(|(n, line)| line.contains(&format!(" {:010} ", first + n))));
        assert!(host.stop().await.success());
    }
}

// ---- in process

#[tokio::test]
async fn the_last_words_of_a_worker_are_kept_and_come_before_the_news_of_its_crash() {
    let host = Setup::broken(Model::InProcess, "none").start().await;
    let mut socket = host.wire().await;
    socket.send("GET /stack-overflow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    host.log.wait(|event| event["message"].as_str().is_some_and(|it| it.starts_with("worker crashed"))).await;
    let events = host.log.events();
    let place = |start: &str| {
        let starts =
            |event: &serde_json::Value| event["message"].as_str().is_some_and(|it| it.contains(start));
        events.iter().position(starts).unwrap_or_else(|| panic!("no {start:?} in {}", host.log.text()))
    };
    let said = place("overflowed its stack");
    assert!(said < place("worker crashed"));
    assert_eq!((&events[said]["application"], &events[said]["stream"]), (&"app".into(), &"stderr".into()));
    let crashed = host.tells().await["sites"][0]["applications"][0]["crashed"].clone();
    assert!(crashed["output"].as_str().unwrap().contains("overflowed its stack"), "{crashed}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn without_a_supervisor_an_application_in_process_prints_where_the_host_does() {
    let host = Setup::broken(Model::InProcess, "none").log(FILES).option("--no-supervisor").start().await;
    host.get("/print-error/1").await;
    until("the last line", || host.log.text().contains("\nline 0000000015 ")).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_cannot_be_attributed_says_so_and_is_kept() {
    let beside = "[[site.application]]\npath = \"/other\"\nlibrary = ";
    let library = crate::host::library("sample_app").display().to_string();
    let host = Setup::broken(Model::InProcess, "none")
        .log(FILES)
        .more(&format!("{beside}{library:?}"))
        .start()
        .await;
    host.get("/print/1").await;
    let file = host.directory.path().join("logs/@in-process.log");
    until("all lines", || lines(&file).len() == 16).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_an_application_prints_is_not_taken_for_another_ones_that_was_promoted() {
    let host = Setup::broken(Model::OutOfProcess, "none")
        .log(FILES)
        .beside(&crate::host::library("sample_app"), Model::InProcess)
        .start()
        .await;
    assert_eq!(host.operator(&["promote", "app"]).await.code, 0);
    host.get("/print/1").await;
    let file = host.directory.path().join("logs/@in-process.log");
    until("all lines", || lines(&file).len() == 16).await;
    assert!(host.stop().await.success());
}

// ---- whoever moves, cuts and breaks the files

#[tokio::test]
async fn a_file_that_was_moved_is_begun_anew() {
    let host = Setup::broken(Model::InProcess, "none").log(FILES).start().await;
    host.get("/print/1").await;
    until("the file", || lines(&log(&host)).len() == 16).await;
    let moved = host.directory.path().join("moved");
    fs::rename(log(&host), &moved).unwrap();
    host.get("/print/1").await;
    until("another file", || lines(&log(&host)).len() == 16).await;
    assert_eq!(lines(&moved).len(), 16);
    // Also without a line to write: nobody wants to wait for that before the moved file is compressed.
    fs::rename(log(&host), &moved).unwrap();
    host.signal("USR1");
    until("that it is let go", || !holds(&host, &moved)).await;
    // Nobody else minds the signal.
    kill(host.worker(), Signal::USR1);
    assert_eq!(host.get("/").await.text(), "ok\n");
    assert!(host.stop().await.success());
}

/// Whether a process of the host has the file open.
fn holds(host: &Host, file: &Path) -> bool {
    [host.pid(), host.worker()].iter().any(|pid| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == file)
    })
}

#[tokio::test]
async fn serving_goes_on_without_the_folder_and_with_a_pipe_in_place_of_the_file() {
    let host = Setup::broken(Model::OutOfProcess, "none").log(FILES).start().await;
    host.get("/print/1").await;
    until("the file", || lines(&log(&host)).len() == 16).await;
    let folder = host.directory.path().join("logs");
    fs::remove_dir_all(&folder).unwrap();
    // A file in its place.
    fs::write(&folder, "").unwrap();
    host.get("/print/1").await;
    let message = "cannot keep what is printed; counting it until that works";
    let told = host.log.message(message).await;
    assert_eq!((&told["application"], &told["file"]), (&"app".into(), &log(&host).to_str().unwrap().into()));
    fs::remove_file(&folder).unwrap();
    host.get("/print/1").await;
    until("it goes on", || accounted(&log(&host)) == 2 * 16).await;
    assert!(texts(&log(&host))[0].contains("could not be written"));
    // A pipe that nobody reads.
    fs::remove_file(log(&host)).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, log(&host), fifo, 0o600.into(), 0).unwrap();
    for _ in 0..3 {
        assert_eq!(host.get("/print/1").await.status, 200);
    }
    host.log.times(message, 2).await;
    fs::remove_file(log(&host)).unwrap();
    host.get("/print/1").await;
    until("it goes on", || accounted(&log(&host)) == 4 * 16).await;
    assert!(texts(&log(&host))[0].contains("could not be written"));
    host.log.times("what is printed is kept again; the file says how much is missing", 2).await;
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn serving_goes_on_without_room_on_the_disk_and_what_is_lost_is_counted() {
    let host = Setup::broken(Model::InProcess, "none").log(FILES).start().await;
    host.get("/print/1").await;
    until("the file", || lines(&log(&host)).len() == 16).await;
    // As a disk that is full, to this process.
    let limit = |current| Rlimit { current, maximum: None };
    let host_process = rustix::process::Pid::from_raw(host.pid().cast_signed());
    prlimit(host_process, Resource::Fsize, limit(Some(4000))).unwrap();
    for _ in 0..20 {
        assert_eq!(host.get("/print/1").await.status, 200);
    }
    host.log.message("cannot keep what is printed; counting it until that works").await;
    assert_eq!(fs::metadata(log(&host)).unwrap().len(), 4000);
    prlimit(host_process, Resource::Fsize, limit(None)).unwrap();
    host.get("/print/1").await;
    host.log.message("what is printed is kept again; the file says how much is missing").await;
    // The line that broke off stands there and is counted.
    until("it goes on", || accounted(&log(&host)) == 22 * 16 + 1).await;
    assert!(host.stop().await.success());
}

// ---- floods

#[tokio::test]
async fn a_flood_without_lines_is_kept_in_bounds() {
    let flood = "head -c 200000000 /dev/zero; exec \"$@\"";
    let words: Vec<_> = ["sh", "-c", flood, "sh"].into_iter().chain(echo(&[])).collect();
    let host = Setup::command(&words).log(FILES).start().await;
    let before = (status_of(host.pid(), "VmRSS"), status_of(host.worker(), "VmRSS"));
    assert_eq!(host.get("/").await.status, 200);
    // Printed when there is room again for certain; what came before may be counted instead.
    let client = host.client();
    let hanging = tokio::spawn(async move { client.get("/hang").await });
    until("the end", || texts(&log(&host)).iter().any(|text| text.ends_with("hanging"))).await;
    hanging.abort();
    let folder = host.directory.path().join("logs");
    let sizes: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.len() <= 5 && sizes.iter().all(|size| *size <= 10_000_000), "{sizes:?}");
    for (process, before) in [(host.pid(), before.0), (host.worker(), before.1)] {
        let after = status_of(process, "VmRSS");
        assert!(after < before + 40_000, "{before} kB before, {after} kB after");
    }
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn a_flood_of_lines_in_process_holds_up_nobody_and_every_line_is_kept_or_counted() {
    let host = Setup::broken(Model::InProcess, "none").log(FILES).log("output_size = \"none\"").start().await;
    let (flood, other) = tokio::join!(host.get("/print/4000"), host.get("/"));
    assert_eq!((flood.status, other.text()), (http::StatusCode::OK, "ok\n"));
    until("all lines are kept or counted", || accounted(&log(&host)) == 64_000).await;
    assert!(host.stop().await.success());
}
