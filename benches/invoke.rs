//! What the sandbox costs over bare wasmtime: the same guests, the same engine settings, in one run.
//!
//! `cargo bench --bench invoke`. Guests that were built to `target/guests/*.wasm` are measured, too.
//! A row has what a call takes of a busy thread (store, instance, call, drop; in the sandbox also the taking of turns), in the
//! sandbox and in bare wasmtime, their ratio, and the way to the guests' threads and back for one call at a time.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use lovage::model::{Contract, Digest, Limits, Outcome, TaskName, Tenant, Timestamp};
use lovage::sandbox::{Attempt, Cancel, Compiler, Config, Invocation, Module, Note, Reach, Sandbox, inspect};
use tokio::sync::mpsc;
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimits};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView};

type Outcomes<T> = Result<T, Box<dyn Error>>;

const INPUT: &[u8] =
    br#"{"user":"someone","items":[1,2,3,4,5,6,7,8,9,10],"note":"an input of about a hundred bytes, as tasks have"}"#;
const ROUNDS: usize = 5_000;
const WARM_UP: usize = 500;

mod bare {
    //! The world, bound without a sandbox.
    wasmtime::component::bindgen!({ path: "guest-sdk/wit", world: "task" });
}

fn main() -> Outcomes<()> {
    let dir = tempfile::TempDir::new()?;
    let compiler = Compiler::new(PathBuf::from(env!("CARGO_BIN_EXE_lovage")));
    let config = Config::new(128, 1, dir.path().to_owned(), compiler);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "{:<22} {:>11} {:>11}   {:>15} {:>15} {:>6} {:>15}",
        "guest", "cold ms", "cached ms", "sandbox us", "bare us", "ratio", "way us"
    );
    println!(
        "{:<22} {:>11} {:>11}   {:>15} {:>15} {:>6} {:>15}",
        "", "", "", "median / p99", "median / p99", "", "median / p99"
    );
    for (name, upload) in guests()? {
        let stored = Bytes::from(inspect(&upload)?.stored.into_owned());
        let contract = inspect(&stored)?.contract;
        let (digest, sandbox) = (Digest::of(&stored), Sandbox::new(config.clone())?);
        let began = Instant::now();
        runtime.block_on(sandbox.load(&digest, stored.clone()))?;
        let cold = began.elapsed();
        let sandbox = Sandbox::new(config.clone())?;
        let began = Instant::now();
        let module = runtime.block_on(sandbox.loaded(&digest, contract))?.ok_or("not cached")?;
        let cached = began.elapsed();
        let task =
            runtime.block_on(sandbox.describe(&module))?.into_iter().next().map_or_else(TaskName::run, |t| t.name);
        let (guest, way) = runtime.block_on(sandboxed(&sandbox, &module, &task))?;
        let bare = bare_wasmtime(contract, &stored, &task)?;
        println!(
            "{name:<22} {:>11.1} {:>11.2}   {:>15} {:>15} {:>6.2} {:>15}",
            cold.as_secs_f64() * 1e3,
            cached.as_secs_f64() * 1e3,
            guest.show(),
            bare.show(),
            guest.median / bare.median,
            way.show()
        );
    }
    Ok(())
}

/// The built-in guests, and those that were built.
fn guests() -> Outcomes<Vec<(String, Vec<u8>)>> {
    let mut guests = vec![
        ("command echo (WAT)".to_owned(), wat::parse_str(ECHO_COMMAND)?),
        ("task echo (WAT)".to_owned(), echo_task()?),
    ];
    let Ok(built) = std::fs::read_dir("target/guests") else { return Ok(guests) };
    for entry in built {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            guests.push((name, std::fs::read(&path)?));
        }
    }
    Ok(guests)
}

/// Reads stdin once and writes it to stdout.
const ECHO_COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "\00\10\00\00\00\10\00\00")
    (func (export "_start")
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Returns its input, through the canonical ABI.
const ECHO_TASK: &str = r#"(module
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.set $free (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    (func (export "describe") (result i32) (i32.const 16))
    (data (i32.const 16) "\20\00\00\00\01\00\00\00")
    (data (i32.const 32) "\80\00\00\00\04\00\00\00")
    (data (i32.const 128) "echo")
    (func (export "run") (param i32 i32 i32 i32) (result i32)
        (i32.store (i32.const 264) (local.get 2))
        (i32.store (i32.const 268) (local.get 3))
        (i32.const 256)))"#;

fn echo_task() -> Outcomes<Vec<u8>> {
    let mut module = wat::parse_str(ECHO_TASK)?;
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path("guest-sdk/wit")?;
    let world = resolve.select_world(&[package], Some("task"))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)?;
    Ok(module)
}

/// Microseconds of many rounds.
struct Times {
    median: f64,
    p99: f64,
}

impl Times {
    fn of(mut rounds: Vec<Duration>) -> Outcomes<Self> {
        rounds.sort();
        let at = |share: usize| {
            rounds.get(rounds.len() * share / 100).map(|time| time.as_secs_f64() * 1e6).ok_or("no rounds")
        };
        Ok(Self { median: at(50)?, p99: at(99)? })
    }

    fn show(&self) -> String {
        format!("{:.1} / {:.1}", self.median, self.p99)
    }
}

/// Calls that wait while one runs, enough that the guests' thread never sleeps, as that of the bare loop never does.
const QUEUED: usize = 64;

/// Calls whose mean is one measured value: calls that take turns have no time of their own.
const BATCH: usize = 50;

/// A call's share of the guests' thread that is at work all the time, then the way there and back for one call at a time.
async fn sandboxed(sandbox: &Sandbox, module: &Arc<Module>, task: &TaskName) -> Outcomes<(Times, Times)> {
    let (notes, _heard) = mpsc::channel(1);
    let first = sandbox.invoke(Arc::clone(module), invocation(task, &notes)).await;
    if let Outcome::Failed(failure) = &first.outcome {
        println!("note: {failure}");
    }
    let calls = (0..WARM_UP + ROUNDS).map(|_| sandbox.invoke(Arc::clone(module), invocation(task, &notes)));
    let ends: Vec<Instant> = stream::iter(calls).buffered(QUEUED).map(|_| Instant::now()).skip(WARM_UP).collect().await;
    let share =
        |batch: &[Instant]| Some(batch.last()?.duration_since(*batch.first()?) / u32::try_from(BATCH - 1).ok()?);
    let inside = ends.chunks_exact(BATCH).filter_map(share).collect();
    let mut around = Vec::new();
    for _ in 0..ROUNDS / 10 {
        let began = Instant::now();
        let report = sandbox.invoke(Arc::clone(module), invocation(task, &notes)).await;
        around.push(began.elapsed().saturating_sub(report.duration));
    }
    Ok((Times::of(inside)?, Times::of(around)?))
}

fn invocation(task: &TaskName, notes: &mpsc::Sender<Note>) -> Invocation {
    Invocation {
        attempt: Attempt {
            task_id: "bench".to_owned(),
            task: task.clone(),
            tenant: Tenant::default_tenant(),
            attempt: 1,
            idempotency_key: "bench".to_owned(),
            run_id: None,
            step: None,
            labels: Vec::new(),
        },
        input: Bytes::from_static(INPUT),
        limits: Limits::default(),
        manifest: Arc::default(),
        reach: Reach::default(),
        now: Timestamp::from_millis(0),
        notes: notes.clone(),
        cancel: Cancel::default(),
    }
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

/// The same settings as the sandbox's engine, where they cost or save time.
fn engine() -> Outcomes<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(200).total_memories(16).total_tables(128).total_stacks(8).total_gc_heaps(0);
    pool.max_memory_size(1 << 30).table_elements(30_000).max_unused_warm_slots(8);
    pool.max_core_instance_size(4 << 20).max_component_instance_size(4 << 20);
    pool.linear_memory_keep_resident(16 << 20).table_keep_resident(64 << 10).pagemap_scan(Enabled::Auto);
    let mut config = wasmtime::Config::new();
    config.consume_fuel(true).concurrency_support(false);
    config.wasm_gc(false).wasm_function_references(false).wasm_exceptions(false).gc_support(false);
    config.wasm_component_model_async(false);
    config.memory_reservation(4 << 30).memory_guard_size(32 << 20).memory_may_move(false);
    config.memory_guaranteed_dense_image_size(64 << 20);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

fn store(engine: &Engine) -> Outcomes<Store<State>> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(MemoryInputPipe::new(INPUT)).stdout(MemoryOutputPipe::new(1 << 20)).arg("task").arg("run");
    let limits = wasmtime::StoreLimitsBuilder::new().memory_size(128 << 20).build();
    let mut store = Store::new(engine, State { wasi: wasi.build_p1(), limits });
    store.limiter(|state| &mut state.limits);
    store.set_fuel(50_000_000_000)?;
    Ok(store)
}

fn bare_wasmtime(contract: Contract, wasm: &[u8], task: &TaskName) -> Outcomes<Times> {
    let engine = engine()?;
    let mut rounds = Vec::new();
    let mut call: Box<dyn FnMut() -> Outcomes<()>> = match contract {
        Contract::Command => {
            let mut linker = wasmtime::Linker::new(&engine);
            wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi)?;
            let pre = linker.instantiate_pre(&wasmtime::Module::new(&engine, wasm)?)?;
            let engine = engine.clone();
            Box::new(move || {
                let mut store = store(&engine)?;
                let instance = pre.instantiate(&mut store)?;
                // A command may end by proc_exit, which is an error here.
                instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ()).ok();
                Ok(())
            })
        }
        Contract::Typed => return Err("no row measures a typed component".into()),
        Contract::CommandComponent | Contract::Task => {
            let component = wasmtime::component::Component::new(&engine, wasm)?;
            let mut linker = wasmtime::component::Linker::new(&engine);
            wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
            linker.define_unknown_imports_as_traps(&component)?;
            let pre = linker.instantiate_pre(&component)?;
            let (engine, task) = (engine.clone(), task.clone());
            if contract == Contract::Task {
                let pre = bare::TaskPre::new(pre)?;
                Box::new(move || {
                    let mut store = store(&engine)?;
                    let instance = pre.instantiate(&mut store)?;
                    // A guest that calls its host traps here: its row compares nothing.
                    instance.call_run(&mut store, task.as_str(), INPUT).map(drop).ok();
                    Ok(())
                })
            } else {
                let pre = wasmtime_wasi::p2::bindings::sync::CommandPre::new(pre)?;
                Box::new(move || {
                    let mut store = store(&engine)?;
                    let instance = pre.instantiate(&mut store)?;
                    instance.wasi_cli_run().call_run(&mut store).map(drop).ok();
                    Ok(())
                })
            }
        }
    };
    for round in 0..WARM_UP + ROUNDS {
        let began = Instant::now();
        call()?;
        if round >= WARM_UP {
            rounds.push(began.elapsed());
        }
    }
    Times::of(rounds)
}
