//! Events: what happens to tasks, runs, schedules and hosts, read from what is stored anyway.
//!
//! | events | from | complete? |
//! |---|---|---|
//! | ends of tasks | their records, kept for a day | yes; of a task that is tried again history has the last state alone |
//! | states of runs | the index, which holds the last | the ends are; live, all of them |
//! | ends of steps' attempts | journals | yes, as long as the run is kept |
//! | schedules | their records | history has the last change alone |
//! | hosts join, drain, leave; progress | the event stream, a day and five million messages | as far as that stream reaches |
//! | queued, scheduled, running, lost hosts | the bus | live alone, best effort |
//!
//! **Invariant:** a task costs nothing more while nobody looks; while somebody does, hosts send one unacknowledged message a
//! task, within a bound.

mod event;
mod filter;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::{BoxStream, Peekable, select_all};
use futures::{StreamExt as _, TryStreamExt as _, stream};

pub use event::Event;
pub use filter::{EventFilter, fits};

use super::{Client, Error};
use crate::broker::{Message, Start as From};
use crate::model::lifecycle::About;
use crate::model::{HostId, TaskId, Timestamp};
use crate::protocol::host::{HostNews, NewsKind, WATCH_EVERY};
use crate::protocol::task::TaskMessage;
use crate::protocol::{Headers, subject};

/// The pause between two looks for hosts that are not heard of any more.
const HOSTS_EVERY: Duration = Duration::from_secs(2);

type Events = BoxStream<'static, Result<Event, Error>>;

impl Client {
    /// Events since `since` that are wanted, in the order of time.
    ///
    /// # Errors
    /// What the broker fails with, here and in the stream.
    pub async fn past_events(&self, since: Timestamp, filter: &EventFilter) -> Result<Events, Error> {
        let mut readings = Vec::new();
        for source in self.sources(filter) {
            let reading = self.broker.streams.read(&source, From::Time(since), false).await?;
            readings.push(events(reading.map_err(Error::from).boxed()).peekable());
        }
        let filter = filter.clone();
        let merged = stream::unfold(readings, |mut readings| async move {
            let earliest = earliest(&mut readings).await?;
            let event = readings.get_mut(earliest)?.next().await?;
            Some((event, readings))
        });
        Ok(merged.try_filter(move |event| std::future::ready(filter.wants(event))).boxed())
    }

    /// Events that are wanted, from now on, or from `since`: those of one source in their order, those of several as they come.
    ///
    /// # Errors
    /// What the broker fails with, here and in the stream.
    pub async fn live_events(&self, since: Option<Timestamp>, filter: &EventFilter) -> Result<Events, Error> {
        let mut readings: Vec<Events> = Vec::new();
        let heard = [("task", subject::tasks(&self.tenant)), ("task", subject::schedules(&self.tenant))];
        for (_, subject) in heard.iter().filter(|(family, _)| filter.may_want(family) || filter.may_want("step")) {
            let now = self.broker.clock.clone();
            let listened = self.broker.bus.listen(subject).await?;
            readings.push(events(listened.map(move |message| Ok(Message { time: now.now(), ..message })).boxed()));
        }
        for source in self.sources(filter) {
            let start = match since {
                Some(since) => From::Time(since),
                None => {
                    let last = self.broker.streams.last(&source).await?;
                    From::Sequence(last.map_or(0, |message| message.sequence).saturating_add(1))
                }
            };
            let reading = self.broker.streams.read(&source, start, true).await?;
            readings.push(events(reading.map_err(Error::from).boxed()));
        }
        readings.push(self.watching());
        if filter.may_want("host") {
            readings.push(self.lost_hosts());
        }
        let (filter, client) = (filter.clone(), self.clone());
        let known = select_all(readings).and_then(move |event| {
            let client = client.clone();
            async move { Ok(client.named(event).await) }
        });
        Ok(known.try_filter(move |event| std::future::ready(filter.wants(event))).boxed())
    }

    /// Where wanted events are stored.
    fn sources(&self, filter: &EventFilter) -> Vec<String> {
        let tenant = &self.tenant;
        let sources = [
            (&["task"][..], format!("lvg.{tenant}.res.*")),
            (&["run"], format!("lvg.{tenant}.index.*")),
            (&["step"], format!("lvg.{tenant}.run.*.*.step.>")),
            (&["schedule"], subject::all_recurring(tenant)),
            (&["task", "step", "host", "webhook"], format!("lvg.{tenant}.ev.>")),
        ];
        let wanted = |families: &[&str]| families.iter().any(|family| filter.may_want(family));
        sources.into_iter().filter(|(families, _)| wanted(families)).map(|(_, source)| source).collect()
    }

    /// Lets hosts know, again and again, that somebody looks: then they say which tasks begin. Yields nothing.
    fn watching(&self) -> Events {
        let client = self.clone();
        let tell = stream::unfold((client, tokio::time::interval(WATCH_EVERY)), |(client, mut ticks)| async move {
            ticks.tick().await;
            // Without it what begins is not shown; the next one follows soon.
            let word = subject::watch(&client.tenant);
            drop(client.broker.bus.send(&word, Headers::new(), bytes::Bytes::new()).await);
            Some(((), (client, ticks)))
        });
        tell.filter_map(|()| std::future::ready(None)).boxed()
    }

    /// Hosts whose record ended although they did not say that they leave.
    fn lost_hosts(&self) -> Events {
        let looks = tokio::time::interval(HOSTS_EVERY);
        let lost = stream::unfold((self.clone(), looks, BTreeSet::new()), |(client, mut looks, known)| async move {
            looks.tick().await;
            let Ok(hosts) = client.hosts(&std::collections::BTreeMap::new()).await else {
                return Some((Vec::new(), (client, looks, known)));
            };
            let now: BTreeSet<HostId> = hosts.into_iter().map(|host| host.id).collect();
            let mut lost = Vec::new();
            for gone in known.difference(&now) {
                if !client.has_left(gone).await {
                    lost.push(Ok(Event::host_lost(gone.clone(), client.broker.clock.now())));
                }
            }
            Some((lost, (client, looks, now)))
        });
        lost.flat_map(stream::iter).boxed()
    }

    async fn has_left(&self, id: &HostId) -> bool {
        let last = self.broker.streams.last(&HostNews::subject(&self.tenant, id)).await;
        let news = last.ok().flatten().and_then(|message| serde_json::from_slice::<HostNews>(&message.payload).ok());
        news.is_some_and(|news| news.what == NewsKind::Left)
    }

    /// The event with what is known of its task: a failed attempt's record does not say it, the next attempt's message does.
    async fn named(&self, event: Event) -> Event {
        if event.task.is_some() || !matches!(event.kind.as_str(), "task.retrying" | "task.progress") {
            return event;
        }
        let Ok(id) = event.id.parse::<TaskId>() else { return event };
        match self.about(&id).await {
            Some(About { task, queue, labels }) => Event { task, queue, labels, ..event },
            None => event,
        }
    }

    /// What is known of a task that has not ended, from the message that asks for it.
    pub(super) async fn about(&self, id: &TaskId) -> Option<About> {
        let places = [
            subject::task_anywhere(&self.tenant, id),
            subject::schedule(&self.tenant, id),
            subject::fire_anywhere(&self.tenant, id),
        ];
        for place in places {
            let Ok(Some(message)) = self.broker.streams.last(&place).await else { continue };
            let task = TaskMessage::decode(&message.headers, &message.payload).ok()?;
            let queue = subject::TaskSubject::read(&message.subject).map(|subject| subject.queue);
            return Some(About { task: Some(task.signature.task), queue, labels: task.signature.options.labels });
        }
        None
    }
}

/// The events among messages.
fn events(messages: BoxStream<'static, Result<Message, Error>>) -> Events {
    messages.try_filter_map(|message| async move { Ok(Event::of(&message)) }).boxed()
}

/// Which reading goes on with the earliest event; an error is the earliest.
async fn earliest(readings: &mut [Peekable<Events>]) -> Option<usize> {
    let mut earliest: Option<(usize, Timestamp)> = None;
    for (place, reading) in readings.iter_mut().enumerate() {
        let at = match Pin::new(reading).peek().await {
            Some(Ok(event)) => event.at,
            Some(Err(_)) => return Some(place),
            None => continue,
        };
        if earliest.is_none_or(|(_, earliest)| at < earliest) {
            earliest = Some((place, at));
        }
    }
    earliest.map(|(place, _)| place)
}
