//! Modules that nobody thought of: valid, random and within bounds, made by `wasm-smith` from a seed. Whatever they do, it ends
//! within their limits and under a name.

use std::time::Duration;

use arbitrary::Unstructured;
use lovage::model::{Kind, Limits, Metering, Outcome};
use wasm_smith::{Config, Module};
use wasmparser::{Parser, Payload};

use super::generated::{leb, section};
use super::{OVERRUN_MAX, Rig, ended, invocation};
use crate::support::seed::{Dice, seed};

/// Modules that are compiled and called: each takes a compiler of its own.
const MODULES: usize = 48;

/// Draws until there are so many: some have no function that takes and returns nothing.
const DRAWS_MAX: usize = 2_000;

/// Bytes of noise that a module is made of.
const NOISE_BYTES: usize = 6_000;

/// What random modules may ask of their host, each function with its type: whatever they pass is an address that nobody chose.
const IMPORTS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
    (import "wasi_snapshot_preview1" "sock_recv" (func (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))))"#;

/// What Wasm may be in an upload: what is switched off is left to `tests/hostile`, where each has a module.
fn config(dice: &mut Dice) -> Config {
    Config {
        available_imports: Some(wat::parse_str(IMPORTS).unwrap()),
        // With them come references to what is outside of Wasm, which are refused: a few will do.
        reference_types_enabled: dice.below(12) == 0,
        max_imports: dice.pick(&[0, 4, 12]),
        min_funcs: 1,
        max_funcs: 20,
        max_instructions: 200,
        max_memories: 1,
        max_tables: 4,
        allow_start_export: true,
        exceptions_enabled: dice.below(5) == 0,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        ..Config::default()
    }
}

fn noise(dice: &mut Dice) -> Vec<u8> {
    std::iter::repeat_with(|| dice.roll().to_le_bytes()).flatten().take(NOISE_BYTES).collect()
}

/// The same module with `_start` for its only function to the outside, if it has one that takes and returns nothing.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other sections are passed on as they are")]
fn as_command(wasm: &[u8]) -> Option<Vec<u8>> {
    let (mut plain_types, mut imported, mut start, mut memory) = (Vec::new(), 0, None, false);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.unwrap();
        match &payload {
            Payload::TypeSection(types) => {
                for ty in types.clone().into_iter_err_on_gc_types() {
                    let ty = ty.unwrap();
                    plain_types.push(ty.params().is_empty() && ty.results().is_empty());
                }
            }
            // What is imported is counted first, and is functions alone.
            Payload::ImportSection(imports) => imported = imports.clone().into_imports().count(),
            Payload::FunctionSection(functions) => {
                let types = functions.clone().into_iter().map(Result::unwrap);
                start = types.enumerate().find(|(_, ty)| plain_types[*ty as usize]).map(|(index, _)| imported + index);
            }
            Payload::MemorySection(memories) => memory = memories.count() > 0,
            _ => {}
        }
        let Some((id, range)) = payload.as_section() else { continue };
        // The order of sections is not that of their numbers: these come after the exports.
        match id {
            7 => {}
            8..=12 => after.push(section(id, &wasm[range])),
            _ => before.push(section(id, &wasm[range])),
        }
    }
    let function = [name("_start"), vec![0], leb(start?)].concat();
    let exports =
        if memory { [vec![2], function, name("memory"), vec![2, 0]].concat() } else { [vec![1], function].concat() };
    Some([wasm[..8].to_vec(), before.concat(), section(7, &exports), after.concat()].concat())
}

fn name(text: &str) -> Vec<u8> {
    [leb(text.len()), text.as_bytes().to_vec()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_random_module_does_ends_within_its_limits() {
    let (rig, mut dice) = (Rig::new(), Dice(seed()));
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    let mut called = 0;
    for draw in 0..DRAWS_MAX {
        if called == MODULES {
            break;
        }
        let bytes = noise(&mut dice);
        let Ok(module) = Module::new(config(&mut dice), &mut Unstructured::new(&bytes)) else { continue };
        let Some(wasm) = as_command(&module.to_bytes()) else { continue };
        called += 1;
        let metering = if called % 2 == 0 { Metering::Fuel } else { Metering::Deadline };
        let limits = Limits {
            fuel: Some(20_000_000),
            memory_bytes: dice.pick(&[1 << 16, 1 << 20, 64 << 20]),
            attempt_timeout: Duration::from_millis(200),
            ..Limits::default()
        };
        let how = match rig.load(&wasm, metering).await {
            Err(rejection) => format!("refused {}", rejection.to_string().chars().take(60).collect::<String>()),
            Ok(module) => {
                let (invocation, _heard) = invocation("evil", limits);
                let report = rig.sandbox.invoke(module, invocation).await;
                let about = format!("draw {draw}, {metering:?}: {report:?}");
                assert!(report.memory_peak_bytes <= limits.memory_bytes, "{about}");
                assert!(report.duration < limits.attempt_timeout + OVERRUN_MAX, "{about}");
                assert!(report.fuel_used <= limits.fuel.unwrap(), "{about}");
                let how = ended(&report);
                assert!(!how.contains("sandbox_"), "{about}");
                if let Outcome::Failed(failure) = &report.outcome {
                    let known = [
                        Kind::Trap,
                        Kind::OutOfFuel,
                        Kind::Deadline,
                        Kind::MemoryLimit,
                        Kind::Returned,
                        Kind::Refused,
                        Kind::OutputLimit,
                    ];
                    assert!(known.contains(&failure.kind), "{about}");
                }
                how
            }
        };
        *ends.entry(how).or_default() += 1;
    }
    println!("{called} random modules: {ends:#?}");
    assert_eq!(called, MODULES, "too few of them could be called");
    let refused: usize = ends.iter().filter(|(how, _)| how.starts_with("refused")).map(|(_, count)| count).sum();
    assert!(refused * 4 < called, "what is valid and asks for nothing is let in: {ends:?}");
    assert_eq!(rig.sandbox.stats().slots_free, super::SLOTS as usize);
}
