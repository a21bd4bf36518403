//! The connection: one request, one answer, within a bounded time; and word of every reconnect.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::broker::{Error, Result};

/// The longest that one operation waits for the server's answer. A broker's failover takes about as long; who needs to
/// outlast one repeats the operation.
pub const OPERATION_TIME_MAX: Duration = Duration::from_secs(5);

/// How long what was sent may take to leave the process: a healthy connection takes microseconds.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// How long an answer may still take once the connection was made anew: what was not sent before is sent then. What the old
/// connection had in flight is never answered, and waiting [`OPERATION_TIME_MAX`] for it would only keep whoever repeats it.
const LATE_ANSWER_TIME_MAX: Duration = Duration::from_millis(500);

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether it stands.
    pub connected: bool,
    /// How often it has been made anew. What the old one had in flight is lost.
    pub reconnects: u64,
}

/// A client and what is known of its connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) connection: watch::Receiver<Connection>,
}

/// What JetStream says when it refuses.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    /// A number in the manner of HTTP.
    #[serde(default)]
    pub(super) code: u64,
    /// A number of JetStream's own.
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

/// An answer of the JetStream API: an error, or what was asked for.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Answer<T> {
    Refused { error: Refusal },
    Done(T),
}

impl Link {
    /// Sends and waits for the one answer.
    pub(super) async fn request(&self, subject: &str, headers: Option<HeaderMap>, payload: Bytes) -> Result<Message> {
        let size = payload.len();
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let answer = self.client.send_request(subject.to_owned(), request);
        let answered = tokio::select! {
            biased;
            answered = tokio::time::timeout(OPERATION_TIME_MAX, answer) => answered,
            () = self.made_anew() => return Err(Error::Unavailable(format!("{subject}: the connection was lost"))),
        };
        match answered {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => Error::NotFound(subject.to_owned()),
                RequestErrorKind::MaxPayloadExceeded => Error::TooLarge { size, max: self.client.max_payload() },
                RequestErrorKind::InvalidSubject => Error::Other(format!("{subject:?} is no subject")),
                RequestErrorKind::TimedOut | RequestErrorKind::Other => Error::Unavailable(error.to_string()),
            }),
            Err(_) => Err(self.silence(subject)),
        }
    }

    /// Returns when the connection was lost and made anew, and late answers have had their time.
    async fn made_anew(&self) {
        let mut connection = self.connection.clone();
        let before = connection.borrow().reconnects;
        if connection.wait_for(|now| now.connected && now.reconnects != before).await.is_err() {
            // Nothing more is told of the connection.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LATE_ANSWER_TIME_MAX).await;
    }

    /// Asks the JetStream API (`$JS.API.` before `verb`).
    pub(super) async fn api<T: DeserializeOwned>(&self, verb: &str, body: &serde_json::Value) -> Result<T> {
        match self.api_answer(verb, body).await? {
            Answer::Done(done) => Ok(done),
            Answer::Refused { error } => Err(error.into_error(verb)),
        }
    }

    /// Like [`Link::api`], for callers to whom a refusal is an answer.
    pub(super) async fn api_answer<T: DeserializeOwned>(
        &self,
        verb: &str,
        body: &serde_json::Value,
    ) -> Result<Answer<T>> {
        let message = self.request(&format!("$JS.API.{verb}"), None, body.to_string().into()).await?;
        serde_json::from_slice(&message.payload).map_err(|error| Error::Other(format!("{verb} answered: {error}")))
    }

    /// Returns when what was sent has left the process, within the bounded time.
    pub(super) async fn flush(&self) -> Result<()> {
        if !self.connection.borrow().connected {
            return Err(Error::Unavailable("the connection is lost".to_owned()));
        }
        match tokio::time::timeout(FLUSH_TIME_MAX, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
            Err(_) => Err(Error::Unavailable("what was sent did not leave in time".to_owned())),
        }
    }

    /// Sends without an answer, within the bounded time.
    pub(super) async fn send(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<()> {
        let size = payload.len();
        let (to, from) = (subject.to_owned(), reply.map(str::to_owned));
        let send = async {
            match (from, headers) {
                (None, None) => self.client.publish(to, payload).await,
                (None, Some(headers)) => self.client.publish_with_headers(to, headers, payload).await,
                (Some(from), None) => self.client.publish_with_reply(to, from, payload).await,
                (Some(from), Some(headers)) => {
                    self.client.publish_with_reply_and_headers(to, from, headers, payload).await
                }
            }
        };
        match tokio::time::timeout(OPERATION_TIME_MAX, send).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                async_nats::client::PublishErrorKind::MaxPayloadExceeded => {
                    Error::TooLarge { size, max: self.client.max_payload() }
                }
                async_nats::client::PublishErrorKind::InvalidSubject => {
                    Error::Other(format!("{subject:?} is no subject"))
                }
                async_nats::client::PublishErrorKind::Send => Error::Unavailable(error.to_string()),
            }),
            Err(_) => Err(self.silence(subject)),
        }
    }

    /// The error of an operation that got no answer in time.
    pub(super) fn silence(&self, subject: &str) -> Error {
        let seconds = OPERATION_TIME_MAX.as_secs();
        if self.connection.borrow().connected {
            Error::Unavailable(format!("no answer from {subject} within {seconds} s"))
        } else {
            Error::Unavailable(format!("not connected for {seconds} s"))
        }
    }
}

impl Refusal {
    /// The error that this refusal is, where the operation has no finer one for it.
    pub(super) fn into_error(self, what: &str) -> Error {
        match (self.code, self.err_code) {
            // Stream, consumer or message not found.
            (_, 10059 | 10014 | 10037) => Error::NotFound(what.to_owned()),
            // JetStream is off, for the server or for the account.
            (_, 10076 | 10039) => Error::Unsuitable(self.description),
            // Limits of the account or the server.
            (_, 10002 | 10023 | 10028 | 10047) => Error::Full { subject: what.to_owned() },
            (401 | 403, _) => Error::Denied(self.description),
            (503, _) => Error::Unavailable(self.description),
            _ => Error::Other(format!("{what}: {} ({})", self.description, self.err_code)),
        }
    }
}
