//! Tells one receiver one thing, again and again for a day.

use std::time::Duration;

use serde::Deserialize;
use tracing::{debug, info};

use super::Shared;
use super::post::Letter;
use crate::broker::{Consumer, Delivery, Error, Message, Publish, Schedule};
use crate::model::webhook::pause_after;
use crate::protocol::webhook::{
    self, DELIVERY_ATTEMPT, DUE, DeliveryRecord, DeliveryState, DeliverySubject, WebhookRecord,
};
use crate::protocol::{Headers, Stream};

/// How long a delivery belongs to its sender: longer than a request may take, and what one that was killed had in hand is sent
/// by another soon after.
const LEASE: Duration = Duration::from_secs(20);

/// How soon a delivery is taken up again that the broker was away for.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// "Gone": the receiver wants no more of it.
const GONE: u16 = 410;

/// The consumer of all senders.
pub(super) fn consumer() -> Consumer {
    Consumer {
        stream: Stream::Hook,
        name: "webhooks".to_owned(),
        filter: DUE.to_owned(),
        lease: LEASE,
        deliveries_max: None,
    }
}

/// Makes one attempt.
pub(super) async fn deliver(shared: &Shared, delivery: Delivery) {
    let done = match attempt(shared, &delivery.message).await {
        Ok(()) => delivery.lease.finish().await,
        Err(error) => {
            debug!(%error, "failed to send what a webhook is to be told, trying again");
            delivery.lease.hand_back(AGAIN_AFTER).await
        }
    };
    if let Err(error) = done {
        debug!(%error, "left a delivery to its lease");
    }
}

async fn attempt(shared: &Shared, message: &Message) -> Result<(), Error> {
    let Some(subject) = DeliverySubject::read(&message.subject) else { return Ok(()) };
    let record = shared.broker.streams.last(&webhook::subject(&subject.tenant, &subject.name)).await?;
    let record = record.and_then(|record| WebhookRecord::decode(&record.payload).ok());
    // Who removed it wants no more of it.
    let Some(hook) = record.filter(|hook| !hook.removed) else { return Ok(()) };
    let attempt = webhook::attempt(&message.headers);
    let now = shared.broker.clock.now();
    let id = format!("{}.{}.{}", subject.tenant, subject.name, subject.id);
    let letter = Letter { url: &hook.url, secret: &hook.secret, id, now, body: message.payload.clone() };
    let (status, reason) = match shared.post.send(&letter).await {
        Ok(status @ 200..=299) => (Some(status), None),
        Ok(status) => (Some(status), Some(format!("it answered {status}"))),
        Err(unsent) => (None, Some(unsent.to_string())),
    };
    let pause = pause_after(attempt).filter(|_| status != Some(GONE));
    let next = pause.filter(|_| reason.is_some()).map(|pause| shared.broker.clock.now().after(pause));
    if let Some(at) = next {
        let publish = Publish {
            headers: Headers::new().with(DELIVERY_ATTEMPT, attempt.saturating_add(1).to_string()),
            schedule: Some(Schedule { at, target: subject.due() }),
            ..Publish::new(subject.waiting(), message.payload.clone())
        };
        shared.broker.streams.publish(publish).await?;
    }
    let state = match (&reason, next) {
        (None, _) => DeliveryState::Delivered,
        (Some(_), Some(_)) => DeliveryState::Retrying,
        (Some(_), None) => DeliveryState::Dead,
    };
    info!(webhook = %subject.name, delivery = subject.id, attempt, state = state.as_str(), reason, "told");
    let (kind, of) = told(message);
    let reason = reason.unwrap_or_default();
    let record = DeliveryRecord { at: now, attempt, state, status, reason, next, kind, id: of };
    let body = serde_json::to_vec(&record).unwrap_or_default();
    // History is best effort; the receiver has heard, or will.
    if let Err(error) = shared.broker.streams.publish(Publish::new(subject.history(), body)).await {
        debug!(%error, "what became of a delivery was not kept");
    }
    Ok(())
}

/// Of which event a delivery is: its kind, and the id of its task or run.
fn told(message: &Message) -> (String, String) {
    #[derive(Default, Deserialize)]
    struct Body {
        #[serde(rename = "type")]
        kind: String,
        data: Data,
    }
    #[derive(Default, Deserialize)]
    struct Data {
        id: String,
    }
    let Body { kind, data } = serde_json::from_slice(&message.payload).unwrap_or_default();
    (kind, data.id)
}
