//! Submitting a singleton: at most one call of a task with the same key is under way.
//!
//! The singleton is claimed by compare-and-set before the task is published, and nobody gives it back: whoever wants it looks
//! whether its holder is still under way. A submitter that dies between claim and publish leaves a claim without a task; the next
//! submit publishes its own call under the claimed id, so that one who was only slow finds its id taken. That is sure for as long
//! as results are kept: until then a task that has ended is known.

use super::{Client, Error, Place, Submitted};
use crate::broker::{self, Publish};
use crate::model::lifecycle::Record;
use crate::model::singleton::{HELD_MAX, Mode};
use crate::model::{Datum, ModuleRecord, Signature, TaskId, Timestamp};
use crate::protocol::singleton::{HOLDER_VERSION, Holder, subject as holder_of};
use crate::protocol::stream::RESULT_TTL;
use crate::protocol::{limit, subject};
use crate::workflow::limited::{self, For};

/// How often a submit begins anew when others submit under the same singleton at the same time.
const TRIES_MAX: u32 = 32;

/// How often a task is looked for in all places before it counts as being in none: it may move between two looks.
const LOOKS_MAX: u32 = 4;

/// The singleton that a call is under.
pub(super) struct Single {
    name: String,
    mode: Mode,
}

/// How a task stands that has a singleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    UnderWay,
    Over,
    Nowhere,
}

impl Client {
    /// The singleton that a call is under, by its own wish or by what its task declares.
    pub(super) async fn single(&self, module: &ModuleRecord, signature: &Signature) -> Result<Option<Single>, Error> {
        let declared = module.manifest.singleton.get(&signature.task.task);
        let given = signature.options.singleton.as_ref();
        let Some(mode) = given.map(|given| given.mode).or(declared.map(|declared| declared.mode)) else {
            return Ok(None);
        };
        let keys = (declared.and_then(|declared| declared.key.as_deref()), given.map(|given| given.key.as_str()));
        let input = if limited::reads_input(keys.0, keys.1) { self.input_of(signature).await? } else { Datum::null() };
        let name = limited::name(For::Singleton, &signature.task, keys, &input);
        Ok(Some(Single { name: name.map_err(|error| Error::Refused(error.to_string()))?, mode }))
    }

    /// Submits a call under its singleton, whose version is decided. It may be asked for again with the same id.
    pub(super) async fn submit_single(
        &self,
        id: &TaskId,
        signature: Signature,
        place: &Place,
        single: Single,
    ) -> Result<Submitted, Error> {
        let subject = holder_of(&self.tenant, &single.name);
        // All that can be refused is refused before the singleton is claimed.
        let publish = self.message(id, signature.clone(), place, true).await?;
        for _ in 0..TRIES_MAX {
            let (holder, expected) = self.holder(&subject).await?;
            let now = self.broker.clock.now();
            if let Some(holder) = holder {
                if holder.id == *id {
                    return self.publish_single(id, publish).await;
                }
                match (self.standing(&holder.id).await?, single.mode) {
                    (Standing::UnderWay, Mode::Skip) => return Ok(Submitted::UnderWay(holder.id)),
                    (Standing::Over, _) => {}
                    // It has ended long ago, and its result is gone.
                    (Standing::Nowhere, _) if now.since(holder.since) >= RESULT_TTL => {}
                    (Standing::Nowhere, Mode::Skip) => return self.publish_for(holder, signature, place).await,
                    (Standing::UnderWay | Standing::Nowhere, Mode::Cancel) => self.cancel_holder(&holder.id).await?,
                }
            }
            let claim = self.claim(id, place, &single.name, now);
            let held = place.due.map(|due| due.since(now)).unwrap_or_default().saturating_add(HELD_MAX);
            let claim = Publish { expect: Some(expected), ttl: Some(held), ..Publish::new(&subject, claim.encode()) };
            match self.broker.streams.publish(claim).await {
                Ok(_) => return self.publish_single(id, publish).await,
                Err(broker::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(broker::Error::Conflict { subject }.into())
    }

    fn claim(&self, id: &TaskId, place: &Place, name: &str, now: Timestamp) -> Holder {
        Holder {
            v: HOLDER_VERSION,
            name: name.to_owned(),
            id: id.clone(),
            since: now,
            queue: place.queue.clone(),
            priority: place.priority.number(),
        }
    }

    async fn holder(&self, subject: &str) -> Result<(Option<Holder>, u64), Error> {
        let Some(message) = self.broker.streams.last(subject).await? else { return Ok((None, 0)) };
        let holder = Holder::decode(&message.payload)
            .map_err(|rejection| Error::Unreadable { subject: message.subject, rejection })?;
        Ok((Some(holder), message.sequence))
    }

    async fn publish_single(&self, id: &TaskId, publish: Publish) -> Result<Submitted, Error> {
        match self.publish_task(id, publish).await {
            Ok(()) => Ok(Submitted::New(id.clone())),
            // Somebody else found the claim and published under it.
            Err(Error::Occupied(id)) => Ok(Submitted::UnderWay(id)),
            Err(error) => Err(error),
        }
    }

    /// Publishes a call as the task of a claim whose submitter is slow, or is no more.
    async fn publish_for(&self, holder: Holder, signature: Signature, place: &Place) -> Result<Submitted, Error> {
        let priority = holder.priority();
        let place = Place { queue: holder.queue, priority, due: place.due };
        let publish = self.message(&holder.id, signature, &place, true).await?;
        self.publish_single(&holder.id, publish).await
    }

    async fn standing(&self, id: &TaskId) -> Result<Standing, Error> {
        for _ in 0..LOOKS_MAX {
            match self.record(id).await?.map(|stored| stored.record) {
                Some(Record::Settled(_)) => return Ok(Standing::Over),
                Some(Record::Retrying { .. }) => return Ok(Standing::UnderWay),
                None => {}
            }
            // In the order in which a task moves, so that one that moves meanwhile is found.
            for place in [
                limit::line_anywhere(&self.tenant, id),
                subject::schedule(&self.tenant, id),
                subject::fire_anywhere(&self.tenant, id),
                subject::task_anywhere(&self.tenant, id),
            ] {
                if self.broker.streams.last(&place).await?.is_some() {
                    return Ok(Standing::UnderWay);
                }
            }
        }
        Ok(Standing::Nowhere)
    }

    /// Cancels the task that has a singleton, also one that is not published yet: then it never runs.
    async fn cancel_holder(&self, id: &TaskId) -> Result<(), Error> {
        match self.cancel_known(id).await {
            Ok(()) | Err(Error::Ended { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
