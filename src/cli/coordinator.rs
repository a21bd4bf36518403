//! `lovage coordinator`: advances runs and starts what schedules say, against any broker. Several share the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::host::{await_broker, process_id, provision};
use super::queue_watch::watch_queues;
use super::{Connect, Fault, status};
use crate::broker::nats::Nats;
use crate::client::Client;
use crate::coordinator::{Config, Coordinator, RUNS_IN_MEMORY_MAX_DEFAULT, Retention};
use crate::model::time::parse_duration;
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

    #[command(flatten)]
    keep: Keep,

    /// Let webhooks tell receivers that are not on the public internet: this machine, private networks.
    #[arg(long)]
    webhooks_private: bool,

    /// Port of /healthz, /readyz and /metrics; none are served without it.
    #[arg(long)]
    port: Option<u16>,
}

/// How long runs are kept that have ended.
#[derive(Clone, Args)]
pub(super) struct Keep {
    /// How long a run is kept after its end, with its journal and its values: 1m or more.
    #[arg(long, value_name = "DURATION", value_parser = age, default_value = "7d")]
    keep_runs_for: Duration,

    /// Ended runs of a tenant that are kept at most: beyond them those go first that ended first.
    #[arg(long, value_name = "N", default_value_t = Retention::default().count_max)]
    keep_runs: usize,
}

/// The shortest time that ended runs are kept: whoever waits for a run looks at its end.
const KEEP_MIN: Duration = Duration::from_secs(60);

fn age(text: &str) -> Result<Duration, String> {
    let age = parse_duration(text).map_err(|error| error.to_string())?;
    if age < KEEP_MIN { Err("it takes 1m or more".to_owned()) } else { Ok(age) }
}

impl From<&Keep> for Retention {
    fn from(keep: &Keep) -> Self {
        Self { age_max: keep.keep_runs_for, count_max: keep.keep_runs }
    }
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
                begin(&nats, &metrics, (0, self.runs_in_memory), &self.keep).await
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

/// The coordinator that is the `place`-th of this process, with so many runs in memory, and its driver of schedules.
pub(super) async fn begin(
    nats: &Nats,
    metrics: &Metrics,
    (place, runs_in_memory_max): (usize, usize),
    keep: &Keep,
) -> Result<(Coordinator, Driver), Fault> {
    let mut config = Config::new(process_id(place).parse()?);
    config.runs_in_memory_max = runs_in_memory_max;
    config.retention = keep.into();
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        keep: Keep,
    }

    fn retention(args: &[&str]) -> Option<Retention> {
        let line = Line::try_parse_from([&["lovage"], args].concat()).ok()?;
        Some(Retention::from(&line.keep))
    }

    #[test]
    fn what_is_kept_of_runs_is_said_by_age_and_count_and_is_a_week_and_many_where_nobody_says() {
        assert_eq!(retention(&[]), Some(Retention::default()));
        let day = Retention { age_max: Duration::from_secs(24 * 3_600), count_max: 7 };
        assert_eq!(retention(&["--keep-runs-for", "1d", "--keep-runs", "7"]), Some(day));
        for bad in [["--keep-runs-for", "59s"], ["--keep-runs-for", "soon"], ["--keep-runs", "-1"]] {
            assert_eq!(retention(&bad), None, "{bad:?}");
        }
    }
}
