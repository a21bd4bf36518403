//! Inputs and outputs above the inline limit go through the object store, and nobody notices.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lovage::model::outcome::VALUE_INLINE_MAX;

use crate::support::platform::shared;

/// The most bytes that a value may have.
const VALUE_MAX: usize = 64 << 20;

/// Bytes that no compression shortens and no shift repeats, and that are no text.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

/// Writes the JSON string of these bytes in base64, which is what `probe/raw` takes, to a file; its size.
fn write(file: &Path, bytes: &[u8]) -> usize {
    let text = format!("\"{}\"", STANDARD.encode(bytes));
    std::fs::write(file, &text).unwrap();
    text.len()
}

/// Calls `probe/raw` with a file as its input; all of stdout, as bytes.
fn raw(file: &Path, options: &[&str]) -> Vec<u8> {
    let input = format!("@{}", file.display());
    let output = shared().cli.command(&[&["call", "probe/raw", &input], options].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_largest_input_comes_back_byte_for_byte() {
    let _dev = shared();
    let dir = tempfile::tempdir().unwrap();
    let (file, sent) = (dir.path().join("input"), bytes(VALUE_MAX / 4 * 3 - 3));
    assert_eq!(write(&file, &sent), VALUE_MAX - 2);
    let got = raw(&file, &["--memory", "1000000000"]);
    assert!(got == sent, "{} bytes came back of {}", got.len(), sent.len());
}

#[test]
fn values_around_the_inline_limit_come_back_byte_for_byte() {
    let _dev = shared();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("input");
    for count in [VALUE_INLINE_MAX / 4 * 3, VALUE_INLINE_MAX - 1, VALUE_INLINE_MAX, VALUE_INLINE_MAX + 1] {
        let sent = bytes(count);
        write(&file, &sent);
        assert!(raw(&file, &[]) == sent, "{count}");
    }
}

#[test]
fn a_large_output_of_a_small_input_reaches_its_caller() {
    let dev = shared();
    let id = dev.cli.send(&["probe/fill", r#"{"bytes": 41943040}"#, "--memory", "500000000"]);
    let ended = dev.cli.run(&["result", &id, "--wait"]);
    let text = ended.output();
    assert!(text.len() == (40 << 20) + 2 && text.trim_matches('"').bytes().all(|byte| byte == b'x'));
}

#[test]
fn an_input_above_the_limit_is_refused_before_it_is_sent() {
    let dev = shared();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("input");
    std::fs::File::create(&file).unwrap().set_len(VALUE_MAX as u64 + 1).unwrap();
    let ended = dev.cli.run(&["call", "probe/raw", &format!("@{}", file.display())]);
    ended.fails(2, &["is larger than the 67108864 bytes that are allowed"]);
}

#[test]
fn an_output_above_the_limit_ends_as_output_limit() {
    let dev = shared();
    let ended = dev.cli.run(&["call", "probe/fill", r#"{"bytes": 70000000}"#, "--memory", "500000000"]);
    ended.fails(1, &["error: output_limit"]);
}
