//! What is asked of a run that was started: cancel, signal, pause, resume, retry.

use bytes::Bytes;

use super::{Client, Error};
use crate::broker::{Message, Start as From};
use crate::model::{Datum, RunId, SignalId, SignalName, Tenant};
use crate::protocol::subject;
use crate::store::{journal, journal::Written, run_values};
use crate::workflow::Event;
use crate::workflow::flow::{self, Document};
use crate::workflow::journal::{Ending, Outcome};
use crate::workflow::wire::{self, Entry, RecordName, RunState};
use futures::StreamExt as _;

/// How often a numbered record is tried again when others write theirs at the same time.
const TRIES_MAX: u32 = 16;

impl Client {
    /// Cancels a run. When this returns it is certain that it ends as cancelled, unless it had all but ended; steps that run are
    /// interrupted, and what is to be undone is undone.
    ///
    /// # Errors
    /// An unknown run, one that has ended, and what the broker fails with.
    pub async fn cancel_run(&self, run: &RunId) -> Result<(), Error> {
        let generation = self.going_on(run).await?;
        self.write_run(run, &RecordName::Cancel(generation), Event::Cancel { generation }).await.map(drop)
    }

    /// Sends a signal. One with an `id` that was sent before is not sent again.
    ///
    /// # Errors
    /// An unknown run, one that has ended, a signal that nothing in the run waits for, and what the broker fails with.
    pub async fn signal(
        &self,
        run: &RunId,
        name: &SignalName,
        payload: &Bytes,
        id: Option<SignalId>,
    ) -> Result<(), Error> {
        self.going_on(run).await?;
        self.check_signal(run, name).await?;
        let payload = Datum::parse(payload).map_err(|error| Error::Refused(format!("the payload: {error}")))?;
        let id = match id {
            Some(id) => id,
            None => self.new_run_id().as_str().parse().unwrap_or_else(|_| unreachable!("a ULID is a signal id")),
        };
        let event = Event::Signal { name: name.clone(), payload };
        self.write_run(run, &RecordName::Signal(id), event).await.map(drop)
    }

    /// Pauses a run: what runs goes on, and nothing more is begun. One that is paused stays so.
    ///
    /// # Errors
    /// An unknown run, one that has ended, and what the broker fails with.
    pub async fn pause_run(&self, run: &RunId) -> Result<(), Error> {
        for _ in 0..TRIES_MAX {
            self.going_on(run).await?;
            let marks = self.marks(run).await?;
            if marks.paused() {
                return Ok(());
            }
            let number = RecordName::Pause(next(&marks.pause));
            if self.write_run(run, &number, Event::Pause).await? != Written::Before {
                return Ok(());
            }
        }
        Err(Error::Refused("others pause and resume this run at the same time".to_owned()))
    }

    /// Resumes a run: one that was paused, or one that was halted for a reason that is mended. Others go on as they do.
    ///
    /// # Errors
    /// An unknown run, one that has ended, and what the broker fails with.
    pub async fn resume_run(&self, run: &RunId) -> Result<(), Error> {
        for _ in 0..TRIES_MAX {
            self.going_on(run).await?;
            let marks = self.marks(run).await?;
            if !marks.paused() && !self.is_halted(run).await? {
                return Ok(());
            }
            let number = RecordName::Resume(next(&marks.resume));
            if self.write_run(run, &number, Event::Resume).await? != Written::Before {
                return Ok(());
            }
        }
        Err(Error::Refused("others pause and resume this run at the same time".to_owned()))
    }

    /// Lets a run that failed or was cancelled go on from its failed steps.
    ///
    /// # Errors
    /// An unknown run, one that has not ended or has succeeded, and what the broker fails with.
    pub async fn retry_run(&self, run: &RunId) -> Result<(), Error> {
        let generation = self.generation(run).await?;
        match self.end_of(run, generation).await? {
            None => Err(Error::Refused("the run has not ended".to_owned())),
            Some(end) if matches!(end.result, Ending::Succeeded(_)) => {
                Err(Error::RunEnded { run: run.clone(), state: RunState::Succeeded })
            }
            Some(_) => self.write_run(run, &RecordName::Retry(generation), Event::Retry).await.map(drop),
        }
    }

    /// The generation of a run that has not ended.
    async fn going_on(&self, run: &RunId) -> Result<u32, Error> {
        let generation = self.generation(run).await?;
        match self.end_of(run, generation).await? {
            None => Ok(generation),
            Some(end) => {
                let state = match end.result {
                    Ending::Succeeded(_) => RunState::Succeeded,
                    Ending::Failed(_) => RunState::Failed,
                    Ending::Cancelled => RunState::Cancelled,
                };
                Err(Error::RunEnded { run: run.clone(), state })
            }
        }
    }

    async fn write_run(&self, run: &RunId, name: &RecordName, event: Event) -> Result<Written, Error> {
        Ok(journal::write(&self.broker, &self.tenant, run, name, event).await?)
    }

    async fn is_halted(&self, run: &RunId) -> Result<bool, Error> {
        let last = self.broker.streams.last(&Entry::subject(&self.tenant, run)).await?;
        let entry = last.and_then(|message| Entry::decode(&message.payload).ok());
        Ok(entry.is_some_and(|entry| entry.state == RunState::Paused && entry.reason.is_some()))
    }

    async fn marks(&self, run: &RunId) -> Result<Marks, Error> {
        let last = |kind: &str| {
            let subject = numbered(&self.tenant, run, kind);
            async move { self.broker.streams.last(&subject).await }
        };
        let (pause, resume, retry) = futures::try_join!(last("pause"), last("resume"), last("retry"))?;
        Ok(Marks { pause, resume, retry })
    }

    /// Refuses a signal that nothing in the run waits for: neither its document nor a flow that took a step's place.
    async fn check_signal(&self, run: &RunId, name: &SignalName) -> Result<(), Error> {
        let mut known = std::collections::BTreeSet::new();
        let filter = subject::run_records(&self.tenant, run);
        let mut records = self.broker.streams.read(&filter, From::Sequence(1), false).await?;
        while let Some(message) = records.next().await {
            let message = message?;
            let document = match wire::name(&message.subject) {
                Ok(record @ (RecordName::Start | RecordName::Step { .. })) => {
                    match wire::decode(&record, &message.headers, &message.payload) {
                        Ok(Event::Start(start)) => start.document.clone(),
                        Ok(Event::Outcome { outcome: Outcome::Replaced(document), .. }) => document,
                        Ok(_) | Err(_) => continue,
                    }
                }
                Ok(_) | Err(_) => continue,
            };
            let text = run_values::whole(&self.broker, &self.tenant, run, &document).await?;
            if let Ok(document) = Document::parse_json(&text) {
                known.extend(flow::signals(&document));
            }
            if known.contains(name) {
                return Ok(());
            }
        }
        Err(Error::SignalUnknown { name: name.clone(), known: known.iter().map(ToString::to_string).collect() })
    }
}

/// The last record of each kind that pauses a run or lets it go on.
struct Marks {
    pause: Option<Message>,
    resume: Option<Message>,
    retry: Option<Message>,
}

impl Marks {
    fn paused(&self) -> bool {
        let at = |message: &Option<Message>| message.as_ref().map_or(0, |message| message.sequence);
        at(&self.pause) > at(&self.resume).max(at(&self.retry))
    }
}

/// The number after the one of a record.
fn next(last: &Option<Message>) -> u32 {
    match last.as_ref().map(|message| wire::name(&message.subject)) {
        Some(Ok(RecordName::Pause(number) | RecordName::Resume(number))) => number.saturating_add(1),
        _ => 0,
    }
}

fn numbered(tenant: &Tenant, run: &RunId, kind: &str) -> String {
    format!("lvg.{tenant}.run.{}.{run}.{kind}.*", run.partition())
}
