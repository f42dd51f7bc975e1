//! A host to test: the program `cohost` with a configuration of its own, on a port of its own, ended with the test.
#![allow(dead_code, reason = "a kit: not every test needs every piece")]

mod browser;
mod client;
mod load;
mod log;
mod operator;
mod pebble;
mod processes;
mod secure;
mod wire;
mod workshop;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

pub use browser::Browser;
pub use client::{Answer, Client};
pub use load::{Ask, Load, OK};
pub use log::Log;
pub use operator::{Said, operator};
pub use pebble::{CUSTOMER, Habits, Pebble, free};
pub use processes::{Watched, kill};
pub use secure::{Handshake, Issued, Issuer, Secure, get_on_http2};
pub use wire::{Reply, Wire};
pub use workshop::{HELLO, Workshop};

/// How long anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The two hosting models; a test that takes one runs under both, see [`both_models`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    InProcess,
    OutOfProcess,
}

impl Model {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "inprocess",
            Self::OutOfProcess => "outofprocess",
        }
    }
}

/// Makes of each `async fn name(model: Model)` two tests: `name::in_process` and `name::out_of_process`.
#[macro_export]
macro_rules! both_models {
    ($($(#[$meta:meta])* async fn $name:ident($model:ident: Model) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn case($model: Model) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_process() {
                tokio::time::timeout($crate::host::PATIENCE, case(Model::InProcess)).await.expect("in time");
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn out_of_process() {
                tokio::time::timeout($crate::host::PATIENCE, case(Model::OutOfProcess)).await.expect("in time");
            }
        }
    )+};
}

/// A configuration in the making. Keys go to the application unless a section is named.
pub struct Setup {
    artifact: String,
    model: Option<Model>,
    log: String,
    server: String,
    application: String,
    settings: String,
    site: String,
    rest: String,
    binding: String,
    files: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    options: Vec<&'static str>,
    program: PathBuf,
    through: Vec<&'static str>,
    given: Option<TcpListener>,
    log_is_read: bool,
}

impl Setup {
    /// The sample application.
    pub fn sample(model: Model) -> Self {
        Self::library(&library("sample_app"), model)
    }

    /// The application with a switch per fault; `fault` is one for its constructor, or `"none"`.
    pub fn broken(model: Model, fault: &str) -> Self {
        Self::library(&library("test_apps"), model).settings(&format!("fault = {fault:?}"))
    }

    /// The application that speaks the raw contract.
    pub fn raw(model: Model) -> Self {
        Self::library(&library("test_raw_app"), model)
    }

    /// Any library.
    pub fn library(path: &Path, model: Model) -> Self {
        Self::artifact(format!("library = {:?}", path.display().to_string()), Some(model))
    }

    /// In process, and in a process of its own if it crashes too often.
    pub fn automatic(mut self) -> Self {
        self.model = None;
        self.application("hosting_model = \"auto\"")
    }

    /// Any program.
    pub fn command(words: &[&str]) -> Self {
        Self::artifact(format!("command = {words:?}"), None)
    }

    /// The files in a folder.
    pub fn files(root: &Path) -> Self {
        Self::artifact(format!("static = {:?}", root.display().to_string()), None)
    }

    /// An application of which everything is still to be said.
    pub fn nothing() -> Self {
        Self::artifact(String::new(), None)
    }

    /// Servers that somebody else runs, as the list that stands in the configuration.
    pub fn upstreams(list: &str) -> Self {
        Self::artifact(format!("upstreams = {list}"), None)
    }

    fn artifact(artifact: String, model: Option<Model>) -> Self {
        Self {
            artifact,
            model,
            log: String::new(),
            server: String::new(),
            application: String::new(),
            settings: String::new(),
            site: String::new(),
            rest: String::new(),
            binding: "http://127.0.0.1:0".to_owned(),
            files: Vec::new(),
            environment: Vec::new(),
            options: Vec::new(),
            program: program(),
            through: Vec::new(),
            given: None,
            log_is_read: true,
        }
    }

    /// Lines for `[[site.application]]`.
    pub fn application(mut self, lines: &str) -> Self {
        let _ = writeln!(self.application, "{lines}");
        self
    }

    /// Lines for `[site.application.settings]`.
    pub fn settings(mut self, lines: &str) -> Self {
        let _ = writeln!(self.settings, "{lines}");
        self
    }

    /// Lines for `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        let _ = writeln!(self.server, "{lines}");
        self
    }

    /// Lines for `[log]`.
    pub fn log(mut self, lines: &str) -> Self {
        let _ = writeln!(self.log, "{lines}");
        self
    }

    /// Tables of the site: `[site.ip]` and its like.
    pub fn site(mut self, lines: &str) -> Self {
        let _ = writeln!(self.site, "{lines}");
        self
    }

    /// Where the site is reached, in place of a free port without TLS.
    pub fn binding(mut self, binding: &str) -> Self {
        self.binding = binding.to_owned();
        self
    }

    /// A file in the folder of the configuration.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Lines after the application: more applications of the site, more sites.
    pub fn more(mut self, lines: &str) -> Self {
        let _ = writeln!(self.rest, "{lines}");
        self
    }

    /// Another application of the same site, which answers everything below `/healthy`.
    pub fn beside(self, healthy: &Path, model: Model) -> Self {
        let (library, model) = (healthy.display().to_string(), model.as_str());
        self.more(&format!(
            "[[site.application]]\nname = \"healthy\"\npath = \"/healthy\"\nlibrary = {library:?}\n\
             hosting_model = {model:?}"
        ))
    }

    /// A variable of the host's environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An option of the command line.
    pub fn option(mut self, option: &'static str) -> Self {
        self.options.push(option);
        self
    }

    /// Runs this copy of the program.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// As any user has it: root may read all files, unless that is taken from it.
    pub fn denied_what_root_may(mut self) -> Self {
        if rustix::process::geteuid().is_root() {
            self.through = vec!["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
        }
        self
    }

    /// Does not read the host's log before [`Log::read`] is called.
    pub fn unread(mut self) -> Self {
        self.log_is_read = false;
        self
    }

    /// Hands the host a socket that listens, as a service manager does.
    pub fn given(mut self, socket: TcpListener) -> Self {
        self.binding = format!("http://{}", socket.local_addr().unwrap());
        self.given = Some(socket);
        self
    }

    /// The configuration file.
    pub fn text(&self) -> String {
        let Self { artifact, log, server, application, settings, site, rest, binding, .. } = self;
        // A second worker for each host would slow down all tests, and run what is preloaded twice.
        let standby = if server.contains("standby") { "" } else { "standby = false" };
        // Nor shall it do by itself what a test wants to see done by a command.
        let watch = if server.contains("watch = ") { "" } else { "watch = false" };
        let model =
            self.model.map(|model| format!("hosting_model = {:?}", model.as_str())).unwrap_or_default();
        let settings = match settings.is_empty() {
            true => String::new(),
            false => format!("[site.application.settings]\n{settings}"),
        };
        format!(
            "[log]\nformat = \"json\"\n{log}\n[server]\n{standby}\n{watch}\n{server}\n[[site]]\nname = \"site\"\n\
             bindings = [{binding:?}]\n{site}\n[[site.application]]\nname = \"app\"\n{artifact}\n{model}\n\
             {application}\n{settings}\n{rest}\n"
        )
    }

    /// Starts the host, and the application with it. Returns once both have started: for limits on time.
    pub async fn start_preloaded(self) -> Host {
        let host = self.application("preload = true").start().await;
        host.log.message("application started").await;
        host
    }

    /// The same with a binding that has a name, from which nobody can tell where it listens: at this port.
    pub async fn start_named(self, port: u16) -> Host {
        self.run(Some(([127, 0, 0, 1], port).into())).await
    }

    /// Starts the host. Returns once it listens.
    pub async fn start(self) -> Host {
        self.run(None).await
    }

    async fn run(mut self, known: Option<SocketAddr>) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cohost.toml");
        std::fs::write(&file, self.text()).unwrap();
        for (name, text) in &self.files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let mut command = match self.given.take() {
            Some(socket) => with_socket(&self.program, socket),
            None => {
                let mut words = self.through.iter().map(OsStr::new).chain([self.program.as_os_str()]);
                let mut command = Command::new(words.next().unwrap());
                command.args(words).stdin(Stdio::null());
                command
            }
        };
        command.arg("run").arg(&file).args(&self.options);
        // Each host has a runtime directory of its own.
        command.env("XDG_RUNTIME_DIR", directory.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        let log = Log::of_process(child.stderr.take().unwrap());
        if self.log_is_read {
            log.read();
        }
        let stdout = child.stdout.take().unwrap();
        let found =
            tokio::task::spawn_blocking(move || address(BufReader::new(stdout), known)).await.unwrap();
        let Some(address) = found else {
            panic!("the host did not come up with\n{}\n{}", self.text(), log.text());
        };
        Host { child: Some(child), address, log, directory }
    }
}

/// The program, with a listening socket as its descriptor 3.
fn with_socket(program: &Path, socket: TcpListener) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    command.args(["-c", script]).arg(program).stdin(OwnedFd::from(socket));
    command
}

/// Where the greeting says that it listens.
fn address(
    mut stdout: BufReader<std::process::ChildStdout>,
    known: Option<SocketAddr>,
) -> Option<SocketAddr> {
    let mut line = String::new();
    let mut found = known;
    // To the end of the greeting, which the host would otherwise write to nobody.
    while stdout.read_line(&mut line).ok()? > 0 {
        let url =
            |word: &'_ str| word.strip_prefix("http://").or(word.strip_prefix("https://")).map(str::to_owned);
        let url = line.split_whitespace().find_map(url);
        found = found.or(url.and_then(|url| url.split('/').next()?.parse().ok()));
        if line.contains("Ctrl+C") {
            return found;
        }
        line.clear();
    }
    found
}

/// A running host. Dropping it kills it; [`stop`](Self::stop) asks it.
pub struct Host {
    child: Option<Child>,
    pub address: SocketAddr,
    pub log: Log,
    pub directory: tempfile::TempDir,
}

impl Host {
    /// A client that keeps no connection.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A GET on a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.client().get(path).await
    }

    /// A connection of bytes.
    pub async fn wire(&self) -> Wire {
        Wire::connect(self).await
    }

    /// A connection without a protocol.
    pub async fn raw(&self) -> tokio::net::TcpStream {
        tokio::net::TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of its own and reads until the host closes it.
    pub async fn exchange(&self, request: &str) -> String {
        let mut wire = self.wire().await;
        wire.send(request).await;
        wire.rest().await
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends it a signal by name: `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let pid = self.pid().to_string();
        let mut child = self.child.take().unwrap();
        let waiting = tokio::task::spawn_blocking(move || child.wait().unwrap());
        // Less than a whole test may take, so that the log is told and nothing is left.
        if let Ok(ended) = tokio::time::timeout(PATIENCE / 2, waiting).await {
            return ended.unwrap();
        }
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
        panic!("the host does not end");
    }

    /// Asks it to stop, and waits.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// A number out of `/proc/PID/status` of the process that serves, such as `VmHWM` in kB.
    pub fn status(&self, name: &str) -> u64 {
        status_of(self.worker(), name)
    }
}

/// A number out of `/proc/PID/status`.
pub fn status_of(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- log of the host\n{}", self.log.text());
        }
    }
}

/// The program. Cargo builds it with the tests of its own package.
pub fn program() -> PathBuf {
    let program = build_directory().join("cohost");
    assert!(program.exists(), "no {}; build it with `cargo build`", program.display());
    program
}

/// A cdylib that is a dev-dependency of this package, and so lies beside the tests.
pub fn library(name: &str) -> PathBuf {
    let path = build_directory().join("deps").join(format!("lib{name}.so"));
    assert!(path.exists(), "no {}", path.display());
    path
}

fn build_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}
