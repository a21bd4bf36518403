//! A guest's side of HTTP: what it asks for is held against its grants, counted, and charged.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{EXPECT, HeaderName, TE, TRAILER, VIA};
use hyper::http::uri::Authority;
use hyper::{Request, Uri};
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks,
};

use super::Client;
use super::send::{Sent, send};
use crate::model::grants::{Denied, Granted, Host, HttpRequest, Scheme};
use crate::model::{Failure, Kind, Level, Outcome, Tenant};
use crate::sandbox::notes::{Notes, cut};

/// Bytes of a guest's headers, with what each costs in memory. Most servers take 8 KiB.
const FIELDS_BYTES_MAX: usize = 32 << 10;

/// Bytes of a request's body that wait on the host's side: none of the guest's limits counts them.
const CHUNK_BYTES_MAX: usize = 16 << 10;

/// What a request costs besides its host calls, as what a host spends on it: about 100 us of a core.
const REQUEST_FUEL: u64 = 2_000_000;

/// Text of a guest's failure that is kept where ours is put before it.
const SAID_BYTES_MAX: usize = 4 << 10;

/// HTTP of one invocation. What it holds beyond a few words is there only for modules that import it.
pub(in crate::sandbox) struct Outgoing {
    fields: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    ask: Option<Arc<Ask>>,
    requests_left: u32,
    /// Fuel that is not yet charged.
    owed: u64,
}

/// What every request of an invocation needs.
pub(super) struct Ask {
    pub(super) client: Arc<Client>,
    pub(super) granted: Arc<Granted>,
    pub(super) tenant: Tenant,
    notes: Notes,
    turns: Arc<Semaphore>,
    /// The last refusal.
    denied: Mutex<Option<String>>,
}

impl Ask {
    /// Notes a refusal, for whoever reads the log, and turns it into what the guest is told: not which rules there are.
    pub(super) fn deny(&self, denied: &Denied) -> Error {
        let text = denied.to_string();
        self.notes.say(Level::Warn, &format!("http: {text}"));
        *self.denied.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        match denied {
            Denied::NotGranted(_) | Denied::NotAllowed(_) => Error::HttpRequestDenied,
            Denied::Address { .. } => Error::DestinationIpProhibited,
        }
    }
}

impl Outgoing {
    /// HTTP within `granted`; without a client, for modules that do not import it, no request at all.
    pub(in crate::sandbox) fn new(
        client: Option<&Arc<Client>>,
        granted: &Arc<Granted>,
        tenant: &Tenant,
        notes: &Notes,
    ) -> Self {
        let mut fields = WasiHttpCtx::new();
        fields.set_field_size_limit(FIELDS_BYTES_MAX);
        let ask = client.map(|client| {
            Arc::new(Ask {
                client: Arc::clone(client),
                granted: Arc::clone(granted),
                tenant: tenant.clone(),
                notes: notes.clone(),
                turns: Arc::new(Semaphore::new(client.limits.at_once_max as usize)),
                denied: Mutex::default(),
            })
        });
        let requests_left = client.map_or(0, |client| client.limits.requests_max);
        Self { fields, hooks: Hooks { ask, requests_left, owed: 0 } }
    }

    pub(in crate::sandbox) const fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.fields, table, hooks: &mut self.hooks }
    }

    /// The fuel that requests cost since it was last asked.
    pub(in crate::sandbox) const fn take_owed(&mut self) -> u64 {
        std::mem::replace(&mut self.hooks.owed, 0)
    }

    /// The outcome, under its right name: a guest that fails because a request was refused, and says so, was not granted it.
    pub(in crate::sandbox) fn explain(&self, outcome: Outcome, telling_line: impl FnOnce() -> String) -> Outcome {
        let Some(ask) = &self.hooks.ask else { return outcome };
        let Outcome::Failed(failure) = outcome else { return outcome };
        let denied = ask.denied.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_own = matches!(failure.kind, Kind::Returned | Kind::Refused | Kind::Trap);
        Outcome::Failed(match denied {
            Some(denied) if is_own && (tells(&failure.message) || tells(&telling_line())) => {
                let said = cut(&failure.message, SAID_BYTES_MAX);
                Failure::new(Kind::NotGranted, denied).with_detail(serde_json::json!({ "task_said": said }))
            }
            Some(_) | None => failure,
        })
    }
}

/// Whether a text holds the code of a refusal, in the spelling of any language: `HTTP-request-denied`, `HttpRequestDenied`; or the
/// words in which `fetch` hides every code from its script.
fn tells(text: &str) -> bool {
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
    ["httprequestdenied", "destinationipprohibited", "networkerrorwhenattemptingtofetch"]
        .iter()
        .any(|word| letters.contains(word))
}

impl Hooks {
    /// What a request is for, if its rules allow it and the guest may have one more.
    fn admit(&mut self, request: &Request<WasiBody>) -> Result<(Arc<Ask>, HttpRequest), Error> {
        let ask = Arc::clone(self.ask.as_ref().ok_or(Error::HttpRequestDenied)?);
        let target = target(request)?;
        ask.granted.http.check(&target).map_err(|denied| ask.deny(&denied))?;
        self.requests_left = self.requests_left.checked_sub(1).ok_or(Error::ConnectionLimitReached)?;
        Ok((ask, target))
    }
}

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        self.owed = self.owed.saturating_add(REQUEST_FUEL);
        let admitted = self.admit(&request);
        Box::new(async move {
            let (ask, target) = admitted?;
            let turn = Arc::clone(&ask.turns).try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?;
            send(&ask, request, &target, options, turn).await
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(%error, "a guest's request failed");
        if error.is_timeout() { ErrorCode::HttpResponseTimeout } else { ErrorCode::ConnectionTerminated }
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(%error, "a guest's request could not connect");
        if error.kind() == ErrorKind::ConnectionRefused {
            ErrorCode::ConnectionRefused
        } else if error.kind() == ErrorKind::TimedOut {
            ErrorCode::ConnectionTimeout
        } else {
            ErrorCode::DestinationUnavailable
        }
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(%error, "a guest's request could not agree on TLS");
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(_)) => ErrorCode::TlsCertificateError,
            Some(_) | None => ErrorCode::TlsProtocolError,
        }
    }
}

/// Headers that frame a message, or speak for the connection, are the host's.
fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name) || [TE, TRAILER, EXPECT, VIA].contains(name)
}

/// What rules look at in a request.
fn target(request: &Request<WasiBody>) -> Result<HttpRequest, Error> {
    let uri = request.uri();
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(_) | None => return Err(Error::HttpProtocolError),
    };
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let host = Host::of_request(authority.host()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let port = port(authority, scheme).ok_or(Error::HttpRequestUriInvalid)?;
    Ok(HttpRequest { method: request.method().as_str().to_owned(), scheme, host, port, path: path(uri) })
}

fn path(uri: &Uri) -> String {
    if uri.path().starts_with('/') { uri.path().to_owned() } else { format!("/{}", uri.path()) }
}

/// The port of an authority that is a host, and a port at most: there is no place for a user in it.
fn port(authority: &Authority, scheme: Scheme) -> Option<u16> {
    let rest = authority.as_str().strip_prefix(authority.host())?;
    if rest.is_empty() {
        return Some(scheme.port());
    }
    let text = rest.strip_prefix(':')?;
    text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::FutureExt as _;
    use http_body_util::{BodyExt as _, Empty};
    use tokio::sync::mpsc;

    use super::super::{HttpConfig, HttpLimits};
    use super::*;
    use crate::model::Timestamp;
    use crate::model::grants::HttpScope;
    use crate::sandbox::mask::Mask;
    use crate::sandbox::notes::Clock;

    fn of(uri: &str) -> Result<String, ()> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::builder().method("POST").uri(uri).body(body).map_err(drop)?;
        let target = target(&request).map_err(drop)?;
        Ok(format!("{target} {}", target.path))
    }

    #[test]
    fn what_a_request_is_for_has_one_form() {
        for (uri, form) in [
            ("https://API.Example.com/a?b", "POST https://api.example.com /a"),
            ("https://api.example.com:443", "POST https://api.example.com /"),
            ("http://api.example.com:443/", "POST http://api.example.com:443 /"),
            ("http://[::ffff:10.0.0.1]:80/", "POST http://10.0.0.1 /"),
            ("http://[::1]:8080/", "POST http://[::1]:8080 /"),
        ] {
            assert_eq!(of(uri).as_deref(), Ok(form), "{uri}");
        }
        for uri in [
            "https://user@api.example.com/",
            "https://user:word@api.example.com/",
            "https://allowed.example@169.254.169.254/",
            "https://api.example.com:/",
            "https://api.example.com:0/",
            "https://api.example.com:080/",
            "https://api.example.com:65616/",
            "https://api.example.com./",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://127.1/",
            "https://0177.0.0.1/",
            "https://[fe80::1%25lo]/",
            "ftp://api.example.com/",
            "/path",
        ] {
            assert_eq!(of(uri), Err(()), "{uri}");
        }
    }

    fn hooks(at_once_max: u32, rule: &str) -> Hooks {
        let limits = HttpLimits { at_once_max, ..HttpLimits::default() };
        let client = Client::new(&HttpConfig { limits, ..HttpConfig::default() }).unwrap();
        let rules = || vec![rule.parse().unwrap()];
        let http = HttpScope { granted: rules(), allowed: rules(), networks: Vec::new() };
        let clock = Clock { handed_over: Timestamp::default(), since: Instant::now() };
        let notes = Notes::new(mpsc::channel(1).0, clock, Mask::default(), 0);
        let granted = Arc::new(Granted { http, ..Granted::default() });
        Outgoing::new(Some(&Arc::new(client)), &granted, &Tenant::default_tenant(), &notes).hooks
    }

    #[tokio::test]
    async fn a_guest_has_so_many_requests_at_a_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", silent.local_addr().unwrap());
        let mut hooks = hooks(1, &uri);
        let mut ask = || {
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let request = Request::builder().uri(format!("{uri}/")).body(body).unwrap();
            Box::into_pin(hooks.send_request(request, None, Box::new(async { Ok(()) })))
        };
        let (mut first, mut second, mut third) = (ask(), ask(), ask());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(matches!(second.as_mut().now_or_never(), Some(Err(Error::ConnectionLimitReached))));
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "a request that is given up makes room");
    }

    #[test]
    fn a_refusal_is_recognised_in_the_words_of_any_language() {
        for text in [
            "ErrorCode::HttpRequestDenied",
            "HTTP-request-denied: x",
            "ErrorCode_HttpRequestDenied()",
            "destination-IP-prohibited",
            "no answer: NetworkError when attempting to fetch resource",
        ] {
            assert!(tells(text), "{text}");
        }
        assert!(!tells("the request was denied"));
    }
}
