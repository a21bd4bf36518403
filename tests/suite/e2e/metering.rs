//! Modules that count no fuel, and those that use exceptions of Wasm: by a line of their manifest, and where their host's operator allows it.

use std::path::Path;

use super::server;
use crate::support::guests;
use crate::support::platform::{Cli, Ended};

/// Uploads a command with a manifest.
fn push(cli: &Cli, dir: &Path, name: &str, text: &str, manifest: &str) -> Ended {
    let (file, described) = (guests::write(dir, name, text), dir.join(name).with_extension("toml"));
    std::fs::write(&described, manifest).unwrap();
    cli.run(&["module", "push", name, file.to_str().unwrap(), "--manifest", described.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_without_fuel_ends_at_its_deadline_and_is_billed_by_time() {
    let (_server, cli) = server().await;
    let _host = cli.host(&[]);
    let dir = tempfile::tempdir().unwrap();
    let manifest = "metering = \"deadline\"\n[limits]\nattempt_timeout_ms = 300\n";
    push(&cli, dir.path(), "spin", &guests::spins(), manifest).output();
    push(&cli, dir.path(), "count", &guests::rounds(1_000_000), "metering = \"deadline\"\n").output();
    assert!(cli.run(&["module", "show", "spin"]).output().contains("metering  deadline"));
    assert_eq!(cli.run(&["call", "count/run"]).output(), "null");
    let record = cli.settled(&cli.send(&["spin/run", "--fuel", "1000", "--retry", "1"]));
    assert_eq!(record["failure"]["kind"], "deadline", "{record}");
    assert_eq!(record["usage"]["fuel"], 0, "{record}");
    assert!(record["usage"]["duration_us"].as_u64().unwrap() >= 300_000, "{record}");
    push(&cli, dir.path(), "odd", &guests::spins(), "metering = \"time\"\n").fails(2, &["`fuel` or `deadline`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_insist_on_fuel() {
    let (_server, cli) = server().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("allow.toml");
    std::fs::write(&file, "[all]\nwithout_fuel = false\n").unwrap();
    let _host = cli.host(&["--allow", file.to_str().unwrap()]);
    push(&cli, dir.path(), "fast", &guests::rounds(10), "metering = \"deadline\"\n").output();
    push(&cli, dir.path(), "plain", &guests::rounds(10), "").output();
    cli.run(&["call", "fast/run"]).fails(1, &["not_granted", "without fuel"]);
    assert_eq!(cli.run(&["call", "plain/run"]).output(), "null");
}

/// Throws, catches, and prints the 1 that it threw.
const THROWS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (tag $e (param i32))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\01\00\00\00")
    (func (export "_start")
        (i32.store8 (i32.const 16) (i32.add (i32.const 48)
            (block $caught (result i32) (try_table (catch $e $caught) (throw $e (i32.const 1))) unreachable)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_of_wasm_run_where_their_operator_allows_them() {
    let (_server, cli) = server().await;
    let dir = tempfile::tempdir().unwrap();
    let pushed = push(&cli, dir.path(), "throws", THROWS, "");
    assert!(pushed.stderr.contains("note: it uses exceptions of Wasm"), "{pushed:?}");
    assert!(cli.run(&["module", "show", "throws"]).output().contains("engine    uses exceptions of Wasm"));
    {
        let _host = cli.host(&[]);
        cli.run(&["call", "throws/run"]).fails(1, &["not_granted", "`exceptions = true` in the file of --allow"]);
    }
    let file = dir.path().join("allow.toml");
    std::fs::write(&file, "[all]\nexceptions = true\n").unwrap();
    let _host = cli.host(&["--allow", file.to_str().unwrap()]);
    assert_eq!(cli.run(&["call", "throws/run"]).output(), "1");
    // The line of the manifest chooses the engine by itself, too.
    push(&cli, dir.path(), "plain", &guests::rounds(10), "exceptions = true\nmetering = \"deadline\"\n").output();
    assert_eq!(cli.run(&["call", "plain/run"]).output(), "null");
}
