//! Outgoing HTTP of guests: `wasi:http/outgoing-handler`, closed unless grants open it.
//!
//! A request is held against the rules of its module's tenant and of the host's operator ([`HttpScope`]); its name is resolved
//! here, every address that it stands for is looked at, and the connection goes to one of those that were looked at: a name that
//! changes its mind in between changes nothing. Redirects are not followed: the guest sees them and asks again, so that each hop
//! is held against the rules. Reading order: `hooks` takes a request from a guest, `send` carries it out, `connect` makes its
//! connection, `body` counts what passes, `share` keeps one tenant from taking all connections of a host.
//!
//! **Invariant:** nothing is sent, and no name is resolved, before rules of both sides have matched.
//! **Invariant:** an address is connected to only after it was checked, and is not looked up again.
//! **Invariant:** a connection serves one request of one guest and ends with it; tenants share no TLS session and no cookie.
//!
//! [`HttpScope`]: crate::model::grants::HttpScope

mod body;
mod connect;
mod hooks;
mod resolve;
mod send;
mod share;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_util::task::TaskTracker;

pub(super) use hooks::Outgoing;
pub use resolve::{Resolve, SystemResolver};

use super::error::Error;
use share::Shares;

/// How guests' requests leave a host.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Who resolves names.
    pub resolver: Arc<dyn Resolve>,
    /// A file of certificates (PEM) of further authorities that TLS trusts, besides those of the web.
    pub authorities: Option<PathBuf>,
    /// What requests may take.
    pub limits: HttpLimits,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { resolver: Arc::new(SystemResolver), authorities: None, limits: HttpLimits::default() }
    }
}

/// What requests may take. A guest may ask for shorter times, never for longer ones; its deadline bounds all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Requests of one invocation.
    pub requests_max: u32,
    /// Of those, at the same time.
    pub at_once_max: u32,
    /// Connections of the host at the same time.
    pub connections_max: u32,
    /// Of those, of one tenant.
    pub tenant_connections_max: u32,
    /// Bytes of the body of a request.
    pub request_bytes_max: u64,
    /// Bytes of the body of a response.
    pub response_bytes_max: u64,
    /// From the request to a connection: its turn, its name, TCP and TLS.
    pub connect_timeout: Duration,
    /// From a connection to the headers of the response.
    pub first_byte_timeout: Duration,
    /// Between two pieces of the body of the response.
    pub between_bytes_timeout: Duration,
}

impl Default for HttpLimits {
    /// A crawler of a thousand pages fits, a flood does not. 64 MiB is what an output may have, too.
    fn default() -> Self {
        Self {
            requests_max: 1_000,
            at_once_max: 16,
            connections_max: 512,
            tenant_connections_max: 128,
            request_bytes_max: 16 << 20,
            response_bytes_max: 64 << 20,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(30),
        }
    }
}

/// Names that are looked up at the same time: the C library takes a thread for each, for as long as it likes.
pub(super) const LOOKUPS_MAX: u32 = 16;
/// Of those, of one tenant.
const TENANT_LOOKUPS_MAX: u32 = 4;

/// What all guests' requests share: nothing of one is in it for another.
#[derive(Debug)]
pub(super) struct Client {
    limits: HttpLimits,
    resolver: Arc<dyn Resolve>,
    tls: Arc<ClientConfig>,
    connections: Shares,
    lookups: Shares,
    /// Owns lookups: they cannot be stopped, and keep their share until they end.
    tracker: TaskTracker,
}

impl Client {
    /// # Errors
    /// A file of authorities that cannot be read or holds none.
    pub(super) fn new(config: &HttpConfig) -> Result<Self, Error> {
        let limits = config.limits;
        Ok(Self {
            limits,
            resolver: Arc::clone(&config.resolver),
            tls: Arc::new(tls(config)?),
            connections: Shares::new(limits.connections_max, limits.tenant_connections_max),
            lookups: Shares::new(LOOKUPS_MAX, TENANT_LOOKUPS_MAX),
            tracker: TaskTracker::new(),
        })
    }
}

fn tls(config: &HttpConfig) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = &config.authorities {
        let failed = |message: String| Error::Engine {
            doing: "trust further authorities",
            message: format!("{}: {message}", file.display()),
        };
        let mut found = 0_usize;
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            found = found.saturating_add(1);
        }
        if found == 0 {
            return Err(failed("it holds no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Engine { doing: "set up TLS", message: error.to_string() })?;
    let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
    // A session that is resumed tells a server that two tenants share a host.
    tls.resumption = Resumption::disabled();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}
