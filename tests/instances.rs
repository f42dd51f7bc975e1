//! Instances, seen from outside: real processes, and what is left of them.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use cohost::{
    failure::{Code, Failure},
    supervisor::{Endpoint, Exit, Instance, Launch, Listen, Program, Ready, Runner, Shutdown, StartError},
};
use tokio::{sync::mpsc, time::timeout};

// ---- ready

#[tokio::test]
async fn an_instance_is_ready_when_it_accepts_and_ends_when_asked() {
    let host = Host::new();
    let instance = host.start(&host.server(&[])).await.unwrap();

    let Endpoint::Tcp(address) = *instance.endpoint() else { panic!("a command listens on a port") };
    assert!(address.ip().is_loopback());
    assert_eq!(instance.token().len(), 64);

    let end = instance.stop().await;
    assert_eq!((end.exit, end.forced), (Exit::Signal(15), false));
    assert_eq!(instance.exit(), Some(Exit::Signal(15)));
    assert_eq!(&*instance.output_tail(), "listening\n");
}

#[tokio::test]
async fn a_socket_lies_in_a_private_directory_that_goes_with_the_instance() {
    let host = Host::new();
    let mut launch = host.server(&[]);
    launch.listen = Listen::Socket;
    let instance = host.start(&launch).await.unwrap();

    let Endpoint::Unix(path) = instance.endpoint().clone() else { panic!("a socket was asked for") };
    let private = path.parent().unwrap();
    assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700);
    instance.stop().await;
    assert!(!private.exists());
}

#[tokio::test]
async fn an_instance_is_ready_when_its_health_path_answers() {
    let host = Host::new();
    let mut launch = host.server(&["--unhealthy", "5"]);
    launch.ready = Ready::Health("/health".to_owned());
    host.start(&launch).await.unwrap();

    launch = host.server(&["--unhealthy", "100000"]);
    launch.ready = Ready::Health("/health".to_owned());
    launch.startup_timeout = Duration::from_millis(300);
    let error = host.start(&launch).await.unwrap_err();
    assert!(error.to_string().contains("answers GET /health with 503"), "{error}");
}

#[tokio::test]
async fn an_instance_is_ready_when_it_says_so() {
    let host = Host::new();
    let mut launch = host.server(&["--notify"]);
    launch.ready = Ready::Notify;
    host.start(&launch).await.unwrap();

    launch = host.server(&["--never-notify"]);
    launch.ready = Ready::Notify;
    launch.startup_timeout = Duration::from_millis(300);
    let error = host.start(&launch).await.unwrap_err();
    assert!(error.to_string().contains("thinking"), "{error}");
}

#[tokio::test]
async fn ten_instances_started_at_the_same_moment_all_come_up() {
    let host = Host::new();
    let launch = host.server(&[]);
    let starts = (0..10).map(|_| host.start(&launch));
    let instances: Vec<_> =
        futures_util::future::join_all(starts).await.into_iter().map(Result::unwrap).collect();

    let ports: std::collections::HashSet<_> =
        instances.iter().map(|instance| instance.endpoint().to_string()).collect();
    assert_eq!(ports.len(), 10);
    let ends = futures_util::future::join_all(instances.iter().map(Instance::stop)).await;
    assert!(ends.iter().all(|end| !end.forced));
}

// ---- not ready

#[tokio::test]
async fn an_exit_before_readiness_carries_code_and_output() {
    let host = Host::new();
    let error = host.start(&host.shell("echo out; echo wrong >&2; exit 3")).await.unwrap_err();

    assert!(matches!(error, StartError::InstanceExited { exit: Exit::Code(3), .. }), "{error:?}");
    let failure = Failure::from(error);
    assert_eq!(failure.code, Code::InstanceExited);
    let output = failure.output.unwrap();
    assert!(output.contains("out\n") && output.contains("wrong\n"), "{output}");

    let error = host.start(&host.shell("kill -SEGV $$")).await.unwrap_err();
    assert!(error.to_string().contains("SIGSEGV"), "{error}");
    let error = host.start(&host.shell("exit 0")).await.unwrap_err();
    assert!(error.to_string().contains("foreground"), "{error}");
}

#[tokio::test]
async fn an_instance_that_never_listens_is_killed_with_all_it_started() {
    let host = Host::new();
    let mut witness = Witness::new(&host);
    let mut launch = host.server(&["--wrong-port", "--orphan", witness.path()]);
    launch.startup_timeout = Duration::from_secs(1);
    let error = host.start(&launch).await.unwrap_err();

    assert_eq!(error.code(), Code::StartTimeout);
    assert!(error.to_string().contains("but on 127.0.0.1:"), "{error}");
    assert_eq!(&**error.output().unwrap(), "listening\n");
    witness.saw_one().await;
    witness.saw_the_last_one_go().await;
    assert!(host.left_behind().is_empty());
}

#[tokio::test]
async fn a_fixed_port_of_somebody_else_is_noticed() {
    let host = Host::new();
    let mut launch = host.server(&[]);
    launch.listen = Listen::FixedPort(fixed_port());
    let stranger = host.start(&launch).await.unwrap();
    assert_eq!(host.start(&launch).await.unwrap_err().code(), Code::PortTaken);

    stranger.stop().await;
    host.start(&launch).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_is_named_with_the_fix() {
    let host = Host::new();
    let file = |name: &str, content: &[u8], mode| {
        let path = host.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string()
    };
    let cases = [
        ("no-such-command".into(), Code::FileMissing, "no-such-command"),
        ("/no/such/command".into(), Code::FileMissing, "/no/such/command"),
        (file("plain", b"#!/bin/sh\n", 0o644), Code::SpawnFailed, "chmod"),
        (file("headless", b"echo hello\n", 0o755), Code::SpawnFailed, "#!"),
        (file("foreign", b"\x7fELF\x02\x01\x01nonsense", 0o755), Code::SpawnFailed, "machine"),
        (file("lost", b"#!/no/such/interpreter\n", 0o755), Code::SpawnFailed, "interpreter"),
    ];
    for (command, code, word) in cases {
        let error = host.start(&host.command(vec![command])).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let mut launch = host.server(&[]);
    launch.directory = "/no/such/directory".into();
    let error = host.start(&launch).await.unwrap_err();
    assert!(matches!(error, StartError::FileMissing { what: "the working directory", .. }), "{error:?}");
    assert!(host.left_behind().is_empty());
}

#[tokio::test]
async fn a_runner_that_is_no_guard_is_named() {
    let host = Host::new();
    let runner = Runner { program: "/bin/false".into(), directory: host.directory.path().to_owned() };
    let error = Instance::start(&host.server(&[]), &runner).await.unwrap_err();
    assert!(error.to_string().contains("enter_if_asked"), "{error}");
}

#[tokio::test]
async fn a_start_that_is_called_off_leaves_nothing() {
    let host = Host::new();
    let mut witness = Witness::new(&host);
    let launch = host.server(&["--wrong-port", "--orphan", witness.path()]);
    {
        let start = host.start(&launch);
        tokio::select! {
            _ = start => panic!("it never listens where it should"),
            () = witness.saw_one() => {}
        }
    }
    witness.saw_the_last_one_go().await;
}

// ---- the end

#[tokio::test]
async fn one_that_ignores_the_signal_is_killed_with_its_children() {
    let host = Host::new();
    let mut witness = Witness::new(&host);
    let mut launch = host.server(&["--ignore-term", "--child", witness.path()]);
    launch.shutdown_timeout = Duration::from_millis(100);
    let instance = host.start(&launch).await.unwrap();
    witness.saw_one().await;

    let end = instance.stop().await;
    assert_eq!((end.exit, end.forced), (Exit::Signal(9), true));
    witness.saw_the_last_one_go().await;
}

#[tokio::test]
async fn a_descendant_in_a_session_of_its_own_goes_with_the_instance() {
    let host = Host::new();
    let mut witness = Witness::new(&host);
    let instance = host.start(&host.server(&["--orphan", witness.path()])).await.unwrap();
    witness.saw_one().await;

    assert!(!instance.stop().await.forced);
    witness.saw_the_last_one_go().await;
}

#[tokio::test]
async fn dropping_an_instance_kills_everything() {
    let host = Host::new();
    let mut witness = Witness::new(&host);
    let instance =
        host.start(&host.server(&["--orphan", witness.path(), "--child", witness.path()])).await.unwrap();
    witness.saw_one().await;
    witness.saw_one().await;

    let exited = instance.exited();
    drop(instance);
    assert_eq!(exited.await, Exit::Signal(9));
    witness.saw_the_last_one_go().await;
    assert!(host.left_behind().is_empty());
}

#[tokio::test]
async fn nothing_survives_a_host_that_is_killed() {
    let host = Host::new();
    let mut witness = Witness::new(&host);
    let mut other = Command::new(runner())
        .arg(host.directory.path())
        .args([server(), Path::new("--orphan"), Path::new(witness.path())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    witness.saw_one().await;

    other.kill().unwrap();
    other.wait().unwrap();
    witness.saw_the_last_one_go().await;
}

#[tokio::test]
async fn an_instance_whose_guard_is_killed_goes_too() {
    let host = Host::new();
    let mut witness = Witness::new(&host);
    let instance = host.start(&host.server(&["--child", witness.path()])).await.unwrap();
    witness.saw_one().await;

    let guard = parent(instance.pid());
    rustix::process::kill_process(guard, rustix::process::Signal::KILL).unwrap();
    assert_eq!(instance.exited().await, Exit::Lost);
    witness.saw_the_last_one_go().await;
}

#[tokio::test]
async fn a_guard_takes_no_orders_by_signal() {
    let host = Host::new();
    let instance = host.start(&host.server(&[])).await.unwrap();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT, rustix::process::Signal::HUP]
    {
        rustix::process::kill_process(parent(instance.pid()), signal).unwrap();
    }
    // Had it ended, this would be `Lost`.
    assert_eq!(instance.stop().await.exit, Exit::Signal(15));
}

#[tokio::test]
async fn everybody_who_waits_learns_of_a_crash() {
    let host = Host::new();
    let instance = host.start(&host.server(&[])).await.unwrap();
    let waiting = [instance.exited(), instance.exited()];
    instance.abort();
    let exits = futures_util::future::join_all(waiting).await;
    assert_eq!(exits, [Exit::Signal(6), Exit::Signal(6)]);
}

#[tokio::test]
async fn an_asp_net_core_program_is_asked_by_message() {
    let host = Host::new();
    let mut launch = host.server(&["--ignore-term"]);
    launch.path_base = "/shop".into();
    launch.shutdown = Shutdown::AspNetCore;
    let instance = host.start(&launch).await.unwrap();
    let end = instance.stop().await;
    assert_eq!((end.exit, end.forced), (Exit::Code(7), false));
}

// ---- what an instance gets, and what it prints

#[tokio::test]
async fn arguments_arrive_unchanged_and_the_directory_is_the_applications() {
    let host = Host::new();
    let arguments =
        ["two words", "\"quoted\" 'too'", "näïve ☃", "", "back\\slash $HOME `x` *", "--", "line\nend"];
    let mut words: Vec<OsString> =
        ["sh", "-c", r#"pwd >&2; printf '%s\0' "$@" > arguments; exit 1"#, "sh"].map(OsString::from).to_vec();
    words.extend(arguments.map(OsString::from));
    words.push(std::os::unix::ffi::OsStringExt::from_vec(b"not \xff text".to_vec()));
    let error = host.start(&host.command(words)).await.unwrap_err();

    let mut expected = arguments.join("\0").into_bytes();
    expected.extend(b"\0not \xff text\0");
    assert_eq!(fs::read(host.path("arguments")).unwrap(), expected);
    let directory = fs::canonicalize(host.directory.path()).unwrap();
    assert_eq!(error.output().unwrap().trim_end(), directory.to_str().unwrap());
}

#[tokio::test]
async fn the_environment_is_the_declared_one() {
    let host = Host::new();
    let mut launch = host.shell("env > environment; exit 1");
    let long = "x".repeat(100_000);
    launch.environment.inherited.push(("NOTIFY_SOCKET".into(), "/outer".into()));
    launch.environment.inherited.push(("LISTEN_FDS".into(), "3".into()));
    launch.environment.configured.push(("LONG".into(), long.clone().into()));
    launch.environment.configured.push(("URL".into(), "http://127.0.0.1:{port}/".into()));
    host.start(&launch).await.unwrap_err();

    let environment = fs::read_to_string(host.path("environment")).unwrap();
    let value = |name: &str| environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(value("LONG"), Some(&*long));
    assert_eq!(value("URL"), Some(&*format!("http://127.0.0.1:{}/", value("PORT").unwrap())));
    assert_eq!(value("ASPNETCORE_PORT"), value("PORT"));
    assert_eq!(value("NOTIFY_SOCKET").or(value("LISTEN_FDS")).or(value("CARGO_MANIFEST_DIR")), None);
}

#[tokio::test]
async fn only_the_standard_descriptors_are_open() {
    let host = Host::new();
    // Not close-on-exec, as some library in an embedding program may have it.
    let _leaky = rustix::io::dup(fs::File::open("/dev/null").unwrap()).unwrap();
    let error = host.start(&host.command(vec!["ls".into(), "/proc/self/fd".into()])).await.unwrap_err();
    // The fourth is the directory that it lists.
    assert_eq!(&**error.output().unwrap(), "0\n1\n2\n3\n");
}

#[tokio::test]
async fn a_flood_of_output_blocks_nobody_and_leaves_its_end() {
    let host = Host::new();
    let flood = "head -c 200000000 /dev/zero; printf '\\377'; echo the end; exit 1";
    let error = host.start(&host.shell(flood)).await.unwrap_err();
    let output = error.output().unwrap();
    assert!(output.ends_with("\u{fffd}the end\n"));
    assert!(output.chars().count() <= 30 * 1024);
}

// ---- around them

struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn start(&self, launch: &Launch) -> Result<Instance, StartError> {
        let runner = Runner { program: runner(), directory: self.directory.path().to_owned() };
        Instance::start(launch, &runner).await
    }

    fn command(&self, words: Vec<OsString>) -> Launch {
        let mut launch = Launch::new("test", Program::Command(words), self.directory.path());
        launch.startup_timeout = Duration::from_secs(60);
        launch
    }

    fn server(&self, options: &[&str]) -> Launch {
        let words = std::iter::once(server().as_os_str()).chain(options.iter().map(AsRef::as_ref));
        self.command(words.map(OsString::from).collect())
    }

    fn shell(&self, script: &str) -> Launch {
        self.command(["sh", "-c", script].map(OsString::from).to_vec())
    }

    /// Private directories that nobody removed.
    fn left_behind(&self) -> Vec<OsString> {
        let names = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.as_encoded_bytes().starts_with(b"cohost-")).collect()
    }
}

/// A pipe that descendants hold open: its end is the end of the last of them.
struct Witness {
    path: String,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Witness {
    fn new(host: &Host) -> Self {
        let path = host.path("witness");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (sender, lines) = mpsc::unbounded_channel();
        let opened = path.clone();
        // Not awaited: a pipe that nobody ever opens would hold the test.
        std::thread::spawn(move || {
            for line in BufReader::new(fs::File::open(opened).unwrap()).lines() {
                let _over = sender.send(line.unwrap());
            }
        });
        Self { path: path.to_str().unwrap().to_owned(), lines }
    }

    fn path(&self) -> &str {
        &self.path
    }

    async fn saw_one(&mut self) {
        let line = timeout(LIMIT, self.lines.recv()).await.expect("a descendant appears in time");
        line.expect("a descendant appears");
    }

    async fn saw_the_last_one_go(&mut self) {
        let end = timeout(LIMIT, self.lines.recv()).await.expect("descendants end in time");
        assert_eq!(end, None);
    }
}

/// A port below those that the system gives out, so that none of the other tests gets it in between.
fn fixed_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (20_000..30_000).find(free).unwrap()
}

fn parent(pid: u32) -> rustix::process::Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    rustix::process::Pid::from_raw(parent.trim().parse().unwrap()).unwrap()
}

/// The example that is a guard; cargo builds it with the tests.
fn runner() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let runner = test.parent().unwrap().parent().unwrap().join("examples/guard");
    assert!(
        runner.exists(),
        "not built: run `cargo build --example guard` first, or `cargo test` without a choice"
    );
    runner
}

/// The program that the instances run.
fn server() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (built, program) =
            (directory.join(format!("instance-{}", std::process::id())), directory.join("instance"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/instance.c");
        let status = Command::new("cc").arg("-O1").arg("-o").arg(&built).arg(source).status().unwrap();
        assert!(status.success(), "a C compiler is needed for this test");
        // Another test run may be using the old one.
        fs::rename(built, &program).unwrap();
        program
    })
}

const LIMIT: Duration = Duration::from_secs(20);
