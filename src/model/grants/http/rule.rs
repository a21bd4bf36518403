//! One rule, as people write it: `GET,POST https://*.example.com:8443/v1/`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::host::{Host, HostPattern, InvalidHost};
use super::{HttpRequest, Scheme, path};

/// Which requests may be made: `[METHOD,...] SCHEME://HOST[:PORT,...][/PREFIX]`.
///
/// Without methods it means the usual ones (GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS). HOST is a name, an address, `*.` and a
/// name for all names below it, or `*` for all names. A port may be a range, `8000-8099`; without one it is the scheme's. PREFIX
/// is of whole segments: `/v1` is over `/v1/a`, not over `/v10`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpRule {
    /// Sorted; empty for the usual ones.
    methods: Vec<String>,
    scheme: Scheme,
    host: HostPattern,
    /// Ranges from a port to a port, sorted; never empty.
    ports: Vec<(u16, u16)>,
    /// `/` for every path.
    prefix: String,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// Longer than any that someone wrote.
    #[error("it is longer than {RULE_BYTES_MAX} bytes")]
    TooLong,
    /// Rules say how a request travels.
    #[error("it has no scheme: write https://{0}")]
    NoScheme(String),
    /// Guests speak HTTP.
    #[error("scheme '{0}' is not http or https")]
    Scheme(String),
    /// Nor may rules be about tunnels, or about requests that are sent back as they came.
    #[error("method '{0}' cannot be granted: methods are words in upper case, and neither CONNECT nor TRACE")]
    Method(String),
    /// Credentials do not belong in rules.
    #[error("it has a user before '@': a rule names a host alone, and credentials are secrets")]
    User,
    /// What is wrong with the host.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// Not a port, or too many.
    #[error("port '{0}' is not a number or a range of numbers from 1 to 65535 (at most {PORTS_MAX}, with ',' between)")]
    Port(String),
    /// A path that servers could read in two ways, or what comes after a path.
    #[error(
        "path '{0}' cannot be a prefix: no query, no fragment, no '*', no '.' or '..', no encoded '.', '/', '\\' or '%'"
    )]
    Path(String),
}

/// What fits on a line of a terminal or two.
const RULE_BYTES_MAX: usize = 1_024;
/// As many as have names, and some.
const METHODS_MAX: usize = 16;
/// A service listens on one or two; more are written as a range.
const PORTS_MAX: usize = 16;
/// The longest registered method has 17 bytes.
const METHOD_BYTES_MAX: usize = 24;

/// What a rule without methods grants.
const USUAL: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/// What no rule grants: a tunnel is no request, and TRACE shows what proxies added.
const NEVER: [&str; 2] = ["CONNECT", "TRACE"];

impl HttpRule {
    /// Whether it is about this request.
    #[must_use]
    pub fn matches(&self, request: &HttpRequest) -> bool {
        let method = request.method.as_str();
        let is_of_methods = match self.methods.as_slice() {
            [] => USUAL.contains(&method),
            methods => methods.iter().any(|this| this == method),
        };
        is_of_methods
            && self.scheme == request.scheme
            && self.ports.iter().any(|(first, last)| (*first..=*last).contains(&request.port))
            && self.host.matches(&request.host)
            && path::is_under(&request.path, &self.prefix)
    }

    /// Whether it names this host, rather than a pattern of hosts.
    #[must_use]
    pub fn names(&self, host: &Host) -> bool {
        matches!(&self.host, HostPattern::Exactly(this) if this == host)
    }
}

impl FromStr for HttpRule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let said = |text: &str| path::cut(text).to_owned();
        if text.len() > RULE_BYTES_MAX {
            return Err(InvalidRule::TooLong);
        }
        let text = text.trim();
        let (methods, url) = match text.split_once(char::is_whitespace) {
            Some((methods, url)) => (methods_of(methods)?, url.trim_start()),
            None => (Vec::new(), text),
        };
        let Some((scheme, rest)) = url.split_once("://") else { return Err(InvalidRule::NoScheme(said(url))) };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(InvalidRule::Scheme(said(other))),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, prefix) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(InvalidRule::User);
        }
        let (host, ports) = split_ports(authority);
        let host: HostPattern = host.parse()?;
        let ports = ports.map_or_else(|| Ok(vec![(scheme.port(), scheme.port())]), ports_of)?;
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        if !is_prefix(prefix) {
            return Err(InvalidRule::Path(said(prefix)));
        }
        Ok(Self { methods, scheme, host, ports, prefix: prefix.to_owned() })
    }
}

fn methods_of(text: &str) -> Result<Vec<String>, InvalidRule> {
    let mut methods: Vec<String> = Vec::new();
    for method in text.split(',') {
        let is_word = (1..=METHOD_BYTES_MAX).contains(&method.len())
            && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        if !is_word || NEVER.contains(&method) || methods.len() == METHODS_MAX {
            return Err(InvalidRule::Method(path::cut(method).to_owned()));
        }
        methods.push(method.to_owned());
    }
    methods.sort_unstable();
    methods.dedup();
    Ok(methods)
}

/// The colons of an IPv6 address are within its brackets.
fn split_ports(authority: &str) -> (&str, Option<&str>) {
    let after = authority.rfind(']').unwrap_or(0);
    match authority.get(after..).and_then(|rest| rest.find(':')).map(|at| authority.split_at_checked(after + at)) {
        Some(Some((host, ports))) => (host, Some(ports.strip_prefix(':').unwrap_or(ports))),
        Some(None) | None => (authority, None),
    }
}

fn ports_of(text: &str) -> Result<Vec<(u16, u16)>, InvalidRule> {
    let wrong = || InvalidRule::Port(path::cut(text).to_owned());
    // One form only: `+80` and `080` are ports to some.
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text);
    let mut ports: Vec<(u16, u16)> = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = port(first).zip(port(last)).filter(|(first, last)| first <= last).ok_or_else(wrong)?;
        if ports.len() == PORTS_MAX {
            return Err(wrong());
        }
        ports.push((first, last));
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn is_prefix(prefix: &str) -> bool {
    prefix.starts_with('/')
        && prefix
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'*' | b'"' | b'<' | b'>'))
        && path::is_plain(prefix)
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join(","))?;
        }
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.ports != [(self.scheme.port(), self.scheme.port())] {
            let range = |(first, last): &(u16, u16)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            };
            write!(f, ":{}", self.ports.iter().map(range).collect::<Vec<_>>().join(","))?;
        }
        if self.prefix == "/" { Ok(()) } else { f.write_str(&self.prefix) }
    }
}

impl TryFrom<String> for HttpRule {
    type Error = InvalidRule;

    fn try_from(text: String) -> Result<Self, InvalidRule> {
        text.parse()
    }
}

impl From<HttpRule> for String {
    fn from(rule: HttpRule) -> Self {
        rule.to_string()
    }
}
