//! `lovage host`: a host alone, against any broker.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ceiling::Ceiling;
use super::sandbox::Cache;
use super::{Connect, Fault, keys, sandbox, status};
use crate::broker::nats::Nats;
use crate::broker::patience::Patience;
use crate::broker::{Error, Settings};
use crate::host::{self, Host, LEASE_DEFAULT, LEASE_MIN};
use crate::model::grants::Allow;
use crate::model::name::NAME_LEN_MAX;
use crate::model::signature::parse_label;
use crate::model::time::{format_duration, parse_duration};
use crate::model::{HostId, Queue, Tenant};
use crate::sandbox::SLOTS_MAX;
use crate::schedule::mover::Mover;
use crate::store::secrets;
use crate::telemetry::Metrics;

/// How long a first connection may take before it is said that the broker is away.
const AWAY_AFTER: Duration = Duration::from_secs(1);

/// The largest weight of a queue: beyond it the others have next to nothing.
const WEIGHT_MAX: u32 = 1_000;

/// Slots for each core: enough to keep a core busy while other tasks wait for the broker.
const SLOTS_PER_CORE: usize = 8;

/// The options of a host.
#[derive(Args)]
pub(super) struct HostArgs {
    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    serve: Serve,

    /// Port of /healthz, /readyz and /metrics; none are served without it.
    #[arg(long)]
    port: Option<u16>,
}

/// What a host serves, alone or in `lovage dev`.
#[derive(Args, Clone)]
pub(super) struct Serve {
    /// Queues to serve, separated by commas; with weights, as in images=3,default=1, they share the slots by those.
    #[arg(long, value_delimiter = ',', default_value = "default", value_parser = weighted)]
    queues: Vec<(Queue, u32)>,

    /// A label of this host; repeat it for more.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    labels: Vec<(String, String)>,

    /// Tasks at a time; eight for each core where it is not given.
    #[arg(long, value_parser = slots)]
    concurrency: Option<usize>,

    /// How long a task belongs to a host that is not heard of.
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    lease: Duration,

    /// How long running tasks may go on when the host is asked to stop.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    drain: Duration,

    /// What guests may be granted here, for all tenants and for some, as TOML; a tenant's own buckets and secrets, settings, the
    /// fine clock and entropy where it is not given, and neither HTTP nor exceptions of Wasm.
    #[arg(long, value_name = "FILE.toml")]
    allow: Option<PathBuf>,

    /// What is allowed where no file says it.
    #[arg(skip)]
    allowed: Allow,

    /// The key that secrets are opened with (`lovage secret key FILE` makes one); without it guests get none.
    #[arg(long, value_name = "FILE")]
    secrets_key: Option<PathBuf>,

    #[command(flatten)]
    ceiling: Ceiling,

    #[command(flatten)]
    cache: Cache,

    /// Certificates (PEM) of authorities that guests' requests over TLS trust, besides those of the web.
    #[arg(long, value_name = "FILE")]
    http_authorities: Option<PathBuf>,
}

impl HostArgs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let stop = CancellationToken::new();
        let listener = match self.port {
            Some(port) => {
                let listener = status::bind(port).await?;
                let address = listener.local_addr().map(tracing::field::display).ok();
                info!(address, "serving /healthz, /readyz and /metrics");
                Some(listener)
            }
            None => None,
        };
        let metrics = Metrics::default();
        let nats = Nats::connect(self.connect.options(&self.serve.connection_name(), true)).await?;
        let up = Arc::new(AtomicBool::new(false));
        let work = async {
            let prepare = async {
                await_broker(&nats, &self.connect.nats).await;
                provision(&nats, &self.connect.tenant).await
            };
            let begin = async {
                prepare.await?;
                let host = self.serve.begin(&nats, &self.connect.tenant, &metrics, 0).await?;
                Ok::<_, Fault>((host, Mover::begin(nats.broker()).await?))
            };
            let Some(begun) = stop.run_until_cancelled(begin).await else { return Ok(()) };
            let (host, mover) = begun?;
            up.store(true, Ordering::Relaxed);
            info!("ready");
            let serve = async {
                let served = host.serve(stop.clone()).await;
                // It may have left at its operator's word.
                stop.cancel();
                served
            };
            let (host, mover) = tokio::join!(serve, mover.serve(stop.clone()));
            Ok(host.and(mover)?)
        };
        let status = status::Status { metrics: metrics.clone(), nats: nats.clone(), up: Arc::clone(&up) };
        status::beside(Box::pin(work), listener, status, &stop).await
    }
}

impl Serve {
    /// The host that is the `place`-th of this process.
    pub(super) async fn begin(
        &self,
        nats: &Nats,
        tenant: &Tenant,
        metrics: &Metrics,
        place: usize,
    ) -> Result<Host, Fault> {
        let slots = self.concurrency.unwrap_or_else(|| (sandbox::cores() * SLOTS_PER_CORE).min(SLOTS_MAX as usize));
        if self.lease < LEASE_MIN {
            return Err(Fault::usage(format!("--lease takes at least {}", format_duration(LEASE_MIN))));
        }
        let allow = self.allow.as_deref().map(keys::read_allow).transpose()?.unwrap_or_else(|| self.allowed.clone());
        let secrets_key = self.secrets_key.as_deref().map(keys::read).transpose()?;
        if let Some(key) = &secrets_key {
            secrets::publish_key(&nats.broker(), key).await?;
        }
        let sandbox = sandbox::open_trusting(slots, &self.cache, self.http_authorities.clone())?;
        let mut config = host::Config::new(tenant.clone(), host_id(place)?, slots);
        config.queues.clone_from(&self.queues);
        config.labels = self.labels.iter().cloned().collect();
        config.lease = self.lease;
        config.drain = self.drain;
        config.allow = allow;
        config.secrets_key = secrets_key;
        config.ceiling = self.ceiling.limits();
        config.name = machine();
        info!(host = %config.id, labels = ?self.labels, "a host begins");
        Ok(Host::begin(nats.broker(), sandbox, config, metrics.clone()).await?)
    }

    /// The same for a platform of one user's, who is tenant and operator in one: with a key for secrets in `file` where no other is
    /// named (it is made if it is not there), and with exceptions of Wasm where no file says what is allowed.
    pub(super) fn of_one_user(mut self, file: PathBuf) -> Result<Self, Fault> {
        if self.secrets_key.is_none() {
            if !file.exists() {
                keys::write_new(&file)?;
            }
            self.secrets_key = Some(file);
        }
        self.allowed.all.exceptions = Some(true);
        Ok(self)
    }

    /// What the broker's operator sees this connection as.
    fn connection_name(&self) -> String {
        let labels = self.labels.iter().map(|(key, value)| format!(" {key}={value}"));
        std::iter::once("lovage host".to_owned()).chain(labels).collect()
    }
}

/// How many tasks run at a time.
fn slots(text: &str) -> Result<usize, String> {
    let slots = text.parse().ok().filter(|slots| (1..=SLOTS_MAX as usize).contains(slots));
    slots.ok_or_else(|| format!("a number from 1 to {SLOTS_MAX}; several hosts on one machine run more"))
}

/// A queue, and how many parts of the slots it has.
fn weighted(text: &str) -> Result<(Queue, u32), String> {
    let (queue, weight) = text.split_once('=').unwrap_or((text, "1"));
    let queue = queue.parse::<Queue>().map_err(|error| error.to_string())?;
    let weight = weight.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    Ok((queue, weight.ok_or_else(|| format!("a weight is a number from 1 to {WEIGHT_MAX}"))?))
}

/// Waits until the broker is there, and says so when it is not.
pub(super) async fn await_broker(nats: &Nats, url: &str) {
    let mut connection = nats.connection();
    let mut connected = pin!(connection.wait_for(|connection| connection.connected));
    if tokio::time::timeout(AWAY_AFTER, &mut connected).await.is_err() {
        warn!(%url, "the broker is away: waiting for it");
        // The sender lives as long as the connection does.
        drop(connected.await);
    }
}

/// Prepares the broker for a tenant. Where we may not, an operator has done it.
pub(super) async fn provision(nats: &Nats, tenant: &Tenant) -> Result<(), Fault> {
    let settings = Settings::default();
    match Patience::default().retry("prepare the broker", || nats.provision(tenant, &settings)).await {
        Err(Error::Denied(reason)) => {
            warn!(reason, "may not prepare the broker: it must have been prepared");
            Ok(())
        }
        prepared => Ok(prepared?),
    }
}

/// A name for this host that no other has.
fn host_id(place: usize) -> Result<HostId, Fault> {
    Ok(process_id(place).parse()?)
}

/// A name that no other part of any process has: the machine's, the process's and its place in it.
pub(super) fn process_id(place: usize) -> String {
    let machine = machine();
    let suffix = format!("-{}-{place}-{:04x}", std::process::id(), rand::random::<u16>());
    let machine: String = machine.chars().take(NAME_LEN_MAX - suffix.len()).collect();
    format!("{machine}{suffix}")
}

/// What this machine calls itself, as far as it can stand in an id.
fn machine() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "host".to_owned());
    let machine = machine.trim().chars().map(|c| c.to_ascii_lowercase());
    machine.filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

const _: () = assert!(LEASE_DEFAULT.as_secs() == 20, "the default of --lease is written as text above");
