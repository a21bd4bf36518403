//! The guests that are measured, each with a task and an input that succeeds.

use std::borrow::Cow;

use bytes::Bytes;
use lovage::model::{Contract, Digest, TaskName};
use lovage::sandbox::inspect;

use crate::{Outcomes, task};

/// A module with what it is called with.
pub(crate) struct Guest {
    /// How its row begins.
    pub(crate) name: String,
    /// How it is called.
    pub(crate) contract: Contract,
    /// What is stored of it.
    pub(crate) wasm: Bytes,
    /// The task that is called.
    pub(crate) task: TaskName,
    /// Its input.
    pub(crate) input: &'static str,
}

impl Guest {
    pub(crate) fn new(name: &str, upload: &[u8], of: &str, input: &'static str) -> Outcomes<Self> {
        let inspection = inspect(upload)?;
        let wasm = match inspection.stored {
            Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let contract = inspect(&wasm)?.contract;
        Ok(Self { name: name.to_owned(), contract, wasm, task: task(of)?, input })
    }

    /// The digest of what is stored.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.wasm)
    }
}

/// An input of about a hundred bytes, as tasks have.
const DOCUMENT: &str =
    r#"{"user":"someone","items":[1,2,3,4,5,6,7,8,9,10],"note":"an input of about a hundred bytes, as tasks have"}"#;

/// Built guests, by `scripts/build-guests`: a name, a task and an input.
const BUILT: &[(&str, &str, &str)] = &[
    ("hello", "add", "[20, 22]"),
    ("table-sdk", "sum", "[1, 2, 3.5, -10]"),
    ("table-rust", "sum", "[1, 2, 3.5, -10]"),
    ("table-c", "sum", "[1, 2, 3.5, -10]"),
    ("table-zig", "sum", "[1, 2, 3.5, -10]"),
    ("table-assemblyscript", "sum", "[1, 2, 3.5, -10]"),
    ("table-go", "sum", "[1, 2, 3.5, -10]"),
    ("table-javascript", "sum", "[1, 2, 3.5, -10]"),
    ("table-python", "sum", "[1, 2, 3.5, -10]"),
];

/// The guests in WAT, and those that were built.
pub(crate) fn all() -> Outcomes<Vec<Guest>> {
    let mut guests = vec![
        Guest::new("command echo (WAT)", &wat::parse_str(ECHO_COMMAND)?, "run", DOCUMENT)?,
        Guest::new("task echo (WAT)", &echo_task()?, "echo", DOCUMENT)?,
    ];
    for (name, of, input) in BUILT {
        match std::fs::read(format!("target/guests/{name}.wasm")) {
            Ok(upload) => guests.push(Guest::new(name, &upload, of, input)?),
            Err(_) => println!("note: no row for {name}: scripts/build-guests builds it"),
        }
    }
    Ok(guests)
}

/// Reads stdin once and writes it to stdout.
const ECHO_COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "\00\10\00\00\00\10\00\00")
    (func (export "_start")
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Returns its input, through the canonical ABI.
const ECHO_TASK: &str = r#"(module
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.set $free (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    (func (export "describe") (result i32) (i32.const 16))
    (data (i32.const 16) "\20\00\00\00\01\00\00\00")
    (data (i32.const 32) "\80\00\00\00\04\00\00\00")
    (data (i32.const 128) "echo")
    (func (export "run") (param i32 i32 i32 i32) (result i32)
        (i32.store (i32.const 264) (local.get 2))
        (i32.store (i32.const 268) (local.get 3))
        (i32.const 256)))"#;

fn echo_task() -> Outcomes<Vec<u8>> {
    let mut module = wat::parse_str(ECHO_TASK)?;
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path("guest-sdk/wit")?;
    let world = resolve.select_world(&[package], Some("task"))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)?;
    Ok(module)
}
