//! Stored messages on JetStream: publish, look up, purge.

use async_nats::HeaderMap;
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::json;

use super::link::{Answer, Link, Refusal};
use super::{read, wire};
use crate::broker::{Error, Message, Publish, Result, Start, Stored, Streams};
use crate::model::Timestamp;
use crate::protocol::Stream;
use crate::protocol::stream::Retention;

/// "No message found", of the leader.
const NO_MESSAGE: u64 = 10037;

/// What acknowledges a publish, or refuses it: read without the detour of [`Answer`], since most messages pass here.
#[derive(Deserialize)]
struct Acknowledged {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

/// A message as the leader sends it.
#[derive(Deserialize)]
struct Raw {
    message: RawMessage,
}

#[derive(Deserialize)]
struct RawMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
    time: String,
}

#[async_trait]
impl Streams for Link {
    async fn publish(&self, publish: Publish) -> Result<Stored> {
        let headers = headers_of(&publish)?;
        let headers = (!headers.is_empty()).then_some(headers);
        let size = publish.payload.len();
        let answer = self.request(&publish.subject, headers, publish.payload).await?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Acknowledged { error: Some(error), .. }) => Err(refused(publish.subject, size, error)),
            Ok(Acknowledged { seq, duplicate, error: None }) => Ok(Stored { sequence: seq, duplicate }),
            Err(error) => Err(Error::Other(format!("publish to {} answered: {error}", publish.subject))),
        }
    }

    async fn last(&self, subject: &str) -> Result<Option<Message>> {
        let stream = stream_of(subject)?;
        if stream.rules().direct_reads {
            self.last_direct(&stream.name(), subject).await
        } else {
            self.ask_leader(&stream.name(), &json!({ "last_by_subj": subject })).await
        }
    }

    async fn purge(&self, subject: &str) -> Result<u64> {
        let stream = stream_of(subject)?;
        if stream.rules().retention == Retention::WorkQueue {
            return self.delete_each(&stream.name(), subject).await;
        }
        let verb = format!("STREAM.PURGE.{}", stream.name());
        let purged: Purged = self.api(&verb, &json!({ "filter": subject })).await?;
        Ok(purged.purged)
    }

    async fn read(&self, subject: &str, start: Start, follow: bool) -> Result<BoxStream<'static, Result<Message>>> {
        read::begin(self, stream_of(subject)?, subject, start, follow).await
    }
}

impl Link {
    /// The last message on `subject`, from any replica.
    pub(super) async fn last_direct(&self, stream: &str, subject: &str) -> Result<Option<Message>> {
        let body = json!({ "last_by_subj": subject }).to_string();
        let message = self.request(&format!("$JS.API.DIRECT.GET.{stream}"), None, body.into()).await?;
        match message.status.map(|status| status.as_u16()) {
            None => wire::direct(message).map(Some),
            Some(404) => Ok(None),
            Some(status) => Err(Error::Other(format!("direct get of {subject}: {status}"))),
        }
    }

    /// Deletes the messages on `subject` one by one. A server's purge (2.15.1, seen) makes the consumers of a work queue forget
    /// what they have out on other subjects too: those would never be delivered again. A deletion touches one message.
    async fn delete_each(&self, stream: &str, subject: &str) -> Result<u64> {
        let verb = format!("STREAM.MSG.DELETE.{stream}");
        let (mut deleted, mut refused) = (0, None);
        while let Some(message) = self.ask_leader(stream, &json!({ "last_by_subj": subject })).await? {
            let which = json!({ "seq": message.sequence, "no_erase": true });
            match self.api_answer::<serde_json::Value>(&verb, &which).await? {
                Answer::Done(_) => deleted += 1,
                // It may have been finished meanwhile; one that is there still cannot be deleted.
                Answer::Refused { error } if refused == Some(message.sequence) => return Err(error.into_error(&verb)),
                Answer::Refused { .. } => refused = Some(message.sequence),
            }
        }
        Ok(deleted)
    }

    /// A message from the stream's leader.
    pub(super) async fn ask_leader(&self, stream: &str, which: &serde_json::Value) -> Result<Option<Message>> {
        let verb = format!("STREAM.MSG.GET.{stream}");
        match self.api_answer::<Raw>(&verb, which).await? {
            Answer::Done(raw) => raw.message.into_message().map(Some),
            Answer::Refused { error } if error.err_code == NO_MESSAGE => Ok(None),
            Answer::Refused { error } => Err(error.into_error(&verb)),
        }
    }
}

impl RawMessage {
    fn into_message(self) -> Result<Message> {
        let decode = |text: &str| {
            BASE64_STANDARD.decode(text).map_err(|_| Error::Other(format!("message {} is no base64", self.seq)))
        };
        let time: Timestamp =
            self.time.parse().map_err(|_| Error::Other(format!("message {} has no time", self.seq)))?;
        Ok(Message {
            headers: wire::parse_headers(&decode(&self.hdrs)?),
            payload: Bytes::from(decode(&self.data)?),
            subject: self.subject,
            sequence: self.seq,
            time,
            reply: None,
        })
    }
}

/// The stream that captures `subject`.
pub(super) fn stream_of(subject: &str) -> Result<Stream> {
    Stream::of(subject).ok_or_else(|| Error::NotFound(subject.to_owned()))
}

/// The headers of a publish: its own, and those that tell JetStream what to do.
fn headers_of(publish: &Publish) -> Result<HeaderMap> {
    let mut map = wire::header_map(&publish.headers)?;
    if let Some(sequence) = publish.expect {
        wire::append(&mut map, "Nats-Expected-Last-Subject-Sequence", &sequence.to_string())?;
    }
    if let Some(id) = &publish.message_id {
        wire::append(&mut map, "Nats-Msg-Id", id)?;
    }
    if let Some(seconds) = publish.ttl_seconds() {
        wire::append(&mut map, "Nats-TTL", &seconds.to_string())?;
    } else if publish.lasting {
        wire::append(&mut map, "Nats-TTL", "never")?;
    }
    if let Some(schedule) = &publish.schedule {
        wire::append(&mut map, "Nats-Schedule", &format!("@at {}", schedule.at))?;
        wire::append(&mut map, "Nats-Schedule-Target", &schedule.target)?;
    }
    Ok(map)
}

/// The error of a refused publish.
fn refused(subject: String, size: usize, refusal: Refusal) -> Error {
    match refusal.err_code {
        10071 | 10164 => Error::Conflict { subject },
        // "maximum messages per subject exceeded", told from "maximum messages exceeded" and "maximum bytes exceeded" by its
        // text alone; the conformance suite pins it.
        10077 if refusal.description.contains("per subject") => Error::Occupied { subject },
        10077 if refusal.description.contains("maximum") => Error::Full { subject },
        10054 => Error::TooLarge { size, max: 0 },
        _ => refusal.into_error(&subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let refusal =
            |code, err_code, description: &str| Refusal { code, err_code, description: description.to_owned() };
        let error = |r| format!("{:?}", refused("s".to_owned(), 3, r));
        assert!(error(refusal(400, 10071, "wrong last sequence: 4")).starts_with("Conflict"));
        assert!(error(refusal(400, 10077, "maximum messages per subject exceeded")).starts_with("Occupied"));
        assert!(error(refusal(400, 10077, "maximum messages exceeded")).starts_with("Full"));
        assert!(error(refusal(503, 10077, "write /data: no space left on device")).starts_with("Unavailable"));
        assert!(error(refusal(503, 10008, "JetStream system temporarily unavailable")).starts_with("Unavailable"));
        assert!(error(refusal(503, 10076, "JetStream not enabled")).starts_with("Unsuitable"));
        assert!(error(refusal(400, 10190, "target")).starts_with("Other"));
    }
}
