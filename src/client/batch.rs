//! Batches: many tasks from one text, all looked at before the first is sent, and sent once however often that is begun.

use std::collections::hash_map::Entry::Vacant;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::schedules::task_id;
use super::{Client, Error, Place};
use crate::broker::patience::Patience;
use crate::broker::{self, Publish, Start as From};
use crate::model::lifecycle::Record;
use crate::model::{Digest, RunId, Signature, TaskRef, Value, Version};
use crate::protocol::batch::{BATCH_LABEL, BatchRecord, Defaults, Entry, RECORD_VERSION, all, subject, task_of};
use crate::protocol::stream::RESULT_TTL;
use crate::store::records;
use crate::store::values::VALUE_BYTES_MAX;

/// Tasks that are on their way to the broker at a time: enough to hide its distance.
const ON_THE_WAY_MAX: usize = 1_024;

/// Tasks after which it is noted how many were sent: whoever resumes sends so many again at most, which hosts then recognise.
const NOTED_EVERY: u64 = 5_000;

/// Tasks of one batch.
pub const TASKS_MAX: usize = 1_000_000;

/// Bytes of one batch: it is kept in memory while it is sent.
pub const BATCH_BYTES_MAX: usize = 512 << 20;

/// Lines that are named when they are wrong; further ones are not looked at.
const PROBLEMS_MAX: usize = 10;

/// Results that are looked up at a time.
const LOOKED_UP_AT_ONCE: usize = 256;

/// Tasks of a batch that are looked at again and again while it is awaited: of those that end in another order than they were
/// sent in, so many may be ahead before more are looked at.
const AWAITED_AT_ONCE: usize = 1_024;

/// The pause after a look at a batch in which nothing had ended.
const LOOK_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// A batch that was looked at as a whole.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its id: the same for the same text, options and key.
    pub id: RunId,
    text: Bytes,
    /// Where the lines with tasks are.
    lines: Vec<std::ops::Range<usize>>,
    defaults: Defaults,
    /// What was found of the tasks that name no version.
    versions: HashMap<TaskRef, Version>,
}

/// What is wrong with a batch: the first lines that are, and nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLines(pub Vec<(usize, String)>);

/// What became of the sending of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its tasks.
    pub tasks: u64,
    /// Those that the broker had before.
    pub before: u64,
}

impl Batch {
    /// How many tasks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn entry(&self, place: usize) -> Result<Entry, String> {
        let line = self.lines.get(place).and_then(|range| self.text.get(range.clone())).unwrap_or_default();
        self.defaults.read(std::str::from_utf8(line).map_err(|error| error.to_string())?)
    }
}

impl Client {
    /// Looks at all lines of a batch: that each is a task, and that what they call is there. `key` tells it from the same text
    /// with another key.
    ///
    /// # Errors
    /// A batch that is empty or too large, and what the broker fails with; inside, the lines that are wrong.
    pub async fn check_batch(
        &self,
        text: Bytes,
        defaults: Defaults,
        key: &str,
    ) -> Result<Result<Batch, BadLines>, Error> {
        if text.len() > BATCH_BYTES_MAX {
            return Err(Error::Refused(format!("a batch takes up to {BATCH_BYTES_MAX} bytes")));
        }
        if defaults.options.singleton.is_some() || defaults.options.debounce.is_some() {
            let why = "a batch takes no singleton and no debounce: it sends each line as a task of its own";
            return Err(Error::Refused(why.to_owned()));
        }
        let lines = lines(&text);
        if lines.is_empty() || lines.len() > TASKS_MAX {
            return Err(Error::Refused(format!("a batch takes 1 to {TASKS_MAX} tasks, not {}", lines.len())));
        }
        let options = Digest::of(format!("{defaults:?}").as_bytes()).to_string();
        let id = RunId::derived(&["batch", self.tenant.as_str(), key, &options, &Digest::of(&text).to_string()]);
        let mut batch = Batch { id, text, lines: Vec::with_capacity(lines.len()), defaults, versions: HashMap::new() };
        let mut bad = Vec::new();
        for (number, range) in lines {
            batch.lines.push(range);
            match self.check_entry(&mut batch).await {
                Ok(()) => {}
                Err(Ok(problem)) => bad.push((number, problem)),
                Err(Err(error)) => return Err(error),
            }
            if bad.len() >= PROBLEMS_MAX {
                break;
            }
        }
        Ok(if bad.is_empty() { Ok(batch) } else { Err(BadLines(bad)) })
    }

    /// Looks at the last line of a batch; what is wrong with it, or what the broker failed with.
    async fn check_entry(&self, batch: &mut Batch) -> Result<(), Result<String, Error>> {
        let entry = batch.entry(batch.len().saturating_sub(1)).map_err(Ok)?;
        let now = self.broker.clock.now();
        if let Value::Inline(input) = &entry.signature.input
            && input.len() as u64 > VALUE_BYTES_MAX
        {
            return Err(Ok(format!(
                "its input has {} bytes, more than the {VALUE_BYTES_MAX} that are allowed",
                input.len()
            )));
        }
        if let Some((delay, expires)) = entry.delay.zip(entry.wanted.expires)
            && expires <= delay
        {
            return Err(Ok(format!("it would have expired when it is due, at {}", now.after(delay))));
        }
        let task = entry.signature.task;
        if let Vacant(place) = batch.versions.entry(task) {
            let found = self.resolve(place.key()).await.map_err(|error| {
                let missing = matches!(error, Error::ModuleMissing { .. } | Error::TaskMissing { .. });
                if missing { Ok(error.to_string()) } else { Err(error) }
            })?;
            let asks = Signature::new(place.key().clone(), Bytes::new());
            Self::refuse_shared(&found, &asks, "a batch sends each line as a task of its own")
                .map_err(|error| Ok(error.to_string()))?;
            place.insert(found.version.clone());
        }
        Ok(())
    }

    /// Sends what the broker does not have yet of a batch, many tasks at a time; `progress` hears how many it has. When this
    /// returns all are durable. A broker that is away, or a queue that is full, is waited for.
    ///
    /// # Errors
    /// That somebody else sends it at the same time, and what the broker refuses for good: then it can be begun again.
    pub async fn send_batch(&self, batch: &Batch, progress: &mut (dyn FnMut(u64) + Send)) -> Result<Sent, Error> {
        let (mut record, mut sequence) = self.open_batch(batch).await?;
        let before = record.sent;
        // Whoever began it may have sent more than was noted.
        let again = sequence.1;
        let places = usize::try_from(before).unwrap_or(usize::MAX)..batch.len();
        let mut sent =
            futures::stream::iter(places).map(|place| self.send_one(batch, place, again)).buffered(ON_THE_WAY_MAX);
        while let Some(one) = sent.next().await {
            one?;
            record.sent = record.sent.saturating_add(1);
            progress(record.sent);
            if record.sent.is_multiple_of(NOTED_EVERY) || record.is_whole() {
                sequence.0 = self.note_batch(&record, sequence.0).await?;
            }
        }
        Ok(Sent { tasks: record.tasks, before })
    }

    /// The record of a batch, with its sequence, and whether it was there before.
    async fn open_batch(&self, batch: &Batch) -> Result<(BatchRecord, (u64, bool)), Error> {
        if let Some((record, sequence)) = self.batch_record(&batch.id).await? {
            return Ok((record, (sequence, true)));
        }
        let (tasks, begun) = (batch.len() as u64, self.broker.clock.now());
        let record = BatchRecord { v: RECORD_VERSION, id: batch.id.clone(), tasks, sent: 0, begun };
        let sequence = self.note_batch(&record, 0).await?;
        Ok((record, (sequence, false)))
    }

    async fn batch_record(&self, id: &RunId) -> Result<Option<(BatchRecord, u64)>, Error> {
        let Some(message) = self.broker.streams.last(&subject(&self.tenant, id)).await? else { return Ok(None) };
        let record = BatchRecord::decode(&message.payload)
            .map_err(|rejection| Error::Unreadable { subject: message.subject, rejection })?;
        Ok(Some((record, message.sequence)))
    }

    async fn note_batch(&self, record: &BatchRecord, expected: u64) -> Result<u64, Error> {
        let subject = subject(&self.tenant, &record.id);
        let publish = Publish { expect: Some(expected), ..Publish::new(subject, record.encode()) };
        let stored = insist(|| async {
            match self.broker.streams.publish(publish.clone()).await {
                // Our own, if its acknowledgement was lost; else somebody else's.
                Err(conflict @ broker::Error::Conflict { .. }) => match self.batch_record(&record.id).await? {
                    Some((now, sequence)) if now == *record => Ok(sequence),
                    _ => Err(Error::from(conflict)),
                },
                other => Ok(other?.sequence),
            }
        })
        .await;
        stored.map_err(|error| {
            if matches!(error, Error::Broker(broker::Error::Conflict { .. })) {
                return Error::Refused(format!("somebody else sends batch {} at the same time", record.id));
            }
            error
        })
    }

    async fn send_one(&self, batch: &Batch, place: usize, again: bool) -> Result<(), Error> {
        let Entry { mut signature, wanted, queue, priority, delay, due } =
            batch.entry(place).map_err(|problem| Error::Refused(format!("the batch has changed: {problem}")))?;
        signature.task.version = batch.versions.get(&signature.task).cloned().or(signature.task.version);
        signature.options.labels.insert(BATCH_LABEL.to_owned(), batch.id.to_string());
        let now = self.broker.clock.now();
        let place_in_queue = Place { queue, priority, due: delay.map(|delay| now.after(delay)).or(due) };
        wanted.stamp(&mut signature.options, now, place_in_queue.due);
        let id = task_id(&task_of(&self.tenant, &batch.id, place as u64));
        insist(|| async {
            let message = self.message(&id, signature.clone(), &place_in_queue, again).await?;
            // The broker itself drops what comes twice within two minutes, also where its acknowledgement was lost.
            let publish = Publish { message_id: Some(format!("batch/{id}")), ..message };
            match self.broker.streams.publish(publish).await {
                Ok(_) | Err(broker::Error::Occupied { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// The batches that are known, in the order in which they were begun.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn batches(&self) -> Result<Vec<BatchRecord>, Error> {
        let messages = self.broker.streams.read(&all(&self.tenant), From::LastPerSubject, false).await?;
        let read = |message: broker::Message| async move { Ok(BatchRecord::decode(&message.payload).ok()) };
        let mut records: Vec<BatchRecord> = messages.map_err(Error::from).try_filter_map(read).try_collect().await?;
        records.sort_by_key(|record| record.begun);
        Ok(records)
    }

    /// A batch, and how many of its tasks are in which state; `waiting` are those that have not ended.
    ///
    /// # Errors
    /// That there is none, and what the broker fails with.
    pub async fn batch(&self, id: &RunId) -> Result<(BatchRecord, BTreeMap<String, u64>), Error> {
        let (record, _) = self.batch_record(id).await?.ok_or_else(|| Error::BatchNotFound(id.clone()))?;
        let state = |place| {
            let id = task_id(&task_of(&self.tenant, &record.id, place));
            async move {
                let stored = records::read(&self.broker, &self.tenant, &id).await?;
                Ok::<_, Error>(match stored.map(|stored| stored.record) {
                    Some(Record::Settled(settled)) => settled.end.state().to_string(),
                    Some(Record::Retrying { .. }) => "retrying".to_owned(),
                    None => "waiting".to_owned(),
                })
            }
        };
        let mut states = BTreeMap::new();
        let mut found = futures::stream::iter(0..record.sent).map(state).buffer_unordered(LOOKED_UP_AT_ONCE);
        while let Some(state) = found.try_next().await? {
            *states.entry(state).or_default() += 1;
        }
        drop(found);
        Ok((record, states))
    }

    /// Waits until all tasks of a batch have ended; how many ended in which state. `progress` hears how many have, of how many.
    /// The first tasks that have not ended are looked at again and again, so that a batch of a million costs no more to wait for
    /// than its results to be read once.
    ///
    /// # Errors
    /// That there is none, that its sending was interrupted, and what the broker fails with.
    pub async fn wait_batch(
        &self,
        id: &RunId,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<BTreeMap<String, u64>, Error> {
        let (record, _) = self.batch_record(id).await?.ok_or_else(|| Error::BatchNotFound(id.clone()))?;
        if !record.is_whole() {
            let BatchRecord { sent, tasks, .. } = record;
            return Err(Error::Refused(format!(
                "{sent} of {tasks} tasks of batch {id} were sent: send the rest first"
            )));
        }
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        if self.broker.clock.now().since(record.begun) > RESULT_TTL {
            return Err(Error::Refused(format!(
                "batch {id} was begun more than a day ago: how its tasks ended is not known any more"
            )));
        }
        let (mut next, mut waiting, mut ended) = (0, Vec::new(), 0_u64);
        while ended < record.tasks {
            while waiting.len() < AWAITED_AT_ONCE && next < record.tasks {
                waiting.push(next);
                next = next.saturating_add(1);
            }
            let look = |place: u64| async move { Ok::<_, Error>((place, self.ended_in(id, place).await?)) };
            let looks = futures::stream::iter(std::mem::take(&mut waiting)).map(look).buffered(LOOKED_UP_AT_ONCE);
            let looked: Vec<(u64, Option<String>)> = looks.try_collect().await?;
            let before = ended;
            for (place, state) in looked {
                match state {
                    Some(state) => {
                        ended = ended.saturating_add(1);
                        *states.entry(state).or_default() += 1;
                    }
                    None => waiting.push(place),
                }
            }
            progress(ended, record.tasks);
            if ended == before {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
        Ok(states)
    }

    /// How a task of a batch ended, if it has.
    async fn ended_in(&self, batch: &RunId, place: u64) -> Result<Option<String>, Error> {
        let id = task_id(&task_of(&self.tenant, batch, place));
        Ok(match records::read(&self.broker, &self.tenant, &id).await?.map(|stored| stored.record) {
            Some(Record::Settled(settled)) => Some(settled.end.state().to_string()),
            Some(Record::Retrying { .. }) | None => None,
        })
    }

    /// Cancels all tasks of a batch that were sent and have not ended; how many those were.
    ///
    /// # Errors
    /// That there is none, and what the broker fails with: some may be cancelled then.
    pub async fn cancel_batch(&self, id: &RunId) -> Result<u64, Error> {
        let (record, _) = self.batch_record(id).await?.ok_or_else(|| Error::BatchNotFound(id.clone()))?;
        // What was sent since it was last noted is in the broker too.
        let sent = record.sent.saturating_add(NOTED_EVERY).min(record.tasks);
        let cancel = |place| {
            let id = task_id(&task_of(&self.tenant, &record.id, place));
            async move {
                match self.cancel(&id).await {
                    Ok(()) => Ok(1),
                    Err(Error::Ended { .. } | Error::NotFound(_)) => Ok(0),
                    Err(error) => Err(error),
                }
            }
        };
        let cancels = futures::stream::iter(0..sent).map(cancel).buffer_unordered(LOOKED_UP_AT_ONCE);
        cancels.try_fold(0_u64, |sum, one: u64| async move { Ok(sum.saturating_add(one)) }).await
    }
}

/// Repeats what may work later: the broker is away, or a queue is full.
async fn insist<T, F, Fut>(operation: F) -> Result<T, Error>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let mut patience = Patience::default();
    loop {
        match operation().await {
            Err(error) if error.is_passing() => patience.wait().await,
            other => return other,
        }
    }
}

/// The lines that hold something, with their numbers from 1.
fn lines(text: &Bytes) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut begin = 0;
    let mut lines = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let range = begin..begin + line.len();
        begin = range.end + 1;
        if !line.trim_ascii().is_empty() {
            lines.push((number + 1, range));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_numbers_and_empty_ones_are_left_out() {
        let text = Bytes::from_static(b"1\n\n  \r\n{}\r\n[2]");
        let found: Vec<(usize, &[u8])> =
            lines(&text).into_iter().map(|(number, range)| (number, &text[range])).collect();
        assert_eq!(found, [(1, &b"1"[..]), (4, b"{}\r"), (5, b"[2]")]);
        assert!(lines(&Bytes::new()).is_empty());
    }
}
