//! A run's journal as it stands, for whoever keeps or examines it: one JSON object a record.

use std::collections::BTreeMap;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{BoxStream, Peekable};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Client, Error};
use crate::broker::{Message, Start};
use crate::model::RunId;
use crate::protocol::subject;

/// The version of the form, in each line.
pub const EXPORT_VERSION: u32 = 1;

/// A record of a journal, as it was written: what cannot be read is exported too.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedRecord {
    /// [`EXPORT_VERSION`].
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// What it is: the end of its subject, as in `step.0-1.1`.
    pub record: String,
    /// Where it stands in the stream.
    pub sequence: u64,
    /// When it was stored, RFC 3339.
    pub time: String,
    /// Its headers, without those of the server's own protocol.
    pub headers: BTreeMap<String, String>,
    /// Its body as JSON; left out where it is empty or no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// Its body in base64, where it is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl ExportedRecord {
    fn of(run: &RunId, prefix: usize, message: &Message) -> Self {
        let own =
            |(name, value): (&str, &str)| (!name.starts_with("Nats-")).then(|| (name.to_owned(), value.to_owned()));
        let body = one_line(&message.payload);
        let unread = body.is_none() && !message.payload.is_empty();
        Self {
            v: EXPORT_VERSION,
            run: run.clone(),
            record: message.subject.get(prefix..).unwrap_or_default().to_owned(),
            sequence: message.sequence,
            time: message.time.to_string(),
            headers: message.headers.iter().filter_map(own).collect(),
            body,
            base64: unread.then(|| STANDARD.encode(&message.payload)),
        }
    }
}

/// JSON without line breaks, which stand between its parts only.
fn one_line(body: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(body).ok()?.replace(['\n', '\r'], " ");
    RawValue::from_string(text.trim().to_owned()).ok()
}

impl Client {
    /// The records of a run as they were written, in the order of the stream.
    ///
    /// # Errors
    /// An unknown run, and what the broker fails with.
    pub async fn export_run(&self, run: &RunId) -> Result<BoxStream<'static, Result<ExportedRecord, Error>>, Error> {
        let filter = subject::run_records(&self.tenant, run);
        let prefix = filter.len().saturating_sub(1);
        let records = self.broker.streams.read(&filter, Start::Sequence(1), false).await?;
        let mut records: Peekable<_> = records.peekable();
        if Pin::new(&mut records).peek().await.is_none() {
            return Err(Error::RunNotFound(run.clone()));
        }
        let run = run.clone();
        Ok(records.map_ok(move |message| ExportedRecord::of(&run, prefix, &message)).err_into().boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::protocol::Headers;

    fn exported(body: &'static [u8]) -> String {
        let message = Message {
            subject: "lvg.default.run.7.01jd0000000000000000000007.step.0-1.2".to_owned(),
            headers: Headers::new().with("Lovage-State", "succeeded").with("Nats-Expected-Last-Sequence", "0"),
            payload: Bytes::from_static(body),
            sequence: 9,
            time: Timestamp::from_millis(1_500),
            reply: None,
        };
        let prefix = "lvg.default.run.7.01jd0000000000000000000007.".len();
        let run = "01jd0000000000000000000007".parse().unwrap();
        serde_json::to_string(&ExportedRecord::of(&run, prefix, &message)).unwrap()
    }

    /// Every line that was ever written looks like these.
    #[test]
    fn an_exported_record_has_a_golden_form() {
        let head = r#"{"v":1,"run":"01jd0000000000000000000007","record":"step.0-1.2","sequence":9,"time":"1970-01-01T00:00:01.500Z","headers":{"Lovage-State":"succeeded"}"#;
        for (body, tail) in [
            (&b"[1,\n 2.50]\r\n"[..], r#","body":[1,  2.50]}"#),
            (br#""a\nb""#, r#","body":"a\nb"}"#),
            (b"", "}"),
            (b"{", r#","base64":"ew=="}"#),
            (b"\xff\n", r#","base64":"/wo="}"#),
        ] {
            assert_eq!(exported(body), format!("{head}{tail}"));
        }
    }
}
