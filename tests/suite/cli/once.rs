//! `--idempotency-key` and `--idempotency-window`, as users type them.

use crate::support::platform::shared;

#[test]
fn a_second_send_or_call_under_a_key_is_the_first_one() {
    let dev = shared();
    let cli = &dev.cli;
    let key = ["--idempotency-key", "order 7", "--idempotency-window", "7d"];
    let send = |input| cli.run(&[&["send", "hello/add", input], &key[..]].concat());
    let first = send("[20, 22]").output().to_owned();
    assert_eq!(cli.settled(&first)["output"], 42);
    let second = send("[20, 22]");
    assert_eq!(second.output(), first);
    assert!(second.stderr.contains("submitted before"), "{}", second.stderr);
    let called = cli.run(&[&["call", "hello/add", "[20, 22]"], &key[..]].concat());
    assert_eq!(called.output(), "42");
    assert!(called.stderr.contains("submitted before"), "{}", called.stderr);
    cli.run(&[&["call", "hello/add", "[1, 1]"], &key[..]].concat()).fails(2, &["\"order 7\"", &first]);
    send("[1, 1]").fails(2, &["\"order 7\"", &first, "another task or input"]);
}

#[test]
fn keys_and_windows_beyond_their_bounds_are_refused() {
    let dev = shared();
    let send = |more: &[&str]| dev.cli.run(&[&["send", "hello/add", "[1, 2]"], more].concat());
    let key = ["--idempotency-key", "k"];
    send(&["--idempotency-window", "7d"]).fails(2, &["--idempotency-key"]);
    send(&["--idempotency-key", ""]).fails(2, &["1 to 256 bytes"]);
    for window in ["0s", "999ms", "31d"] {
        send(&[&key[..], &["--idempotency-window", window]].concat()).fails(2, &["1s to 30d"]);
    }
    let batch = ["send", "hello/add", "--batch", "none.ndjson", "--idempotency-key", "k", "--idempotency-window", "7d"];
    dev.cli.run(&batch).fails(2, &["a batch is sent once"]);
}
