//! Reading a run from its journal: wholly, or from where it is.

use futures::StreamExt as _;
use tracing::warn;

use super::{Actor, Folding, State, decode};
use crate::broker::patience::Patience;
use crate::broker::{Error, Message, Start as From};
use crate::coordinator::listing::Listing;
use crate::coordinator::perform::{Performer, Work};
use crate::coordinator::retention::{self, STRAY_AFTER};
use crate::model::StepId;
use crate::protocol::subject;
use crate::workflow::Event;
use crate::workflow::timer::{Purpose, TimerId};
use crate::workflow::wire::{self, RecordName};

/// Records before a run's start record that are kept in memory while it is looked for.
const EARLY_MAX: usize = 1_000;

impl Actor {
    /// Reads the whole run, and asks for all that is outstanding. `rung` is the first record that nobody has acted upon.
    pub(super) async fn read_all(&mut self, rung: u64, remembering: bool) -> Result<(), Folding> {
        let mut patience = Patience::default();
        let mut remembering = remembering;
        loop {
            self.state = State::Unknown;
            self.listing = Listing::default();
            match self.read(1, rung, remembering).await {
                Ok(()) => break,
                Err(Reading::Broker(error)) => {
                    warn!(run = %self.performer.run, %error, "failed to read a run, trying again");
                    patience.wait().await;
                }
                Err(Reading::Folding(Folding::Replay)) if !remembering => remembering = true,
                Err(Reading::Folding(folding)) => return Err(folding),
            }
        }
        let State::Live(run) = &mut self.state else {
            self.performer.shared.metrics.stray.inc();
            self.look_after_strays().await;
            return Ok(());
        };
        self.listing.forget_place();
        let mut work: Vec<(Work, bool)> =
            run.outstanding().into_iter().map(|effect| (Work::Effect(effect), true)).collect();
        if let Some((entry, expected)) = self.listing.take() {
            work.insert(0, (Work::List(entry, expected), false));
        }
        self.perform(work).await;
        Ok(())
    }

    /// Records of a run that was never started, or has been removed: they go when nothing can come of them any more.
    async fn look_after_strays(&self) {
        let Performer { shared, tenant, run, .. } = &self.performer;
        let filter = subject::run_records(tenant, run);
        let oldest =
            async || shared.broker.streams.read(&filter, From::Sequence(1), false).await?.next().await.transpose();
        let Ok(Some(oldest)) = Patience::default().insist("read stray records", oldest).await else { return };
        if shared.broker.clock.now().since(oldest.time) < STRAY_AFTER {
            // No run asks for this one: it has folded records before it reminds of a full queue.
            let timer = TimerId { step: StepId::root(), purpose: Purpose::Room(0), generation: 0 };
            return self.performer.start_timer(&timer, oldest.time.after(STRAY_AFTER)).await;
        }
        let remove = || retention::remove(shared, tenant, run);
        drop(Patience::default().insist("remove stray records", remove).await);
    }

    /// Reads on from a record, and does what follows.
    pub(super) async fn read_on(&mut self, from: u64) -> Result<(), Folding> {
        let mut patience = Patience::default();
        let batch = loop {
            match self.records(from).await {
                Ok(batch) => break batch,
                Err(error) => {
                    warn!(run = %self.performer.run, %error, "failed to read a run on, trying again");
                    patience.wait().await;
                }
            }
        };
        self.fold(batch).await
    }

    async fn records(&self, from: u64) -> Result<Vec<Message>, Error> {
        let filter = subject::run_records(&self.performer.tenant, &self.performer.run);
        let mut reading = self.performer.shared.broker.streams.read(&filter, From::Sequence(from), false).await?;
        let mut records = Vec::new();
        while let Some(record) = reading.next().await {
            records.push(record?);
        }
        Ok(records)
    }

    async fn read(&mut self, from: u64, rung: u64, remembering: bool) -> Result<(), Reading> {
        let filter = subject::run_records(&self.performer.tenant, &self.performer.run);
        let mut reading = self.performer.shared.broker.streams.read(&filter, From::Sequence(from), false).await?;
        let mut early: Vec<Message> = Vec::new();
        while let Some(message) = reading.next().await {
            let message = message?;
            if matches!(self.state, State::Live(_)) {
                self.refold(&message, rung).await?;
                continue;
            }
            if !matches!(wire::name(&message.subject), Ok(RecordName::Start)) {
                if early.len() < EARLY_MAX {
                    early.push(message);
                }
                continue;
            }
            let event = decode(&message)?;
            let child = matches!(&event, Event::Start(start) if start.parent.is_some());
            let run = self.new_run(event, remembering).await?;
            self.state = State::Live(Box::new(run));
            for message in in_order(message, std::mem::take(&mut early), child) {
                self.refold(&message, rung).await?;
            }
        }
        Ok(())
    }

    async fn refold(&mut self, message: &Message, rung: u64) -> Result<(), Folding> {
        self.fold_one(message, false).await?;
        if message.sequence >= rung {
            self.listing.count(&self.performer.shared.metrics);
        }
        self.listing.counted();
        Ok(())
    }
}

/// Records that came before their run's start: a child may be cancelled before it is started, so its are folded behind the
/// start, which takes the place of the first of them; anyone else's are a stranger's and change nothing.
fn in_order(mut start: Message, early: Vec<Message>, child: bool) -> Vec<Message> {
    if !child || early.is_empty() {
        return vec![start];
    }
    let mut places: Vec<u64> = early.iter().map(|message| message.sequence).collect();
    places.push(start.sequence);
    let mut places = places.into_iter();
    start.sequence = places.next().unwrap_or(start.sequence);
    let early = early.into_iter().zip(places).map(|(message, sequence)| Message { sequence, ..message });
    std::iter::once(start).chain(early).collect()
}

/// Why a journal was not read.
pub(super) enum Reading {
    Broker(Error),
    Folding(Folding),
}

impl std::convert::From<Error> for Reading {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl std::convert::From<Folding> for Reading {
    fn from(folding: Folding) -> Self {
        Self::Folding(folding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_early_records_come_behind_its_start() {
        let record = |subject: &str, sequence| Message { subject: subject.to_owned(), sequence, ..Message::default() };
        let shown = |records: Vec<Message>| {
            records.into_iter().map(|record| format!("{}@{}", record.subject, record.sequence)).collect::<Vec<_>>()
        };
        let early = || vec![record("cancel", 3), record("signal", 5)];
        assert_eq!(shown(in_order(record("start", 9), early(), true)), ["start@3", "cancel@5", "signal@9"]);
        assert_eq!(shown(in_order(record("start", 9), early(), false)), ["start@9"]);
        assert_eq!(shown(in_order(record("start", 9), Vec::new(), true)), ["start@9"]);
    }
}
