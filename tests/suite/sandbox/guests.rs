//! Guests as WAT texts around what a test varies.

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// A preview 1 command: `body` is its data, functions and `_start`. `$say fd ptr len` writes.
pub(crate) fn command(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
            (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
        (memory (export "memory") 4)
        (func $say (param $fd i32) (param $ptr i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $ptr))
            (i32.store (i32.const 4) (local.get $len))
            (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
        {body})"#
    );
    wat::parse_str(text).unwrap()
}

/// A command that writes `text` to `fd`, then exits.
pub(crate) fn says(fd: u32, text: &str, exit: u32) -> Vec<u8> {
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    command(&format!(
        r#"(data (i32.const 1024) "{escaped}")
        (func (export "_start")
            (call $say (i32.const {fd}) (i32.const 1024) (i32.const {}))
            (call $exit (i32.const {exit})))"#,
        text.len()
    ))
}

/// A command whose `_start` is these instructions.
pub(crate) fn starts(instructions: &str) -> Vec<u8> {
    command(&format!(r#"(func (export "_start") {instructions})"#))
}

/// A command that burns a little fuel for ever.
pub(crate) fn spins() -> Vec<u8> {
    starts("(loop $again (br $again))")
}

/// A core module of the SDK's world, as a toolchain makes it: with its component type, not yet a component.
///
/// `run` is these instructions; they leave the address of a `result<outcome, failure>`. Byte 16 of the memory on is zero.
pub(crate) fn task(extra: &str, run: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "lovage:task/host@0.1.0" "log" (func $log (param i32 i32 i32)))
        (import "lovage:task/host@0.1.0" "is-cancelled" (func $is_cancelled (result i32)))
        (import "lovage:task/host@0.1.0" "progress" (func $progress (param f64 i32 f64 i32 i32 i32)))
        (import "lovage:task/host@0.1.0" "attempt" (func $attempt (param i32)))
        (import "lovage:task/kv@0.1.0" "get" (func $kv_get (param i32 i32 i32 i32 i32)))
        (import "lovage:task/secrets@0.1.0" "get" (func $secret (param i32 i32 i32)))
        (memory (export "memory") 4)
        (global $free (mut i32) (i32.const 65536))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
            (global.set $free (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        ;; One task: the list at 200 has one record at 300; its name at 500.
        (data (i32.const 200) "\2c\01\00\00\01\00\00\00")
        (data (i32.const 300) "\f4\01\00\00\03\00\00\00\00\02\00\00\08\00\00\00\01\00\00\00\10\02\00\00\02\00\00\00")
        (data (i32.const 500) "sum")
        (data (i32.const 512) "adds up.")
        (data (i32.const 528) "{{}}")
        (func (export "describe") (result i32) (i32.const 200))
        {extra}
        (func (export "run") (param $task i32) (param $task_len i32) (param $input i32) (param $input_len i32)
            (result i32) {run}))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path("guest-sdk/wit").unwrap();
    let world = resolve.select_world(&[package], Some("task")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// Instructions that return the input as the output.
pub(crate) const ECHO: &str = "
    (i32.store (i32.const 24) (local.get $input))
    (i32.store (i32.const 28) (local.get $input_len))
    (i32.const 16)";
