//! Another language submits with its own NATS client: the protocol needs no library of ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server;
use crate::support::guests;

/// The NATS client of the test, fixed so that a new release cannot break it.
const CLIENT: &str = "nats-py==2.16.0";

/// Python with the NATS client, installed below target/ once.
fn python() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("py-client");
    let (python, ready) = (dir.join("bin/python"), dir.join(CLIENT));
    if !ready.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir), "it takes python3 with venv");
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT];
        run(Command::new(&python).args(install), "it takes a package index");
        std::fs::write(ready, "").unwrap();
    }
    python
}

fn run(command: &mut Command, needs: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {needs}"));
    assert!(output.status.success(), "{command:?}; {needs}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn python_submits_a_task_with_a_plain_nats_client() {
    let (_server, cli) = server().await;
    cli.push("probe");
    let _host = cli.host(&[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/e2e/submit.py");
    let mut submit = Command::new(python());
    submit.arg(script).arg(&cli.nats).args(["probe/burn", r#"{"units": 300}"#]);
    let told: serde_json::Value = serde_json::from_str(&run(&mut submit, "the script is ours")).unwrap();
    assert!(told["output"].is_u64(), "{told}");
    assert_eq!(told["again"], "maximum messages per subject exceeded");
    assert!(told["forged"].as_str().unwrap().contains("wrong last sequence"), "{told}");
    let header = |name: &str| told["headers"][name].as_str().unwrap_or_else(|| panic!("no {name}: {told}")).to_owned();
    assert_eq!([header("Lovage-Version"), header("Lovage-State")], ["2", "succeeded"]);
    let usage = header("Lovage-Usage");
    assert!(usage.starts_with("attempt=1 delivery=1 host=") && usage.contains(" fuel="), "{usage}");
    // The same module, so the same number, wherever it runs.
    let here = cli.run(&["exec", guests::built("probe").to_str().unwrap(), r#"{"units": 300}"#, "--task", "burn"]);
    assert_eq!(here.json(), told["output"]);
}
