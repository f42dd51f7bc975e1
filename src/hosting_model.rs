//! Where an application's code runs: the one switch between the two models.

use std::{fmt, str::FromStr};

/// Where an application's code runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostingModel {
    /// As a library in the host's own process, called over the C ABI.
    #[default]
    InProcess,
    /// In a process of its own, reached through the forwarder.
    OutOfProcess,
}

impl HostingModel {
    /// As written in configuration, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "inprocess",
            Self::OutOfProcess => "outofprocess",
        }
    }
}

impl fmt::Display for HostingModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HostingModel {
    type Err = UnknownHostingModel;

    /// Upper and lower case are the same, so that `InProcess` is understood too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::InProcess, Self::OutOfProcess]
            .into_iter()
            .find(|model| model.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownHostingModel(text.to_owned()))
    }
}

/// A text that names no hosting model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be inprocess or outofprocess (is {0:?})")]
pub struct UnknownHostingModel(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_from_what_is_shown() {
        for model in [HostingModel::InProcess, HostingModel::OutOfProcess] {
            assert_eq!(model.to_string().parse(), Ok(model));
        }
    }

    #[test]
    fn ignores_upper_and_lower_case() {
        assert_eq!("InProcess".parse(), Ok(HostingModel::InProcess));
        assert_eq!("OUTOFPROCESS".parse(), Ok(HostingModel::OutOfProcess));
    }

    #[test]
    fn refuses_anything_else_by_name() {
        let refused = "in_process".parse::<HostingModel>().unwrap_err();
        assert_eq!(refused.to_string(), "must be inprocess or outofprocess (is \"in_process\")");
    }
}
