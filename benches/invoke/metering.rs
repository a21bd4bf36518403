//! What the ways to stop a guest cost a tight loop: counting fuel, looking at the epoch, both, or neither.

use std::time::{Duration, Instant};

use wasmtime::{Engine, Linker, Module, Store};

use crate::{Outcomes, ROUNDS, bare, median};

/// Three operations, a load, a store and a branch a turn.
const LOOP: &str = r#"(module
    (memory 1)
    (func (export "spin") (param $turns i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (local.get $sum) (i64.load (i32.and (i32.wrap_i64 (local.get $turns)) (i32.const 0xfff8)))))
            (i64.store (i32.and (i32.wrap_i64 (local.get $sum)) (i32.const 0xfff8)) (local.get $turns))
            (local.set $turns (i64.sub (local.get $turns) (i64.const 1)))
            (br_if $again (i64.ne (local.get $turns) (i64.const 0))))
        (local.get $sum)))"#;

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
    for _ in 0..ROUNDS {
        for (_, spin, rounds) in &mut loops {
            rounds.push(runtime.block_on(spin.round())?);
        }
    }
    println!("\n{:<22} {:>12} {:>6}", "metering of a loop", "ns a turn", "ratio");
    let mut least = None;
    for (name, _, mut rounds) in loops {
        let turn = median(&mut rounds)?.as_secs_f64() * 1e9 / 2e7;
        println!("{name:<22} {turn:>12.2} {:>6.2}", turn / *least.get_or_insert(turn));
    }
    Ok(())
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
        Ok(Self { module: Module::new(&engine, LOOP)?, engine, fuel, epoch })
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
