//! Starting runs, and waiting for their end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::{Client, Error};
use crate::broker::{Message, Start as From};
use crate::model::signature::LABELS_MAX;
use crate::model::{Datum, FlowName, RunId, Version};
use crate::protocol::subject;
use crate::store::journal::{self, Written};
use crate::store::run_values;
use crate::store::values::VALUE_BYTES_MAX;
use crate::workflow::flow::{self, Document};
use crate::workflow::journal::{CORE_VERSION, End, Ending, Pin, Pins, RunLimits, Start};
use crate::workflow::wire::{self, RecordName};
use crate::workflow::{Event, Record};

/// How often a waiting caller looks at the journal beside listening: a message can be lost where a connection was.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A run that is to be started.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its document.
    pub document: Document,
    /// The stored flow that the document is, where it is one.
    pub stored: Option<(FlowName, Pin)>,
    /// What the root receives: JSON.
    pub input: Option<Bytes>,
    /// For people and searches, beside those at the root of the document.
    pub labels: BTreeMap<String, String>,
    /// Two orders with the same key are one run, as long as it is kept.
    pub idempotency_key: Option<String>,
    /// Its bounds.
    pub limits: RunLimits,
}

impl Order {
    /// A run of a document, without more.
    #[must_use]
    pub fn new(document: Document) -> Self {
        Self {
            document,
            stored: None,
            input: None,
            labels: BTreeMap::new(),
            idempotency_key: None,
            limits: RunLimits::default(),
        }
    }

    /// The same with an input.
    #[must_use]
    pub fn with_input(mut self, input: impl Into<Bytes>) -> Self {
        self.input = Some(input.into());
        self
    }
}

/// A record of a run with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// What it is.
    pub name: RecordName,
    /// The record as the core reads it.
    pub record: Record,
}

impl Client {
    /// Starts a run; when this returns it is durable. What it calls is looked up and pinned first: what is unknown is refused by
    /// name, and nothing is started.
    ///
    /// # Errors
    /// What is not found, an input that does not fit, another flow or input under the order's key, and what the broker fails with.
    pub async fn start(&self, order: Order) -> Result<RunId, Error> {
        self.start_as(self.run_id(&order), order).await
    }

    /// The id of the run that [`start`](Self::start) makes of an order: that of its key, else a new one.
    #[must_use]
    pub fn run_id(&self, order: &Order) -> RunId {
        match &order.idempotency_key {
            Some(key) => RunId::derived(&["key", self.tenant.as_str(), key]),
            None => self.new_run_id(),
        }
    }

    /// The same with an id of the caller's. A run of this id that is there already is left as it is; where the order has a key, it
    /// must be a run of the same flow and input.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_as(&self, run: RunId, order: Order) -> Result<RunId, Error> {
        let (input, pins) = self.check_order(&order).await?;
        let labels = labels(&order);
        let Order { document, stored, limits, idempotency_key, .. } = order;
        let (name, pin) = match stored {
            Some((name, pin)) => (Some(name), Some(pin)),
            None => (document.name.clone(), None),
        };
        let start = Start {
            core_version: CORE_VERSION,
            run: run.clone(),
            flow: name,
            pin,
            document: Datum::of_json(&document.to_json()),
            input,
            pins,
            labels,
            parent: None,
            limits,
        };
        let event = Event::Start(Arc::new(start));
        let written = journal::write(&self.broker, &self.tenant, &run, &RecordName::Start, event.clone()).await?;
        if let (Written::Before, Some(key)) = (written, idempotency_key) {
            self.check_same(&run, key, event).await?;
        }
        Ok(run)
    }

    /// Looks whether the run that has a key is of the same flow and input. A later version of a stored flow is the same flow, as it
    /// is with tasks: a retry after a deploy is no other order.
    async fn check_same(&self, run: &RunId, key: String, mut ours: Event) -> Result<(), Error> {
        let name = RecordName::Start;
        let Some(message) = self.broker.streams.last(&name.subject(&self.tenant, run)).await? else { return Ok(()) };
        let theirs = wire::decode(&name, &message.headers, &message.payload)
            .map_err(|rejection| Error::Unreadable { subject: message.subject, rejection })?;
        // In the form in which it would have been written.
        run_values::slim(&self.broker, &self.tenant, run, &mut ours).await?;
        let (Event::Start(ours), Event::Start(theirs)) = (ours, theirs) else { return Ok(()) };
        let stored = |start: &Start| start.pin.is_some().then(|| start.flow.clone()).flatten();
        let same_name = stored(&ours).is_some() && stored(&ours) == stored(&theirs);
        let flow = !same_name && ours.document != theirs.document;
        let other = match (flow, !is_same(ours.input.as_ref(), theirs.input.as_ref())) {
            (false, false) => return Ok(()),
            (true, false) => "flow",
            (false, true) => "input",
            (true, true) => "flow and input",
        };
        Err(Error::RunKeyTaken { key, run: run.clone(), other })
    }

    /// Looks whether a run may be started, as [`start`](Self::start) does: its input as a datum, and what it calls, pinned.
    pub(super) async fn check_order(&self, order: &Order) -> Result<(Option<Datum>, Pins), Error> {
        if labels(order).len() > LABELS_MAX {
            return Err(Error::Refused(format!("a run takes up to {LABELS_MAX} labels")));
        }
        let input = check_input(&order.document, order.input.as_ref())?;
        Ok((input, self.catalogue.pins_of(&self.tenant, flow::uses(&order.document)).await?))
    }

    /// A new id of a run: a ULID in lower case, which sorts by time.
    #[must_use]
    pub fn new_run_id(&self) -> RunId {
        let millis = u64::try_from(self.broker.clock.now().as_millis()).unwrap_or(0);
        let text = ulid::Ulid::from_parts(millis, rand::random()).to_string().to_ascii_lowercase();
        // A ULID is 26 characters of Crockford's base 32.
        text.parse().unwrap_or_else(|_| unreachable!("a ULID is a run id"))
    }

    /// The stored flow of a name, ready to be started.
    ///
    /// # Errors
    /// That there is none, and what the broker fails with.
    pub async fn order(&self, name: &FlowName, version: Option<&Version>) -> Result<Order, Error> {
        let found = self.catalogue.flow(&self.tenant, name, version).await?;
        let pin = Pin { version: found.record.version.clone(), digest: found.record.digest };
        let stored = Some((name.clone(), pin));
        Ok(Order { stored, ..Order::new(found.document.clone()) })
    }

    /// Waits for the end of a run, of its latest generation.
    ///
    /// # Errors
    /// An unknown run, and what the broker fails with.
    pub async fn wait_run(&self, run: &RunId) -> Result<End, Error> {
        let mut heard = self.ends(run).await?;
        loop {
            if let Some(end) = self.end(run).await? {
                return Ok(end);
            }
            // Whatever is heard, what is stored counts.
            if let Ok(None) = tokio::time::timeout(LOOK_EVERY, heard.next()).await {
                return Err(Error::RunClosed(run.clone()));
            }
        }
    }

    async fn ends(&self, run: &RunId) -> Result<BoxStream<'static, Message>, Error> {
        let first = RecordName::End(0).subject(&self.tenant, run);
        let later = subject::later_ends(&self.tenant, run);
        let (first, later) = futures::try_join!(self.broker.bus.listen(&first), self.broker.bus.listen(&later))?;
        Ok(futures::stream::select(first, later).boxed())
    }

    /// How a run ended; `None` if it has not, or goes on after a retry.
    ///
    /// # Errors
    /// An unknown run, and what the broker fails with.
    pub async fn end(&self, run: &RunId) -> Result<Option<End>, Error> {
        let retries = subject::run_retries(&self.tenant, run);
        let (retried, first) = futures::try_join!(self.last_of(&retries), self.end_of(run, 0))?;
        // Most runs are never retried: one round trip tells their end.
        if retried.is_none() && first.is_some() {
            return Ok(first);
        }
        let generation = self.generation(run).await?;
        self.end_of(run, generation).await
    }

    pub(super) async fn last_of(&self, subject: &str) -> Result<Option<Message>, Error> {
        Ok(self.broker.streams.last(subject).await?)
    }

    pub(super) async fn end_of(&self, run: &RunId, generation: u32) -> Result<Option<End>, Error> {
        let name = RecordName::End(generation);
        let Some(message) = self.broker.streams.last(&name.subject(&self.tenant, run)).await? else { return Ok(None) };
        match wire::decode(&name, &message.headers, &message.payload) {
            Ok(Event::End { end, .. }) => Ok(Some(end)),
            Ok(_) => Ok(None),
            Err(rejection) => Err(Error::Unreadable { subject: message.subject, rejection }),
        }
    }

    /// The retries of a run so far.
    pub(super) async fn generation(&self, run: &RunId) -> Result<u32, Error> {
        let last = self.broker.streams.last(&subject::run_retries(&self.tenant, run)).await?;
        if let Some(Ok(RecordName::Retry(number))) = last.map(|message| wire::name(&message.subject)) {
            return Ok(number.saturating_add(1));
        }
        let start = RecordName::Start.subject(&self.tenant, run);
        match self.broker.streams.last(&start).await? {
            Some(_) => Ok(0),
            None => Err(Error::RunNotFound(run.clone())),
        }
    }

    /// Whether there is a run of this id.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn has_run(&self, run: &RunId) -> Result<bool, Error> {
        Ok(self.last_of(&RecordName::Start.subject(&self.tenant, run)).await?.is_some())
    }

    /// The output of a run that succeeded.
    ///
    /// # Errors
    /// The failure of one that did not, and a value that cannot be had.
    pub async fn run_output(&self, run: &RunId, end: &End) -> Result<Bytes, Error> {
        match &end.result {
            Ending::Succeeded(output) => Ok(run_values::whole(&self.broker, &self.tenant, run, output).await?),
            Ending::Failed(failure) => Err(Error::Failed(Box::new(failure.clone()))),
            Ending::Cancelled => Err(Error::RunCancelled(run.clone())),
        }
    }

    /// The records of a run in their order; with `follow` also those to come.
    ///
    /// # Errors
    /// What the broker fails with, and a record that cannot be read.
    pub async fn run_records(
        &self,
        run: &RunId,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<RunRecord, Error>>, Error> {
        let filter = subject::run_records(&self.tenant, run);
        let records = self.broker.streams.read(&filter, From::Sequence(1), follow).await?;
        Ok(records.map(|message| read(&message?)).boxed())
    }
}

fn read(message: &Message) -> Result<RunRecord, Error> {
    let unreadable = |rejection| Error::Unreadable { subject: message.subject.clone(), rejection };
    let name = wire::name(&message.subject)
        .map_err(|unknown| unreadable(crate::protocol::Rejection::new("journal record", unknown)))?;
    let event = wire::decode(&name, &message.headers, &message.payload).map_err(unreadable)?;
    let bytes = u64::try_from(message.payload.len().saturating_add(message.subject.len())).unwrap_or(u64::MAX);
    Ok(RunRecord { name, record: Record { sequence: message.sequence, time: message.time, bytes, event } })
}

/// The labels of a run: those that its document has at its root, and its order's, which win.
fn labels(order: &Order) -> BTreeMap<String, String> {
    let mut labels = order.document.flow.options.labels.clone();
    labels.extend(order.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    labels
}

/// Whether two inputs are one, however they are spaced.
fn is_same(one: Option<&Datum>, other: Option<&Datum>) -> bool {
    let json = |input: Option<&Datum>| input.and_then(Datum::to_json);
    one == other || (json(one).is_some() && json(one) == json(other))
}

/// The input of a run, which is JSON and fits the document's schema.
fn check_input(document: &Document, input: Option<&Bytes>) -> Result<Option<Datum>, Error> {
    let refused = |why: String| Error::Refused(format!("the input: {why}"));
    if let Some(input) = input.filter(|input| input.len() as u64 > VALUE_BYTES_MAX) {
        return Err(Error::InputTooLarge { size: input.len() as u64, max: VALUE_BYTES_MAX });
    }
    let datum = input.map(Datum::parse).transpose().map_err(|error| refused(error.to_string()))?;
    if let Some(schema) = &document.input {
        let json = datum.as_ref().and_then(Datum::to_json).unwrap_or_default();
        flow::fits(schema, &json).map_err(refused)?;
    }
    Ok(datum)
}
