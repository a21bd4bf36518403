//! Requests over HTTP, granted by rule. Needs the feature `http`.
//!
//! A request is sent at once and awaited; redirects are not followed, so that the module's grants hold for each hop.
//!
//! ```no_run
//! use lovage_guest::{Failure, http};
//!
//! fn price(of: &str) -> Result<String, Failure> {
//!     let response = http::get(&format!("https://prices.example.com/v1/{of}"))?;
//!     match response.status {
//!         200 => Ok(response.text()?.to_owned()),
//!         404 => Err(Failure::permanent("there is no such thing")),
//!         status => Err(Failure::retryable(format!("the service answered {status}"))),
//!     }
//! }
//! ```

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::http_wire as wire;

/// A request that is not sent yet.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// What a service answered, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// As in 200.
    pub status: u16,
    /// Names are in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, as a whole.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No grant of the module, or none of the host's operator, is for this request. The task's log says which.
    NotGranted(String),
    /// The URL is none, or a header is none that a guest may set.
    Invalid(String),
    /// A step took longer than it may: the connection, the response, or a pause in it.
    Timeout(String),
    /// The request, the response or one of their parts is larger than the host lets pass.
    TooLarge(String),
    /// Anything else, such as a service that is away; another attempt may help.
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(code) => write!(f, "{code}: the request is not granted to this module, see its log"),
            Self::Invalid(what) => write!(f, "invalid request: {what}"),
            Self::Timeout(code) => write!(f, "the request took too long: {code}"),
            Self::TooLarge(code) => write!(f, "too large: {code}"),
            Self::Failed(code) => write!(f, "the request failed: {code}"),
        }
    }
}

impl std::error::Error for Error {}

/// Gets what is at a URL.
pub fn get(url: &str) -> Result<Response, Error> {
    Request::new("GET", url).send()
}

/// Posts a body to a URL.
pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Result<Response, Error> {
    Request::new("POST", url).body(body).send()
}

impl Request {
    /// A request without headers and body. `method` is in upper case; `url` begins with `http://` or `https://`.
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// Adds a header. Those that frame a message (`host`, `connection`, `transfer-encoding`) are the host's.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Bounds each step: the connection, the first byte of the response, each pause in it. The host's own bounds hold, too.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the whole response.
    pub fn send(self) -> Result<Response, Error> {
        let parts = Url::read(&self.url).ok_or_else(|| Error::Invalid(format!("{:?} is no URL", self.url)))?;
        wire::send(&self, &parts)
    }
}

impl Response {
    /// The first header of this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(this, _)| this.eq_ignore_ascii_case(name))?;
        str::from_utf8(value).ok()
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        str::from_utf8(&self.body)
    }

    /// The body read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// The parts of a URL that a request is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) is_tls: bool,
    pub(crate) authority: &'a str,
    /// With the query; empty for `/`.
    pub(crate) path: &'a str,
}

impl<'a> Url<'a> {
    fn read(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        // What comes after a '#' is for whoever asks.
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        (!authority.is_empty()).then_some(Self { is_tls, authority, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = |is_tls, authority, path| Some(Url { is_tls, authority, path });
        assert_eq!(Url::read("https://a.example"), url(true, "a.example", ""));
        assert_eq!(Url::read("HTTP://a.example:80/b?c#d"), url(false, "a.example:80", "/b?c"));
        assert_eq!(Url::read("http://[::1]:8080?q"), url(false, "[::1]:8080", "?q"));
        for text in ["", "a.example", "ftp://a.example", "https://", "https:///path"] {
            assert_eq!(Url::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_test_has_no_grant() {
        assert!(matches!(get("https://a.example"), Err(Error::NotGranted(_))));
        assert!(matches!(get("a.example"), Err(Error::Invalid(_))));
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let headers = vec![("content-type".to_owned(), b"text/html".to_vec()), ("x".to_owned(), vec![0xff])];
        let response = Response { status: 200, headers, body: b"[1]".to_vec() };
        assert_eq!(response.header("Content-Type"), Some("text/html"));
        assert_eq!((response.header("x"), response.header("y")), (None, None));
        assert_eq!(response.json::<Vec<u8>>().unwrap(), [1]);
    }
}
