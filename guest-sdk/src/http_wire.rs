//! Requests as `wasi:http` has them.
//!
//! **Invariant:** a module that makes no request imports nothing of `wasi:http`: linkers drop what is not called.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    http_error_code,
};
use wasip2::io::streams::StreamError;

use crate::http::{Error, Request, Response, Url};

/// What is written at once: the interface takes no more.
const WRITE_BYTES: usize = 4_096;

/// What is read at once.
const READ_BYTES: u64 = 64 << 10;

pub(crate) fn send(request: &Request, url: &Url<'_>) -> Result<Response, Error> {
    let (outgoing, options) = outgoing(request, url)?;
    let body = if request.body.is_empty() {
        None
    } else {
        Some(outgoing.body().map_err(|()| invalid("content-length is no number"))?)
    };
    let pending = outgoing_handler::handle(outgoing, options).map_err(of)?;
    if let Some(body) = body {
        // A service that answers before it has read all is no failure: its answer tells.
        let written = write(&body, &request.body);
        match written.then(|| OutgoingBody::finish(body, None)) {
            None | Some(Ok(()) | Err(_)) => {}
        }
    }
    loop {
        match pending.get() {
            Some(Ok(Ok(response))) => return read(&response),
            Some(Ok(Err(code))) => return Err(of(code)),
            Some(Err(())) => return Err(Error::Failed("the response was taken twice".to_owned())),
            None => pending.subscribe().block(),
        }
    }
}

fn outgoing(request: &Request, url: &Url<'_>) -> Result<(OutgoingRequest, Option<RequestOptions>), Error> {
    let mut headers = request.headers.clone();
    let has_length = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !request.body.is_empty() && !has_length {
        headers.push(("content-length".to_owned(), request.body.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&headers).map_err(|error| invalid(&format!("a header: {error}")))?;
    let outgoing = OutgoingRequest::new(headers);
    let scheme = if url.is_tls { Scheme::Https } else { Scheme::Http };
    let path = (!url.path.is_empty()).then_some(url.path);
    outgoing.set_method(&method(&request.method)).map_err(|()| invalid("its method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("its scheme"))?;
    outgoing.set_authority(Some(url.authority)).map_err(|()| invalid("its host"))?;
    outgoing.set_path_with_query(path).map_err(|()| invalid("its path"))?;
    let options = match request.timeout {
        None => None,
        Some(timeout) => {
            let nanos = Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
            let options = RequestOptions::new();
            options.set_connect_timeout(nanos).map_err(|()| invalid("its timeout"))?;
            options.set_first_byte_timeout(nanos).map_err(|()| invalid("its timeout"))?;
            options.set_between_bytes_timeout(nanos).map_err(|()| invalid("its timeout"))?;
            Some(options)
        }
    };
    Ok((outgoing, options))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// Whether all of it was taken.
fn write(body: &OutgoingBody, bytes: &[u8]) -> bool {
    let Ok(stream) = body.write() else { return false };
    bytes.chunks(WRITE_BYTES).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok())
}

fn read(response: &IncomingResponse) -> Result<Response, Error> {
    let (status, headers) = (response.status(), response.headers().entries());
    let body: IncomingBody = response.consume().map_err(|()| Error::Failed("the body was taken twice".to_owned()))?;
    let stream = body.stream().map_err(|()| Error::Failed("the body was taken twice".to_owned()))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(more) => bytes.extend_from_slice(&more),
            Err(StreamError::Closed) => return Ok(Response { status, headers, body: bytes }),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(code) => of(code),
                    None => of_text(&error.to_debug_string()),
                });
            }
        }
    }
}

fn invalid(what: &str) -> Error {
    Error::Invalid(what.to_owned())
}

/// A failure in the middle of a body: hosts give some of them without their code.
fn of_text(text: &str) -> Error {
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.contains("timeout") {
        Error::Timeout(line)
    } else if line.contains("exceeds limit") {
        Error::TooLarge(line)
    } else {
        Error::Failed(line)
    }
}

fn of(code: ErrorCode) -> Error {
    let text = name(&code);
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Error::NotGranted(text),
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Error::Timeout(text),
        ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_) => Error::TooLarge(text),
        ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_) => Error::Invalid(text),
        _ => Error::Failed(text),
    }
}

/// As in `HttpRequestDenied`, with what the host says beyond it.
fn name(code: &ErrorCode) -> String {
    if let ErrorCode::DnsError(error) = code {
        return format!("DnsError: {}", error.rcode.as_deref().unwrap_or("no answer"));
    }
    let text = format!("{code:?}");
    text.strip_prefix("ErrorCode::").unwrap_or(&text).to_owned()
}
