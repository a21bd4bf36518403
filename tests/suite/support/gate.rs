//! A compiler that holds large modules back until a test opens its gate: what happens meanwhile can then be looked at.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use lovage::sandbox::Compiler;
use tempfile::TempDir;

/// The gate, and a folder that goes with it.
pub(crate) struct Gate {
    dir: TempDir,
}

impl Gate {
    /// A gate that is closed.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let gate = dir.path().join("gate");
        assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
        let script = format!(
            "#!/bin/sh\ncat >{dir}/in.$$\nif [ $(wc -c <{dir}/in.$$) -gt 1048576 ] && [ -p {dir}/gate ]; then read line <{dir}/gate; fi\n\
             exec {program} \"$@\" <{dir}/in.$$\n",
            dir = dir.path().display(),
            program = env!("CARGO_BIN_EXE_lovage"),
        );
        let compiler = dir.path().join("compiler");
        std::fs::write(&compiler, script).unwrap();
        std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    /// The compiler behind it.
    pub(crate) fn compiler(&self) -> Compiler {
        Compiler::new(self.dir.path().join("compiler"))
    }

    /// A folder for artifacts.
    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Lets those that wait go on, and all that come after.
    pub(crate) fn open(&self) {
        let (gate, opened) = (self.dir.path().join("gate"), self.dir.path().join("opened"));
        std::fs::rename(&gate, &opened).unwrap();
        // Opened for both ways a pipe waits for nobody; closing it is the end of what others read.
        drop(std::fs::OpenOptions::new().read(true).write(true).open(opened).unwrap());
    }
}

/// A command of more than a mebibyte that returns null; with other `mark`s it is another one.
pub(crate) fn large(mark: &str) -> Vec<u8> {
    let filler = "x".repeat(1_200_000);
    let text = format!(
        r#"(module (memory (export "memory") 20) (data (i32.const 0) "{mark}{filler}") (func (export "_start")))"#
    );
    wat::parse_str(text).unwrap()
}
