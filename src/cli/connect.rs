//! Which broker, as whom, for which tenant.

use std::path::PathBuf;

use clap::Args;

use super::Fault;
use crate::broker::nats::{Nats, Options};
use crate::client::Client;
use crate::model::Tenant;

/// The options of every command that talks to a broker.
#[derive(Args, Clone, Debug)]
pub(super) struct Connect {
    /// Address of the broker.
    #[arg(long, env = "LOVAGE_NATS", default_value = "nats://127.0.0.1:4222", value_name = "URL")]
    pub(super) nats: String,

    /// Credentials file of a user of the broker.
    #[arg(long, env = "LOVAGE_CREDS", value_name = "FILE")]
    pub(super) creds: Option<PathBuf>,

    /// The tenant to act for.
    #[arg(long, env = "LOVAGE_TENANT", default_value = "default")]
    pub(super) tenant: Tenant,
}

/// The options of commands that list everything of a kind.
#[derive(Args)]
pub(super) struct Listing {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) connect: Connect,
}

impl Connect {
    /// Connects once, as a command that a person waits for.
    pub(super) async fn client(&self) -> Result<(Nats, Client), Fault> {
        let nats = Nats::connect(self.options("lovage", false)).await?;
        let client = Client::new(nats.broker(), self.tenant.clone());
        Ok((nats, client))
    }

    /// How to connect; with `patient`, a broker that is away at first is waited for.
    pub(super) fn options(&self, name: &str, patient: bool) -> Options {
        let mut options = Options::new(&self.nats, name);
        options.urls = self.nats.split(',').map(|url| url.trim().to_owned()).collect();
        options.credentials.clone_from(&self.creds);
        options.retry_first = patient;
        options
    }
}
