//! The queue cycle against a raw NATS loop of the same shape and durability, in one run.
//!
//! `cargo bench --bench queue`, or one side alone for a profiler: `-- raw` or `-- lovage`. Both cycles: publish with acknowledgement, pull, commit the result with "expected last sequence
//! 0" and acknowledgement, double ack, caller told by the commit itself. Lovage runs a fresh sandbox for each task beside that.
//! Rounds of both alternate, since machines are noisy; the median of each is compared.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy};
use async_nats::jetstream::{self, AckKind, message::PublishMessage, stream};
use bytes::Bytes;
use futures::StreamExt as _;
use lovage::broker::Settings;
use lovage::broker::nats::server::{Places, Plan, Server, find};
use lovage::broker::nats::{Nats, Options};
use lovage::client::{Client, Upload};
use lovage::host::{Config, Host};
use lovage::model::lifecycle::End;
use lovage::model::module::Manifest;
use lovage::model::{Contract, Digest, Signature, Tenant};
use lovage::sandbox::{Compiler, Sandbox, inspect};
use lovage::telemetry::Metrics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Outcomes<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// That of the program, for both sides.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 64;
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
    let raw = Raw::start(&server.url()).await?;
    let lovage = Lovage::start(&server.url(), data.path()).await?;
    let alone = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |side: &str| alone.as_deref().is_none_or(|alone| alone == side);
    let (mut raw_rates, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        if wants("raw") {
            raw_rates.push(rate(|| raw.call()).await?);
        }
        if wants("lovage") {
            rates.push(rate(|| lovage.call()).await?);
        }
    }
    let (raw_rate, rate) = (median(&mut raw_rates), median(&mut rates));
    println!("cycle, tasks/s    raw {raw_rate:>8.0}   lovage {rate:>8.0}   ratio {:.2}", rate / raw_rate);
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

/// Calls a second, with [`IN_FLIGHT`] callers.
async fn rate<C, F>(call: C) -> Outcomes<f64>
where
    C: Fn() -> F,
    F: Future<Output = Outcomes<()>> + Send + 'static,
{
    let left = AtomicUsize::new(TASKS);
    let began = Instant::now();
    let callers = (0..IN_FLIGHT).map(|_| async {
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            call().await?;
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    });
    futures::future::try_join_all(callers).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of thousands")]
    Ok(TASKS as f64 / began.elapsed().as_secs_f64())
}

async fn timed(call: impl Future<Output = Outcomes<()>>) -> Outcomes<Duration> {
    let began = Instant::now();
    call.await?;
    Ok(began.elapsed())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn cache() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
}

/// The loop that anyone would write on bare NATS: no sandbox, no tasks, the same messages.
struct Raw {
    client: async_nats::Client,
    context: jetstream::Context,
    next: AtomicUsize,
    _worker: JoinSet<()>,
}

impl Raw {
    async fn start(url: &str) -> Outcomes<Self> {
        let context = jetstream::new(async_nats::connect(url).await?);
        let results = stream::Config {
            name: "RAW_RESULT".to_owned(),
            subjects: vec!["raw.res.*".to_owned()],
            max_messages_per_subject: 1,
            allow_direct: true,
            ..Default::default()
        };
        context.create_stream(results).await?;
        let tasks = stream::Config {
            name: "RAW_TASK".to_owned(),
            subjects: vec!["raw.task.*".to_owned()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            max_messages_per_subject: 1,
            ..Default::default()
        };
        let tasks = context.create_stream(tasks).await?;
        let config = pull::Config {
            durable_name: Some("raw".to_owned()),
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: -1,
            ..Default::default()
        };
        let consumer = tasks.create_consumer(config).await?;
        let worker = jetstream::new(async_nats::connect(url).await?);
        let mut owned = JoinSet::new();
        owned.spawn(work(worker, tasks.get_consumer(&consumer.cached_info().name).await?));
        let client = async_nats::connect(url).await?;
        Ok(Self { context: jetstream::new(client.clone()), client, next: AtomicUsize::new(0), _worker: owned })
    }

    fn call(&self) -> impl Future<Output = Outcomes<()>> + Send + 'static {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (client, context) = (self.client.clone(), self.context.clone());
        async move {
            let mut heard = client.subscribe(format!("raw.res.{id}")).await?;
            context.publish(format!("raw.task.{id}"), Bytes::from_static(b"[20,22]")).await?.await?;
            heard.next().await.ok_or("closed")?;
            Ok(())
        }
    }
}

/// Takes, commits and acknowledges, [`IN_FLIGHT`] at a time.
async fn work(context: jetstream::Context, consumer: PullConsumer) {
    let Ok(messages) = consumer.stream().max_messages_per_batch(IN_FLIGHT).messages().await else { return };
    let handled = messages.for_each_concurrent(IN_FLIGHT, |message| async {
        let Ok(message) = message else { return };
        let id = message.subject.rsplit('.').next().unwrap_or_default();
        let result = PublishMessage::build().payload("42".into()).expected_last_subject_sequence(0);
        if let Ok(stored) = context.send_publish(format!("raw.res.{id}"), result).await {
            drop(stored.await);
            drop(message.double_ack_with(AckKind::Ack).await);
        }
    });
    handled.await;
}

/// The same through Lovage: a host in this process, each task in a fresh sandbox.
struct Lovage {
    client: Client,
    stop: CancellationToken,
    _host: JoinSet<()>,
}

impl Lovage {
    async fn start(url: &str, dir: &std::path::Path) -> Outcomes<Self> {
        let tenant = Tenant::default_tenant();
        let compiler = Compiler::new(PathBuf::from(env!("CARGO_BIN_EXE_lovage")));
        let slots = u32::try_from(IN_FLIGHT)?;
        let sandbox = Sandbox::new(lovage::sandbox::Config::new(slots, 2, dir.join("artifacts"), compiler))?;
        let nats = Nats::connect(Options::new(url, "host")).await?;
        nats.provision(&tenant, &Settings::default()).await?;
        let client = Client::new(Nats::connect(Options::new(url, "client")).await?.broker(), tenant.clone());
        push(&client, &sandbox).await?;
        let config = Config::new(tenant, "bench".parse()?, IN_FLIGHT);
        let host = Host::begin(nats.broker(), sandbox, config, Metrics::default()).await?;
        let stop = CancellationToken::new();
        let mut owned = JoinSet::new();
        let serve = host.serve(stop.clone());
        owned.spawn(async move {
            if let Err(error) = serve.await {
                eprintln!("host: {error}");
            }
        });
        Ok(Self { client, stop, _host: owned })
    }

    fn call(&self) -> impl Future<Output = Outcomes<()>> + Send + 'static {
        let client = self.client.clone();
        async move {
            let settled = client.call(Signature::new("hello/add".parse()?, "[20,22]")).await?;
            match settled.end {
                End::Succeeded(_) => Ok(()),
                End::Failed(_) | End::Cancelled | End::Expired => Err(format!("{:?}", settled.end).into()),
            }
        }
    }
}

/// Uploads the guest `hello`, built by scripts/build-guests.
async fn push(client: &Client, sandbox: &Sandbox) -> Outcomes<()> {
    let file = "target/guests/hello.wasm";
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}: run scripts/build-guests"))?;
    let stored = Bytes::from(inspect(&bytes)?.stored.into_owned());
    let code = sandbox.load(&Digest::of(&stored), stored.clone()).await?;
    let upload = Upload {
        name: "hello".parse()?,
        version: None,
        bytes: stored,
        source_digest: None,
        contract: Contract::Task,
        tasks: sandbox.describe(&code).await?,
        manifest: Manifest::default(),
    };
    client.push(upload).await?;
    Ok(())
}
