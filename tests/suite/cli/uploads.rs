//! Files that are no module, or none that the platform runs: refused before a broker is asked, and named.

use std::path::{Path, PathBuf};

use crate::support::guests;
use crate::support::platform::{Cli, Ended};

/// Pushes where no broker is: what is wrong with the file must be found first.
fn push(file: &Path, more: &[&str]) -> Ended {
    let cli = Cli { nats: "nats://127.0.0.1:1".to_owned() };
    cli.run(&[&["module", "push", "bad", file.to_str().unwrap()], more].concat())
}

/// Pushes these bytes.
fn push_bytes(bytes: &[u8]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.wasm");
    std::fs::write(&file, bytes).unwrap();
    push(&file, &[])
}

#[test]
fn what_is_no_wasm_is_refused() {
    for bytes in [&b""[..], b"#!/bin/sh\necho hello\n", b"\0asm", &[0xff; 1_000]] {
        push_bytes(bytes).fails(2, &["bad.wasm"]);
    }
}

#[test]
fn a_truncated_module_is_refused_wherever_it_ends() {
    let whole = std::fs::read(guests::built("hello")).unwrap();
    for part in [8, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        push_bytes(&whole[..part]).fails(2, &["bad.wasm"]);
    }
}

#[test]
fn an_import_that_no_contract_has_is_named() {
    let text = r#"(module (import "env" "launch" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
    push_bytes(&wat::parse_str(text).unwrap()).fails(2, &["env", "launch"]);
}

#[test]
fn a_module_without_a_contract_is_refused() {
    push_bytes(&wat::parse_str(r#"(module (func (export "add")))"#).unwrap()).fails(2, &["bad.wasm"]);
}

#[test]
fn a_module_with_features_that_are_off_is_refused() {
    let text = r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#;
    push_bytes(&wat::parse_str(text).unwrap()).fails(2, &["bad.wasm"]);
}

#[test]
fn a_huge_file_is_refused_without_reading_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("huge.wasm");
    std::fs::File::create(&file).unwrap().set_len(200 << 20).unwrap();
    push(&file, &[]).fails(2, &["huge.wasm", "209715200 bytes", "at most"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    push(Path::new("/nowhere/at-all.wasm"), &[]).fails(2, &["/nowhere/at-all.wasm", "No such file"]);
    push(Path::new("/"), &[]).fails(2, &["failed to read /"]);
}

#[test]
fn a_manifest_that_cannot_be_read_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let spins = guests::write(dir.path(), "spins", &guests::spins());
    let with = |name: &str, text: &str| -> (PathBuf, Ended) {
        let manifest = dir.path().join(name);
        std::fs::write(&manifest, text).unwrap();
        let ended = push(&spins, &["--manifest", manifest.to_str().unwrap()]);
        (manifest, ended)
    };
    for text in ["not toml at all", "tusks = 1", "[tasks.\"Bad.Name\"]", "[limits]\nfuel = -1", "args = [1]"] {
        let (manifest, ended) = with("m.toml", text);
        ended.fails(2, &[manifest.to_str().unwrap()]);
    }
    push(&spins, &["--manifest", "/nowhere/m.toml"]).fails(2, &["/nowhere/m.toml"]);
}

#[test]
fn a_manifest_of_an_sdk_module_takes_limits_only() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("m.toml");
    std::fs::write(&manifest, "[tasks.other]\n").unwrap();
    let ended = push(&guests::built("hello"), &["--manifest", manifest.to_str().unwrap()]);
    ended.fails(2, &["names its tasks itself"]);
}
