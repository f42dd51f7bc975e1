//! What an application prints, as operators get to read it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    both_models,
    host::{Host, Model, PATIENCE, Setup, library, program},
};

/// Lines that `cohost logs --follow` says, as they come.
struct Following {
    child: Child,
    lines: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Following {
    fn start(host: &Host) -> Self {
        let mut child = Command::new(program())
            .args(["logs", "app", "--follow", "--runtime-dir"])
            .arg(host.runtime_dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Self { child, lines }
    }

    /// The number of each of the next lines, as the application counts them.
    async fn numbers(&mut self, count: usize) -> Vec<usize> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            let line = tokio::time::timeout(PATIENCE / 2, self.lines.recv()).await.expect("in time").unwrap();
            let number = line.split(" line ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            numbers.push(number.parse().unwrap());
        }
        numbers
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

both_models! {
    async fn all_that_is_kept_is_printed_and_what_comes_across_rotations(model: Model) {
        let host = Setup::broken(model, "none")
            .log("output = \"files\"\noutput_size = \"20kB\"\noutput_files = 20")
            .start()
            .await;
        let mut following = Following::start(&host);
        host.get("/print/100").await;
        assert_eq!(following.numbers(1600).await, (0..1600).collect::<Vec<_>>());
        host.get("/print/8").await;
        assert_eq!(following.numbers(128).await, (0..128).collect::<Vec<_>>());

        let all = host.operator(&["logs", "app"]).await;
        assert_eq!((all.code, all.stdout.lines().count()), (0, 1728), "{}", all.stderr);
        let last = host.operator(&["logs", "app", "-n", "3"]).await;
        assert!(all.stdout.ends_with(&last.stdout) && last.stdout.lines().count() == 3, "{last:?}");
        assert!(host.stop().await.success());
    }
}

#[tokio::test]
async fn where_nothing_is_kept_in_files_the_fix_is_named() {
    let host = Setup::sample(Model::InProcess).start().await;
    let said = host.operator(&["logs", "app"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("set output = \"files\""), "{said:?}");
    let unknown = host.operator(&["logs", "ap"]).await;
    assert!(unknown.stderr.contains("did you mean app?"), "{unknown:?}");
    assert!(host.stop().await.success());
}

#[tokio::test]
async fn what_several_in_process_print_is_found_and_said_to_be_shared() {
    let host = Setup::broken(Model::InProcess, "none")
        .log("output = \"files\"")
        .beside(&library("sample_app"), Model::InProcess)
        .start()
        .await;
    host.get("/print/1").await;
    let said = async {
        loop {
            let said = host.operator(&["logs", "healthy"]).await;
            if said.stdout.lines().count() == 16 {
                return said;
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(20), said).await.expect("it is written");
    assert!(said.stderr.contains("several applications in process print here"), "{said:?}");
    assert!(host.stop().await.success());
}
