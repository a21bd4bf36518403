//! Modules that count no fuel: by a line of their manifest, and where their host's operator allows it.

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
