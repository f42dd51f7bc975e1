//! The command line, as it is typed.

use std::{fmt::Write as _, path::PathBuf};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use cohost::{
    ConfiguredModel,
    config::{Binding, BindingError, LogFormat},
    failure::Code,
};

use crate::{exit::Exit, runtime_dir::RuntimeDir, settings::Setting};

/// Hosts web applications that are dynamic libraries, in its own process or as processes it supervises.
#[derive(Debug, Parser)]
#[command(name = "cohost", version, after_help = EXAMPLES, after_long_help = after_long_help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Check(Check),
    Inspect(Inspect),
    RewriteTest(RewriteTest),
    App(App),
    Status(Status),
    Reload(Reload),
    Recycle(Recycle),
    Offline(Offline),
    /// Have an application served again that is offline
    Online(Named),
    /// Go back to the generation of an application that was before this one, code and settings
    Rollback(Named),
    /// Have an application run inside the worker, in place of a process of its own
    Promote(Named),
    /// Have an application run in a process of its own, in place of the worker
    Demote(Named),
    Logs(Logs),
    Upgrade(Upgrade),
    Stop(Stop),
    Explain(Explain),
    Import(Import),
    /// Print a JSON schema of cohost.toml, with which editors complete keys and say what they mean
    Schema,
    Completions(Completions),
}

/// Serve an application, or everything that a cohost.toml names
///
/// PATH is one of
///   a crate's directory   built first, with `cargo build --release`
///   a library (.so)       served at the root of a site of its own
///   a cohost.toml         or a directory with one in it
///
/// Runs until SIGTERM or Ctrl+C, then finishes the requests in flight. SIGHUP reads the configuration again and replaces
/// what serves, without a gap. The log goes to stderr.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// Crate, library or configuration
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Where to listen: ADDRESS:PORT, or any binding that cohost.toml can have [default: 127.0.0.1:8080]
    #[arg(long, value_name = "BINDING", value_parser = listen)]
    pub(crate) listen: Option<Binding>,
    /// Where applications run: inside the host, or each in a process of its own
    #[arg(long, value_name = "MODEL", ignore_case = true, value_parser = hosting_model())]
    pub(crate) hosting_model: Option<ConfiguredModel>,
    /// A setting of the application; VALUE is JSON, or else text. Dots lead into tables: --set db.pool=4
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<Setting>,
    /// Build a crate without optimisation, which is faster to build and slower to run
    #[arg(long)]
    pub(crate) debug: bool,
    /// Keep everything in one process, for debugging: a crash ends it, and it cannot reload
    #[arg(long)]
    pub(crate) no_supervisor: bool,
    /// Take over what another program has left at this descriptor, in the same process
    #[arg(long, hide = true, value_name = "DESCRIPTOR")]
    pub(crate) resume: Option<i32>,
    /// Only tell whether that could be done
    #[arg(long, hide = true, requires = "resume")]
    pub(crate) resume_check: bool,
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
    /// Level of the log, or levels by target: info,app::db=debug
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// How lines of the log look
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<Format>,
}

/// Report everything that is wrong with a configuration and its libraries; start nothing
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Configuration, library, or a crate, which is built first
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
}

/// Tell what a library says of itself, without running any of its code
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The library
    pub(crate) library: PathBuf,
}

/// Tell which rewrite rules fire for a URL, and what comes of it; start nothing
#[derive(Args, Debug)]
pub(crate) struct RewriteTest {
    /// What a client would ask for: https://shop.example/articles/7
    pub(crate) url: http::Uri,
    /// The configuration, or a directory with a cohost.toml in it
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(crate) config: PathBuf,
    /// The method of the request
    #[arg(long, default_value = "GET")]
    pub(crate) method: http::Method,
    /// A field of the request
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = field)]
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) client: std::net::IpAddr,
}

/// Serve one library on a private socket, as an instance: what the host starts for `outofprocess`
#[derive(Args, Debug)]
pub(crate) struct App {
    /// The library
    pub(crate) library: PathBuf,
    #[command(flatten)]
    pub(crate) endpoint: Endpoint,
}

/// Where an instance listens: one of the two.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Endpoint {
    /// Listen on this Unix socket
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Accept on this descriptor, inherited and listening already
    #[arg(long, value_name = "NUMBER")]
    pub(crate) fd: Option<i32>,
}

/// Tell how the running host is: sites, applications, workers, and what went wrong
#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
    /// For programs: one line of JSON, as docs/admin.openapi.json describes it
    #[arg(long)]
    pub(crate) json: bool,
    /// Look again every second, until Ctrl+C
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Have the running host read its configuration again, and wait until it is in force
#[derive(Args, Debug)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
}

/// Replace an application by a fresh one, which serves before the old one is told to end
#[derive(Args, Debug)]
pub(crate) struct Recycle {
    /// The application's name, as `cohost status` shows it; without one, the whole worker
    pub(crate) application: Option<String>,
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
}

/// Have an application not served for a while, and wait until it has finished what it had
#[derive(Args, Debug)]
pub(crate) struct Offline {
    /// The application's name, as `cohost status` shows it
    pub(crate) application: String,
    /// A page in HTML that clients get to see meanwhile
    #[arg(long, value_name = "FILE")]
    pub(crate) page: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
}

/// One application of the running host.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// The application's name, as `cohost status` shows it
    pub(crate) application: String,
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
}

/// Have the program that is installed by now take the running host's place, and wait until it serves
#[derive(Args, Debug)]
pub(crate) struct Upgrade {
    /// Another program than the one that stands where the host was started from
    pub(crate) program: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
}

/// Print what an application of the running host has printed, where that is kept in files
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// The application's name, as `cohost status` shows it
    pub(crate) application: String,
    /// Go on with what comes, until Ctrl+C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin with the last lines, that many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) lines: Option<usize>,
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
}

/// Stop the running host, and wait for its end
#[derive(Args, Debug)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) runtime_dir: RuntimeDir,
    /// Without finishing the requests in flight
    #[arg(long)]
    pub(crate) at_once: bool,
}

/// Tell what a failure's code means, and what to do about it
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The code, as in logs and answers; without one, all are listed
    #[arg(value_parser = code(), hide_possible_values = true)]
    pub(crate) code: Option<Code>,
}

/// Translate the web.config of a site of IIS, as far as it means something here, and list what does not
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The web.config, or the folder that it is in
    #[arg(default_value = "web.config")]
    pub(crate) file: PathBuf,
    /// Write the configuration there, where nothing is yet; without it, to stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Print a script that completes this command line in a shell
#[derive(Args, Debug)]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Human on a terminal, JSON elsewhere
    Auto,
    /// For people
    Human,
    /// One object a line
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Auto => Self::Auto,
            Format::Human => Self::Human,
            Format::Json => Self::Json,
        }
    }
}

/// The completion script for `shell`.
pub(crate) fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cohost", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A binding; `http://` may be left out.
fn listen(text: &str) -> Result<Binding, BindingError> {
    if text.contains("://") || text.starts_with("unix:") {
        text.parse()
    } else {
        format!("http://{text}").parse()
    }
}

/// A field, as it is written in a request.
fn field(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("not a field, as \"Name: value\" is")?;
    let name = name.trim().parse().map_err(|_| "not the name of a field")?;
    Ok((name, value.trim().parse().map_err(|_| "not the value of a field")?))
}

fn hosting_model() -> impl clap::builder::TypedValueParser<Value = ConfiguredModel> {
    PossibleValuesParser::new(ConfiguredModel::ALL.map(ConfiguredModel::as_str))
        .try_map(|text| text.parse::<ConfiguredModel>())
}

fn code() -> impl clap::builder::TypedValueParser<Value = Code> {
    PossibleValuesParser::new(Code::ALL.iter().map(|code| code.as_str())).try_map(|text| text.parse::<Code>())
}

fn after_long_help() -> String {
    let mut help = format!("{EXAMPLES}\n\nExit codes:\n");
    for exit in Exit::ALL {
        let _ = writeln!(help, "  {}  {}", exit as u8, exit.meaning());
    }
    help
}

const EXAMPLES: &str = "\
Examples:
  cohost run sample-app                                Build a crate and serve it
  cohost run sample-app --hosting-model outofprocess   The same, in a process of its own
  cohost run /etc/cohost                               Serve what its cohost.toml names
  cohost check                                         Report every fault of ./cohost.toml
  cohost status                                        Tell how the host is that runs here
  cohost recycle shop                                  Replace an application by a fresh one
  cohost explain start_failed                          Tell what to do about a failure";

const RUN_EXAMPLES: &str = "\
Examples:
  cohost run                                   The crate or the cohost.toml right here
  cohost run target/release/libshop.so --listen '*:80'
  cohost run shop --set greeting=hello --set db.pool=4
  cohost run shop --hosting-model outofprocess --log-level info,shop=debug";

#[cfg(test)]
mod tests {
    use super::*;
    use cohost::HostingModel;

    fn run(arguments: &[&str]) -> Result<Run, clap::Error> {
        match Cli::try_parse_from(["cohost", "run"].iter().chain(arguments))?.command {
            Command::Run(run) => Ok(run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_tells_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        assert!(Exit::ALL.iter().all(|exit| help.contains(exit.meaning())), "{help}");
    }

    #[test]
    fn listen_takes_an_address_or_a_whole_binding() {
        let listen = |text: &str| run(&["--listen", text]).map(|run| run.listen.unwrap().text.to_string());
        assert_eq!(listen("0.0.0.0:80").unwrap(), "http://0.0.0.0:80");
        assert_eq!(listen("unix:/run/x").unwrap(), "unix:/run/x");
        assert_eq!(listen("https://x").unwrap(), "https://x");
    }

    #[test]
    fn a_hosting_model_may_be_written_in_upper_and_lower_case() {
        let model = |text: &str| run(&["--hosting-model", text]).map(|run| run.hosting_model);
        assert_eq!(model("OutOfProcess").unwrap(), Some(ConfiguredModel::Fixed(HostingModel::OutOfProcess)));
        assert!(model("elsewhere").is_err());
    }

    #[test]
    fn an_instance_needs_exactly_one_place_to_listen() {
        let app = |arguments: &[&str]| Cli::try_parse_from(["cohost", "app", "x.so"].iter().chain(arguments));
        assert!(app(&["--socket", "/run/x"]).is_ok() && app(&["--fd", "3"]).is_ok());
        assert!(app(&[]).is_err() && app(&["--fd", "3", "--socket", "/run/x"]).is_err());
    }
}
