//! Requests outside of WebAssembly: none is granted, so that a test which passes does not rest on a service.

use crate::http::{Error, Request, Response, Url};

pub(crate) fn send(request: &Request, url: &Url<'_>) -> Result<Response, Error> {
    let Request { method, headers, body, timeout, .. } = request;
    let Url { is_tls, authority, path } = url;
    eprintln!("request: {method} {authority}{path} (tls {is_tls}, {headers:?}, {} bytes, {timeout:?})", body.len());
    Err(Error::NotGranted("HttpRequestDenied".to_owned()))
}
