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

/// Where an application is to run, as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfiguredModel {
    /// There.
    Fixed(HostingModel),
    /// In the host's process, until it has crashed too often for that.
    Auto,
}

impl ConfiguredModel {
    /// All there are.
    pub const ALL: [Self; 3] =
        [Self::Fixed(HostingModel::InProcess), Self::Fixed(HostingModel::OutOfProcess), Self::Auto];

    /// As written in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed(model) => model.as_str(),
            Self::Auto => "auto",
        }
    }

    /// Where it runs to begin with.
    #[must_use]
    pub const fn first(self) -> HostingModel {
        match self {
            Self::Fixed(model) => model,
            Self::Auto => HostingModel::InProcess,
        }
    }
}

impl fmt::Display for ConfiguredModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ConfiguredModel {
    type Err = UnknownHostingModel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case(Self::Auto.as_str()) {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Fixed)
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
    fn what_is_written_is_read_back_too() {
        for model in ConfiguredModel::ALL {
            assert_eq!(model.to_string().to_uppercase().parse(), Ok(model));
        }
        assert_eq!(ConfiguredModel::Auto.first(), HostingModel::InProcess);
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
