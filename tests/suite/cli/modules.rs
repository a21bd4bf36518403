//! Modules: versions never change, names that are not there are named, and any host gets what it needs.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::guests;
use crate::support::platform::{Cli, shared};

/// A command that writes one digit, as a file.
struct Says {
    file: PathBuf,
    _dir: TempDir,
}

impl Says {
    fn new(digit: char) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = guests::command(&format!(
            "(i32.store8 (i32.const 100) (i32.const {}))
            (call $say (i32.const 1) (i32.const 100) (i32.const 1))",
            u32::from(digit)
        ));
        Self { file: guests::write(dir.path(), "says", &text), _dir: dir }
    }

    fn push(&self, cli: &Cli, name: &str) -> crate::support::platform::Ended {
        cli.run(&["module", "push", name, self.file.to_str().unwrap()])
    }
}

#[test]
fn the_same_upload_twice_is_one_version() {
    let dev = shared();
    let says = Says::new('1');
    assert_eq!(says.push(&dev.cli, "twice").output(), "twice@1");
    assert_eq!(says.push(&dev.cli, "twice").output(), "twice@1");
    assert_eq!(dev.cli.run(&["call", "twice/run"]).output(), "1");
}

#[test]
fn a_changed_file_is_the_next_version_and_the_old_one_stays() {
    let dev = shared();
    assert_eq!(Says::new('1').push(&dev.cli, "grows").output(), "grows@1");
    assert_eq!(Says::new('2').push(&dev.cli, "grows").output(), "grows@2");
    assert_eq!(Says::new('1').push(&dev.cli, "grows").output(), "grows@3");
    for (task, digit) in [("grows@1/run", "1"), ("grows@2/run", "2"), ("grows/run", "1")] {
        assert_eq!(dev.cli.run(&["call", task]).output(), digit, "{task}");
    }
}

#[test]
fn a_version_that_was_named_never_changes() {
    let dev = shared();
    assert_eq!(Says::new('1').push(&dev.cli, "fixed@1.0.0").output(), "fixed@1.0.0");
    assert_eq!(Says::new('1').push(&dev.cli, "fixed@1.0.0").output(), "fixed@1.0.0");
    let other = Says::new('2').push(&dev.cli, "fixed@1.0.0");
    other.fails(2, &["fixed@1.0.0", "other bytes", "push another version"]);
    assert_eq!(dev.cli.run(&["call", "fixed@1.0.0/run"]).output(), "1");
}

#[test]
fn modules_are_listed_shown_and_verified() {
    let dev = shared();
    let list = dev.cli.run(&["module", "ls"]);
    let row = list.output().lines().find(|line| line.starts_with("hello@1 ")).unwrap();
    assert!(row.contains(" task ") && row.ends_with("add greet"), "{row}");
    let listed = dev.cli.run(&["module", "ls", "--json"]).json();
    let hello = listed.as_array().unwrap().iter().find(|record| record["name"] == "hello").unwrap();
    let shown = dev.cli.run(&["module", "show", "hello", "--json"]).json();
    assert_eq!(&shown, hello);
    let text = dev.cli.run(&["module", "show", "hello@1"]);
    for words in ["module    hello@1", "contract  task", "task       add  Adds two numbers.", "output {"] {
        assert!(text.output().contains(words), "no {words:?} in {text:?}");
    }
    let verified = dev.cli.run(&["module", "verify", "hello", "--json"]).json();
    assert_eq!((&verified["module"], &verified["ok"]), (&"hello@1".into(), &true.into()));
    assert!(dev.cli.run(&["module", "verify", "hello"]).output().ends_with("  ok"));
}

#[test]
fn a_file_is_inspected_without_a_broker() {
    let cli = Cli { nats: "nats://127.0.0.1:1".to_owned() };
    let file = guests::built("hello");
    let text = cli.run(&["module", "inspect", file.to_str().unwrap()]);
    assert!(text.output().starts_with("contract   task\n"), "{text:?}");
    let json = cli.run(&["module", "inspect", "--json", file.to_str().unwrap()]).json();
    assert_eq!((&json["contract"], &json["tasks"][0]["name"]), (&"task".into(), &"add".into()));
    assert!(json["source_digest"].as_str().unwrap().starts_with("sha256:"), "{json}");
}

#[test]
fn an_inspection_says_what_compiling_and_running_takes() {
    let cli = Cli { nats: "nats://127.0.0.1:1".to_owned() };
    let file = guests::built("hello");
    let inspect = |more: &[&str]| cli.run(&[&["module", "inspect", file.to_str().unwrap()], more].concat());
    let found = inspect(&["--json", "--task", "add", "--input", "[20, 22]"]).json();
    let compilation = &found["compilation"];
    assert!(compilation["memory_peak_bytes"].as_u64().unwrap() > 10 << 20, "{found}");
    assert!(compilation["artifact_bytes"].as_u64() > found["size"].as_u64(), "{found}");
    let run = &found["run"];
    assert!(run["fuel_used"].as_u64().unwrap() > 1_000 && run["failure"].is_null(), "{found}");
    // The same input takes the same fuel.
    let again = inspect(&["--json", "--task", "add", "--input", "[20, 22]"]).json();
    assert_eq!(again["run"]["fuel_used"], run["fuel_used"]);
    let text = inspect(&["--task", "greet", "--input", "\"Ada\""]);
    for line in ["compiled   in ", "of machine code", "run        returned 13 B; ", "grants     none"] {
        assert!(text.output().contains(line), "no {line:?} in {text:?}");
    }
    let text = inspect(&["--task", "add", "--input", "[1]"]);
    assert!(text.output().contains("run        failed: refused: "), "{text:?}");
    inspect(&["--input", "1"]).fails(2, &["choose a task with --task: add, greet"]);
    inspect(&["--input", "1", "--task", "no"]).fails(2, &["the module has no task no (there is add, greet)"]);
    inspect(&["--task", "add"]).fails(2, &["--input"]);
}

#[test]
fn an_inspection_tells_what_a_host_must_allow_and_what_a_grant_would_refine() {
    let (cli, dir) = (Cli { nats: "nats://127.0.0.1:1".to_owned() }, tempfile::tempdir().unwrap());
    let text = r#"(module (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
        (tag $e) (memory (export "memory") 1) (func (export "_start") (throw $e)))"#;
    let file = guests::write(dir.path(), "throws", text);
    let inspect = |more: &[&str]| cli.run(&[&["module", "inspect", file.to_str().unwrap()], more].concat());
    let found = inspect(&["--json"]).json();
    assert_eq!((&found["exceptions"], &found["refinements"]), (&true.into(), &serde_json::json!(["random"])));
    let text = inspect(&["--input", "1"]);
    for line in
        ["grants     none\n           not needed, and better with: random", "engine     uses exceptions of Wasm"]
    {
        assert!(text.output().contains(line), "no {line:?} in {text:?}");
    }
    assert!(text.output().contains("run        failed: trap: an exception that nothing caught"), "{text:?}");
}

#[test]
fn a_removed_version_is_gone_and_its_name_stays_taken() {
    let dev = shared();
    Says::new('1').push(&dev.cli, "leaves").output();
    dev.cli.run(&["module", "rm", "leaves"]).fails(2, &["name the version to remove"]);
    dev.cli.run(&["module", "rm", "leaves@1"]).output();
    let missing = ["failed to find module leaves", "there is none", "lovage module ls"];
    for command in [&["call", "leaves/run"][..], &["module", "show", "leaves"], &["module", "verify", "leaves@1"]] {
        dev.cli.run(command).fails(2, &missing);
    }
    dev.cli.run(&["module", "rm", "leaves@1"]).fails(2, &["there is none"]);
    assert!(!dev.cli.run(&["module", "ls"]).output().contains("leaves@"));
    Says::new('2').push(&dev.cli, "leaves@1").fails(2, &["a version never changes"]);
    assert_eq!(Says::new('1').push(&dev.cli, "leaves").output(), "leaves@2");
    assert_eq!(dev.cli.run(&["call", "leaves/run"]).output(), "1");
}

#[test]
fn a_removed_version_leaves_the_older_one() {
    let dev = shared();
    Says::new('1').push(&dev.cli, "steps-back").output();
    Says::new('2').push(&dev.cli, "steps-back").output();
    dev.cli.run(&["module", "rm", "steps-back@2"]).output();
    assert_eq!(dev.cli.run(&["call", "steps-back/run"]).output(), "1");
    dev.cli.run(&["call", "steps-back@2/run"]).fails(2, &["steps-back@2", "there is 1"]);
}

#[test]
fn a_task_that_is_queued_runs_the_version_it_was_sent_for() {
    let dev = shared();
    let cli = &dev.cli;
    Says::new('1').push(cli, "pinned").output();
    let id = cli.send(&["pinned/run"]);
    Says::new('2').push(cli, "pinned").output();
    assert_eq!(cli.settled(&id)["output"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_an_empty_cache_fetches_compiles_and_runs() {
    let server = crate::support::nats::TestServer::start(lovage::broker::Settings::default()).await;
    let cli = Cli { nats: server.server.url() };
    cli.push("hello");
    let cache = tempfile::tempdir().unwrap();
    let host = cli.host(&["--cache", cache.path().to_str().unwrap()]);
    assert_eq!(cli.run(&["call", "hello/add", "[20, 22]"]).output(), "42");
    host.line("it loads", |line| line.contains("loading a module"));
    let kept = std::fs::read_dir(cache.path().join("artifacts")).unwrap().count();
    assert!(kept > 0, "nothing was kept");
}

#[test]
fn a_manifest_names_tasks_and_limits() {
    let dev = shared();
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("m.toml");
    let text = "[tasks.first]\nsummary = \"The first.\"\n[tasks.second]\n[limits]\nfuel = 1000000\n";
    std::fs::write(&manifest, text).unwrap();
    let spins = guests::write(dir.path(), "spins", &guests::spins());
    let push = ["module", "push", "manifold", spins.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()];
    assert_eq!(dev.cli.run(&push).output(), "manifold@1");
    dev.cli.run(&["call", "manifold/second"]).fails(1, &["error: out_of_fuel"]);
    dev.cli.run(&["call", "manifold/run"]).fails(2, &["find task run", "there is first, second"]);
}

/// What a guest of a few lines brings along: the allocator, JSON, and the schema of its types.
#[test]
fn a_guest_of_a_few_lines_is_small() {
    let size = std::fs::metadata(guests::built("hello")).unwrap().len();
    assert!(size < 150 << 10, "a trivial task has {size} bytes");
}
