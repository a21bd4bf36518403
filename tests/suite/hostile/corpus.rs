//! The corpus: its texts, read with what they say of themselves.

use std::path::Path;
use std::time::Duration;

use lovage::model::{Limits, Metering};

use super::generated::generated;

/// A hostile module.
pub(super) struct Guest {
    /// What it is called.
    pub(super) name: String,
    /// The line of the checklist.
    pub(super) line: u32,
    pub(super) wasm: Vec<u8>,
    /// The limits that it is called with.
    pub(super) limits: Limits,
    pub(super) expected: Expected,
}

/// What must become of it.
#[derive(Debug)]
pub(super) enum Expected {
    /// It is refused before anything of it runs, in words that hold these.
    Refused(String),
    /// It is called, and ends so.
    Ends(String),
}

impl Expected {
    pub(super) fn is(&self, ended: &str) -> bool {
        match self {
            Self::Refused(words) => ended.starts_with("refused ") && ended.contains(words),
            Self::Ends(words) => ended == words,
        }
    }

    /// The same, with its fuel or without: what would run out of it ends at its deadline, and all else as it did.
    pub(super) fn metered(&self, metering: Metering) -> Self {
        match self {
            Self::Refused(words) => Self::Refused(words.clone()),
            Self::Ends(words) if !metering.is_fuel() && words == "out_of_fuel" => Self::Ends("deadline".to_owned()),
            Self::Ends(words) => Self::Ends(words.clone()),
        }
    }

    fn read(text: &str) -> Self {
        match text.strip_prefix("refused ") {
            Some(words) => Self::Refused(words.to_owned()),
            None => Self::Ends(text.to_owned()),
        }
    }
}

impl Guest {
    /// Whether anything of it runs.
    pub(super) const fn runs(&self) -> bool {
        matches!(self.expected, Expected::Ends(_))
    }

    /// One that is made by code, and never gets as far as limits.
    pub(super) fn refused(name: &str, line: u32, wasm: Vec<u8>, words: &str) -> Self {
        let expected = Expected::Refused(words.to_owned());
        Self { name: name.to_owned(), line, wasm, limits: Limits::default(), expected }
    }

    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let said = |key: &str| {
            let head = format!(";; {key}: ");
            text.lines().find_map(|line| line.strip_prefix(&head)).map(str::to_owned)
        };
        let must = |key: &str| said(key).unwrap_or_else(|| panic!("{name} does not say its {key}"));
        must("what");
        let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            line: must("line").parse().unwrap(),
            limits: limits(&said("limits").unwrap_or_default()),
            expected: Expected::read(&must("expect")),
            wasm,
            name,
        }
    }
}

/// `fuel=1000 memory=65536 deadline_ms=50 output=100 log=100`
fn limits(text: &str) -> Limits {
    let mut limits = Limits { fuel: Some(200_000_000), attempt_timeout: Duration::from_secs(20), ..Limits::default() };
    for (name, value) in text.split_whitespace().map(|pair| pair.split_once('=').unwrap()) {
        let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{name}={value}"));
        match name {
            "fuel" => limits.fuel = if value == "off" { None } else { Some(number()) },
            "memory" => limits.memory_bytes = number(),
            "deadline_ms" => limits.attempt_timeout = Duration::from_millis(number()),
            "output" => limits.output_bytes = number(),
            "log" => limits.log_bytes = number(),
            other => panic!("there is no limit {other}"),
        }
    }
    limits
}

/// All hostile modules, by name.
pub(super) fn corpus() -> Vec<Guest> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wat"));
    paths.sort();
    paths.iter().map(|path| Guest::read(path)).chain(generated()).collect()
}

/// A module that behaves well: it prints 1.
pub(super) fn good() -> Vec<u8> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\01\00\00\00")
        (data (i32.const 16) "1")
        (func (export "_start") (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    wat::parse_str(text).unwrap()
}
