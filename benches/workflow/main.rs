//! Workflows on a real broker: chains, groups, chords, a wide map, and the core alone.
//!
//! `cargo bench --bench workflow`, or one figure: `cargo bench --bench workflow -- chord`. The figures are `core`, `chain`, `group`,
//! `chord` and `map`. nats-server, host and coordinator are processes of their own; each task runs in a fresh sandbox. Guests are
//! those of scripts/build-guests. Beside each figure stands what a raw loop on the same server does just before it: a step of a chain
//! against one call of the raw loop in sequence, members a second against its calls a second.

#[path = "../common/raw.rs"]
mod raw;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use lovage::broker::Settings;
use lovage::broker::nats::server::{Places, Plan, Server, find};
use lovage::broker::nats::{Nats, Options};
use lovage::client::{Client, Order};
use lovage::model::{Datum, Digest, RunId, Tenant, Timestamp};
use lovage::workflow::flow::Document;
use lovage::workflow::journal::{CORE_VERSION, Outcome, Pin, Pins, RunLimits, Start};
use lovage::workflow::{Effect, Event, Record, Run};
use raw::{Outcomes, Raw, rate as raw_rate, timed};
use serde_json::{Value, json};

/// Chains that run one after the other.
const CHAINS_ALONE: usize = 200;
/// Chains that run at once, and how many in all.
const CHAINS_IN_FLIGHT: usize = 50;
const CHAINS: usize = 500;
/// Rounds of groups and chords, whose median counts.
const ROUNDS: usize = 5;
/// Items of the wide map.
const ITEMS: usize = 100_000;
/// Calls of the raw loop, at once and one after the other.
const RAW_CALLS: usize = 10_000;
const RAW_ALONE: usize = 500;
/// Tasks that the host runs at a time.
const SLOTS: &str = "64";

#[tokio::main]
async fn main() -> Outcomes<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |figure: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == figure);
    if wants("core") {
        for members in [1_000, 10_000, 100_000] {
            core(members)?;
        }
    }
    if !["chain", "group", "chord", "map"].into_iter().any(wants) {
        return Ok(());
    }
    let data = tempfile::TempDir::new()?;
    let places = Places { path: std::env::var_os("PATH"), cache: cache() };
    let plan = Plan { binary: find(None, &places)?, data_dir: data.path().to_owned(), port: 0, launcher: None };
    println!("nats-server {}, a host of {SLOTS} slots, a coordinator", plan.binary.version);
    let server = Server::start(plan).await?;
    let platform = Platform::start(&server.url(), data.path()).await?;
    if wants("chain") {
        platform.chains().await?;
    }
    if wants("group") {
        platform.rounds("group", &json!({"group": members(1_000)}), 1_000).await?;
    }
    if wants("chord") {
        for count in [1_000, 10_000] {
            platform.rounds("chord", &chord(count), count).await?;
        }
    }
    if wants("map") {
        platform.map().await?;
    }
    drop(platform);
    server.stop().await;
    Ok(())
}

fn cache() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
}

/// So many calls with inputs of their own.
fn members(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!({"task": "hello/add", "input": [number, 0]})).collect()
}

fn chain(count: usize) -> Value {
    let mut steps = vec![json!({"task": "hello/add", "input": [0, 1]})];
    steps.resize(count, json!({"task": "hello/add", "args": [1]}));
    json!({ "chain": steps })
}

fn chord(count: usize) -> Value {
    json!({"chord": {"header": members(count), "body": {"task": "canvas/sum"}}})
}

/// A host and a coordinator as processes, and a client of theirs.
struct Platform {
    client: Client,
    raw: Raw,
    coordinator: Role,
    _host: Role,
}

/// A process of the platform, which ends with the bench.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Role {
    /// Starts it and waits until it is ready; what it says later is let go.
    fn start(command: &mut Command) -> Outcomes<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = child.stderr.take().ok_or("no stderr")?;
        let role = Self(child);
        let mut lines = BufReader::new(said).lines();
        loop {
            let line = lines.next().ok_or("it ended before it was ready")??;
            if line.ends_with(" ready") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(role)
    }

    /// Its resident memory at its highest, in KiB.
    fn memory_kib_max(&self) -> Outcomes<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Platform {
    async fn start(url: &str, dir: &Path) -> Outcomes<Self> {
        let nats = Nats::connect(Options::new(url, "bench")).await?;
        let tenant = Tenant::default_tenant();
        nats.provision(&tenant, &Settings::default()).await?;
        let lovage = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_lovage"));
            command.args(arguments).env("LOVAGE_NATS", url).env("LOVAGE_CACHE", dir.join("artifacts"));
            command.env("LOVAGE_LOG", "info");
            command
        };
        for guest in ["hello", "canvas"] {
            let file = format!("target/guests/{guest}.wasm");
            let pushed = lovage(&["module", "push", guest, &file]).output()?;
            if !pushed.status.success() {
                let why = String::from_utf8_lossy(&pushed.stderr).into_owned();
                return Err(format!("{why}: run scripts/build-guests").into());
            }
        }
        let host = Role::start(&mut lovage(&["host", "--concurrency", SLOTS]))?;
        let coordinator = Role::start(&mut lovage(&["coordinator"]))?;
        let platform = Self {
            client: Client::new(nats.broker(), tenant),
            raw: Raw::start(url, true).await?,
            coordinator,
            _host: host,
        };
        // Both guests are loaded before anything is timed.
        for _ in 0..20 {
            platform.run(&document(&chord(10))?).await?;
        }
        Ok(platform)
    }

    /// A run from its submission until its output is there.
    async fn run(&self, document: &Document) -> Outcomes<Duration> {
        let began = Instant::now();
        let run = self.client.start(Order::new(document.clone())).await?;
        let end = self.client.wait_run(&run).await?;
        self.client.run_output(&run, &end).await?;
        Ok(began.elapsed())
    }

    async fn chains(&self) -> Outcomes<()> {
        let chain = document(&chain(10))?;
        let raw = self.raw_alone().await?;
        let (ten, p99) = self.alone(&chain, CHAINS_ALONE).await?;
        println!("chain of 10, one at a time   p50 {ten:.2} ms   p99 {p99:.2} ms");
        println!("  against ten of the raw loop in sequence, {raw:.2} ms each: {:.1}", ten / 10.0 / raw);
        let (fifty, _) = self.alone(&document(&self::chain(50))?, CHAINS_ALONE / 5).await?;
        println!("a step of a chain            {:.2} ms   (chains of 50 against chains of 10)", (fifty - ten) / 40.0);
        let began = Instant::now();
        let runs = futures::stream::iter((0..CHAINS).map(|_| self.run(&chain)));
        let times: Vec<Duration> = runs.buffer_unordered(CHAINS_IN_FLIGHT).try_collect().await?;
        println!("chains of 10, {CHAINS_IN_FLIGHT} at once      {:.0}/s", rate(times.len(), began.elapsed()));
        Ok(())
    }

    /// The median of one call of the raw loop, in milliseconds.
    async fn raw_alone(&self) -> Outcomes<f64> {
        let mut times = Vec::new();
        for _ in 0..RAW_ALONE {
            times.push(timed(self.raw.call()).await?);
        }
        times.sort_unstable();
        Ok(times.get(RAW_ALONE / 2).copied().unwrap_or_default().as_secs_f64() * 1e3)
    }

    /// The median and the 99th percentile of runs one after the other, in milliseconds.
    async fn alone(&self, document: &Document, runs: usize) -> Outcomes<(f64, f64)> {
        let mut times = Vec::new();
        for _ in 0..runs {
            times.push(self.run(document).await?);
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
        Ok((at(50), at(99)))
    }

    /// The median of some runs.
    async fn rounds(&self, name: &str, flow: &Value, count: usize) -> Outcomes<()> {
        let document = document(flow)?;
        let (mut times, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            raw.push(raw_rate(RAW_CALLS, || self.raw.call()).await?);
            times.push(self.run(&document).await?);
        }
        times.sort_unstable();
        raw.sort_unstable_by(f64::total_cmp);
        let (median, raw) = (times.get(ROUNDS / 2).copied().unwrap_or_default(), raw.get(ROUNDS / 2).copied());
        let (members, raw) = (rate(count, median), raw.unwrap_or_default());
        println!("{name} of {count:<6}   {:.3} s   {members:.0} members/s", median.as_secs_f64());
        println!("  against the raw loop, {raw:.0} calls/s: {:.2}", members / raw);
        Ok(())
    }

    async fn map(&self) -> Outcomes<()> {
        let items: Vec<usize> = (0..ITEMS).collect();
        let map = document(&json!({"map": {"task": "hello/add", "args": [1]}, "over": items}))?;
        let before = self.coordinator.memory_kib_max()?;
        let took = self.run(&map).await?;
        let after = self.coordinator.memory_kib_max()?;
        let (before, after) = (before / 1024, after / 1024);
        println!("map over {ITEMS}   {:.1} s   {:.0} items/s", took.as_secs_f64(), rate(ITEMS, took));
        println!("the coordinator's memory at its highest   {after} MiB, {before} MiB before the map");
        Ok(())
    }
}

fn document(flow: &Value) -> Outcomes<Document> {
    Document::from_json(flow).map_err(|problems| format!("{problems:?}").into())
}

#[expect(clippy::cast_precision_loss, reason = "a count of thousands")]
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Folds the journal of a chord as hosts and coordinators would write it, in memory.
fn core(members: usize) -> Outcomes<()> {
    let pin = Pin { version: "1".parse()?, digest: Digest::of(b"bench") };
    let modules = ["hello", "canvas"].map(|name| (name.to_owned(), pin.clone()));
    let start = Arc::new(Start {
        core_version: CORE_VERSION,
        run: RunId::derived(&["bench"]),
        flow: None,
        pin: None,
        document: Datum::of_json(&chord(members)),
        input: None,
        pins: Pins { modules: modules.into(), ..Pins::default() },
        labels: BTreeMap::new(),
        parent: None,
        limits: RunLimits::default(),
    });
    let began = Instant::now();
    let mut run = Run::new(&start)?;
    let mut journal = VecDeque::from([Event::Start(start)]);
    let mut folded = 0_usize;
    while let Some(event) = journal.pop_front() {
        folded += 1;
        let record = Record { sequence: folded as u64, time: Timestamp::from_millis(1), bytes: 100, event };
        journal.extend(run.apply(&record)?.into_iter().filter_map(follows));
    }
    let took = began.elapsed();
    if !run.is_over() {
        return Err("the run of the core has not ended".into());
    }
    println!("core, a chord of {members:<6}   {folded} records   {:.0} records/s", rate(folded, took));
    Ok(())
}

/// The record that an effect leads to.
fn follows(effect: Effect) -> Option<Event> {
    match effect {
        Effect::Dispatch(dispatch) => Some(Event::Outcome {
            step: dispatch.step,
            attempt: dispatch.attempt,
            outcome: Outcome::Succeeded(Datum::of_json(&json!(1))),
        }),
        Effect::Decide { step, question, decision, generation } => {
            Some(Event::Decided { step, question, decision, generation })
        }
        Effect::End { generation, end } => Some(Event::End { generation, end }),
        Effect::StartTimer { .. }
        | Effect::StopTimer(_)
        | Effect::Interrupt { .. }
        | Effect::Expire { .. }
        | Effect::Pin { .. }
        | Effect::Load(_)
        | Effect::StartChild(_)
        | Effect::CancelChild { .. }
        | Effect::Close { .. } => None,
    }
}
