//! The house rules that a compiler does not check.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files that git tracks, with their text; pictures and lock files are left out.
fn files() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git lists the files");
    let names = String::from_utf8(listed.stdout).unwrap();
    let text = |name: &str| Some((PathBuf::from(name), std::fs::read_to_string(root.join(name)).ok()?));
    let files: Vec<_> = names.lines().filter(|name| !name.ends_with(".lock")).filter_map(text).collect();
    assert!(files.len() > 50, "git ls-files found {} files", files.len());
    files
}

fn rust_files(below: &str) -> Vec<(PathBuf, String)> {
    let is = |path: &Path| path.starts_with(below) && path.extension().is_some_and(|extension| extension == "rs");
    files().into_iter().filter(|(path, _)| is(path)).collect()
}

/// The part of a file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

#[test]
fn files_stay_small() {
    let rust = [rust_files("src"), rust_files("guest-sdk"), rust_files("tests"), rust_files("benches")].concat();
    let mut lengths: Vec<usize> = rust.iter().map(|(_, text)| text.lines().count()).collect();
    lengths.sort_unstable();
    for (path, text) in &rust {
        assert!(text.lines().count() <= 800, "{} has {} lines", path.display(), text.lines().count());
    }
    let median = lengths[lengths.len() / 2];
    assert!(median <= 200, "the median file has {median} lines");
}

#[test]
fn each_file_says_what_it_is_for() {
    for (path, text) in rust_files("src").iter().chain(&rust_files("tests")).chain(&rust_files("guest-sdk")) {
        let begins = ["//!", "#![cfg(test)]\n//!", "#![doc = include_str!("];
        let says = begins.iter().any(|begin| text.starts_with(begin));
        assert!(says, "{} does not begin with its purpose", path.display());
    }
}

/// What each module may name; `model` is open to all.
#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("model", &[][..]),
        ("protocol", &[]),
        ("docs", &[]),
        ("broker", &["protocol"]),
        ("sandbox", &[]),
        ("store", &["protocol", "broker", "workflow"]),
        ("telemetry", &[]),
        ("host", &["protocol", "broker", "sandbox", "store", "telemetry"]),
        ("schedule", &["protocol", "broker", "store", "client", "telemetry"]),
        ("webhook", &["protocol", "broker", "client"]),
        ("workflow", &["protocol"]),
        ("coordinator", &["protocol", "broker", "store", "workflow", "telemetry"]),
        ("client", &["protocol", "broker", "store", "workflow"]),
        ("local", &["protocol", "workflow"]),
        ("exec", &["sandbox", "local", "workflow"]),
        ("testing", &["local", "workflow"]),
    ]);
    let modules: Vec<&str> = allowed.keys().copied().chain(["cli"]).collect();
    for (path, text) in rust_files("src") {
        let module = path.components().nth(1).unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let Some(allowed) = allowed.get(module.as_str()) else { continue };
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for other in modules.iter().filter(|other| **other != module && **other != "model") {
                let named = line.contains(&format!("crate::{other}::")) || line.contains(&format!("crate::{other}:"));
                assert!(!named || allowed.contains(other), "{}: {module} may not name {other}: {line}", path.display());
            }
            let names_nats = line.contains("broker::nats") || line.contains("async_nats");
            assert!(module == "broker" || !names_nats, "{}: only cli names broker::nats: {line}", path.display());
        }
    }
}

#[test]
fn the_pure_part_is_pure() {
    for below in ["src/model", "src/protocol", "src/workflow"] {
        for (path, text) in rust_files(below) {
            for word in
                [".await", "tokio", "async ", "SystemTime", "Instant", "rand::", "std::fs", "std::env", "std::net"]
            {
                assert!(!without_tests(&text).contains(word), "{}: {word} is not pure", path.display());
            }
        }
    }
}

#[test]
fn only_the_mapping_of_artifacts_and_the_allocator_of_guests_are_unsafe() {
    let known = ["src/sandbox/artifact.rs", "guest-sdk/src/heap.rs"];
    for (path, text) in rust_files("src").iter().chain(&rust_files("guest-sdk")) {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn")).count();
        assert!(uses == 0 || known.iter().any(|known| path == Path::new(known)), "{} is unsafe", path.display());
    }
}

#[test]
fn every_kind_of_failure_has_a_section() {
    let page = include_str!("../src/docs/failures.md");
    for kind in lovage::model::Kind::ALL {
        let section = page.split(&format!("\n## `{kind}`\n")).nth(1).unwrap_or_else(|| panic!("{kind} has no section"));
        let section = section.split("\n## ").next().unwrap_or(section);
        assert!(section.contains("Cause: "), "{kind}: no cause");
        assert!(section.contains("What to do: "), "{kind}: nothing to do");
        let retried = kind.retry_class() == lovage::model::outcome::RetryClass::Retry;
        assert_eq!(section.contains("*Retried.*"), retried, "{kind}: the page and the code differ on retries");
    }
}

#[test]
fn every_header_is_in_the_protocol_page() {
    let page = include_str!("../src/docs/protocol.md");
    for (path, text) in rust_files("src/protocol") {
        for name in
            without_tests(&text).split('"').filter(|part| part.starts_with("Lovage-") && !part.contains([' ', ':']))
        {
            assert!(page.contains(&format!("`{name}`")), "{}: {name} is not in protocol.md", path.display());
        }
    }
}

#[test]
fn every_dependency_has_a_reason() {
    for (path, text) in files().iter().filter(|(path, _)| path.ends_with("Cargo.toml") && !path.starts_with("examples"))
    {
        let mut section = String::new();
        let mut reason = false;
        for line in text.lines() {
            if line.starts_with('[') {
                section = line.to_owned();
            }
            if line.starts_with('#') {
                reason = true;
            } else if line.is_empty() {
                reason = false;
            }
            let names = section.ends_with("dependencies]") && line.starts_with(char::is_alphabetic);
            // One reason may stand over a few lines that it is for.
            assert!(!names || reason, "{}: no reason for {line}", path.display());
        }
    }
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    // Written in two parts, so that this file does not name them.
    let names = [
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("deb.deb", "ian.org"),
        ("index.cra", "tes.io"),
        ("pypi.", "org/"),
        ("registry.npm", "js.org"),
    ];
    for (path, text) in files() {
        for (first, second) in names {
            let name = format!("{first}{second}");
            assert!(!text.contains(&name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn the_top_level_holds_nothing_else() {
    let expected = [
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "src",
        "guest-sdk",
        "examples",
        "tests",
        "benches",
        "scripts",
        "fuzz",
        "clients",
        "deny.toml",
        "rustfmt.toml",
    ];
    for (path, _) in files() {
        let top = path.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        assert!(top.starts_with('.') || expected.contains(&top.as_str()), "{top} does not belong here");
    }
}

#[test]
fn tests_are_nearly_half_of_the_lines() {
    let counts = |line: &str| !line.is_empty() && !line.starts_with("//");
    let lines = |text: &str| text.lines().filter(|line| counts(line.trim())).count();
    let (mut code, mut tests) = (0, 0);
    for (_, text) in rust_files("src").iter().chain(&rust_files("guest-sdk/src")) {
        // A file may be tests as a whole.
        let before = if text.starts_with("#![cfg(test)]") { 0 } else { lines(without_tests(text)) };
        code += before;
        tests += lines(text) - before;
    }
    // Guests in WAT, golden transcripts and clients in other languages are tests, too.
    for (path, text) in files() {
        if ["tests", "benches", "guest-sdk/tests"].iter().any(|below| path.starts_with(below)) {
            tests += lines(&text);
        }
    }
    let share = tests * 100 / (code + tests);
    println!("code {code}, tests {tests}: {share} %");
    assert!(share >= 45, "tests are {share} % of the lines");
}

/// The contract between a run and its driver names the tests that hold it.
#[test]
fn tests_that_the_drivers_contract_names_are_there() {
    let path = Path::new("src/workflow/run/mod.rs");
    let (_, text) = files().into_iter().find(|(file, _)| file == path).unwrap();
    let doc: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let named: Vec<&str> = doc.split('`').filter(|word| word.len() > 25 && !word.contains([' ', ':', '/'])).collect();
    assert!(named.len() >= 10, "{named:?}");
    let all: String = [rust_files("src"), rust_files("tests")].concat().into_iter().map(|(_, text)| text).collect();
    for test in named {
        assert!(all.contains(&format!("fn {test}(")), "there is no test {test}");
    }
}
