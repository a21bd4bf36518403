//! The queue cycle against a raw NATS loop of the same shape and durability, in one run.
//!
//! `cargo bench --bench queue`, or one side alone for a profiler: `-- raw` or `-- lovage`. Further scenarios, each against the plain
//! cycle in the same run: `-- prioritised`, `-- keyed`, `-- delayed`, `-- retried`; and `-- late`, how late delayed tasks are while 100,000 wait.
//!
//! Both cycles: publish with acknowledgement, pull, commit the result with "expected last sequence
//! 0" and acknowledgement, ack, caller told by the commit itself. Lovage runs a fresh sandbox for each task beside that. The raw loop
//! acks twice, so that nothing is delivered again; Lovage acks once, since a host drops what its record says is over. A raw loop
//! that acks once as well stands beside them.
//! Rounds of both alternate, since machines are noisy; the median of each is compared.

mod platform;
#[path = "../common/raw.rs"]
mod raw;
mod scenario;

use std::path::PathBuf;

use lovage::broker::nats::server::{Places, Plan, Server, find};
use platform::Lovage;
use raw::{IN_FLIGHT, Outcomes, Raw, rate, timed};

/// That of the program, for both sides.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TASKS: usize = 10_000;
const SEQUENTIAL: usize = 2_000;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Outcomes<()> {
    let data = tempfile::TempDir::new()?;
    let places = Places { path: std::env::var_os("PATH"), cache: cache() };
    let plan = Plan { binary: find(None, &places)?, data_dir: data.path().to_owned(), port: 0, launcher: None };
    println!("nats-server {}, {IN_FLIGHT} in flight, {TASKS} tasks a round, {ROUNDS} rounds", plan.binary.version);
    let server = Server::start(plan).await?;
    let lovage = Lovage::start(&server.url(), data.path()).await?;
    let alone = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if let Some(scenario) = alone.as_deref().and_then(scenario::named) {
        scenario.run(&lovage).await?;
        lovage.stop.cancel();
        server.stop().await;
        return Ok(());
    }
    let (raw, once) = (Raw::start(&server.url(), true).await?, Raw::start(&server.url(), false).await?);
    let wants = |side: &str| alone.as_deref().is_none_or(|alone| alone == side);
    let (mut raw_rates, mut once_rates, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        if wants("raw") {
            raw_rates.push(rate(TASKS, || raw.call()).await?);
            once_rates.push(rate(TASKS, || once.call()).await?);
        }
        if wants("lovage") {
            rates.push(rate(TASKS, || lovage.call()).await?);
        }
    }
    let (raw_rate, once_rate, rate) = (median(&mut raw_rates), median(&mut once_rates), median(&mut rates));
    println!("cycle, tasks/s    raw {raw_rate:>8.0}   lovage {rate:>8.0}   ratio {:.2}", rate / raw_rate);
    println!("  against a raw loop that waits for no word of its ack, {once_rate:.0} tasks/s: {:.2}", rate / once_rate);
    let (mut raw_times, mut times) = (Vec::new(), Vec::new());
    for _ in 0..SEQUENTIAL / 100 {
        for _ in 0..if wants("raw") { 100 } else { 0 } {
            raw_times.push(timed(raw.call()).await?);
        }
        for _ in 0..if wants("lovage") { 100 } else { 0 } {
            times.push(timed(lovage.call()).await?);
        }
    }
    for (name, times) in [("raw", &mut raw_times), ("lovage", &mut times)] {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
        println!("one in sequence   {name:<7} p50 {:.3} ms   p99 {:.3} ms", at(50), at(99));
    }
    lovage.stop.cancel();
    server.stop().await;
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn cache() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
}
