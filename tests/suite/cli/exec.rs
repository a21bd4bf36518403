//! `lovage exec`: a module in this process, without a server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::platform::{Cli, Ended};

/// Runs a guest with an input too large for a command line.
fn exec(guest: &str, input: &Value, more: &[&str]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("input.json");
    std::fs::write(&file, input.to_string()).unwrap();
    let input = format!("@{}", file.display());
    let cli = Cli { nats: "nats://127.0.0.1:1".to_owned() };
    cli.run(&[&["exec", guests::built(guest).to_str().unwrap(), &input], more].concat())
}

/// One of the photographs of the examples.
fn photo() -> String {
    STANDARD.encode(std::fs::read("examples/photos/cat.jpg").unwrap())
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let cli = Cli { nats: "nats://127.0.0.1:1".to_owned() };
    let module = guests::built("hello");
    let exec = ["exec", module.to_str().unwrap(), "[1, 2]", "--task", "add", "--cache", "/proc/nothing"];
    cli.run(&exec)
        .fails(3, &["failed to make the artifact cache", "choose another folder than /proc/nothing with --cache"]);
}

#[test]
fn hello_adds_and_greets() {
    assert_eq!(exec("hello", &json!([2, 3]), &["--task", "add"]).output(), "5");
    assert_eq!(exec("hello", &json!("Wasm"), &["--task", "greet"]).output(), "\"Hello, Wasm!\"");
}

#[test]
fn probe_is_tried_again_as_on_a_platform() {
    let ended = exec("probe", &json!({"until": 2}), &["--task", "flaky"]);
    assert_eq!(ended.output(), "2");
    assert!(ended.stderr.contains("attempt 1 failed, trying again"), "{ended:?}");
}

#[test]
fn a_photo_becomes_a_thumbnail_its_colours_and_a_sheet() {
    let thumb = exec("thumbs", &json!({"photo": photo(), "width": 96}), &[]);
    assert!(thumb.stderr.contains("progress 3 of 3"), "{thumb:?}");
    let thumb = thumb.json();
    assert_eq!(thumb["width"], 96);
    let palette = exec("palette", &json!({"swatch": thumb["swatch"], "count": 4}), &[]).json();
    let colours = palette["colours"].as_array().unwrap();
    assert_eq!(colours.len(), 4);
    assert!(colours.iter().all(|colour| colour.as_str().unwrap().starts_with('#')), "{palette}");
    let photos = json!([{"name": "cat", "jpeg": thumb["jpeg"], "colours": colours}]);
    let sheet = exec("sheet", &json!({"title": "One cat", "columns": 1, "photos": photos}), &[]).json();
    let jpeg = STANDARD.decode(sheet["jpeg"].as_str().unwrap()).unwrap();
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && sheet["width"].as_u64().unwrap() >= 96, "{}", jpeg.len());
}

#[test]
fn functions_of_a_component_without_an_sdk_are_tasks() {
    let input: Value = serde_json::from_slice(&std::fs::read("examples/guests/invoice/input.json").unwrap()).unwrap();
    let total = exec("invoice", &input, &["--task", "total"]).json();
    assert_eq!(total, json!({"net": 2025, "tax": 141, "gross": 2166, "note": "224 cents off"}));
    assert_eq!(exec("invoice", &json!({"cents": 100, "ways": 3}), &["--task", "split"]).output(), "[34,33,33]");
    let most = json!(["18446744073709551615", 1]);
    assert_eq!(exec("invoice", &most, &["--task", "split"]).output(), "[\"18446744073709551615\"]");
    assert_eq!(exec("invoice", &json!("000000021825009"), &["--task", "check-digit"]).output(), "\"7\"");
    let ended =
        exec("invoice", &json!([[{"text": "tea", "quantity": -1, "cents": 1}], "reduced"]), &["--task", "total"]);
    ended.fails(1, &["error: bad_input: /0/0/quantity: -1 is no u32", r#""pointer":"/0/0/quantity""#]);
    let ended =
        exec("invoice", &json!({"lines": [], "rate": "reduced", "discount": {"percent": 101}}), &["--task", "total"]);
    ended.fails(1, &["error: refused: a discount of 101 percent"]);
    exec("invoice", &json!("12a"), &["--task", "check-digit", "--quiet"])
        .fails(1, &["error: returned: 'a' is no digit"]);
}

#[test]
fn a_task_that_fails_exits_with_one() {
    let failed = exec("palette", &json!({}), &[]);
    failed.fails(1, &["palette: the input has no \"swatch\"", "error: refused"]);
    assert_eq!(failed.stdout, "");
    exec("hello", &json!("no numbers"), &["--task", "add"]).fails(1, &["error: refused"]);
}

#[test]
fn wrong_use_exits_with_two() {
    exec("hello", &json!([2, 3]), &[]).fails(2, &["choose a task with --task: add, greet"]);
    exec("hello", &json!([2, 3]), &["--task", "subtract"]).fails(2, &["no task subtract", "add, greet"]);
    let cli = Cli { nats: String::new() };
    cli.run(&["exec", "/nowhere.wasm"]).fails(2, &["/nowhere.wasm"]);
    cli.run(&["exec", "Cargo.toml"]).fails(2, &["Cargo.toml"]);
}

#[test]
fn a_quiet_run_prints_its_output_alone() {
    let ended = exec("probe", &json!({"lines": 3}), &["--task", "chatty", "--quiet"]);
    assert_eq!((ended.output(), ended.stderr.as_str()), ("3", ""));
    let loud = exec("probe", &json!({"lines": 3}), &["--task", "chatty"]);
    assert!(loud.stderr.contains("line 3 of 3"), "{loud:?}");
}
