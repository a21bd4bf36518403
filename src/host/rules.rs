//! What operators and tasks have decided of queues, as far as it concerns this host: from which it may not take, and which marks
//! it may take in the others.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::broker::patience::Patience;
use crate::broker::{Broker, Error, Message, Start};
use crate::model::limit::Rule;
use crate::model::{Labels, Mark, Queue, Tenant, requirement};
use crate::protocol::queue::{Decided, all};

/// Marks of one queue that a host looks for: each means ten bands to listen to. More than that would be labels with a value for
/// every task, which is what queues are for.
const MARKS_MAX: usize = 32;

/// What is decided, as a host with certain labels sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Queues from which nothing is taken here, and why.
    pub(super) closed: BTreeMap<Queue, Closed>,
    /// Requirements that tasks in a queue have and this host meets.
    pub(super) marks: BTreeMap<Queue, BTreeSet<Mark>>,
    /// Limits of queues across the fleet.
    limits: BTreeMap<Queue, Rule>,
}

/// Why a queue is closed to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// An operator paused it.
    Paused,
    /// It requires labels that this host does not have.
    Required,
}

/// The rules of a tenant's queues.
pub(super) struct Rules {
    broker: Broker,
    tenant: Tenant,
    labels: Labels,
    known: watch::Sender<Known>,
}

impl Rules {
    /// What is decided now: a host that starts must not take from a queue that was paused before.
    pub(super) async fn begin(broker: Broker, tenant: Tenant, labels: Labels) -> Result<Self, Error> {
        let rules = Self { broker, tenant, labels, known: watch::Sender::default() };
        Patience::default().retry("read what is decided of queues", || rules.read(false)).await?;
        Ok(rules)
    }

    /// What is known, and word of every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// The limit of a queue.
    pub(super) fn limit(&self, queue: &Queue) -> Option<Rule> {
        self.known.borrow().limits.get(queue).copied()
    }

    /// Hears of changes for as long as the host runs.
    pub(super) async fn follow(&self) {
        let mut patience = Patience::default();
        loop {
            if let Err(error) = self.read(true).await {
                debug!(%error, "cannot follow what is decided of queues, trying again");
            }
            patience.wait().await;
        }
    }

    async fn read(&self, follow: bool) -> Result<(), Error> {
        let mut records = self.broker.streams.read(&all(&self.tenant), Start::LastPerSubject, follow).await?;
        while let Some(message) = records.next().await {
            self.learn(&message?);
        }
        Ok(())
    }

    fn learn(&self, message: &Message) {
        let decided = match Decided::read(&message.subject, &message.payload) {
            Ok(decided) => decided,
            Err(error) => {
                return warn!(subject = message.subject, %error, "cannot read what was decided of a queue");
            }
        };
        self.known.send_if_modified(|known| known.learn(decided, &self.labels));
    }
}

impl Known {
    /// Takes note of a decision; whether it changed anything for a host with these labels.
    fn learn(&mut self, decided: Decided, labels: &Labels) -> bool {
        match decided {
            Decided::Queue(record) => {
                // A rule that a stranger wrote out of its bounds limits nothing. Who takes tasks need not hear of either.
                match record.limit.and_then(|rule| rule.checked().ok()) {
                    Some(rule) => self.limits.insert(record.queue.clone(), rule),
                    None => self.limits.remove(&record.queue),
                };
                let closed = match record.paused {
                    Some(_) => Some(Closed::Paused),
                    None => (!requirement::is_met(labels, &record.requires)).then_some(Closed::Required),
                };
                let before = match closed {
                    Some(closed) => self.closed.insert(record.queue, closed),
                    None => self.closed.remove(&record.queue),
                };
                before != closed
            }
            Decided::Mark(record) => {
                let Some(mark) = Mark::of(&record.requires).filter(|_| requirement::is_met(labels, &record.requires))
                else {
                    return false;
                };
                let marks = self.marks.entry(record.queue).or_default();
                if marks.len() >= MARKS_MAX && !marks.contains(&mark) {
                    warn!(%mark, "too many requirements in one queue: tasks with this one are left to other hosts");
                    return false;
                }
                marks.insert(mark)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::schedule::Paused;
    use crate::protocol::queue::{MarkRecord, QueueRecord};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_queue_is_closed_to_those_who_do_not_meet_it_and_while_it_is_paused() {
        let own = labels(&[("gpu", "yes")]);
        let queue: Queue = "q".parse().unwrap();
        let decided = |paused: bool, requires: &[(&str, &str)]| {
            let paused = paused.then(|| Paused { since: Timestamp::default(), note: String::new() });
            Decided::Queue(QueueRecord { paused, requires: labels(requires), ..QueueRecord::new(queue.clone()) })
        };
        let mut known = Known::default();
        for (decided, changes, closed) in [
            (decided(false, &[]), false, None),
            (decided(false, &[("gpu", "yes")]), false, None),
            (decided(false, &[("gpu", "no")]), true, Some(Closed::Required)),
            (decided(true, &[("gpu", "no")]), true, Some(Closed::Paused)),
            (decided(true, &[]), false, Some(Closed::Paused)),
            (decided(false, &[]), true, None),
        ] {
            assert_eq!(known.learn(decided.clone(), &own), changes, "{decided:?}");
            assert_eq!(known.closed.get(&queue).copied(), closed, "{decided:?}");
        }
    }

    #[test]
    fn only_marks_that_it_meets_are_a_hosts_business_and_not_too_many() {
        let queue: Queue = "q".parse().unwrap();
        let own: Labels = (0..40).map(|n| (format!("k{n}"), "v".to_owned())).collect();
        let mark = |key: &str| Decided::Mark(MarkRecord::new(queue.clone(), labels(&[(key, "v")])));
        let mut known = Known::default();
        assert!(!known.learn(mark("other"), &own));
        assert!(known.learn(mark("k0"), &own));
        assert!(!known.learn(mark("k0"), &own));
        for n in 1..40 {
            known.learn(mark(&format!("k{n}")), &own);
        }
        assert_eq!(known.marks[&queue].len(), MARKS_MAX);
    }
}
