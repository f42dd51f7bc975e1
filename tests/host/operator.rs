//! An operator of a host: commands of the program, and the socket that they go through.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Host, PATIENCE, program};

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Host {
    /// Its runtime directory.
    pub fn runtime_dir(&self) -> PathBuf {
        self.directory.path().join("cohost")
    }

    /// What an operator of this host gets to see.
    pub async fn operator(&self, words: &[&str]) -> Said {
        operator(&self.runtime_dir(), words).await
    }

    /// How it is.
    pub async fn tells(&self) -> serde_json::Value {
        self.operator(&["status", "--json"]).await.json()
    }
}

/// Runs a command for the host with this runtime directory.
pub async fn operator(directory: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(program());
    command.args(words).arg("--runtime-dir").arg(directory);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(PATIENCE, run).await.expect("a command ends in time").unwrap();
    Said {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
