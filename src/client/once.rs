//! Submitting under an idempotency key: once within the key's window, however often that is asked for.
//!
//! The key is claimed by compare-and-set before the task is published. Whoever dies between the two leaves a claim without a task;
//! the next submit under the key finds that and publishes it, under the same id.

use std::time::Duration;

use super::{Client, Error, Place, Submitted};
use crate::broker::{self, Publish};
use crate::model::{Signature, TaskId, once};
use crate::protocol::once::{CLAIM_VERSION, Claim, call, subject};

/// How often a submit begins anew when others submit under the same key at the same time.
const TRIES_MAX: u32 = 16;

impl Client {
    /// Submits a task under `key`; when this returns it is durable. Until `window` is over every submit under the key yields this
    /// task, also when it has ended and its result is gone; its outcome is kept as long.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), a key or window that cannot be used, a call under a singleton or a debounce, and
    /// [`Error::KeyTaken`] for another task or input under the key.
    pub async fn submit_once(
        &self,
        mut signature: Signature,
        place: &Place,
        (key, window): (&str, Duration),
    ) -> Result<Submitted, Error> {
        once::check(key, window)?;
        let call = call(&signature);
        let module = self.resolve(&signature.task).await?;
        Self::refuse_shared(&module, &signature, "an idempotency key names one task of its own")?;
        signature.task.version = Some(module.version.clone());
        signature.options.idempotency_key.get_or_insert_with(|| key.to_owned());
        let subject = subject(&self.tenant, key);
        for _ in 0..TRIES_MAX {
            let last = self.broker.streams.last(&subject).await?;
            let expect = Some(last.as_ref().map_or(0, |message| message.sequence));
            let claim = last.map(|message| Claim::decode(&message.payload)).transpose();
            let claim = claim.map_err(|rejection| Error::Unreadable { subject: subject.clone(), rejection })?;
            let now = self.broker.clock.now();
            if let Some(claim) = claim.filter(|claim| claim.until > now) {
                if claim.call != call {
                    return Err(Error::KeyTaken { key: claim.key, id: claim.id, until: claim.until });
                }
                self.complete(&claim.id, signature, place).await?;
                return Ok(Submitted::Known(claim.id));
            }
            let until = now.after(window);
            let id = once::task_id(key, until).ok_or(once::Unusable::Window)?;
            // All that can be refused is refused before the key is claimed.
            let publish = self.message(&id, signature.clone(), place, true).await?;
            let claim = Claim { v: CLAIM_VERSION, key: key.to_owned(), id: id.clone(), call, until };
            let claim = Publish { expect, ttl: Some(window), ..Publish::new(&subject, claim.encode()) };
            match self.broker.streams.publish(claim).await {
                Ok(_) => return self.publish_claimed(&id, publish).await.map(|()| Submitted::New(id)),
                Err(broker::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(broker::Error::Conflict { subject }.into())
    }

    /// Publishes the task of a claim if whoever claimed the key has not.
    async fn complete(&self, id: &TaskId, signature: Signature, place: &Place) -> Result<(), Error> {
        match self.state(id).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound(_)) => {
                let publish = self.message(id, signature, place, true).await?;
                self.publish_claimed(id, publish).await
            }
            Err(error) => Err(error),
        }
    }

    async fn publish_claimed(&self, id: &TaskId, publish: Publish) -> Result<(), Error> {
        match self.publish_task(id, publish).await {
            // Somebody else completed the claim.
            Err(Error::Occupied(_)) => Ok(()),
            other => other,
        }
    }
}
