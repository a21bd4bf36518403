//! The same calls in wasmtime alone, with the settings of the sandbox's engine.

use std::time::{Duration, Instant};

use lovage::model::Contract;
use wasmtime::component::Component;
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimits};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView};

use crate::Outcomes;
use crate::guests::Guest;

mod bindings {
    //! The world, bound without a sandbox.
    wasmtime::component::bindgen!({ path: "guest-sdk/wit", world: "task" });
}

/// What a bare host would hold.
struct State {
    wasi: WasiP1Ctx,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// One guest in wasmtime alone.
pub(crate) struct Bare {
    call: Box<dyn FnMut() -> Outcomes<()>>,
}

impl Bare {
    /// Compiles and links a guest.
    pub(crate) fn new(guest: &Guest) -> Outcomes<Self> {
        let engine = engine()?;
        let call: Box<dyn FnMut() -> Outcomes<()>> = match guest.contract {
            Contract::Command => command(engine, guest)?,
            Contract::CommandComponent => return Err("no row measures a command of preview 2".into()),
            Contract::Task => task(engine, guest)?,
            Contract::Typed => typed(engine, guest)?,
        };
        Ok(Self { call })
    }

    /// What a call takes.
    pub(crate) fn round(&mut self, calls: u32) -> Outcomes<Duration> {
        let began = Instant::now();
        for _ in 0..calls {
            (self.call)()?;
        }
        Ok(began.elapsed() / calls)
    }
}

fn command(engine: Engine, guest: &Guest) -> Outcomes<Box<dyn FnMut() -> Outcomes<()>>> {
    let mut linker = wasmtime::Linker::new(&engine);
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi)?;
    let pre = linker.instantiate_pre(&wasmtime::Module::new(&engine, &guest.wasm)?)?;
    let (task, input) = (guest.task.clone(), guest.input);
    Ok(Box::new(move || {
        let mut store = store(&engine, task.as_str(), input)?;
        let instance = pre.instantiate(&mut store)?;
        match instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ()) {
            Ok(()) => Ok(()),
            Err(error) => match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
                Some(exit) if exit.0 == 0 => Ok(()),
                _ => Err(error.into()),
            },
        }
    }))
}

/// The contract's interface that the measured guests import, and do not call.
const HOST: (&str, [&str; 4]) = ("lovage:task/host@0.1.0", ["attempt", "log", "progress", "is-cancelled"]);

/// A linker for components, in which calls of the contract's host trap.
fn linker(engine: &Engine) -> Outcomes<wasmtime::component::Linker<State>> {
    let mut linker = wasmtime::component::Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    let mut host = linker.instance(HOST.0)?;
    for function in HOST.1 {
        host.func_new(function, |_, _, _, _| Err(wasmtime::Error::msg("no host")))?;
    }
    Ok(linker)
}

fn task(engine: Engine, guest: &Guest) -> Outcomes<Box<dyn FnMut() -> Outcomes<()>>> {
    let component = Component::new(&engine, &guest.wasm)?;
    let pre = bindings::TaskPre::new(linker(&engine)?.instantiate_pre(&component)?)?;
    let (task, input) = (guest.task.clone(), guest.input);
    Ok(Box::new(move || {
        let mut store = store(&engine, task.as_str(), input)?;
        let instance = pre.instantiate(&mut store)?;
        match instance.call_run(&mut store, task.as_str(), input.as_bytes())? {
            Ok(_) => Ok(()),
            Err(failure) => Err(format!("{failure:?}").into()),
        }
    }))
}

/// A call by its Rust types: what a host that knows its guest would do.
fn typed(engine: Engine, guest: &Guest) -> Outcomes<Box<dyn FnMut() -> Outcomes<()>>> {
    let component = Component::new(&engine, &guest.wasm)?;
    let pre = linker(&engine)?.instantiate_pre(&component)?;
    let export = component.get_export_index(None, guest.task.as_str()).ok_or("no such function")?;
    let (task, input) = (guest.task.clone(), guest.input);
    Ok(Box::new(move || {
        let numbers: Vec<f64> = serde_json::from_str(input)?;
        let mut store = store(&engine, task.as_str(), input)?;
        let instance = pre.instantiate(&mut store)?;
        let function = instance.get_func(&mut store, export).ok_or("no such function")?;
        let (sum,) = function.typed::<(&[f64],), (f64,)>(&store)?.call(&mut store, (&numbers,))?;
        serde_json::to_vec(&sum)?;
        Ok(())
    }))
}

/// The settings of the sandbox's engine, where they cost or save time.
pub(crate) fn settings() -> wasmtime::Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(8).total_core_instances(200).total_memories(16).total_tables(128).total_stacks(8);
    pool.max_memory_size(1 << 30).table_elements(30_000).max_unused_warm_slots(8).total_gc_heaps(0);
    pool.max_core_instance_size(4 << 20).max_component_instance_size(4 << 20).max_tables_per_component(16);
    pool.max_core_instances_per_component(200).max_memories_per_component(4);
    pool.linear_memory_keep_resident(16 << 20).table_keep_resident(64 << 10).pagemap_scan(Enabled::Auto);
    let mut config = wasmtime::Config::new();
    config.concurrency_support(false).wasm_multi_memory(true);
    config.wasm_gc(false).wasm_function_references(false).wasm_exceptions(false).gc_support(false);
    config.wasm_component_model_async(false);
    config.memory_reservation(4 << 30).memory_guard_size(32 << 20).memory_may_move(false);
    config.memory_guaranteed_dense_image_size(64 << 20);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

fn engine() -> Outcomes<Engine> {
    let mut settings = settings();
    settings.consume_fuel(true);
    Ok(Engine::new(&settings)?)
}

fn store(engine: &Engine, task: &str, input: &'static str) -> Outcomes<Store<State>> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(MemoryInputPipe::new(input)).stdout(MemoryOutputPipe::new(1 << 20)).arg("task").arg(task);
    let limits = wasmtime::StoreLimitsBuilder::new().memory_size(128 << 20).build();
    let mut store = Store::new(engine, State { wasi: wasi.build_p1(), limits });
    store.limiter(|state| &mut state.limits);
    store.set_fuel(50_000_000_000)?;
    Ok(store)
}
