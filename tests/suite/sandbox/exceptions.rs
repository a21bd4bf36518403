//! Modules that use exceptions of Wasm: an engine of their own runs them, and no other does.

use bytes::Bytes;
use lovage::model::{Digest, EngineClass, Kind, Limits, Metering};
use lovage::sandbox::{Error, Rejection, inspect};

use super::{Call, Rig, failure, guests, output};

/// A sandbox for modules with exceptions.
fn with_exceptions(metering: Metering) -> Rig {
    let mut rig = Rig::new();
    rig.sandbox = rig.sandbox.of_class(EngineClass { metering, exceptions: true });
    rig
}

/// Throws as often as it is told, catches what it threw, and says 7, which one of them carried.
fn catching(times: u32) -> Vec<u8> {
    let text = format!(
        r#"(tag $e (param i32))
        (func $fail (param i32) (throw $e (local.get 0)))
        (func (export "_start") (local $left i32) (local $got i32)
            (local.set $left (i32.const {times}))
            (loop $again
                (block $caught (result i32)
                    (try_table (catch $e $caught) (call $fail (i32.const 7)))
                    unreachable)
                (local.set $got)
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left)))
            (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (local.get $got)))
            (call $say (i32.const 1) (i32.const 1024) (i32.const 1)))"#
    );
    guests::command(&text)
}

#[tokio::test]
async fn what_is_thrown_is_caught_whatever_is_counted() {
    for metering in [Metering::Fuel, Metering::Deadline] {
        let report = with_exceptions(metering).report(&catching(1_000), Call::default()).await;
        assert_eq!(output(&report), "7", "{metering:?}");
    }
}

#[tokio::test]
async fn the_usual_engine_runs_none_of_it() {
    let (rig, wasm) = (Rig::new(), Bytes::from(catching(1)));
    assert!(inspect(&wasm).unwrap().exceptions);
    let refused = rig.sandbox.load(&Digest::of(&wasm), wasm.clone()).await;
    assert!(matches!(refused, Err(Error::Rejected(Rejection::NeedsExceptions))), "{refused:?}");
    assert_eq!(rig.sandbox.stats().compiled, 0, "no compiler saw it");
    let class = EngineClass { exceptions: true, ..EngineClass::default() };
    let module = rig.sandbox.of_class(class).load(&Digest::of(&wasm), wasm).await.unwrap();
    assert_eq!(module.class(), class);
}

#[tokio::test]
async fn an_artifact_of_one_class_is_none_of_another() {
    let (rig, wasm) = (Rig::new(), Bytes::from(guests::command("(func (export \"_start\"))")));
    let digest = Digest::of(&wasm);
    assert!(!inspect(&wasm).unwrap().exceptions);
    for class in EngineClass::ALL {
        let module = rig.sandbox.of_class(class).load(&digest, wasm.clone()).await.unwrap();
        assert_eq!(module.class(), class);
    }
    assert_eq!((rig.sandbox.stats().compiled, rig.sandbox.stats().hot_modules), (4, 4));
}

#[tokio::test]
async fn what_is_thrown_is_part_of_the_memory() {
    let limits = |memory_bytes| Call::with_limits(Limits { memory_bytes, ..Limits::default() });
    let rig = with_exceptions(Metering::Fuel);
    let few = rig.report(&catching(10), limits(1 << 20)).await;
    let many = rig.report(&catching(10_000), limits(1 << 20)).await;
    assert_eq!((output(&few), output(&many)), ("7", "7"));
    assert!(many.memory_peak_bytes > few.memory_peak_bytes, "{many:?}");
    println!("an exception takes {} bytes", (many.memory_peak_bytes - few.memory_peak_bytes) / 10_000);
    let report = rig.report(&catching(10_000_000), limits(1 << 20)).await;
    assert_eq!(failure(&report).kind, Kind::MemoryLimit);
    assert!(report.memory_peak_bytes <= 1 << 20, "{report:?}");
    // The next call begins with nothing of it.
    assert_eq!(rig.report(&catching(10), limits(1 << 20)).await.memory_peak_bytes, few.memory_peak_bytes);
}

#[tokio::test]
async fn what_nobody_catches_ends_the_call_alone() {
    let rig = with_exceptions(Metering::Fuel);
    let throws = guests::command(r#"(tag $e) (func $f (throw $e)) (func (export "_start") (call $f))"#);
    let report = rig.report(&throws, Call::default()).await;
    assert_eq!(failure(&report).kind, Kind::Trap);
    assert_eq!(failure(&report).message, "an exception that nothing caught");
    assert_eq!(output(&rig.report(&catching(3), Call::default()).await), "7");
}
