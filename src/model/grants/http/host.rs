//! Hosts: names and addresses, in one form each, and patterns of them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

/// Whom a request is for. An IPv4 address in IPv6 clothes is the IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name in lower case, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Which hosts a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum HostPattern {
    /// `*`: every name. An address is none: it has to be named.
    AnyName,
    /// `*.example.com`: every name below this one, and not this one itself.
    Below(String),
    /// This name or address.
    Exactly(Host),
}

/// Why a text is no host, or no pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// Nothing between the scheme and the path.
    #[error("it names no host")]
    Empty,
    /// Names of the DNS are ASCII; others have a form in it.
    #[error("host '{0}' is not ASCII: write it in Punycode, as browsers send it (xn--...)")]
    NotAscii(String),
    /// One form only.
    #[error("host '{0}' has upper case: write it in lower case")]
    UpperCase(String),
    /// The same host without its dot, to some; another, to others.
    #[error("host '{0}' ends with a dot: leave it out")]
    TrailingDot(String),
    /// A `*` that is not the whole first label.
    #[error("host '{0}': a '*' stands alone, for every name, or first, as in *.example.com")]
    Wildcard(String),
    /// `0x7f.1` and `2130706433` are addresses to some resolvers.
    #[error("host '{0}' ends in a number and is no IPv4 address of four decimal numbers")]
    Number(String),
    /// Brackets, or what is between them.
    #[error("host '{0}' is no IPv6 address in brackets, as in [2001:db8::1]")]
    Bracket(String),
    /// A character that names do not have, an empty label, or one that is too long.
    #[error("host '{0}' is no name: labels of 1 to 63 letters, digits, '-' or '_', with dots between them, 253 in all")]
    Name(String),
}

/// Of the DNS.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl Host {
    /// The host of a request, whose case does not matter.
    ///
    /// # Errors
    /// Whatever is no host.
    pub fn of_request(text: &str) -> Result<Self, InvalidHost> {
        text.to_ascii_lowercase().parse()
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let said = || super::path::cut(text).to_owned();
        if text.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if text.starts_with('[') || text.ends_with(']') {
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            let address: Option<Ipv6Addr> = inner.and_then(|text| text.parse().ok());
            let address = address.ok_or_else(|| InvalidHost::Bracket(said()))?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if !text.is_ascii() {
            return Err(InvalidHost::NotAscii(said()));
        }
        if text.contains('*') {
            return Err(InvalidHost::Wildcard(said()));
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidHost::UpperCase(said()));
        }
        if text.ends_with('.') {
            return Err(InvalidHost::TrailingDot(said()));
        }
        if text.len() > NAME_BYTES_MAX || !text.split('.').all(is_label) {
            return Err(InvalidHost::Name(said()));
        }
        if text.rsplit('.').next().is_some_and(is_number) {
            let address: Ipv4Addr = text.parse().map_err(|_| InvalidHost::Number(said()))?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

fn is_label(label: &str) -> bool {
    let fits = (1..=LABEL_BYTES_MAX).contains(&label.len());
    let edges = !label.starts_with('-') && !label.ends_with('-');
    fits && edges && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What the parsers of the C library and of browsers take for the last part of an address.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    label.bytes().all(|byte| byte.is_ascii_digit()) || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl HostPattern {
    /// Whether a host is one of these.
    #[must_use]
    pub(super) fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exactly(this), host) => this == host,
            (Self::AnyName, Host::Name(_)) => true,
            (Self::Below(parent), Host::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
            (Self::AnyName | Self::Below(_), Host::Address(_)) => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text == "*" {
            return Ok(Self::AnyName);
        }
        let Some(parent) = text.strip_prefix("*.") else { return text.parse().map(Self::Exactly) };
        match parent.parse()? {
            Host::Name(parent) => Ok(Self::Below(parent)),
            Host::Address(_) => Err(InvalidHost::Wildcard(super::path::cut(text).to_owned())),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyName => f.write_str("*"),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Exactly(host) => write!(f, "{host}"),
        }
    }
}
