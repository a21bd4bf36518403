//! Rules of outgoing HTTP: which requests a guest may make, and to which addresses.
//!
//! A request passes when a rule that the tenant granted and a rule that the operator allows both match it, and when every
//! address that its host stands for may be reached. All of that is decided here, without IO; the connection is made elsewhere,
//! to an address that was looked at here.
//!
//! **Invariant:** what no rule names is denied, and there are no rules by default.

mod host;
mod network;
mod path;
mod rule;

pub use host::{Host, InvalidHost};
pub use network::{InvalidNetwork, Network, special_range};
pub use rule::{HttpRule, InvalidRule};

use core::net::IpAddr;
use std::fmt;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The word before `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is named.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What rules look at in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// In upper case.
    pub method: String,
    /// How it travels.
    pub scheme: Scheme,
    /// Whom it is for.
    pub host: Host,
    /// Where that one listens.
    pub port: u16,
    /// From its first `/`, without the query.
    pub path: String,
}

impl fmt::Display for HttpRequest {
    /// As the rule that is missing would be written, without its path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}://{}", self.method, self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Requests that a guest may make: each needs a rule of its tenant's and one of the operator's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpScope {
    /// What its tenant granted at push.
    pub granted: Vec<HttpRule>,
    /// What the operator of the host allows.
    pub allowed: Vec<HttpRule>,
    /// Ranges that the operator opens, of those that are denied to everyone else.
    pub networks: Vec<Network>,
}

/// Why a request is refused before anything leaves the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rule of the module matches: its tenant can grant one at push.
    #[error("the module has no grant for {0}: push it with --grant 'http={0}'")]
    NotGranted(HttpRequest),
    /// The module has the grant, and the operator of this host allows no such request.
    #[error("this host does not allow {0}: its operator must name it in the http rules of the host's --allow file")]
    NotAllowed(HttpRequest),
    /// Rules match, and the host stands for an address that guests may not reach.
    #[error("{host} is at {address}, which is {range}: the operator of this host must open that network")]
    Address {
        /// Whom the request is for.
        host: Host,
        /// Where that one is.
        address: IpAddr,
        /// What is special about it.
        range: &'static str,
    },
}

impl HttpScope {
    /// Whether no request at all is possible.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.granted.is_empty() || self.allowed.is_empty()
    }

    /// Whether rules of both sides match a request.
    ///
    /// # Errors
    /// Which side has none.
    pub fn check(&self, request: &HttpRequest) -> Result<(), Denied> {
        if !self.granted.iter().any(|rule| rule.matches(request)) {
            return Err(Denied::NotGranted(request.clone()));
        }
        if !self.allowed.iter().any(|rule| rule.matches(request)) {
            return Err(Denied::NotAllowed(request.clone()));
        }
        Ok(())
    }

    /// Whether a request that rules match may go to this address, one of those that its host stands for.
    ///
    /// An address that is public may be reached; another only where the operator opened its network, or where the operator
    /// allows it by a rule that names this very address (the tenant's rule matches too, or the request would not be here).
    ///
    /// # Errors
    /// What is special about the address.
    pub fn check_address(&self, request: &HttpRequest, address: IpAddr) -> Result<(), Denied> {
        let is_named = request.host == Host::Address(address.to_canonical())
            && self.allowed.iter().any(|rule| rule.names(&request.host) && rule.matches(request));
        match special_range(address, &self.networks) {
            Some(range) if !is_named => Err(Denied::Address { host: request.host.clone(), address, range }),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
