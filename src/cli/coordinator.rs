//! `lovage coordinator`: advances runs and starts what schedules say, against any broker. Several share the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::host::{await_broker, process_id, provision};
use super::queue_watch::watch_queues;
use super::{Connect, Fault, status};
use crate::broker::nats::Nats;
use crate::client::Client;
use crate::coordinator::{Config, Coordinator, RUNS_IN_MEMORY_MAX_DEFAULT};
use crate::schedule::driver::Driver;
use crate::telemetry::Metrics;
use crate::webhook::Webhooks;

/// The options of a coordinator.
#[derive(Args)]
pub(super) struct CoordinatorArgs {
    #[command(flatten)]
    connect: Connect,

    /// Runs in memory at most: those that were longest without news leave first, and are read again when there is some.
    #[arg(long, default_value_t = RUNS_IN_MEMORY_MAX_DEFAULT)]
    runs_in_memory: usize,

    /// Let webhooks tell receivers that are not on the public internet: this machine, private networks.
    #[arg(long)]
    webhooks_private: bool,

    /// Port of /healthz, /readyz and /metrics; none are served without it.
    #[arg(long)]
    port: Option<u16>,
}

impl CoordinatorArgs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let stop = CancellationToken::new();
        let listener = match self.port {
            Some(port) => Some(status::bind(port).await?),
            None => None,
        };
        let metrics = Metrics::default();
        let nats = Nats::connect(self.connect.options("lovage coordinator", true)).await?;
        let up = Arc::new(AtomicBool::new(false));
        let work = async {
            let prepare = async {
                await_broker(&nats, &self.connect.nats).await;
                provision(&nats, &self.connect.tenant).await?;
                begin(&nats, &metrics, 0, self.runs_in_memory).await
            };
            let Some(begun) = stop.run_until_cancelled(prepare).await else { return Ok(()) };
            let (coordinator, driver) = begun?;
            let webhooks = Webhooks::new(nats.broker(), self.webhooks_private)?;
            let ready = coordinator.ready();
            let tell = async {
                if reads(ready, &stop).await {
                    up.store(true, Ordering::Relaxed);
                    info!("ready");
                }
            };
            let client = Client::new(nats.broker(), self.connect.tenant.clone());
            let watch = watch_queues(&client, &metrics.queues, &stop);
            let (drive, hook) = (driver.serve(stop.clone()), webhooks.serve(stop.clone()));
            let (served, driven, hooked, (), ()) =
                tokio::join!(coordinator.serve(stop.clone()), drive, hook, tell, watch);
            Ok(served.and(driven).and(hooked)?)
        };
        let status = status::Status { metrics: metrics.clone(), nats: nats.clone(), up: Arc::clone(&up) };
        status::beside(Box::pin(work), listener, status, &stop).await
    }
}

/// The coordinator that is the `place`-th of this process, and its driver of schedules.
pub(super) async fn begin(
    nats: &Nats,
    metrics: &Metrics,
    place: usize,
    runs_in_memory_max: usize,
) -> Result<(Coordinator, Driver), Fault> {
    let mut config = Config::new(process_id(place).parse()?);
    config.runs_in_memory_max = runs_in_memory_max;
    info!(coordinator = %config.id, "a coordinator begins");
    let coordinator = Coordinator::begin(nats.broker(), config, metrics).await?;
    let driver = Driver::begin(nats.broker(), coordinator.holds(), metrics.schedules.clone()).await?;
    Ok((coordinator, driver))
}

/// Waits until a coordinator reads its share of the partitions; `false` if it was stopped before.
pub(super) async fn reads(mut ready: watch::Receiver<bool>, stop: &CancellationToken) -> bool {
    let reads = stop.run_until_cancelled(ready.wait_for(|reads| *reads)).await;
    reads.is_some_and(|reads| reads.is_ok())
}
