//! The targets under `fuzz`, for a few thousand inputs each: seeds that are right, and the same broken in a few places.
//!
//! `LOVAGE_SEED` replays a run, `LOVAGE_CASES` makes it longer.

use std::path::Path;

use crate::support::seed::{Dice, seed};

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Words of the forms that are read: a seed is broken by what it may hold, not by bytes alone.
const WORDS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "18446744073709551616",
    "1e999",
    "\\u0000",
    "\u{202e}",
    "${",
    "}}",
    "$ref",
    "#/",
    "&a ",
    "*a",
    "\n",
    "\n\n",
    "Lovage-Version: 1",
    "sha256:",
];

fn cases() -> usize {
    std::env::var_os("LOVAGE_CASES").and_then(|text| text.into_string().ok()?.parse().ok()).unwrap_or(1_500)
}

/// A seed with a few places changed.
fn broken(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(5) {
        let at = dice.below(bytes.len() + 1);
        let some = dice.below(40);
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, dice.pick(&WORDS).bytes())),
            3 => drop(bytes.drain(at..bytes.len().min(at + some))),
            4 => {
                let part = bytes[at..bytes.len().min(at + some)].to_vec();
                let to = dice.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            _ => drop(bytes.splice(at..bytes.len().min(at + 1), dice.pick(&WORDS).bytes())),
        }
    }
    bytes
}

/// Runs a target on seeds and on what comes of them; the input that broke a promise is printed.
fn run(target: fn(&[u8]), seeds: &[Vec<u8>]) {
    assert!(!seeds.is_empty());
    let mut dice = Dice(seed());
    seeds.iter().for_each(|seed| target(seed));
    for _ in 0..cases() {
        let input = broken(&seeds[dice.below(seeds.len())], &mut dice);
        if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
            println!("the input: {:?}", String::from_utf8_lossy(&input));
            std::panic::resume_unwind(panic);
        }
    }
}

/// The files below a folder with this ending.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn no_upload_breaks_the_parser() {
    let texts = files("tests/hostile", ".wat");
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| wat::parse_bytes(text).unwrap().into_owned()).collect();
    seeds.push(wat::parse_str("(component (core module (func)) (component (import \"a\" (func))))").unwrap());
    run(targets::upload, &seeds);
}

#[test]
fn no_json_breaks_the_mapping_to_types() {
    let seeds = [
        r#"[[-1, 2, -3, 4, -5, 6], [0.5, "NaN", 1e30], ["none"], ["c", "a"], "y", {"some": null}, {"ok": "AAE="}]"#,
        r#"{"integers": [0, 0, 0, 0, 0, 0], "floats": [], "flags": [], "variants":
            [{"wide": [-1, "18446744073709551615"]}, {"some": {"char": "é", "text": "\ud83c\udf3f", "long-name": -1e-300}}]}"#,
        r#"[[1.0, 2e1, 0, 0, 0, 0], [], [{"none": null}], [], null, {"some": true}, {"err": null}]"#,
    ];
    run(targets::values, &seeds.map(|seed| seed.as_bytes().to_vec()));
}

#[test]
fn no_message_breaks_the_readers_of_the_protocol() {
    let goldens = ["task-v1.txt", "record-v1.txt", "record-v2.txt", "step-v1.txt", "step-v2.txt"];
    let mut seeds = Vec::new();
    for golden in goldens {
        let text = String::from_utf8(files("tests/golden", golden).remove(0)).unwrap();
        let messages = text.split_terminator("\n---\n");
        seeds.extend(messages.map(|message| format!("lvg.default.task.default.5.t-1\n{message}").into_bytes()));
    }
    run(targets::envelope, &seeds);
}

#[test]
fn no_document_breaks_the_reader_of_flows() {
    let mut seeds = files("examples/flows", "flow.yaml");
    seeds.extend(files("tests/flow/examples", ".yaml"));
    seeds.push(
        br#"{"name": "a", "input": {"type": "array"}, "flow": {"map": {"task": "m/t"}, "catch": {"value": 1}}}"#
            .to_vec(),
    );
    run(targets::flow, &seeds);
}

#[test]
fn no_schema_breaks_the_check_of_inputs() {
    let seeds = [
        r##"[{"$defs": {"a": {"type": "integer"}}, "items": {"$ref": "#/$defs/a"}, "uniqueItems": true}, [1, 2]]"##,
        r##"[{"allOf": [{"$ref": "#"}, {"not": {"const": 1}}], "patternProperties": {"^a+$": {"maximum": 3}}}, {"a": 1}]"##,
        r#"[{"properties": {"x": {"format": "date", "pattern": "^[0-9-]*$"}}, "required": ["x"]}, {"x": "2026-11-22"}]"#,
        r#"[{"if": {"minLength": 3}, "then": {"enum": ["abc"]}, "else": false}, "abc"]"#,
    ];
    run(targets::schema, &seeds.map(|seed| seed.as_bytes().to_vec()));
}

#[test]
fn no_record_breaks_the_reader_of_journals() {
    let run_id = "01jd0000000000000000000007";
    let mut seeds = Vec::new();
    for (record, body) in [
        (
            "start",
            r#"{"core_version":1,"run":"01jd0000000000000000000007","document":{"json":{"value":1}},"limits":{}}"#,
        ),
        ("decided.0.value", r#"{"value":{"json":[1,null]}}"#),
        ("child.0", r#"{"failed":{"kind":"returned","message":"no"}}"#),
        ("signal.a", r#"{"name":"go","payload":{"json":{"by":"me"}}}"#),
        ("end", r#"{"result":{"succeeded":{"json":7}}}"#),
        ("timer.0.sleep0", ""),
        ("cancel", ""),
    ] {
        seeds.push(format!("lvg.default.run.7.{run_id}.{record}\nLovage-Version: 1\n\n{body}").into_bytes());
    }
    let outcome = "Lovage-Version: 2\nLovage-State: succeeded\nLovage-Usage: attempt=1 delivery=1 fuel=7\n\n[1]";
    seeds.push(format!("lvg.default.run.7.{run_id}.step.0-1.1\n{outcome}").into_bytes());
    for text in files("tests/golden/journal-v1", ".txt") {
        seeds.push([format!("lvg.default.run.7.{run_id}.start\n").as_bytes(), &text].concat());
    }
    run(targets::journal, &seeds);
}
