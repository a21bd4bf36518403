//! Where the queued steps of a run are: on which host, or what each waits for where none has it in hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Client, Error, RunView};
use crate::broker::Start;
use crate::model::key::StepAttempt;
use crate::model::{HostId, Queue, RunId, StepId, TaskKey, Timestamp, requirement};
use crate::protocol::host::{HostDetail, HostRecord, Word};
use crate::protocol::limit::{read_line, run_lines_anywhere};
use crate::protocol::queue::{self, QueueRecord};

/// Hosts that are asked at most what they have in hand: those with the most come first. Of a step that is on none of them it is not
/// known whether another host runs it.
const HOSTS_ASKED_MAX: usize = 8;

/// How long the list of hosts, and then their answers, are waited for: whoever looks waits for them.
const LIST_PATIENCE: Duration = Duration::from_secs(1);
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);

/// Steps that wait under limits, and queues, of which it is looked up what holds them.
const LINES_READ_MAX: usize = 1_000;
const QUEUES_READ_MAX: usize = 16;

/// Where a queued step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// A host has it in hand.
    On {
        /// Which.
        host: HostId,
        /// Since when, by its clock.
        since: Timestamp,
        /// Whether its guest runs; else it waits there for its module, its input or a slot.
        running: bool,
    },
    /// Under this limit across the fleet, until others have ended or some time has passed.
    Limited(String),
    /// In a queue that is paused.
    Paused(Queue),
    /// In a queue that no host serves.
    Unserved(Queue),
    /// Hosts serve its queue, and none of them has these labels, which it requires.
    Required(BTreeMap<String, String>),
    /// In a queue, for a host that has time for it.
    Free,
}

impl Client {
    /// Where the queued steps of a run are, as far as hosts say so in time. What cannot be seen is left out: whoever may not see
    /// hosts sees no step's.
    pub async fn whereabouts(&self, view: &RunView) -> BTreeMap<StepId, Whereabouts> {
        let queued = view.queued();
        let queues: BTreeSet<&Queue> = queued.iter().map(|step| &step.queue).collect();
        if queued.is_empty() {
            return BTreeMap::new();
        }
        let names = queues.iter().copied().take(QUEUES_READ_MAX);
        let (any, run) = (BTreeMap::new(), &view.start().run);
        let look = async { tokio::join!(self.hosts(&any), self.lines(run), self.rules(names)) };
        let Ok((Ok(mut hosts), mut limited, rules)) = tokio::time::timeout(LIST_PATIENCE, look).await else {
            return BTreeMap::new();
        };
        hosts.retain(|host| host.tenant == self.tenant && host.queues.keys().any(|queue| queues.contains(queue)));
        hosts.sort_by_key(|host| std::cmp::Reverse(host.running.saturating_add(host.reserved)));
        let ask = |host: &HostRecord| self.in_hand(host.id.clone());
        let answers = join_all(hosts.iter().take(HOSTS_ASKED_MAX).map(ask)).await;
        let mut on = BTreeMap::new();
        let mut all_known = hosts.len() <= HOSTS_ASKED_MAX;
        for answer in answers {
            let Ok(HostDetail { host, tasks, tasks_left_out, .. }) = answer else {
                all_known = false;
                continue;
            };
            all_known &= tasks_left_out == 0;
            for task in tasks.into_iter().filter(|task| task.tenant == self.tenant) {
                on.insert(task.id, Whereabouts::On { host: host.id.clone(), since: task.since, running: task.running });
            }
        }
        let place = |Queued { step, attempt, queue, mut requires }: Queued| {
            let key = TaskKey::Step(StepAttempt { run: run.clone(), step: step.clone(), attempt });
            let found = on.remove(&key.to_string());
            let found = found.or_else(|| limited.remove(&key).map(Whereabouts::Limited));
            let rule = rules.get(&queue);
            requires.extend(rule.into_iter().flat_map(|rule| rule.requires.clone()));
            let found = found.or_else(|| match rule {
                Some(rule) if rule.paused.is_some() => Some(Whereabouts::Paused(queue)),
                _ => waits(&hosts, queue, requires, all_known),
            })?;
            Some((step, found))
        };
        queued.into_iter().filter_map(place).collect()
    }

    /// The attempts of a run's steps that wait under limits, with the names of those.
    async fn lines(&self, run: &RunId) -> BTreeMap<TaskKey, String> {
        let lines = run_lines_anywhere(&self.tenant, run);
        let Ok(lines) = self.broker.streams.read(&lines, Start::Sequence(1), false).await else {
            return BTreeMap::new();
        };
        let lines: Vec<String> =
            lines.map_ok(|line| line.subject).take(LINES_READ_MAX).try_collect().await.unwrap_or_default();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for line in lines {
            let Some((token, task)) = read_line(&line) else { continue };
            let name = match names.get(&token) {
                Some(name) => name.clone(),
                None => self.limit_of(&line).await.ok().flatten().unwrap_or_else(|| token.clone()),
            };
            found.insert(task.key, name.clone());
            names.insert(token, name);
        }
        found
    }

    /// What operators have said of these queues.
    async fn rules(&self, queues: impl Iterator<Item = &Queue>) -> BTreeMap<Queue, QueueRecord> {
        let read = queues.map(|queue| async move {
            let record = self.broker.streams.last(&queue::subject(&self.tenant, queue)).await.ok().flatten()?;
            Some((queue.clone(), QueueRecord::decode(&record.payload).ok()?))
        });
        join_all(read).await.into_iter().flatten().collect()
    }

    async fn in_hand(&self, id: HostId) -> Result<HostDetail, Error> {
        self.ask_host(&id, Word::Inspect, Bytes::new(), ANSWER_PATIENCE).await
    }
}

/// An attempt of a step that is queued, or runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) step: StepId,
    pub(super) attempt: u32,
    pub(super) queue: Queue,
    pub(super) requires: BTreeMap<String, String>,
}

/// What a step waits for that none of the hosts which answered has in hand. A host that did not answer may have it.
fn waits(
    hosts: &[HostRecord],
    queue: Queue,
    requires: BTreeMap<String, String>,
    all_known: bool,
) -> Option<Whereabouts> {
    let mut serving = hosts.iter().filter(|host| host.queues.contains_key(&queue)).peekable();
    if serving.peek().is_none() {
        return Some(Whereabouts::Unserved(queue));
    }
    if !serving.any(|host| requirement::is_met(&host.labels, &requires)) {
        return Some(Whereabouts::Required(requires));
    }
    all_known.then_some(Whereabouts::Free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::host::HostState;

    fn host(queues: &[&str], labels: &[(&str, &str)]) -> HostRecord {
        HostRecord {
            v: 1,
            id: "h1".parse().unwrap(),
            tenant: "default".parse().unwrap(),
            name: "machine".to_owned(),
            labels: pairs(labels),
            queues: queues.iter().map(|queue| (queue.parse().unwrap(), 1)).collect(),
            state: HostState::Serving,
            slots: 1,
            running: 0,
            reserved: 0,
            version: "0".to_owned(),
            started: Timestamp::default(),
            memory_bytes: 0,
        }
    }

    fn pairs(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_on_no_host_waits_for_a_queue_to_be_served_for_labels_or_for_a_free_host() {
        let hosts = [host(&["default"], &[]), host(&["default", "heavy"], &[("gpu", "yes")])];
        let of = |queue: &str, requires, known| waits(&hosts, queue.parse().unwrap(), pairs(requires), known);
        assert_eq!(of("nowhere", &[], true), Some(Whereabouts::Unserved("nowhere".parse().unwrap())));
        assert_eq!(of("default", &[("gpu", "no")], true), Some(Whereabouts::Required(pairs(&[("gpu", "no")]))));
        assert_eq!(of("default", &[("gpu", "yes")], true), Some(Whereabouts::Free));
        assert_eq!(of("heavy", &[], true), Some(Whereabouts::Free));
        assert_eq!(of("heavy", &[], false), None, "a host that did not answer may run it");
        assert_eq!(of("nowhere", &[], false), Some(Whereabouts::Unserved("nowhere".parse().unwrap())));
    }
}
