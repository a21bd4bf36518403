//! The broker on NATS JetStream.
//!
//! **Invariant:** every operation ends within [`OPERATION_TIME_MAX`]; only `next` and a followed reading wait for longer.
//! **Invariant:** names and numbers of JetStream's API are written here and nowhere else.

mod bus;
mod link;
mod objects;
mod provision;
mod pull;
mod queues;
mod read;
pub mod server;
mod streams;
mod visit;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

pub use link::{Connection, OPERATION_TIME_MAX};

use crate::broker::{Broker, Error, Result, Settings, SystemClock};
use crate::model::Tenant;
use link::Link;

/// The oldest server that has all that Lovage uses (scheduled messages whose headers are kept, per-message time to live).
pub const VERSION_MIN: semver::Version = semver::Version::new(2, 14, 0);

/// Messages that one subscription holds for a slow reader before it loses some.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// The longest pause between two attempts to connect: a broker that is back is found within it.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of servers of one cluster, as in `nats://host:4222`; user and password, or a token, may be in them.
    pub urls: Vec<String>,
    /// A `.creds` file of a user.
    pub credentials: Option<PathBuf>,
    /// What the server's operator sees us as.
    pub name: String,
    /// The first tokens of subjects that we get answers on; `None` is `_INBOX`. Tenants' users must have one of their own.
    pub inbox_prefix: Option<String>,
    /// Whether to return before the first connection stands, and go on trying.
    pub retry_first: bool,
}

impl Options {
    /// Connects to `url` as `name`, once.
    #[must_use]
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], credentials: None, name: name.into(), inbox_prefix: None, retry_first: false }
    }
}

/// A connection to NATS, made anew for ever when it is lost. Cheap to clone.
#[derive(Clone)]
pub struct Nats {
    link: Link,
}

impl Nats {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no server answers (unless [`Options::retry_first`]), [`Error::Denied`] if it does not let us,
    /// [`Error::Unsuitable`] if it is older than [`VERSION_MIN`] or has no JetStream, [`Error::Other`] for options that are wrong.
    pub async fn connect(options: Options) -> Result<Self> {
        let addresses = options.urls.iter().map(|url| {
            url.parse::<ServerAddr>()
                .map_err(|error| Error::Other(format!("{url:?} is no address of a server: {error}")))
        });
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        let (sender, connection) = watch::channel(Connection::default());
        let mut connect = ConnectOptions::new()
            .name(&options.name)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                note(&sender, &event);
                std::future::ready(())
            });
        if let Some(prefix) = options.inbox_prefix {
            connect = connect.custom_inbox_prefix(prefix);
        }
        if options.retry_first {
            connect = connect.retry_on_initial_connect();
        }
        if let Some(path) = options.credentials {
            let shown = path.display().to_string();
            let read = connect.credentials_file(path).await;
            connect = read.map_err(|error| Error::Denied(format!("credentials {shown}: {error}")))?;
        }
        let client = connect.connect(addresses).await.map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Error::Denied(error.to_string())
            }
            ConnectErrorKind::ServerParse => Error::Other(error.to_string()),
            ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => Error::Unavailable(format!("{}: {error}", options.urls.join(", "))),
        })?;
        let mut nats = Self { link: Link { client, connection } };
        if !options.retry_first {
            nats.check()?;
            // Word of the connection comes by another task, a moment later. Without it only the wording of errors would differ.
            let word = nats.link.connection.wait_for(|connection| connection.connected);
            drop(tokio::time::timeout(OPERATION_TIME_MAX, word).await);
        }
        Ok(nats)
    }

    /// The ports.
    #[must_use]
    pub fn broker(&self) -> Broker {
        let link = Arc::new(self.link.clone());
        Broker {
            streams: link.clone(),
            queues: link.clone(),
            bus: link.clone(),
            objects: link,
            clock: Arc::new(SystemClock),
        }
    }

    /// Makes the streams and buckets that `tenant` needs, with the limits of `settings`; those that are there keep their limits.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] for a server that is too old, has no JetStream, or holds streams of these names with other rules.
    pub async fn provision(&self, tenant: &Tenant, settings: &Settings) -> Result<()> {
        self.check()?;
        provision::provision(&self.link, tenant, settings).await
    }

    /// The version of the server that we are connected to; `None` before the first connection.
    #[must_use]
    pub fn server_version(&self) -> Option<String> {
        self.link.client.try_server_info().map(|info| info.version)
    }

    /// Whether the connection stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.client.connection_state() == async_nats::connection::State::Connected
    }

    /// What becomes of the connection, for readiness: changes whenever it is lost or made anew.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.link.connection.clone()
    }

    /// Sends what is still to be sent, then closes the connection.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub async fn close(&self) -> Result<()> {
        self.link.client.drain().await.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Whether Lovage can work with this server.
    fn check(&self) -> Result<()> {
        let Some(info) = self.link.client.try_server_info() else {
            return Err(Error::Unavailable("no server has answered yet".to_owned()));
        };
        check_version(&info.version)?;
        if info.jetstream {
            Ok(())
        } else {
            Err(Error::Unsuitable(format!("nats-server {} runs without JetStream (start it with -js)", info.version)))
        }
    }
}

/// Whether a server of this version has what Lovage needs.
pub(crate) fn check_version(version: &str) -> Result<()> {
    let unsuitable =
        |why: &str| Error::Unsuitable(format!("nats-server {version} {why}; Lovage needs {VERSION_MIN} or later"));
    let parsed = semver::Version::parse(version).map_err(|_| unsuitable("has an unknown form of version"))?;
    // A preview of 2.14.0 sorts before it, and has its features.
    let release = semver::Version::new(parsed.major, parsed.minor, parsed.patch);
    if release < VERSION_MIN { Err(unsuitable("is too old")) } else { Ok(()) }
}

/// The pause before the n-th attempt to connect.
fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(6);
    (Duration::from_millis(20) * 2_u32.pow(doublings)).min(RECONNECT_PAUSE_MAX)
}

fn note(sender: &watch::Sender<Connection>, event: &Event) {
    match event {
        Event::Connected => {
            sender.send_modify(|connection| connection.connected = true);
        }
        Event::Disconnected => {
            tracing::warn!("the connection to the broker is lost");
            // Counted when it is lost, so that the first connection is none anew.
            sender.send_modify(|connection| {
                connection.connected = false;
                connection.reconnects += 1;
            });
        }
        Event::Closed => {
            sender.send_modify(|connection| connection.connected = false);
        }
        Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => {
            tracing::warn!(%event, "the connection to the broker");
        }
        Event::LameDuckMode => tracing::info!(%event, "the connection to the broker"),
        Event::Draining => tracing::debug!(%event, "the connection to the broker"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_are_too_old_are_named() {
        for version in ["2.14.0", "2.15.1", "2.14.0-preview.1", "3.0.0"] {
            assert!(check_version(version).is_ok(), "{version}");
        }
        for version in ["2.13.9", "2.9.10", "1.0.0", "", "new"] {
            let error = check_version(version).unwrap_err();
            assert!(matches!(&error, Error::Unsuitable(text) if text.contains(version)), "{error}");
        }
    }

    #[test]
    fn attempts_to_connect_are_never_more_than_a_second_apart() {
        assert_eq!(pause(1), Duration::from_millis(20));
        assert_eq!(pause(1_000_000), RECONNECT_PAUSE_MAX);
    }
}
