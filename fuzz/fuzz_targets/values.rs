//! See `targets::values`.
#![no_main]

#[allow(dead_code, reason = "one of them is used here")]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::values(bytes));
