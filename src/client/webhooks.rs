//! Webhooks: whom to tell of ends of tasks and runs, and what became of that.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt as _;
use serde_json::json;

use super::{Client, Error};
use crate::broker::{self, Message, Publish, Start as From};
use crate::model::WebhookName;
use crate::model::webhook::{KINDS_MAX, SECRET_LEN, URL_LEN_MAX, WEBHOOKS_MAX};
use crate::protocol::webhook::{DeliveryRecord, DeliverySubject, RECORD_VERSION, WebhookRecord, all, history, subject};

/// What stands before a secret, as Standard Webhooks has it.
const SECRET_PREFIX: &str = "whsec_";

/// How long a test waits for what became of it: a request's own bound and some more.
const TEST_PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A webhook that is to be made.
#[derive(Clone, Debug, Default)]
pub struct WebhookDraft {
    /// Where to: `https://...` or `http://...`.
    pub url: String,
    /// Kinds of events, as in `task.failed`.
    pub on: Vec<String>,
    /// Tasks, as in `thumbs/*`.
    pub task: Option<String>,
    /// The key of signatures, `whsec_` and base64; one is made where it is `None`.
    pub secret: Option<String>,
}

/// One delivery and what became of its last attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    /// What tells it from the others of its webhook.
    pub id: String,
    /// Its last attempt.
    pub last: DeliveryRecord,
}

impl Client {
    /// Makes a webhook; its secret, which is not shown again.
    ///
    /// # Errors
    /// [`Error::Refused`] for what cannot be, also if there is one of this name; what the broker fails with.
    pub async fn add_webhook(&self, name: &WebhookName, draft: WebhookDraft) -> Result<String, Error> {
        check(&draft).map_err(Error::Refused)?;
        let secret = match &draft.secret {
            Some(text) => read_secret(text).map_err(Error::Refused)?,
            None => STANDARD.encode(rand::random::<[u8; 32]>()),
        };
        let stored = self.broker.streams.last(&subject(&self.tenant, name)).await?;
        let there = stored.as_ref().and_then(|message| WebhookRecord::decode(&message.payload).ok());
        if there.is_some_and(|record| !record.removed) {
            return Err(Error::Refused(format!("there is a webhook {name}: remove it first")));
        }
        if self.webhooks().await?.len() >= WEBHOOKS_MAX {
            return Err(Error::Refused(format!("a tenant takes up to {WEBHOOKS_MAX} webhooks")));
        }
        let WebhookDraft { url, on, task, .. } = draft;
        let created = self.broker.clock.now();
        let shown = format!("{SECRET_PREFIX}{secret}");
        let record =
            WebhookRecord { v: RECORD_VERSION, name: name.clone(), url, on, task, secret, created, removed: false };
        self.write_webhook(&record, stored.map_or(0, |message| message.sequence)).await?;
        Ok(shown)
    }

    async fn write_webhook(&self, record: &WebhookRecord, expected: u64) -> Result<(), Error> {
        let subject = subject(&self.tenant, &record.name);
        let publish = Publish { expect: Some(expected), ..Publish::new(subject, record.encode()) };
        match self.broker.streams.publish(publish).await {
            Ok(_) => Ok(()),
            Err(broker::Error::Conflict { .. }) => {
                Err(Error::Refused(format!("somebody else changed webhook {} just now: look again", record.name)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All webhooks, by name.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn webhooks(&self) -> Result<Vec<WebhookRecord>, Error> {
        let records = self.broker.streams.read(&all(&self.tenant), From::LastPerSubject, false).await?;
        let read = |message: Message| async move { Ok(WebhookRecord::decode(&message.payload).ok()) };
        let mut records: Vec<WebhookRecord> = records.try_filter_map(read).try_collect().await?;
        records.retain(|record| !record.removed);
        records.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(records)
    }

    /// A webhook.
    ///
    /// # Errors
    /// [`Error::WebhookNotFound`], and what the broker fails with.
    pub async fn webhook(&self, name: &WebhookName) -> Result<WebhookRecord, Error> {
        Ok(self.stored_webhook(name).await?.0)
    }

    async fn stored_webhook(&self, name: &WebhookName) -> Result<(WebhookRecord, u64), Error> {
        let missing = || Error::WebhookNotFound(name.clone());
        let message = self.broker.streams.last(&subject(&self.tenant, name)).await?.ok_or_else(missing)?;
        let record = WebhookRecord::decode(&message.payload)
            .map_err(|rejection| Error::Unreadable { subject: message.subject.clone(), rejection })?;
        if record.removed { Err(missing()) } else { Ok((record, message.sequence)) }
    }

    /// Removes a webhook: what waits to be told is not told any more.
    ///
    /// # Errors
    /// [`Error::WebhookNotFound`], and what the broker fails with.
    pub async fn remove_webhook(&self, name: &WebhookName) -> Result<(), Error> {
        let (record, sequence) = self.stored_webhook(name).await?;
        self.write_webhook(&WebhookRecord { removed: true, secret: String::new(), ..record }, sequence).await?;
        self.broker.streams.purge(&format!("lvg.{}.hookwait.{name}.*", self.tenant)).await?;
        Ok(())
    }

    /// Tells a webhook that it is tested, and what became of the first attempt; `None` if no coordinator took it up in time.
    ///
    /// # Errors
    /// [`Error::WebhookNotFound`], and what the broker fails with.
    pub async fn test_webhook(&self, name: &WebhookName) -> Result<Option<DeliveryView>, Error> {
        self.webhook(name).await?;
        let id = self.new_id().to_string();
        let at = self.broker.clock.now().to_string();
        let body = json!({"type": "webhook.test", "timestamp": at, "data": {"id": id, "webhook": name}}).to_string();
        let delivery = DeliverySubject { tenant: self.tenant.clone(), name: name.clone(), id };
        self.broker.streams.publish(Publish::new(delivery.due(), body)).await?;
        let told = async {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                let last = self.broker.streams.last(&delivery.history()).await?;
                if let Some(view) = last.as_ref().and_then(view) {
                    return Ok::<_, Error>(view);
                }
            }
        };
        tokio::time::timeout(TEST_PATIENCE, told).await.map_or(Ok(None), |told| told.map(Some))
    }

    /// What became of the deliveries of a webhook within the last day, the latest last.
    ///
    /// # Errors
    /// [`Error::WebhookNotFound`], and what the broker fails with.
    pub async fn webhook_deliveries(&self, name: &WebhookName) -> Result<Vec<DeliveryView>, Error> {
        self.webhook(name).await?;
        let records = self.broker.streams.read(&history(&self.tenant, name), From::LastPerSubject, false).await?;
        let read = |message: Message| async move { Ok(view(&message)) };
        Ok(records.try_filter_map(read).try_collect().await?)
    }
}

fn view(message: &Message) -> Option<DeliveryView> {
    let id = message.subject.rsplit('.').next()?.to_owned();
    Some(DeliveryView { id, last: serde_json::from_slice(&message.payload).ok()? })
}

fn check(draft: &WebhookDraft) -> Result<(), String> {
    let rest = ["https://", "http://"].iter().find_map(|scheme| draft.url.strip_prefix(scheme));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.is_empty()
        || draft.url.len() > URL_LEN_MAX
        || draft.url.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err(format!("{:?} is no address: it takes https://NAME/..., or http:// where that is safe", draft.url));
    }
    if authority.contains('@') {
        return Err("an address holds no password: receivers check the signature".to_owned());
    }
    if draft.on.is_empty() || draft.on.len() > KINDS_MAX {
        return Err(format!("a webhook takes from 1 to {KINDS_MAX} kinds of events"));
    }
    let told = |kind: &str| matches!(kind.split_once('.'), Some(("task" | "run", state)) if !state.is_empty());
    match draft.on.iter().find(|kind| !told(kind)) {
        Some(kind) => Err(format!("{kind:?} is told by no webhook: it takes task.* or run.*, as in task.failed")),
        None => Ok(()),
    }
}

/// The base64 of a secret.
fn read_secret(text: &str) -> Result<String, String> {
    let base64 = text.trim().strip_prefix(SECRET_PREFIX).unwrap_or_default();
    let fits = STANDARD.decode(base64).is_ok_and(|bytes| SECRET_LEN.contains(&bytes.len()));
    let takes = || format!("a secret is {SECRET_PREFIX} and the base64 of 24 to 64 bytes");
    fits.then(|| base64.to_owned()).ok_or_else(takes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(url: &str, on: &[&str]) -> WebhookDraft {
        WebhookDraft {
            url: url.to_owned(),
            on: on.iter().map(|&kind| kind.to_owned()).collect(),
            ..WebhookDraft::default()
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        assert_eq!(check(&draft("https://example.com/in?x=1", &["task.failed", "run.*"])), Ok(()));
        for (url, on, words) in [
            ("ftp://example.com", &["task.failed"][..], "is no address"),
            ("https://", &["task.failed"], "is no address"),
            ("https://a b", &["task.failed"], "is no address"),
            ("https://me:pw@example.com", &["task.failed"], "no password"),
            ("https://example.com", &[], "from 1 to 32"),
            ("https://example.com", &["host.lost"], "task.* or run.*"),
            ("https://example.com", &["task"], "task.* or run.*"),
        ] {
            let error = check(&draft(url, on)).unwrap_err();
            assert!(error.contains(words), "{url} {on:?}: {error}");
        }
    }

    #[test]
    fn a_secret_is_long_enough() {
        let good = format!("whsec_{}\n", STANDARD.encode([7; 24]));
        assert_eq!(read_secret(&good), Ok(STANDARD.encode([7; 24])));
        for bad in
            ["", "whsec_", "whsec_????", &STANDARD.encode([7; 24]), &format!("whsec_{}", STANDARD.encode([7; 23]))]
        {
            assert!(read_secret(bad).unwrap_err().contains("24 to 64"), "{bad}");
        }
    }
}
