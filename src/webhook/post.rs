//! One request to a receiver: to an address that was checked, signed as Standard Webhooks has it, and bounded in time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::model::Timestamp;
use crate::model::grants::special_range;

/// How long one request may take, from the name to the status: receivers answer at once and work afterwards.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(15);

/// Sends requests.
pub(super) struct Post {
    tls: Arc<ClientConfig>,
    /// Whether addresses that are not public may be told, too.
    private: bool,
}

/// What is sent.
pub(super) struct Letter<'a> {
    pub(super) url: &'a str,
    /// In base64.
    pub(super) secret: &'a str,
    /// The same for every attempt.
    pub(super) id: String,
    pub(super) now: Timestamp,
    pub(super) body: Bytes,
}

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    #[error("the address {0} is none: it takes http:// or https:// and a name")]
    Address(String),
    #[error("{0} is {1}, and this platform's operator allows public addresses only")]
    Private(std::net::IpAddr, &'static str),
    #[error("the name was not found")]
    Name,
    #[error("no answer within {} s", REQUEST_TIME_MAX.as_secs())]
    Late,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Post {
    pub(super) fn new(private: bool) -> Result<Self, rustls::Error> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self { tls: Arc::new(config.with_root_certificates(roots).with_no_client_auth()), private })
    }

    /// Sends a letter; the status of the answer. Its body is not read, and a redirect is an answer like any other.
    pub(super) async fn send(&self, letter: &Letter<'_>) -> Result<u16, Unsent> {
        // What is dropped when time is up is the connection, too.
        tokio::time::timeout(REQUEST_TIME_MAX, self.exchange(letter)).await.map_err(|_| Unsent::Late)?
    }

    async fn exchange(&self, letter: &Letter<'_>) -> Result<u16, Unsent> {
        let none = || Unsent::Address(letter.url.to_owned());
        let uri: Uri = letter.url.parse().map_err(|_| none())?;
        let host = uri.host().ok_or_else(none)?.trim_matches(['[', ']']).to_owned();
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(none()),
        };
        let tcp = self.connect(&host, uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 })).await?;
        let stream: Box<dyn Stream> = if is_tls {
            let name = ServerName::try_from(host).map_err(|_| none())?;
            Box::new(TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await?)
        } else {
            Box::new(tcp)
        };
        let request = request(letter, &uri).map_err(|_| none())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer?.status().as_u16()),
            ended = connection => ended?,
        }
        // The answer may have come with the end of its connection.
        Ok(answer.await?.status().as_u16())
    }

    /// Connects to the host, all of whose addresses must be such as may be told.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Unsent> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| Unsent::Name)?;
        let addresses: Vec<SocketAddr> = found.collect();
        if !self.private
            && let Some((address, range)) =
                addresses.iter().find_map(|address| Some((address.ip(), special_range(address.ip(), &[])?)))
        {
            return Err(Unsent::Private(address, range));
        }
        if addresses.is_empty() {
            return Err(Unsent::Name);
        }
        Ok(TcpStream::connect(&addresses[..]).await?)
    }
}

fn request(letter: &Letter<'_>, uri: &Uri) -> Result<Request<Full<Bytes>>, axum::http::Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    // In seconds, as the receiver compares it with its own clock.
    let timestamp = (letter.now.as_millis() / 1_000).to_string();
    let signature = signature(letter.secret, &letter.id, &timestamp, &letter.body);
    Request::post(path)
        .header(header::HOST, host.unwrap_or_default())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("lovage/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .header("webhook-id", &letter.id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(Full::new(letter.body.clone()))
}

/// `v1,` and the HMAC-SHA256 of `id.timestamp.body`, in base64.
fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let secret = STANDARD.decode(secret).unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standards_example() {
        // From the reference implementation of Standard Webhooks.
        let signature = signature(
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn private_addresses_are_told_nothing_unless_the_operator_allows_it() {
        let letter = |url| Letter { url, secret: "", id: String::new(), now: Timestamp::default(), body: Bytes::new() };
        let post = Post::new(false).unwrap();
        for url in ["http://127.0.0.1:9/", "http://localhost:9/x", "http://[::1]:9/", "https://169.254.169.254/latest"]
        {
            assert!(matches!(post.send(&letter(url)).await, Err(Unsent::Private(..))), "{url}");
        }
        for url in ["ftp://example.com/", "example.com", "http://", ""] {
            assert!(matches!(post.send(&letter(url)).await, Err(Unsent::Address(_))), "{url}");
        }
    }
}
