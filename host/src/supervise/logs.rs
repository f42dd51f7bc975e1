//! Where it is kept what an application prints, for operators who want to read it.

use cohost::{
    admin::{Code, Logs, Problem},
    config::{Application, Config},
    options::Destination,
    output,
};

use super::Supervisor;
use crate::{edition::Edition, printed, wish::find};

impl Supervisor {
    /// The files of an application.
    pub(super) fn logs(&self, name: &str) -> Result<Logs, Problem> {
        let (edition, config) = &self.editions[&self.plan.edition()];
        let application = find(name, config)?;
        let shared = is_shared(application, edition, config);
        // What cannot be told apart goes where it is kept for those who are not named.
        let (output, name) =
            if shared { (&config.log.output, None) } else { (config.output(name), Some(name)) };
        match output.to {
            Destination::Files => Ok(Logs { file: output::file(output, name), shared }),
            _ => Err(Problem::new(
                Code::Impossible,
                "what it prints goes into the log of the host; read that, or set output = \"files\" in [log]",
            )),
        }
    }
}

/// Whether it runs in process beside others: a worker has one standard output.
fn is_shared(application: &Application, edition: &Edition, config: &Config) -> bool {
    let inside: Vec<_> = printed::inside(edition, config).collect();
    inside.len() > 1 && inside.iter().any(|it| it.name == application.name)
}
