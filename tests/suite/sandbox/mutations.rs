//! Uploads that are broken on purpose: whatever the bytes, the answer is an inspection or a typed rejection, never a panic.
//!
//! `LOVAGE_SEED` replays a run.

use lovage::sandbox::{Rejection, inspect};

use crate::support::guests::built;
use crate::support::seed::{Dice, seed};

const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1 4)
    (table 4 funcref)
    (global $g (mut i64) (i64.const 7))
    (elem (i32.const 0) $work)
    (data (i32.const 8) "some data")
    (func $work (param i32) (result i32) (loop (br_if 0 (i32.eqz (local.get 0)))) (i32.const 3))
    (func (export "_start") (drop (call $work (i32.const 1))) (call $exit (i32.const 0))))"#;

const COMPONENT: &str = r#"(component
    (type (func (param "x" u32) (result string)))
    (import "lovage:task/log@0.1.0" (instance (export "line" (func (param "text" string)))))
    (core module $inner (memory (export "m") 1) (func (export "f") (result i32) (i32.const 1)))
    (core instance $instance (instantiate $inner))
    (component $nested (core module (func))))"#;

/// One way to break bytes.
fn broken(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        let (at, some) = (dice.below(bytes.len()), dice.roll().to_le_bytes());
        match dice.below(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 if !bytes.is_empty() => bytes[at] = dice.pick(&[0x00, 0x01, 0x7f, 0x80, 0xff]),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, some.into_iter().take(dice.below(9)))),
            // A part again elsewhere: sections twice and out of order.
            _ => {
                let part = bytes[at..bytes.len().min(at + dice.below(64))].to_vec();
                bytes.splice(at / 2..at / 2, part);
            }
        }
    }
    bytes
}

/// Inspects a number of broken forms; how many were refused, and for how many reasons.
fn refused(bytes: &[u8], cases: usize, dice: &mut Dice) -> (usize, usize) {
    let mut reasons = std::collections::BTreeSet::new();
    let mut count = 0;
    for _ in 0..cases {
        if let Err(rejection) = inspect(&broken(bytes, dice)) {
            count += 1;
            reasons.insert(reason(&rejection));
        }
    }
    (count, reasons.len())
}

fn reason(rejection: &Rejection) -> String {
    format!("{rejection:?}").chars().take_while(char::is_ascii_alphabetic).collect()
}

#[test]
fn a_broken_module_is_refused_in_words() {
    let mut dice = Dice(seed());
    for text in [COMMAND, COMPONENT] {
        let (count, reasons) = refused(&wat::parse_str(text).unwrap(), 3_000, &mut dice);
        println!("{count} of 3000 refused, for {reasons} reasons");
        assert!(count > 1_000 && reasons >= 3, "{count} refused for {reasons} reasons: the cases break too little");
    }
}

#[test]
fn a_broken_guest_is_refused_in_words() {
    let mut dice = Dice(seed());
    for (name, cases) in [("hello", 60), ("palette", 60)] {
        let (count, reasons) = refused(&std::fs::read(built(name)).unwrap(), cases, &mut dice);
        println!("{name}: {count} of {cases} refused, for {reasons} reasons");
        assert!(count > 0, "{name}: the cases break nothing");
    }
}

#[test]
fn every_beginning_of_a_module_has_an_answer() {
    for text in [COMMAND, COMPONENT] {
        let bytes = wat::parse_str(text).unwrap();
        for length in 0..bytes.len() {
            let answer = inspect(&bytes[..length]);
            assert!(length >= 8 || answer.is_err(), "{length} bytes are a module: {answer:?}");
        }
    }
}

#[test]
fn random_bytes_after_the_magic_are_refused() {
    let mut dice = Dice(seed());
    for _ in 0..2_000 {
        let magic = dice.pick(&[b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"]);
        let length = dice.below(200);
        let bytes: Vec<u8> = magic.iter().copied().chain((0..length).map(|_| dice.roll().to_le_bytes()[0])).collect();
        assert!(inspect(&bytes).is_err(), "{bytes:?}");
    }
}
