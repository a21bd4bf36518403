//! Names how a guest ended that did not return: every trap has a stable code.

use serde_json::json;
use wasmtime::{ThrownException, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::guest::Guest;
use crate::model::{Failure, Kind};

/// Frames of a backtrace that a failure keeps.
const FRAMES_MAX: usize = 20;

/// The longest name of a frame: mangled names of generic code reach kilobytes.
const FRAME_BYTES_MAX: usize = 200;

/// The failure for an error of the engine, named by its cause: a limit that was hit comes before the trap that followed.
pub(super) fn failure(error: &wasmtime::Error, guest: &Guest) -> Failure {
    let trap = error.downcast_ref::<Trap>().copied();
    if guest.output.has_exceeded() {
        return output_limit(guest.output_bytes_max);
    }
    if trap == Some(Trap::OutOfFuel) {
        let units = guest.fuel.map(|units| format!(" of {units} units")).unwrap_or_default();
        return Failure::new(Kind::OutOfFuel, format!("the task used all its fuel{units}"))
            .with_detail(detail("out_of_fuel", error));
    }
    if let Some(most) = guest.limiter.refused() {
        let code = trap.map_or("instantiation", code);
        return Failure::new(Kind::MemoryLimit, format!("the task asked for more than its {most}, and failed"))
            .with_detail(detail(code, error));
    }
    if let Some(I32Exit(exit)) = error.downcast_ref::<I32Exit>() {
        // A component of the SDK's world that exits rather than return.
        return Failure::new(Kind::Returned, format!("the task exited with code {exit}"))
            .with_detail(json!({ "exit_code": exit }));
    }
    if error.is::<ThrownException>() {
        return Failure::new(Kind::Trap, "an exception that nothing caught")
            .with_detail(detail("uncaught_exception", error));
    }
    match trap {
        Some(trap) => {
            let text = trap.to_string();
            let message = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
            Failure::new(Kind::Trap, message).with_detail(detail(code(trap), error))
        }
        None => host_call(error),
    }
}

/// A call between guest and host that went wrong in between: in most cases, what crossed was too large.
fn host_call(error: &wasmtime::Error) -> Failure {
    let cause = error.root_cause().to_string();
    if cause.contains(HOST_CALL_BYTES_EXCEEDED) {
        return Failure::new(Kind::OutputLimit, "the task handed over more bytes at once than it may")
            .with_detail(detail("host_call", error));
    }
    Failure::new(Kind::Trap, cause).with_detail(detail("host_call", error))
}

/// The engine has no type for it: a test pins its words.
const HOST_CALL_BYTES_EXCEEDED: &str = "fuel allocated for hostcalls has been exhausted";

/// The failure of an output that is too large.
pub(super) fn output_limit(bytes_max: u64) -> Failure {
    Failure::new(Kind::OutputLimit, format!("the output is larger than {bytes_max} bytes"))
}

fn detail(code: &str, error: &wasmtime::Error) -> serde_json::Value {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map(WasmBacktrace::frames).unwrap_or_default();
    let names: Vec<String> = frames
        .iter()
        .take(FRAMES_MAX)
        .map(|frame| match frame.func_name() {
            Some(name) => super::notes::cut(name, FRAME_BYTES_MAX).to_owned(),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    json!({ "code": code, "backtrace": names })
}

/// The stable code of a trap. Those of features that are off share one.
#[expect(clippy::wildcard_enum_match_arm, reason = "traps of features that are off, here and in later versions")]
const fn code(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "stack_overflow",
        Trap::MemoryOutOfBounds => "memory_out_of_bounds",
        Trap::TableOutOfBounds => "table_out_of_bounds",
        Trap::IndirectCallToNull => "indirect_call_to_null",
        Trap::BadSignature => "bad_signature",
        Trap::IntegerOverflow => "integer_overflow",
        Trap::IntegerDivisionByZero => "integer_division_by_zero",
        Trap::BadConversionToInteger => "bad_conversion_to_integer",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::OutOfFuel => "out_of_fuel",
        Trap::AllocationTooLarge => "allocation_too_large",
        Trap::CannotEnterComponent => "cannot_enter_component",
        Trap::CannotLeaveComponent => "cannot_leave_component",
        Trap::InvalidChar => "invalid_char",
        Trap::NullReference => "null_reference",
        _ => "other",
    }
}
