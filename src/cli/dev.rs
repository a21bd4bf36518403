//! `lovage dev`: the whole platform in one process, with a broker of its own as a child.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::host::{Serve, provision};
use super::queue_watch::watch_queues;
use super::{Fault, coordinator, signals, status, user_dir};
use crate::broker::nats::server::{self, Plan, Server};
use crate::broker::nats::{Nats, Options};
use crate::broker::patience::Patience;
use crate::client::Client;
use crate::coordinator::RUNS_IN_MEMORY_MAX_DEFAULT;
use crate::model::Tenant;
use crate::schedule::mover::Mover;
use crate::telemetry::Metrics;
use crate::webhook::Webhooks;

/// The options of `lovage dev`.
#[derive(Args)]
pub(super) struct Dev {
    /// Where everything is kept; below the user's state folder where it is not given.
    #[arg(long, env = "LOVAGE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Port of /healthz, /readyz and /metrics.
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// Port of the broker; 0 for any.
    #[arg(long, default_value_t = 4222)]
    nats_port: u16,

    /// The nats-server to run, 2.14 or later; the one on PATH where it is not given.
    #[arg(long, env = "LOVAGE_NATS_SERVER", value_name = "FILE")]
    nats_server: Option<PathBuf>,

    /// Hosts in this process.
    #[arg(long, default_value_t = 1)]
    hosts: usize,

    #[command(flatten)]
    keep: coordinator::Keep,

    /// Let webhooks tell receivers that are not on the public internet: this machine, private networks.
    #[arg(long)]
    webhooks_private: bool,

    #[command(flatten)]
    serve: Serve,
}

impl Dev {
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let data = self.data.clone().unwrap_or_else(|| user_dir("XDG_STATE_HOME", ".local/state").join("dev"));
        let _lock = lock(&data)?;
        self.serve = self.serve.clone().of_one_user(data.join("secrets.key"))?;
        let listener = status::bind(self.port).await?;
        let stop = CancellationToken::new();
        let mut broker = self.start_broker(data).await?;
        let url = broker.url();
        let nats = Nats::connect(Options::new(&url, "lovage dev")).await?;
        let work = self.work(&nats, &url, listener, &stop);
        let result = tokio::select! {
            result = work => result,
            fault = signals::stop_when_asked(stop.clone()) => fault,
            fault = keep_running(&mut broker) => Err(fault),
        };
        drop(nats.close().await);
        broker.stop().await;
        result
    }

    async fn start_broker(&self, data: PathBuf) -> Result<Server, Fault> {
        let binary = server::find(self.nats_server.as_deref(), &places())?;
        let launcher = std::env::current_exe().ok();
        let plan = Plan { binary, data_dir: data.join("nats"), port: self.nats_port, launcher };
        Ok(Server::start(plan).await?)
    }

    async fn work(&self, nats: &Nats, url: &str, listener: TcpListener, stop: &CancellationToken) -> Result<(), Fault> {
        let tenant = Tenant::default_tenant();
        provision(nats, &tenant).await?;
        let (metrics, up) = (Metrics::default(), Arc::new(AtomicBool::new(true)));
        let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let status = status::Status { metrics: metrics.clone(), nats: nats.clone(), up: Arc::clone(&up) };
        let mut hosts = Vec::new();
        for place in 0..self.hosts {
            hosts.push(self.serve.begin(nats, &tenant, &metrics, place).await?);
        }
        let mover = Mover::begin(nats.broker()).await?;
        let (coordinator, driver) =
            coordinator::begin(nats, &metrics, (self.hosts, RUNS_IN_MEMORY_MAX_DEFAULT), &self.keep).await?;
        let webhooks = Webhooks::new(nats.broker(), self.webhooks_private)?;
        let ready = coordinator.ready();
        let tell = async {
            if coordinator::reads(ready, stop).await {
                tell(url, &address);
            }
            Ok::<_, Fault>(())
        };
        let hosts = futures::future::try_join_all(hosts.into_iter().map(|host| host.serve(stop.clone())));
        let roles = async {
            let (movers, drivers) = (mover.serve(stop.clone()), driver.serve(stop.clone()));
            let webhooks = webhooks.serve(stop.clone());
            Ok(tokio::try_join!(hosts, movers, coordinator.serve(stop.clone()), drivers, webhooks).map(drop)?)
        };
        let client = Client::new(nats.broker(), tenant.clone());
        let watch = async {
            watch_queues(&client, &metrics.queues, stop).await;
            Ok::<_, Fault>(())
        };
        let result = tokio::try_join!(roles, tell, watch, status::serve(listener, status, stop.clone())).map(drop);
        up.store(false, Ordering::Relaxed);
        result
    }
}

/// Where a nats-server may be besides the one that was named.
fn places() -> server::Places {
    let cache = user_dir("XDG_CACHE_HOME", ".cache");
    server::Places { path: std::env::var_os("PATH"), cache: cache.parent().map(Path::to_owned) }
}

fn tell(url: &str, address: &str) {
    println!("broker    {url}        LOVAGE_NATS={url}");
    println!("status    http://{address}/healthz  /readyz  /metrics");
    println!("upload    lovage module push NAME FILE.wasm");
    println!("call      lovage call NAME/TASK INPUT");
    println!("ready");
}

/// Two of us on one folder would be two brokers on one set of files.
fn lock(data: &PathBuf) -> Result<File, Fault> {
    let failed =
        |error: std::io::Error| Fault::platform(format!("failed to use the folder {}: {error}", data.display()));
    std::fs::create_dir_all(data).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(data.join("lock")).map_err(failed)?;
    file.try_lock().map_err(|_| {
        Fault::platform(format!("another `lovage dev` uses the folder {}", data.display()))
            .hint("choose another one with --data")
    })?;
    Ok(file)
}

/// Starts the broker again whenever it ends by itself; returns when that fails.
async fn keep_running(broker: &mut Server) -> Fault {
    let mut patience = Patience::default();
    loop {
        let ended = broker.ended().await;
        warn!(?ended, "the broker has ended, starting it again");
        patience.wait().await;
        match broker.restart().await {
            Ok(()) => info!("the broker is back"),
            Err(error) => return error.into(),
        }
    }
}

impl From<server::Error> for Fault {
    fn from(error: server::Error) -> Self {
        Self::platform(format!("failed to {error}"))
    }
}
