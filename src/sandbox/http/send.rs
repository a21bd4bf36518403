//! One request, from the guest to the response's headers. The rest of the response passes through its body.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::body::{Receiving, Sending};
use super::connect::{Connection, connect};
use super::hooks::Ask;
use crate::model::grants::HttpRequest;

/// What a guest gets of a request: the response, and what carries its body for as long as that is read.
pub(super) type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// Bytes of the headers of a response, and of what is read ahead of its body.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Headers of a response.
const HEADERS_MAX: usize = 128;

/// Says who asks, where a guest does not: some services refuse whoever does not say so.
const AGENT: &str = concat!("lovage/", env!("CARGO_PKG_VERSION"));

/// The times of one request: the guest's, as far as the host's allow.
struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

/// Sends a request that rules have matched. `turn` is one of the few that the guest may have at a time.
pub(super) async fn send(
    ask: &Ask,
    request: Request<WasiBody>,
    target: &HttpRequest,
    options: Option<RequestOptions>,
    turn: OwnedSemaphorePermit,
) -> Sent {
    let times = times(ask, options);
    let connected = timeout(times.connect, connect(ask, target)).await;
    let Connection { stream, share } = connected.map_err(|_| Error::ConnectionTimeout)??;
    let request = outgoing(ask, request, target)?;
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(of_hyper)?;
    // It goes on while the response is awaited, and after that for as long as its handle is held.
    let carrier = spawn(connection);
    let answered = timeout(times.first_byte, sender.send_request(request)).await;
    let response = answered.map_err(|_| Error::HttpResponseTimeout)?.map_err(of_hyper)?;
    let max = ask.client.limits.response_bytes_max;
    let response = response.map(|body| Receiving::new(body, max, times.between_bytes).boxed_unsync());
    let carried = async move {
        let ended = carrier.await;
        drop((share, turn));
        ended.map_err(of_hyper)
    };
    Ok((response, Box::new(carried)))
}

fn times(ask: &Ask, options: Option<RequestOptions>) -> Times {
    let (limits, asked) = (&ask.client.limits, options.unwrap_or_default());
    let within = |asked: Option<Duration>, max: Duration| asked.map_or(max, |asked| asked.min(max));
    Times {
        connect: within(asked.connect_timeout, limits.connect_timeout),
        first_byte: within(asked.first_byte_timeout, limits.first_byte_timeout),
        between_bytes: within(asked.between_bytes_timeout, limits.between_bytes_timeout),
    }
}

/// The request as it is written: a path alone, for the host that was checked, on a connection of its own.
fn outgoing(ask: &Ask, request: Request<WasiBody>, target: &HttpRequest) -> Result<Request<Sending>, Error> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    parts.uri = Uri::try_from(path).map_err(|_| Error::HttpRequestUriInvalid)?;
    let host = if target.port == target.scheme.port() {
        target.host.to_string()
    } else {
        format!("{}:{}", target.host, target.port)
    };
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Error::HttpRequestUriInvalid);
    parts.headers.insert(HOST, value(&host)?);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    parts.headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    Ok(Request::from_parts(parts, Sending::new(body, ask.client.limits.request_bytes_max)))
}

/// What went wrong on a connection, in the words of `wasi:http`.
pub(super) fn of_hyper(error: hyper::Error) -> Error {
    let cause = std::error::Error::source(&error);
    if let Some(Error::HttpRequestBodySize(size)) = cause.and_then(|cause| cause.downcast_ref()) {
        return Error::HttpRequestBodySize(*size);
    }
    let is_cut = cause
        .and_then(|cause| cause.downcast_ref())
        .is_some_and(|cause: &std::io::Error| cause.kind() == std::io::ErrorKind::UnexpectedEof);
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(u32::try_from(HEAD_BYTES_MAX).ok())
    } else if error.is_incomplete_message() || is_cut {
        Error::HttpResponseIncomplete
    } else if error.is_parse() {
        Error::HttpProtocolError
    } else if error.is_canceled() || error.is_closed() {
        Error::ConnectionTerminated
    } else {
        Error::Hyper(error)
    }
}
