//! Webhooks on the wire: the record on `lvg.<t>.webhook.<name>`, what is to be delivered on `lvg.<t>.hook.<name>.<id>`, and what
//! became of it on `lvg.<t>.ev.delivery.<name>.<id>`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Headers, Rejection, versioned};
use crate::model::{Tenant, Timestamp, WebhookName};

/// The version of the forms that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// The attempt of a delivery, from 1.
pub const DELIVERY_ATTEMPT: &str = "Lovage-Delivery-Attempt";

/// All webhooks.
pub const ALL: &str = "lvg.*.webhook.*";

/// All deliveries that are due.
pub const DUE: &str = "lvg.*.hook.>";

/// Whom to tell of which events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// The version of this form.
    pub v: u32,
    /// Its name.
    pub name: WebhookName,
    /// Where to.
    pub url: String,
    /// Kinds of events, as in `task.failed`.
    pub on: Vec<String>,
    /// Tasks, as in `thumbs/*`; all where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The key of signatures, in base64.
    pub secret: String,
    /// When it was made: what happened before is not told.
    pub created: Timestamp,
    /// It was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// What became of one attempt to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// When it was made, by the sender's clock.
    pub at: Timestamp,
    /// From 1.
    pub attempt: u32,
    /// Where that leaves it.
    pub state: DeliveryState,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// The kind of the event.
    pub kind: String,
    /// Of which task or run.
    pub id: String,
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// The receiver answered with a status of 2xx.
    Delivered,
    /// It is tried again.
    Retrying,
    /// It is not tried any more.
    Dead,
}

impl DeliveryState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
        }
    }
}

impl WebhookRecord {
    /// The body of the record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("webhook record", RECORD_VERSION, body)
    }
}

/// `lvg.<t>.webhook.<name>`: the record of a webhook.
#[must_use]
pub fn subject(tenant: &Tenant, name: &WebhookName) -> String {
    format!("lvg.{tenant}.webhook.{name}")
}

/// `lvg.<t>.webhook.*`: all webhooks of a tenant.
#[must_use]
pub fn all(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.webhook.*")
}

/// The tenant of a subject of this page.
#[must_use]
pub fn tenant_of(subject: &str) -> Option<Tenant> {
    subject.split('.').nth(1)?.parse().ok()
}

/// One thing to tell one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySubject {
    /// Whose webhook it is.
    pub tenant: Tenant,
    /// The webhook.
    pub name: WebhookName,
    /// What tells it from all others of this webhook; the receiver sees it as part of `webhook-id`.
    pub id: String,
}

impl DeliverySubject {
    /// `lvg.<t>.hook.<name>.<id>`: it is due.
    #[must_use]
    pub fn due(&self) -> String {
        format!("lvg.{}.hook.{}.{}", self.tenant, self.name, self.id)
    }

    /// `lvg.<t>.hookwait.<name>.<id>`: the schedule that it waits in.
    #[must_use]
    pub fn waiting(&self) -> String {
        format!("lvg.{}.hookwait.{}.{}", self.tenant, self.name, self.id)
    }

    /// `lvg.<t>.ev.delivery.<name>.<id>`: what became of it.
    #[must_use]
    pub fn history(&self) -> String {
        format!("lvg.{}.ev.delivery.{}.{}", self.tenant, self.name, self.id)
    }

    /// Reads the subject of a delivery that is due.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("lvg.")?.split('.');
        let (tenant, "hook", name, id, None) =
            (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?, tokens.next())
        else {
            return None;
        };
        Some(Self { tenant: tenant.parse().ok()?, name: name.parse().ok()?, id: id.to_owned() })
    }
}

/// `lvg.<t>.ev.delivery.<name>.*`: what became of all deliveries of a webhook.
#[must_use]
pub fn history(tenant: &Tenant, name: &WebhookName) -> String {
    format!("lvg.{tenant}.ev.delivery.{name}.*")
}

/// The attempt that a message asks for.
#[must_use]
pub fn attempt(headers: &Headers) -> u32 {
    headers.value(DELIVERY_ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_golden_form() {
        let record = WebhookRecord {
            v: 1,
            name: "ops".parse().unwrap(),
            url: "https://example.com/in".to_owned(),
            on: vec!["task.failed".to_owned()],
            task: Some("thumbs/*".to_owned()),
            secret: "c2VjcmV0".to_owned(),
            created: Timestamp::from_millis(7),
            removed: false,
        };
        let text = r#"{"v":1,"name":"ops","url":"https://example.com/in","on":["task.failed"],"task":"thumbs/*","secret":"c2VjcmV0","created":7}"#;
        assert_eq!(record.encode(), text);
        assert_eq!(WebhookRecord::decode(&Bytes::from_static(text.as_bytes())), Ok(record));
        let newer = Bytes::from(text.replace("\"v\":1", "\"v\":2"));
        assert!(WebhookRecord::decode(&newer).unwrap_err().to_string().contains("update it"));
    }

    #[test]
    fn deliveries_read_back() {
        let subject =
            DeliverySubject { tenant: Tenant::default_tenant(), name: "ops".parse().unwrap(), id: "t7".to_owned() };
        assert_eq!(DeliverySubject::read(&subject.due()), Some(subject.clone()));
        assert_eq!(tenant_of(&subject.due()), Some(subject.tenant));
        for bad in
            ["lvg.default.hook.ops", "lvg.default.hook.ops.a.b", "lvg.default.hookwait.ops.a", "lvg.default.hook.O.a"]
        {
            assert_eq!(DeliverySubject::read(bad), None, "{bad}");
        }
    }
}
