//! `lovage new`: each template is made, built by its own command, and run.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::platform::{Ended, lovage};

fn new(into: &Path, args: &[&str]) -> Ended {
    lovage().arg("new").arg("--into").arg(into).args(args).output().unwrap().into()
}

/// Makes a project, builds it as its README says, and runs its task with its input and with one that it refuses.
fn makes_builds_and_runs(language: &str) {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{language}-stats");
    let made = new(dir.path(), &[&name, "--lang", language]);
    assert!(made.output().ends_with(&format!("./build && lovage exec {name}.wasm @input.json")), "{made:?}");
    let project = dir.path().join(&name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built: Ended = Command::new(root.join("scripts/with-tools"))
        .args([language, "./build"])
        .current_dir(&project)
        // The guests' own builds have fetched and compiled what a project in Rust needs.
        .env("CARGO_TARGET_DIR", root.join("target/guests-build"))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO")
        .output()
        .unwrap()
        .into();
    assert_eq!(built.code, 0, "{built:?}");
    let run = |input: &str| -> Ended {
        let mut exec = lovage();
        exec.args(["exec", &format!("{name}.wasm"), input]).current_dir(&project);
        exec.output().unwrap().into()
    };
    let summary: Value = run("@input.json").json();
    let expected = [("count", 4.0), ("mean", 1.5), ("min", -2.5), ("max", 4.0)];
    for (field, value) in expected {
        assert_eq!(summary[field].as_f64(), Some(value), "{language}: {field} of {summary}");
    }
    run("[]").fails(1, &["error: refused: ", "no numbers"]);
    let not_numbers = run(r#"{"a": "b"}"#);
    assert_eq!(not_numbers.code, 1, "{language}: {not_numbers:?}");
}

#[test]
fn a_project_in_rust_builds_and_runs() {
    makes_builds_and_runs("rust");
}

#[test]
fn a_project_in_rust_with_the_sdk_builds_and_runs() {
    makes_builds_and_runs("rust-sdk");
}

#[test]
fn a_project_in_c_builds_and_runs() {
    makes_builds_and_runs("c");
}

#[test]
fn a_project_in_cpp_builds_and_runs() {
    makes_builds_and_runs("cpp");
}

#[test]
fn a_project_in_go_builds_and_runs() {
    makes_builds_and_runs("go");
}

#[test]
fn a_project_in_zig_builds_and_runs() {
    makes_builds_and_runs("zig");
}

#[test]
fn a_project_in_javascript_builds_and_runs() {
    makes_builds_and_runs("javascript");
}

#[test]
fn a_project_in_typescript_builds_and_runs() {
    makes_builds_and_runs("typescript");
}

#[test]
fn a_project_in_assemblyscript_builds_and_runs() {
    makes_builds_and_runs("assemblyscript");
}

#[test]
fn a_project_in_python_builds_and_runs() {
    makes_builds_and_runs("python");
}

#[test]
fn wrong_names_and_languages_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["Upper", "1st", "-x", "x-", "a--b", "a_b", "a/b", "../x", "", "fn", &"x".repeat(41)] {
        new(dir.path(), &["--lang", "c", "--", name]).fails(2, &["invalid value", "<NAME>"]);
    }
    new(dir.path(), &["fine", "--lang", "cobol"]).fails(2, &["cobol", "rust", "assemblyscript"]);
    new(dir.path(), &["fine"]).fails(2, &["--lang"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_there_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "precious").unwrap();
    new(dir.path(), &["mine", "--lang", "go"]).fails(2, &["mine is there already", "--into"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("mine")).unwrap(), "precious");
    new(&dir.path().join("nowhere"), &["fine", "--lang", "go"]).fails(2, &["failed to write"]);
    new(dir.path(), &["fine", "--lang", "js"]).output();
    let mut files: Vec<_> =
        std::fs::read_dir(dir.path().join("fine")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, [".gitignore", "README.md", "build", "input.json", "main.js", "package.json", "wit"]);
    let package: Value = serde_json::from_slice(&std::fs::read(dir.path().join("fine/package.json")).unwrap()).unwrap();
    assert_eq!(package["name"], json!("fine"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside");
}
