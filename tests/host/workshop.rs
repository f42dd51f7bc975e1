//! Libraries and programs as a C compiler makes them: those that a Rust compiler would not let us make.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A directory in which things are built, and which goes with the test.
pub struct Workshop(tempfile::TempDir);

impl Workshop {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file as it is.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Compiles `source`, which may include `cohost.h` and the examples in C.
    pub fn compile(&self, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (input, output) = (self.file(&format!("{name}.c"), source), self.path(name));
        let mut command = Command::new("cc");
        command.current_dir(self.0.path()).args(["-std=c11", "-O1", "-Wall", "-Werror"]);
        command.arg("-I").arg(root.join("abi/include")).arg("-I").arg(root.join("examples/c"));
        let done = command.arg(input).arg("-o").arg(&output).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        output
    }

    /// Compiles a library.
    pub fn library(&self, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let all: Vec<&str> = ["-shared", "-fPIC"].iter().chain(arguments).copied().collect();
        self.compile(name, source, &all)
    }

    /// The smallest application, which answers `hello from C: ` and the path.
    pub fn hello(&self) -> PathBuf {
        self.library("libhello.so", HELLO, &[])
    }

    /// The same, which answers `greeting: ` and the path.
    pub fn greeter(&self, name: &str, greeting: &str) -> PathBuf {
        let source = include_str!("../../examples/c/hello.c").replace("hello from C", greeting);
        self.library(name, &source, &[])
    }
}

/// The source of the smallest application.
pub const HELLO: &str = "#include \"hello.c\"\n";
