//! Finds, in what tasks and runs leave, what is to be told to whom.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tracing::debug;

use super::Shared;
use crate::broker::{Consumer, Delivery, Error, Message, Publish};
use crate::client::{Event, EventFilter};
use crate::model::Tenant;
use crate::protocol::Stream;
use crate::protocol::webhook::{DeliverySubject, WebhookRecord};

/// How long an end belongs to the one who looks at it: that takes milliseconds.
const LEASE: Duration = Duration::from_secs(10);

/// How soon an end is looked at again whose deliveries could not be stored.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Where ends of tasks and of runs are: the places of all watchers of a tenant.
pub(super) fn consumers(tenant: &Tenant) -> [Consumer; 2] {
    let consumer = |stream: Stream, kind: &str| Consumer {
        stream,
        name: format!("webhooks-{tenant}"),
        filter: format!("lvg.{tenant}.{kind}.*"),
        lease: LEASE,
        deliveries_max: None,
    };
    [consumer(Stream::Result, "res"), consumer(Stream::Index, "index")]
}

/// Stores what is to be told of one record, and passes on.
pub(super) async fn pass(shared: &Shared, tenant: &Tenant, delivery: Delivery) {
    let passed = match tell(shared, tenant, &delivery.message).await {
        Ok(()) => delivery.lease.finish().await,
        Err(error) => {
            debug!(%error, "failed to store what a webhook is to be told, trying again");
            delivery.lease.hand_back(AGAIN_AFTER).await
        }
    };
    if let Err(error) = passed {
        debug!(%error, "left a record to its lease");
    }
}

async fn tell(shared: &Shared, tenant: &Tenant, message: &Message) -> Result<(), Error> {
    let hooks = shared.of(tenant);
    let hooks: Vec<_> = hooks.iter().filter(|hook| hook.created <= message.time).collect();
    if hooks.is_empty() {
        return Ok(());
    }
    let Some(event) = Event::of(message) else { return Ok(()) };
    for hook in hooks.into_iter().filter(|hook| wants(hook, &event)) {
        // A record is passed once, or again after a crash: then with the same id.
        let family = event.kind.chars().next().unwrap_or('x');
        let id = format!("{family}{}", message.sequence);
        let subject = DeliverySubject { tenant: tenant.clone(), name: hook.name.clone(), id }.due();
        let message_id = Some(subject.clone());
        let publish = Publish { message_id, ..Publish::new(subject, body(&event)) };
        match shared.broker.streams.publish(publish).await {
            Ok(_) | Err(Error::Occupied { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wants(hook: &WebhookRecord, event: &Event) -> bool {
    EventFilter { kinds: hook.on.clone(), task: hook.task.clone(), ..EventFilter::default() }.wants(event)
}

/// What a receiver gets.
pub(super) fn body(event: &Event) -> Bytes {
    json!({"type": event.kind, "timestamp": event.at.to_string(), "data": event}).to_string().into()
}
