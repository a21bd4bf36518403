//! What the ways to stop a guest cost a tight loop: counting fuel, looking at the epoch, both, or neither, in bare wasmtime; and
//! the two that modules of the sandbox can choose from, in the sandbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lovage::model::{Metering, Outcome};
use lovage::sandbox::{self, Sandbox};
use tokio::sync::mpsc;
use wasmtime::{Engine, Linker, Module, Store};

use crate::guests::Guest;
use crate::{Outcomes, ROUNDS, bare, median};

/// Three operations, a load, a store and a branch a turn.
const LOOP: &str = r#"(module
    (memory (export "memory") 1)
    (func $spin (export "spin") (param $turns i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (local.get $sum) (i64.load (i32.and (i32.wrap_i64 (local.get $turns)) (i32.const 0xfff8)))))
            (i64.store (i32.and (i32.wrap_i64 (local.get $sum)) (i32.const 0xfff8)) (local.get $turns))
            (local.set $turns (i64.sub (local.get $turns) (i64.const 1)))
            (br_if $again (i64.ne (local.get $turns) (i64.const 0))))
        (local.get $sum))
    (func (export "_start") (drop (call $spin (i64.const 20000000)))))"#;

const TURNS: i64 = 20_000_000;

/// As in the sandbox.
const YIELD_INTERVAL: u64 = 100_000;

/// A line for each way.
pub(crate) fn part() -> Outcomes<()> {
    let ways =
        [("neither", false, false), ("epoch", false, true), ("fuel", true, false), ("fuel and epoch", true, true)];
    let mut loops: Vec<(&str, Spin, Vec<Duration>)> = Vec::new();
    for (name, fuel, epoch) in ways {
        loops.push((name, Spin::new(fuel, epoch)?, Vec::new()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut classes = Vec::new();
    let cache = tempfile::TempDir::new()?;
    for (name, metering) in [("sandbox, fuel", Metering::Fuel), ("sandbox, deadline", Metering::Deadline)] {
        let sandbox = crate::sandbox(cache.path(), 1)?.of_class(metering.into());
        classes.push((name, runtime.block_on(Command::new(sandbox))?, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, spin, rounds) in &mut loops {
            rounds.push(runtime.block_on(spin.round())?);
        }
        for (_, command, rounds) in &mut classes {
            rounds.push(runtime.block_on(command.round())?);
        }
    }
    let loops = loops.into_iter().map(|(name, _, rounds)| (name, rounds));
    let classes = classes.into_iter().map(|(name, _, rounds)| (name, rounds));
    println!("\n{:<22} {:>12} {:>6}", "metering of a loop", "ns a turn", "ratio");
    let mut least = None;
    for (name, mut rounds) in loops.chain(classes) {
        let turn = median(&mut rounds)?.as_secs_f64() * 1e9 / 2e7;
        println!("{name:<22} {turn:>12.2} {:>6.2}", turn / *least.get_or_insert(turn));
    }
    Ok(())
}

/// The loop as a module in the sandbox.
struct Command {
    sandbox: Sandbox,
    module: Arc<sandbox::Module>,
    guest: Guest,
}

impl Command {
    async fn new(sandbox: Sandbox) -> Outcomes<Self> {
        let guest = Guest::new("loop", &wat::parse_str(LOOP)?, "run", "null")?;
        let module = sandbox.load(&guest.digest(), guest.wasm.clone()).await?;
        Ok(Self { sandbox, module, guest })
    }

    /// The time of its thread, which is that of the loop but for some microseconds.
    async fn round(&self) -> Outcomes<Duration> {
        let (notes, _heard) = mpsc::channel(1);
        let report = self.sandbox.invoke(Arc::clone(&self.module), self.guest.invocation(&notes)).await;
        match report.outcome {
            Outcome::Failed(failure) => Err(failure.to_string().into()),
            Outcome::Output(_) | Outcome::Replace(_) => Ok(report.busy),
        }
    }
}

/// The loop in an engine of one way.
struct Spin {
    engine: Engine,
    module: Module,
    fuel: bool,
    epoch: bool,
}

impl Spin {
    fn new(fuel: bool, epoch: bool) -> Outcomes<Self> {
        let mut settings = bare::settings();
        settings.consume_fuel(fuel).epoch_interruption(epoch);
        let engine = Engine::new(&settings)?;
        Ok(Self { module: Module::new(&engine, wat::parse_str(LOOP)?)?, engine, fuel, epoch })
    }

    async fn round(&self) -> Outcomes<Duration> {
        let mut store = Store::new(&self.engine, ());
        if self.fuel {
            store.set_fuel(u64::MAX)?;
            store.fuel_async_yield_interval(Some(YIELD_INTERVAL))?;
        }
        if self.epoch {
            store.set_epoch_deadline(1);
        }
        let instance = Linker::new(&self.engine).instantiate_async(&mut store, &self.module).await?;
        let spin = instance.get_typed_func::<i64, i64>(&mut store, "spin")?;
        let began = Instant::now();
        spin.call_async(&mut store, TURNS).await?;
        Ok(began.elapsed())
    }
}
