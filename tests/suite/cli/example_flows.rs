//! The example flows, each by the command that `examples/README.md` gives for it, in fast time.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::platform::{Ended, LOVAGE, lovage};

/// The command of a flow in the list of examples.
fn command(flow: &str) -> String {
    let readme = include_str!("../../../examples/README.md");
    let begins = format!("lovage exec examples/flows/{flow}/flow.yaml ");
    readme.lines().find(|line| line.starts_with(&begins)).unwrap_or_else(|| panic!("no command for {flow}")).to_owned()
}

/// Runs a command as a reader would: in a shell, in the folder of the repository.
fn run(line: &str) -> Ended {
    let mut shell = Command::new("sh");
    let program = lovage();
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let folder = Path::new(LOVAGE).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var_os("PATH").unwrap_or_default().display());
    shell.args(["-c", line]).env("PATH", path).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap().into()
}

/// What stands in a file beside a flow.
fn expected(flow: &str, case: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/flows/{flow}/expected{case}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}

/// Runs a flow with its input, and compares what comes of it with what is expected: the output, or `fails` and `log`.
fn check(flow: &str, input: &str, expected_case: &str, more: &str) {
    let line = format!("{} {more}", command(flow).replace("input.json", &format!("input{input}.json")));
    let (ended, expected) = (run(&line), expected(flow, expected_case));
    let Some(failure) = expected["fails"].as_str() else {
        return assert_eq!(ended.json(), expected, "{line}\n{}", ended.stderr);
    };
    ended.fails(1, &[&format!("error: {failure}")]);
    let mut log = ended.stderr.lines();
    for wanted in expected["log"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()) {
        assert!(log.any(|line| line.contains(wanted)), "no {wanted:?}, or not in this order:\n{}", ended.stderr);
    }
}

#[test]
fn a_report_is_published_or_held_back() {
    check("etl", "", "", "");
    check("etl", ".held", ".held", "");
}

#[test]
fn scripts_in_three_languages_make_one_flow() {
    check("stations", "", "", "");
}

#[test]
fn what_is_on_the_card_decides_the_flow() {
    check("photos", "", "", "");
}

#[test]
fn an_order_that_cannot_be_shipped_is_undone_the_last_step_first() {
    check("saga", "", "", "");
    check("saga", ".shipped", ".shipped", "");
}

#[test]
fn an_approval_is_given_denied_or_expires() {
    check("approval", "", "", "");
    check("approval", "", ".approved", r#"--signal 'decision={"verdict": "approved"}'"#);
    check("approval", "", ".rejected", r#"--signal 'decision={"verdict": "rejected", "why": "too long"}'"#);
}

#[test]
fn reminders_come_before_the_approval_expires() {
    let ended = run(&command("approval"));
    let said: Vec<&str> =
        ended.stderr.lines().filter(|line| line.contains("asked") || line.contains("reminder")).collect();
    assert_eq!(said.len(), 3, "{ended:?}");
    assert!(said[0].contains("asked") && said[2].contains("reminder 2"), "{said:?}");
}

#[test]
fn a_payout_is_settled_or_comes_back() {
    check("payout", "", "", "");
    check("payout", ".bounced", ".bounced", "");
}

#[test]
fn a_crawl_finds_every_page_once() {
    check("crawl", "", "", "");
}

#[test]
fn the_words_of_a_text_are_counted() {
    check("word-count", "", "", "");
}
