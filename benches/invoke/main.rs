//! What the sandbox costs over bare wasmtime: the same guests, the same engine settings, in one run.
//!
//! `cargo bench --bench invoke` has three parts; `-- guests [NAME]`, `-- threads` or `-- metering` runs one of them.
//!
//! - **guests**: compiling, loading, and a warm call (store, fresh instance, call, drop), in the sandbox and in bare wasmtime, in
//!   alternating rounds. Beside that, what a call takes of the guests' thread in all, with 64 in line, and what a caller waits
//!   for the way to that thread and back, with one at a time.
//! - **threads**: how many calls two threads of a sandbox make, against one, and against two processes of one thread each.
//! - **metering**: what counting fuel and looking at the epoch cost a tight loop, bare and in the sandbox.

mod bare;
mod guests;
mod metering;
mod threads;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use lovage::model::{Limits, TaskName, Tenant, Timestamp};
use lovage::sandbox::{Attempt, Cancel, Compiler, Config, Invocation, Module, Note, Reach, Sandbox};
use tokio::sync::mpsc;

use guests::Guest;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcomes<T> = Result<T, Box<dyn Error>>;

/// Calls that wait while one runs, enough that the guests' threads never sleep, as that of the bare loop never does.
const QUEUED: usize = 64;
const SLOTS: u32 = 128;

/// Rounds of each side; what is printed is their median.
const ROUNDS: usize = 9;
/// What a round takes at most, so that slow guests have fewer calls.
const ROUND: Duration = Duration::from_millis(250);

fn main() -> Outcomes<()> {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            guests_part(None)?;
            threads::part()?;
            metering::part()
        }
        ["guests"] => guests_part(None),
        ["guests", name] => guests_part(Some(name)),
        ["threads"] => threads::part(),
        ["threads", "process", seconds] => threads::process(seconds.parse()?),
        ["metering"] => metering::part(),
        _ => Err("guests [NAME], threads or metering".into()),
    }
}

/// A line for each guest.
fn guests_part(only: Option<&str>) -> Outcomes<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "{:<22} {:>8} {:>9} {:>11} {:>9} {:>6} {:>11} {:>16}",
        "guest", "cold ms", "cached ms", "sandbox us", "bare us", "ratio", "in line us", "way us p50/p99"
    );
    for guest in guests::all()? {
        if only.is_some_and(|only| !guest.name.contains(only)) {
            continue;
        }
        let cache = tempfile::TempDir::new()?;
        let began = Instant::now();
        runtime.block_on(sandbox(cache.path(), 1)?.load(&guest.digest(), guest.wasm.clone()))?;
        let cold = began.elapsed();
        let sandbox = sandbox(cache.path(), 1)?;
        let began = Instant::now();
        let module = runtime.block_on(sandbox.loaded(&guest.digest(), guest.contract))?.ok_or("not cached")?;
        let cached = began.elapsed();
        let line = Line { sandbox, module, guest: &guest };
        let mut bare = bare::Bare::new(&guest)?;
        runtime.block_on(line.check())?;
        let calls = runtime.block_on(line.calls_a_round());
        let (mut inside, mut in_line, mut outside) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let round = runtime.block_on(line.round(calls));
            inside.push(round.call);
            in_line.push(round.in_line);
            outside.push(bare.round(calls)?);
        }
        let (inside, in_line, outside) = (median(&mut inside)?, median(&mut in_line)?, median(&mut outside)?);
        let mut way = runtime.block_on(line.ways(calls.min(500)));
        way.sort();
        println!(
            "{:<22} {:>8.1} {:>9.2} {:>11.1} {:>9.1} {:>6.2} {:>11.1} {:>16}",
            guest.name,
            cold.as_secs_f64() * 1e3,
            cached.as_secs_f64() * 1e3,
            micros(inside),
            micros(outside),
            inside.as_secs_f64() / outside.as_secs_f64(),
            micros(in_line),
            format!("{:.0} / {:.0}", micros(at(&way, 50)?), micros(at(&way, 99)?)),
        );
    }
    Ok(())
}

fn sandbox(cache: &Path, threads: usize) -> Outcomes<Sandbox> {
    let compiler = Compiler::new(PathBuf::from(env!("CARGO_BIN_EXE_lovage")));
    Ok(Sandbox::new(Config::new(SLOTS, threads, cache.to_owned(), compiler))?)
}

/// What a call took, as a mean over many.
struct Round {
    /// Making its store and instance, running, dropping both.
    call: Duration,
    /// Of the time of the guests' thread, with all that is around it.
    in_line: Duration,
}

/// A guest in the sandbox, with calls in line.
struct Line<'g> {
    sandbox: Sandbox,
    module: Arc<Module>,
    guest: &'g Guest,
}

impl Line<'_> {
    /// A row is of calls that succeed.
    async fn check(&self) -> Outcomes<()> {
        let (notes, _heard) = mpsc::channel(1);
        let report = self.sandbox.invoke(Arc::clone(&self.module), self.guest.invocation(&notes)).await;
        match report.outcome {
            lovage::model::Outcome::Failed(failure) => Err(format!("{}: {failure}", self.guest.name).into()),
            lovage::model::Outcome::Output(_) | lovage::model::Outcome::Replace(_) => Ok(()),
        }
    }

    /// As many calls as fit into a round.
    async fn calls_a_round(&self) -> u32 {
        let each = self.round(50).await.in_line;
        u32::try_from(ROUND.as_nanos() / each.as_nanos().max(1)).unwrap_or(u32::MAX).clamp(20, 10_000)
    }

    /// Means over calls that stand in line for the guests' thread, which is at work all the time.
    async fn round(&self, calls: u32) -> Round {
        let (notes, _heard) = mpsc::channel(1);
        let call = |_| self.sandbox.invoke(Arc::clone(&self.module), self.guest.invocation(&notes));
        let began = Instant::now();
        let reports = stream::iter((0..calls).map(call)).buffer_unordered(QUEUED);
        let spent = reports.fold(Duration::ZERO, async |spent, report| spent + report.busy).await;
        Round { call: spent / calls, in_line: began.elapsed() / calls }
    }

    /// What a caller waits beside the call itself, one call at a time: the way to the guests' thread and back.
    async fn ways(&self, calls: u32) -> Vec<Duration> {
        let (notes, _heard) = mpsc::channel(1);
        let mut ways = Vec::new();
        for _ in 0..calls {
            let began = Instant::now();
            let report = self.sandbox.invoke(Arc::clone(&self.module), self.guest.invocation(&notes)).await;
            ways.push(began.elapsed().saturating_sub(report.duration));
        }
        ways
    }
}

impl Guest {
    pub(crate) fn invocation(&self, notes: &mpsc::Sender<Note>) -> Invocation {
        Invocation {
            attempt: Attempt {
                task_id: "bench".to_owned(),
                task: self.task.clone(),
                tenant: Tenant::default_tenant(),
                attempt: 1,
                idempotency_key: "bench".to_owned(),
                run_id: None,
                step: None,
                labels: Vec::new(),
            },
            input: Bytes::from_static(self.input.as_bytes()),
            limits: Limits::default(),
            manifest: Arc::default(),
            reach: Reach::default(),
            now: Timestamp::from_millis(0),
            notes: notes.clone(),
            cancel: Cancel::default(),
        }
    }
}

fn median(rounds: &mut [Duration]) -> Outcomes<Duration> {
    rounds.sort();
    at(rounds, 50)
}

fn at(sorted: &[Duration], share: usize) -> Outcomes<Duration> {
    sorted.get(sorted.len() * share / 100).copied().ok_or_else(|| "no rounds".into())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn task(name: &str) -> Outcomes<TaskName> {
    Ok(name.parse()?)
}
