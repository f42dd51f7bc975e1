//! Where a host's runtime directory is: what the command line says, or the system's custom.

use std::path::PathBuf;

use clap::Args;

/// The runtime directory, on command lines.
#[derive(Args, Clone, Debug)]
pub(crate) struct RuntimeDir {
    /// Where the host has its socket for operators [default: $XDG_RUNTIME_DIR/cohost, or else /run/cohost]
    #[arg(long = "runtime-dir", value_name = "DIR")]
    named: Option<PathBuf>,
}

impl RuntimeDir {
    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.named.clone().unwrap_or_else(|| custom(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)))
    }

    /// Whether somebody wants it to be there, and nowhere else.
    pub(crate) fn is_named(&self) -> bool {
        self.named.is_some()
    }
}

/// That of a user who is logged in, or else that of the system.
fn custom(of_user: Option<PathBuf>) -> PathBuf {
    // The variable has to be absolute to count, says the specification that it comes from.
    of_user
        .filter(|directory| directory.is_absolute())
        .unwrap_or_else(|| PathBuf::from("/run"))
        .join("cohost")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_user_who_is_logged_in_has_a_place_of_their_own() {
        assert_eq!(custom(Some("/run/user/7".into())), Path::new("/run/user/7/cohost"));
        assert_eq!(custom(Some("elsewhere".into())), Path::new("/run/cohost"));
        assert_eq!(custom(None), Path::new("/run/cohost"));
        let named = RuntimeDir { named: Some("here".into()) };
        assert!(named.is_named() && named.path() == Path::new("here"));
    }
}
