//! Limits across the fleet: which a call is under, and what is known of each.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;

use super::{Client, Error};
use crate::broker::Start as From;
use crate::model::limit::ledger::Ledger;
use crate::model::limit::{LIMITS_MAX, Limit, Rule, token};
use crate::model::{Datum, Queue, Signature, Value};
use crate::protocol::limit::{all, decode_ledger, line_of, lines, read_line, record};
use crate::store::limits;
use crate::workflow::limited;

/// A limit at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// What is known of it.
    pub ledger: Ledger,
    /// Tasks that wait for it.
    pub waiting: u64,
    /// How long the first of them has been waiting.
    pub oldest: Option<Duration>,
}

impl Client {
    /// Puts a call under the limit that its task declares. The limits that it has already stay.
    pub(super) async fn put_under_limits(&self, signature: &mut Signature) -> Result<(), Error> {
        let module = self.resolve(&signature.task).await?;
        let options = &signature.options;
        if let Some(declared) = module.manifest.fleet.get(&signature.task.task) {
            let given = options.limit_key.as_deref();
            let looks = limited::looks_at_input(declared, given);
            let input = if looks { self.input_of(signature).await? } else { Datum::null() };
            let limit = limited::limit(&signature.task, declared, given, &input)
                .map_err(|error| Error::Refused(error.to_string()))?;
            let options = &mut signature.options;
            if !options.fleet.iter().any(|known| known.name == limit.name) {
                options.fleet.push(limit);
            }
        } else if options.limit_key.is_some() && options.fleet.is_empty() {
            let task = &signature.task;
            return Err(Error::Refused(format!(
                "put it under a limit: {task} declares none, so that a limit key takes a rate or a concurrency beside it"
            )));
        }
        let count = signature.options.fleet.len();
        if count >= LIMITS_MAX {
            return Err(Error::Refused(format!("put it under {count} limits: it takes fewer")));
        }
        Ok(())
    }

    /// The input of a call, as keys see it.
    pub(super) async fn input_of(&self, signature: &Signature) -> Result<Datum, Error> {
        let bytes = match &signature.input {
            Value::Inline(bytes) => bytes.clone(),
            stored @ Value::Stored { .. } => self.bytes(stored).await?,
        };
        Datum::parse(&bytes).map_err(|error| Error::Refused(format!("find its key: {error}")))
    }

    /// Limits how many tasks of a queue start and run, over all hosts; without a rule it is limited no more. It holds for those that
    /// wait too.
    ///
    /// # Errors
    /// A rule out of its bounds, and what the broker fails with.
    pub async fn limit_queue(&self, queue: &Queue, rule: Option<Rule>) -> Result<(), Error> {
        let rule = rule.map(Rule::checked).transpose().map_err(|unfit| Error::Refused(unfit.to_string()))?;
        self.change_queue(queue, |record| record.limit = rule).await?;
        let limit = Limit::of_queue(queue, rule.unwrap_or_default());
        Ok(limits::change(&self.broker, &self.tenant, &limit).await?)
    }

    /// All limits of which something is known, by name.
    ///
    /// # Errors
    /// What the broker fails with, and records that cannot be read.
    pub async fn limits(&self) -> Result<Vec<LimitView>, Error> {
        let mut waiting: BTreeMap<String, (u64, Option<Duration>)> = BTreeMap::new();
        let now = self.broker.clock.now();
        let mut tasks = self.broker.streams.read(&lines(&self.tenant), From::Sequence(1), false).await?;
        while let Some(message) = tasks.next().await {
            let message = message?;
            let Some((token, _)) = read_line(&message.subject) else { continue };
            let (count, oldest) = waiting.entry(token).or_default();
            *count = count.saturating_add(1);
            oldest.get_or_insert(now.since(message.time));
        }
        drop(tasks);
        let mut records = self.broker.streams.read(&all(&self.tenant), From::Sequence(1), false).await?;
        let mut views = Vec::new();
        while let Some(message) = records.next().await {
            let message = message?;
            let ledger = decode_ledger(&message.payload)
                .map_err(|rejection| Error::Unreadable { subject: message.subject.clone(), rejection })?;
            let (waiting, oldest) = waiting.remove(&ledger.limit.token()).unwrap_or_default();
            views.push(LimitView { ledger, waiting, oldest });
        }
        views.sort_by(|a, b| a.ledger.limit.name.cmp(&b.ledger.limit.name));
        Ok(views)
    }

    /// A limit, and the first tasks that wait for it with the time since when, `most` of them.
    ///
    /// # Errors
    /// That nothing is known of it, and what the broker fails with.
    pub async fn limit(&self, name: &str, most: usize) -> Result<(LimitView, Vec<(String, Duration)>), Error> {
        let token = token(name);
        let found = self.broker.streams.last(&record(&self.tenant, &token)).await?;
        let message = found.ok_or_else(|| {
            Error::Refused(format!("find limit {name:?}: there is none, or nothing has happened under it lately"))
        })?;
        let ledger = decode_ledger(&message.payload)
            .map_err(|rejection| Error::Unreadable { subject: message.subject.clone(), rejection })?;
        let now = self.broker.clock.now();
        let mut tasks = self.broker.streams.read(&line_of(&self.tenant, &token), From::Sequence(1), false).await?;
        let (mut waiting, mut oldest, mut first) = (0_u64, None, Vec::new());
        while let Some(message) = tasks.next().await {
            let message = message?;
            let Some((_, task)) = read_line(&message.subject) else { continue };
            waiting = waiting.saturating_add(1);
            let since = now.since(message.time);
            oldest.get_or_insert(since);
            if first.len() < most {
                first.push((task.key.to_string(), since));
            }
        }
        Ok((LimitView { ledger, waiting, oldest }, first))
    }
}
