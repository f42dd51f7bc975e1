//! Serves a configuration: the one place where the program meets the library's server.

use cohost::config::Config;

use crate::{
    exit::{Exit, Refused},
    greeting::Greeting,
};

/// Serves `config` until told to stop; says `greeting` once it listens.
pub(crate) fn serve(config: Config, greeting: &Greeting) -> Result<Exit, Refused> {
    greeting.say(|_| None);
    drop(config);
    Err(Exit::Failed.because("this version cannot serve yet"))
}
