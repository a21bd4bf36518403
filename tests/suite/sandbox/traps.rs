//! Traps have stable codes, and fresh instances forget them.

use lovage::model::Kind;

use super::{Call, Rig, code, failure, guests, output};

#[tokio::test]
async fn every_trap_has_a_code() {
    let rig = Rig::new();
    for (body, expected) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const -8)))", "memory_out_of_bounds"),
        ("(drop (i32.div_s (i32.const 1) (i32.load (i32.const 64))))", "integer_division_by_zero"),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (i32.load (i32.const 64)) (i32.const 1))))",
            "integer_overflow",
        ),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "bad_conversion_to_integer"),
    ] {
        let report = rig.report(&guests::starts(body), Call::default()).await;
        assert_eq!((failure(&report).kind, code(&report)), (Kind::Trap, expected));
    }
    for (body, expected) in [
        ("(i32.const 1)", "indirect_call_to_null"),
        ("(i32.const 9)", "table_out_of_bounds"),
        ("(i32.const 0)", "bad_signature"),
    ] {
        let guest = guests::command(&format!(
            r#"(table 2 funcref) (elem (i32.const 0) $other) (func $other (param i64))
            (func (export "_start") (call_indirect {body}))"#
        ));
        let report = rig.report(&guest, Call::default()).await;
        assert_eq!((failure(&report).kind, code(&report)), (Kind::Trap, expected));
    }
}

#[tokio::test]
async fn a_trap_tells_where() {
    let guest = guests::command(
        r#"(func $inner unreachable) (func $outer (call $inner)) (func $main (export "_start") (call $outer))"#,
    );
    let report = Rig::new().report(&guest, Call::default()).await;
    let failure = failure(&report);
    assert_eq!(failure.message, "wasm `unreachable` instruction executed");
    let frames: Vec<&str> =
        failure.detail.as_ref().unwrap()["backtrace"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert_eq!(frames, ["inner", "outer", "main"]);
}

#[tokio::test]
async fn recursion_without_end_is_a_stack_overflow() {
    let guest = guests::command(r#"(func $deep (call $deep) (call $deep)) (func (export "_start") (call $deep))"#);
    let report = Rig::new().report(&guest, Call::default()).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::Trap, "stack_overflow"));
    assert!(failure(&report).detail.as_ref().unwrap()["backtrace"].as_array().unwrap().len() <= 20);
}

#[tokio::test]
async fn no_instance_serves_twice() {
    let guest = guests::command(
        r#"(data (i32.const 1024) "0")
        (global $calls (mut i32) (i32.const 0))
        (func (export "_start")
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
            (if (i32.ne (global.get $calls) (i32.const 1)) (then unreachable))
            (call $say (i32.const 1) (i32.const 1024) (i32.const 1)))"#,
    );
    let rig = Rig::new();
    for _ in 0..20 {
        assert_eq!(output(&rig.report(&guest, Call::default()).await), "1");
    }
}
