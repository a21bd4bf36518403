//! A nats-server of a test's own, gone when the test ends.

use lovage::broker::Settings;
use lovage::broker::nats::server::{Places, Plan, Server, find};
use lovage::broker::nats::{Nats, Options};
use lovage::model::Tenant;

/// A server with its data, and a connection to it.
pub(crate) struct TestServer {
    /// The process.
    pub(crate) server: Server,
    /// A connection.
    pub(crate) nats: Nats,
    /// Where its data is; removed after the server has ended, as fields are dropped in this order.
    _data: tempfile::TempDir,
}

impl TestServer {
    /// Starts a server that is provisioned for the default tenant.
    pub(crate) async fn start(settings: Settings) -> Self {
        let home = std::env::var_os("HOME").map(std::path::PathBuf::from).unwrap_or_default();
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), Into::into);
        let places = Places { path: std::env::var_os("PATH"), cache: Some(cache) };
        let binary = find(None, &places).unwrap();
        let data = tempfile::tempdir().unwrap();
        let plan = Plan { binary, data_dir: data.path().to_owned(), port: 0, launcher: None };
        let server = Server::start(plan).await.unwrap();
        let nats = Nats::connect(Options::new(server.url(), "test")).await.unwrap();
        nats.provision(&Tenant::default_tenant(), &settings).await.unwrap();
        Self { server, nats, _data: data }
    }
}
