//! A connection to a host that was checked: name, address, TCP, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error;

use super::hooks::Ask;
use super::share::Share;
use crate::model::grants::{Host, HttpRequest, Scheme};

/// Addresses of one name that are looked at; a name with more of them is not trusted to be what it says.
const ADDRESSES_MAX: usize = 64;

/// Addresses of one name that are tried: some of a few are always up.
const TRIES_MAX: usize = 4;

/// How long one address may take while there is another to try.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes in both directions, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, with its share of all that the host has.
pub(super) struct Connection {
    pub(super) stream: Box<dyn Stream>,
    pub(super) share: Share,
}

/// Connects to the host of a request that rules have matched.
pub(super) async fn connect(ask: &Ask, request: &HttpRequest) -> Result<Connection, Error> {
    let share = ask.client.connections.take(&ask.tenant).await.ok_or(Error::ConnectionLimitReached)?;
    let addresses = addresses(ask, &request.host).await?;
    for address in &addresses {
        ask.granted.http.check_address(request, *address).map_err(|denied| ask.deny(&denied))?;
    }
    let tcp = tcp(&addresses, request.port).await?;
    let stream: Box<dyn Stream> = match request.scheme {
        Scheme::Http => Box::new(tcp),
        Scheme::Https => {
            let connector = TlsConnector::from(Arc::clone(&ask.client.tls));
            Box::new(connector.connect(server_name(&request.host)?, tcp).await.map_err(Error::Tls)?)
        }
    };
    Ok(Connection { stream, share })
}

/// All addresses of a host.
async fn addresses(ask: &Ask, host: &Host) -> Result<Vec<IpAddr>, Error> {
    let name = match host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name.clone(),
    };
    let share = ask.client.lookups.take(&ask.tenant).await.ok_or(Error::DnsTimeout)?;
    let resolver = Arc::clone(&ask.client.resolver);
    // Whoever asked may be gone before the answer is there: the share stays with the lookup, which takes a thread until then.
    let lookup = ask.client.tracker.spawn(async move {
        let found = resolver.resolve(&name).await;
        drop(share);
        found
    });
    let none = |rcode: &str| Error::DnsError { rcode: Some(rcode.to_owned()), info_code: None };
    match lookup.await {
        Ok(Ok(found)) if found.is_empty() => Err(none("no address")),
        Ok(Ok(found)) if found.len() > ADDRESSES_MAX => Err(none("too many addresses")),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) | Err(_) => Err(none("name not found")),
    }
}

/// The first of some addresses that answers.
async fn tcp(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationUnavailable;
    let tried = addresses.len().min(TRIES_MAX);
    for (n, address) in addresses.iter().take(tried).enumerate() {
        let connecting = TcpStream::connect(SocketAddr::new(*address, port));
        let connected = if n.saturating_add(1) == tried {
            Ok(connecting.await)
        } else {
            tokio::time::timeout(TRY_TIMEOUT, connecting).await
        };
        match connected {
            Ok(Ok(stream)) => {
                // Only a matter of speed.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Ok(Err(error)) => last = Error::Connect(error),
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid),
    }
}
