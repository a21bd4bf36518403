//! Submitting under a debounce: calls with the same key that follow each other within a period become one task with the last input.
//!
//! The last call waits as a message of its own, replaced by compare-and-set; a record says which task calls join. A first call is
//! stored before the record names it. So a submitter that dies between the two leaves at most a call that becomes a task alone, and
//! nothing that was acknowledged is lost.

use std::time::Duration;

use super::{Client, Error, Place, Submitted};
use crate::broker::{self, Message, Publish};
use crate::model::call_key::token;
use crate::model::debounce::{Gathered, Timing};
use crate::model::lifecycle::Record;
use crate::model::{Datum, Mark, ModuleRecord, Signature, TaskId};
use crate::protocol::debounce::{KEPT_BEYOND, SERIES_VERSION, Series, gathered_as, read_gathered, record};
use crate::protocol::limit;
use crate::protocol::subject::TaskSubject;
use crate::store::debounce::{ring, waiting};
use crate::workflow::limited::{self, For};

/// How often a call begins anew when others are made under the same debounce at the same time: each time another one is through.
const TRIES_MAX: u32 = 256;

/// How old the record of a series is when a call that joins it writes it again, so that it outlives any series.
const RECORD_OLD: Duration = Duration::from_secs(24 * 3600);

/// The debounce that a call is under.
pub(super) struct Gathering {
    name: String,
    timing: Timing,
}

/// Calls that others may join.
struct Open {
    message: Message,
    task: TaskSubject,
    gathered: Gathered,
}

impl Client {
    /// The debounce that a call is under, by its own wish or by what its task declares.
    pub(super) async fn gathering(
        &self,
        module: &ModuleRecord,
        signature: &Signature,
    ) -> Result<Option<Gathering>, Error> {
        let declared = module.manifest.debounce.get(&signature.task.task);
        let given = signature.options.debounce.as_ref();
        let timing = given.map(|given| given.timing).or(declared.map(|declared| declared.timing()));
        let Some(timing) = timing else { return Ok(None) };
        let timing = timing.checked().map_err(|unfit| Error::Refused(unfit.to_string()))?;
        let keys =
            (declared.and_then(|declared| declared.key.as_deref()), given.and_then(|given| given.key.as_deref()));
        let input = if limited::reads_input(keys.0, keys.1) { self.input_of(signature).await? } else { Datum::null() };
        let name = limited::name(For::Debounce, &signature.task, keys, &input);
        Ok(Some(Gathering { name: name.map_err(|error| Error::Refused(error.to_string()))?, timing }))
    }

    /// Submits a call under its debounce, whose version is decided; `id` is the task's if it is the first one.
    pub(super) async fn submit_gathered(
        &self,
        id: &TaskId,
        signature: &Signature,
        place: &Place,
        gathering: &Gathering,
    ) -> Result<Submitted, Error> {
        if place.due.is_some() {
            return Err(Error::Refused("a debounce says when the task comes: it takes no delay or time".to_owned()));
        }
        let token = token(&gathering.name);
        for _ in 0..TRIES_MAX {
            let series = self.broker.streams.last(&record(&self.tenant, &token)).await?;
            let known = series.as_ref().map(|message| {
                Series::decode(&message.payload)
                    .map_err(|rejection| Error::Unreadable { subject: message.subject.clone(), rejection })
            });
            let known = known.transpose()?;
            let written = series.map_or(0, |message| message.sequence);
            let joined = match &known {
                Some(series) => self.open(&token, &series.id).await?,
                None => None,
            };
            let submitted = match (known, joined) {
                (Some(series), Some(open)) => {
                    let joined = self.join(&series.id, &open, signature, gathering).await;
                    if joined.is_ok() {
                        self.freshen(&series, written, &token).await;
                    }
                    joined.map(|()| Submitted::Joined(series.id))
                }
                _ => self.begin_series(id, signature, place, gathering, written).await,
            };
            match submitted {
                Err(Error::Broker(broker::Error::Conflict { .. })) => {}
                other => return other,
            }
        }
        Err(broker::Error::Conflict { subject: record(&self.tenant, &token) }.into())
    }

    /// The calls that become task `id`, if one more may join them.
    async fn open(&self, token: &str, id: &TaskId) -> Result<Option<Open>, Error> {
        let Some(message) = self.broker.streams.last(&gathered_as(&self.tenant, token, id)).await? else {
            return Ok(None);
        };
        let read = limit::read_line(&message.subject).zip(read_gathered(&message.headers).ok());
        let Some(((_, task), gathered)) = read.filter(|(_, gathered)| !gathered.going) else { return Ok(None) };
        // Whoever cancels a task may have died before it was gone from here.
        let settled = self.record(id).await?.is_some_and(|stored| matches!(stored.record, Record::Settled(_)));
        Ok((!settled).then_some(Open { message, task, gathered }))
    }

    async fn join(&self, id: &TaskId, open: &Open, signature: &Signature, gathering: &Gathering) -> Result<(), Error> {
        let Open { message, task, gathered } = open;
        if Mark::of(&signature.options.requires) != task.mark {
            return Err(Error::Refused(format!(
                "join task {id}, which waits under the same debounce: it requires other labels of its host"
            )));
        }
        let place = Place { queue: task.queue.clone(), priority: task.priority, due: None };
        let next = gathered.join(self.broker.clock.now(), gathering.timing);
        let publish = self.gathered(id, signature, (&place, next), (&message.subject, message.sequence)).await?;
        self.broker.streams.publish(publish).await?;
        ring(&self.broker, &self.tenant, &token(&gathering.name), next.due).await?;
        Ok(())
    }

    /// Begins to gather; a conflict where somebody else did at the same time.
    async fn begin_series(
        &self,
        id: &TaskId,
        signature: &Signature,
        place: &Place,
        gathering: &Gathering,
        written: u64,
    ) -> Result<Submitted, Error> {
        let token = token(&gathering.name);
        let now = self.broker.clock.now();
        let first = Gathered::begin(now, gathering.timing);
        let (tenant, mark) = (self.tenant.clone(), Mark::of(&signature.options.requires));
        let Place { queue, priority, .. } = place.clone();
        let task = TaskSubject { tenant, queue, priority, mark, key: id.into() };
        let subject = limit::line(&token, &task);
        let publish = self.gathered(id, signature, (place, first), (&subject, 0)).await?;
        self.broker.streams.publish(publish).await?;
        ring(&self.broker, &self.tenant, &token, first.due).await?;
        let series = Series { v: SERIES_VERSION, name: gathering.name.clone(), id: id.clone() };
        match self.write_series(&series, written, &token).await {
            Ok(()) => Ok(Submitted::New(id.clone())),
            Err(conflict @ broker::Error::Conflict { .. }) => {
                // Nobody can have joined. Where it is gone already it has become a task, a whole period after it was stored.
                if self.broker.streams.purge(&subject).await? == 0 {
                    return Ok(Submitted::New(id.clone()));
                }
                Err(conflict.into())
            }
            // The record may have been written, and others may have joined: the call stays.
            Err(error) => Err(error.into()),
        }
    }

    async fn write_series(&self, series: &Series, expected: u64, token: &str) -> Result<(), broker::Error> {
        let subject = record(&self.tenant, token);
        let ttl = Some(KEPT_BEYOND.saturating_add(crate::model::debounce::PERIOD_MAX));
        let publish = Publish { expect: Some(expected), ttl, ..Publish::new(subject, series.encode()) };
        self.broker.streams.publish(publish).await.map(drop)
    }

    /// Writes the record of a series again where it is old. Where that fails another call does it.
    async fn freshen(&self, series: &Series, written: u64, token: &str) {
        let last = self.broker.streams.last(&record(&self.tenant, token)).await;
        let old = |message: &Message| self.broker.clock.now().since(message.time) > RECORD_OLD;
        if last.is_ok_and(|message| message.as_ref().is_some_and(old)) {
            drop(self.write_series(series, written, token).await);
        }
    }

    /// The message of a call that stands for all that were gathered.
    async fn gathered(
        &self,
        id: &TaskId,
        signature: &Signature,
        (place, gathered): (&Place, Gathered),
        (subject, expected): (&str, u64),
    ) -> Result<Publish, Error> {
        let Publish { headers, payload, .. } = self.message(id, signature.clone(), place, true).await?;
        self.check_due(gathered.due, signature)?;
        let now = self.broker.clock.now();
        Ok(waiting(subject.to_owned(), headers, payload, (&gathered, now), expected))
    }
}
