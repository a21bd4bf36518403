//! Guests: those built from real source, and small commands written by a test.

use std::path::{Path, PathBuf};

/// The module that `scripts/build-guests` made of `examples/guests/<name>`.
pub(crate) fn built(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests").join(name).with_extension("wasm");
    assert!(file.exists(), "{} is not there: run scripts/build-guests", file.display());
    file
}

/// Writes a module given as text to `<dir>/<name>.wasm`.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name).with_extension("wasm");
    std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    file
}

/// A command whose `_start` is these instructions, with a page of memory. `$say fd ptr len` writes, `$exit code` ends it.
pub(crate) fn command(instructions: &str) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func $say (param $fd i32) (param $ptr i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $ptr))
            (i32.store (i32.const 4) (local.get $len))
            (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func $deeper (param i32) (result i32)
            (i32.add (local.get 0) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
        (func (export "_start") {instructions}))"#
    )
}

/// A command that never ends by itself.
pub(crate) fn spins() -> String {
    command("(loop $again (br $again))")
}

/// A command that computes so many rounds, about a nanosecond each, and returns null.
pub(crate) fn rounds(count: u32) -> String {
    command(&format!(
        "(local $n i32) (loop $again
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const {count}))))"
    ))
}
