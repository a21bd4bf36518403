//! Keeping tasks that have failed for good.

use bytes::Bytes;

use super::values;
use crate::broker::patience::Patience;
use crate::broker::{Broker, Publish};
use crate::model::lifecycle::{End, Settled};
use crate::model::{TaskId, TaskKey};
use crate::protocol::subject::TaskSubject;
use crate::protocol::task::TaskMessage;
use crate::protocol::{Headers, dead};

/// Keeps the letter of a task that has ended so, for as long as it takes; nothing if it has not failed. A letter that is there
/// stays as it is.
pub async fn keep(broker: &Broker, subject: &TaskSubject, headers: &Headers, body: &Bytes, settled: &Settled) {
    let (End::Failed(failure), TaskKey::Single(id)) = (&settled.end, &subject.key) else { return };
    if let Ok(TaskMessage { signature, .. }) = TaskMessage::decode(headers, body) {
        let copy = || values::keep_long(broker, &subject.tenant, &signature.input);
        drop(Patience::default().insist("keep an input", copy).await);
    }
    let publish = letter(subject, id, dead::encode(headers, subject.priority, failure, &settled.usage), body.clone());
    drop(Patience::default().insist("keep a dead letter", || broker.streams.publish(publish.clone())).await);
}

fn letter(task: &TaskSubject, id: &TaskId, headers: Headers, payload: Bytes) -> Publish {
    let subject = dead::subject(&task.tenant, &task.queue, id);
    Publish { subject, headers, payload, expect: Some(0), ..Publish::default() }
}
