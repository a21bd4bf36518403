//! The same through Lovage: a host in this process, each task in a fresh sandbox.

use std::path::PathBuf;

use bytes::Bytes;
use lovage::broker::Settings;
use lovage::broker::nats::{Nats, Options};
use lovage::client::{Client, Place, Upload};
use lovage::host::{Config, Host};
use lovage::model::lifecycle::End;
use lovage::model::module::Manifest;
use lovage::model::{Contract, Digest, Signature, Tenant};
use lovage::sandbox::{Compiler, Sandbox, inspect};
use lovage::schedule::mover::Mover;
use lovage::telemetry::Metrics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::raw::{IN_FLIGHT, Outcomes};

/// The same through Lovage: a host in this process, each task in a fresh sandbox.
pub(super) struct Lovage {
    pub(super) client: Client,
    pub(super) stop: CancellationToken,
    _host: JoinSet<()>,
}

impl Lovage {
    pub(super) async fn start(url: &str, dir: &std::path::Path) -> Outcomes<Self> {
        let tenant = Tenant::default_tenant();
        let compiler = Compiler::new(PathBuf::from(env!("CARGO_BIN_EXE_lovage")));
        let slots = u32::try_from(IN_FLIGHT)?;
        let sandbox = Sandbox::new(lovage::sandbox::Config::new(slots, 2, dir.join("artifacts"), compiler))?;
        let nats = Nats::connect(Options::new(url, "host")).await?;
        nats.provision(&tenant, &Settings::default()).await?;
        let client = Client::new(Nats::connect(Options::new(url, "client")).await?.broker(), tenant.clone());
        for guest in ["hello", "probe"] {
            push(&client, &sandbox, guest).await?;
        }
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
        let mover = Mover::begin(nats.broker()).await?;
        let moves = mover.serve(stop.clone());
        owned.spawn(async move {
            if let Err(error) = moves.await {
                eprintln!("mover: {error}");
            }
        });
        Ok(Self { client, stop, _host: owned })
    }

    pub(super) fn call(&self) -> impl Future<Output = Outcomes<()>> + Send + 'static {
        self.call_with(add(), Place::default())
    }

    /// A call of anything, anywhere.
    pub(super) fn call_with(
        &self,
        signature: Signature,
        place: Place,
    ) -> impl Future<Output = Outcomes<()>> + Send + 'static {
        let client = self.client.clone();
        async move {
            let settled = client.call_at(signature, &place).await?;
            match settled.end {
                End::Succeeded(_) => Ok(()),
                End::Failed(_) | End::Cancelled | End::Expired => Err(format!("{:?}", settled.end).into()),
            }
        }
    }
}

/// The task of all scenarios.
pub(super) fn add() -> Signature {
    // Both names are those of the guest that was pushed.
    Signature::new("hello/add".parse().unwrap_or_else(|_| unreachable!("a task's name")), "[20,22]")
}

/// Uploads a guest that scripts/build-guests has built.
async fn push(client: &Client, sandbox: &Sandbox, guest: &str) -> Outcomes<()> {
    let file = format!("target/guests/{guest}.wasm");
    let bytes = std::fs::read(&file).map_err(|error| format!("{file}: {error}: run scripts/build-guests"))?;
    let stored = Bytes::from(inspect(&bytes)?.stored.into_owned());
    let code = sandbox.load(&Digest::of(&stored), stored.clone()).await?;
    let upload = Upload {
        name: guest.parse()?,
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
