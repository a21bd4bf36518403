//! Script tasks: one interpreter, stored and compiled once, runs many scripts.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::guests::built;
use crate::support::platform::{Cli, Ended, shared};

/// Scripts of a test, and a command line without a platform.
struct Scripts {
    dir: TempDir,
    cli: Cli,
}

impl Scripts {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), cli: Cli { nats: "nats://127.0.0.1:1".to_owned() } }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Runs a script by itself.
    fn exec(&self, text: &str, input: &str) -> Ended {
        let script = self.file("script.js", text);
        let module = built("script");
        self.cli.run(&["exec", module.to_str().unwrap(), input, "--script", script.to_str().unwrap()])
    }
}

#[test]
fn a_script_reads_and_returns_json() {
    let scripts = Scripts::new();
    let echo = "export function run(input) { console.log('got', input); return input; }";
    let ended = scripts.exec(echo, r#"{"a": ["grüße", 1.5, null]}"#);
    assert_eq!(ended.output(), r#"{"a":["grüße",1.5,null]}"#);
    assert!(ended.stderr.contains(r#"info  got {"a":["grüße",1.5,null]}"#), "{ended:?}");
    assert_eq!(scripts.exec("export async function run(n) { await null; return n + 1; }", "41").output(), "42");
    assert_eq!(scripts.exec("export const run = () => undefined;", "").output(), "null");
}

#[test]
fn a_script_fails_for_now_or_for_good() {
    let scripts = Scripts::new();
    for (script, words) in [
        ("export function run() { throw new Permanent('no numbers'); }", &["error: refused: no numbers"][..]),
        ("export const other = 1;", &["error: refused: the script exports no function run"]),
        ("export function run( {", &["error: refused: ", "script:1:"]),
        ("export const run = () => { const deeper = () => deeper() + 1; deeper(); }", &["error: trap: call stack"]),
    ] {
        scripts.exec(script, "1").fails(1, words);
    }
    scripts.exec("export const run = (input) => input;", "{").fails(1, &["error: refused: the input is not JSON"]);
    let flaky = "export function run() { throw new Error('busy'); }";
    scripts.exec(flaky, "1").fails(1, &["trying again", "error: returned: busy"]);
}

#[test]
fn many_scripts_share_one_interpreter() {
    let dev = shared();
    let scripts = Scripts::new();
    let module = built("script");
    let push = |name: &str, more: &[&str]| {
        let ended = dev.cli.run(&[&["module", "push", name, module.to_str().unwrap(), "--json"], more].concat());
        ended.json()
    };
    let double = scripts.file("double.js", "export const run = (n) => n * 2; export const {task} = {task: 1};");
    let both = scripts.file("both.js", "export const half = (n) => n / 2; export const square = (n) => n * n;");
    let manifest = scripts.file("both.toml", "[tasks]\nhalf = {}\nsquare = {}\n");
    let first = push("double", &["--script", double.to_str().unwrap()]);
    let second = push("both", &["--script", both.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()]);
    assert_eq!(first["digest"], second["digest"], "they are stored and compiled as one");
    assert_eq!(dev.cli.run(&["call", "double/run", "21"]).output(), "42");
    assert_eq!(dev.cli.run(&["call", "both/half", "21"]).output(), "10.5");
    assert_eq!(dev.cli.run(&["call", "both/square", "21"]).output(), "441");
    // Another script is another version.
    std::fs::write(&double, "export const run = (n) => n + n + 0.5;").unwrap();
    assert_eq!(push("double", &["--script", double.to_str().unwrap()])["version"], "2");
    assert_eq!(dev.cli.run(&["call", "double/run", "21"]).output(), "42.5");
}

#[test]
fn a_script_that_is_none_is_refused_before_anything_is_stored() {
    let scripts = Scripts::new();
    let push = |module: &str, script: &std::path::Path| {
        let args = ["module", "push", "x", built(module).to_str().unwrap(), "--script", script.to_str().unwrap()]
            .map(str::to_owned);
        scripts.cli.run(&args.each_ref().map(String::as_str))
    };
    push("script", &scripts.dir.path().join("none.js")).fails(2, &["failed to read"]);
    push("script", &scripts.file("long.js", &"x".repeat((256 << 10) + 1))).fails(2, &["at most 262144 are accepted"]);
    push("script", &scripts.file("nul.js", "a\0b")).fails(2, &["holds no NUL"]);
    push("hello", &scripts.file("fine.js", "1")).fails(2, &["names its tasks itself"]);
}

#[test]
fn a_flow_calls_scripts() {
    let scripts = Scripts::new();
    let flow = scripts.file(
        "flow.yaml",
        "name: scripted\nflow:\n  chain:\n    - task: stats/run\n      input: ${input}\n    - value: ${prev.mean}\n",
    );
    let module = format!("stats={}", built("script").display());
    let run = |script: &str| {
        let script = format!("{script}=examples/guests/script/stats.js");
        let flow = flow.to_str().unwrap();
        scripts.cli.run(&["exec", flow, "[1, 2, 6]", "--quiet", "--module", &module, "--script", &script])
    };
    assert_eq!(run("stats").output(), "3");
    run("other").fails(2, &["--script names the module other"]);
}
