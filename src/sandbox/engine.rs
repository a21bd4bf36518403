//! The engines, two for each class: one compiles, in a child process; one runs artifacts and has no compiler.
//!
//! **Invariant:** both are made from [`settings`], so that what one compiles the other accepts.
//! Numbers and reasons are from measurements of wasmtime 48 (compile settings, pool, metering).

use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;

use wasmparser::WasmFeatures;
use wasmtime::{Collector, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::config::Config;
use super::error::Error;
use crate::model::{EngineClass, Metering};

/// Wasm as the toolchains need it. Most advisories of a year sit in what is left out here.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// What is on in a class that has it: C's setjmp and longjmp, and so the interpreters of Lua and `MicroPython`, are made of it.
pub(super) const EXCEPTIONS: WasmFeatures = WasmFeatures::EXCEPTIONS;

/// What the engine needs for itself: where a component is made of several, as those of QuickJS are, code of its own copies
/// between their memories. In uploads the parser refuses it.
const OF_ADAPTERS: WasmFeatures = WasmFeatures::MULTI_MEMORY;

/// A guest gives way to others, and to its deadline, after so much fuel: 3 to 7 us, at no measurable cost.
pub(super) const FUEL_YIELD_INTERVAL: u64 = 100_000;

/// Stack of Wasm frames. The rest of the fiber's stack is for host functions, which need room of their own.
const WASM_STACK_BYTES: usize = 512 << 10;
const FIBER_STACK_BYTES: usize = 1 << 20;

/// Four gigabytes and a guard elide all bounds checks; smaller ones cost 3 to 30 %.
const MEMORY_RESERVATION: u64 = 4 << 30;
const MEMORY_GUARD: u64 = 32 << 20;

/// Data images above it are copied on every instantiation, which takes milliseconds.
const DENSE_IMAGE_BYTES_MAX: u64 = 64 << 20;

/// Pages of a slot that are cleared in place rather than given back: halves the time of an invocation.
const MEMORY_KEEP_RESIDENT: usize = 16 << 20;
const TABLE_KEEP_RESIDENT: usize = 64 << 10;

/// Frames of a trap's backtrace that the engine collects.
const BACKTRACE_FRAMES: usize = 32;

/// A component of several core modules may bring this many of each; interpreters use one memory and one large table, and
/// components of QuickJS three memories.
const MEMORIES_PER_COMPONENT: u32 = 4;
const TABLES_PER_COMPONENT: u32 = 16;
/// Components made of C extensions have had more than twenty.
pub(super) const INSTANCES_PER_COMPONENT: u32 = 200;
/// Elements of one table: the largest measured guest needs 8,776.
const TABLE_ELEMENTS_MAX: usize = 30_000;
/// Runtime data of one instance, which grows with its functions: CPython linked with extensions is the largest seen.
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// All that is on in a class.
fn features(class: EngineClass) -> WasmFeatures {
    let always = FEATURES.union(OF_ADAPTERS);
    if class.exceptions { always.union(EXCEPTIONS) } else { always }
}

fn settings(class: EngineClass) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .wasm_features(features(class).complement(), false)
        .wasm_features(features(class), true)
        .shared_memory(false)
        .concurrency_support(false)
        // Exceptions are objects on a heap of the engine's own. Nothing collects them: what a guest throws is part of its memory
        // until it ends, which bounds it, and a collector that is not there has no faults.
        .gc_support(class.exceptions)
        .collector(Collector::Null)
        .consume_fuel(class.metering == Metering::Fuel)
        .epoch_interruption(class.metering == Metering::Deadline)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .memory_reservation(MEMORY_RESERVATION)
        .memory_guard_size(MEMORY_GUARD)
        .memory_may_move(false)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE_BYTES_MAX)
        // Backtraces name functions, and need neither: an artifact is a tenth smaller without.
        .native_unwind_info(false)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES));
    config
}

/// The engine that compiles: no pool, since it instantiates nothing. It has one thread, since wasmtime is built without
/// parallel compilation: a process with limits is the unit here.
pub(super) fn compiling(class: EngineClass) -> Result<Engine, Error> {
    Engine::new(&settings(class)).map_err(Error::engine("set up the compiler"))
}

/// The engine that runs: it has a pool of slots and no compiler at all.
pub(super) fn running(config: &Config, class: EngineClass) -> Result<Engine, Error> {
    let mut settings = settings(class);
    settings.enable_compiler(false).allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config, class)));
    Engine::new(&settings).map_err(Error::engine("set up the sandbox's engine"))
}

/// The most slots of a sandbox: so many have room for the pools of all classes in what a process may address.
pub const SLOTS_MAX: u32 = 1_600;

fn pool(config: &Config, class: EngineClass) -> PoolingAllocationConfig {
    let slots = config.slots.max(1);
    let memory_bytes_max = usize::try_from(config.memory_bytes_max.min(MEMORY_RESERVATION)).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(INSTANCES_PER_COMPONENT))
        .max_core_instances_per_component(INSTANCES_PER_COMPONENT)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .total_memories(slots.saturating_mul(MEMORIES_PER_COMPONENT))
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_memories_per_module(1)
        .max_memory_size(memory_bytes_max)
        .total_tables(slots.saturating_mul(TABLES_PER_COMPONENT))
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS_MAX)
        .total_stacks(slots)
        .total_gc_heaps(if class.exceptions { slots } else { 0 })
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Names what an artifact depends on besides its module and its class: the exact wasmtime, its settings and this machine's CPU.
///
/// Only an engine with a compiler knows it; loading checks no more than the major version.
pub(super) fn compatibility() -> Result<String, Error> {
    let mut hasher = Stable(blake3::Hasher::new());
    for class in EngineClass::ALL {
        compiling(class)?.precompile_compatibility_hash().hash(&mut hasher);
    }
    Ok(hasher.0.finalize().to_hex().chars().take(COMPATIBILITY_LEN).collect())
}

/// Eighty bits: it names directories, and collides for no one who does not want it to.
const COMPATIBILITY_LEN: usize = 20;

/// A hasher whose result is the same in every process, which the standard library's does not promise.
struct Stable(blake3::Hasher);

impl Hasher for Stable {
    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        self.0.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_of_all_classes_have_room_beside_each_other() {
        let memory = MEMORY_RESERVATION + MEMORY_GUARD;
        let heaps = |class: EngineClass| u64::from(class.exceptions);
        let memories = EngineClass::ALL.map(|class| u64::from(MEMORIES_PER_COMPONENT) + heaps(class));
        let bytes = u64::from(SLOTS_MAX) * memories.iter().sum::<u64>() * memory;
        // 128 TiB are addressable on most systems; the process itself needs little of it.
        assert!(bytes < 120 << 40, "{} TiB", bytes >> 40);
        assert!(bytes > 100 << 40, "more would have room");
    }

    #[test]
    fn the_parser_and_the_engine_accept_the_same_wasm() {
        for class in EngineClass::ALL {
            // Exceptions are on a heap, whose types the engine then has and the parser refuses.
            let more = EXCEPTIONS.union(WasmFeatures::GC_TYPES);
            let accepted = if class.exceptions { FEATURES.union(more) } else { FEATURES };
            assert_eq!(compiling(class).unwrap().get_wasm_features(), accepted.union(OF_ADAPTERS), "{class:?}");
        }
        assert_eq!(compatibility().unwrap(), compatibility().unwrap());
    }
}
