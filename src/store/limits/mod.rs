//! The records of limits, and the desk of each in this process: what many tasks ask of one limit at the same time is one
//! compare-and-set.
//!
//! | file | what it does |
//! |---|---|
//! | this one | asking for a place and leaving it |
//! | `line` | tasks that wait: parking, inviting, the bell |
//!
//! **Invariant:** a refusal is decided by the record as its stream's leader has it, never by what this process remembers.
//! **Invariant:** a task that waits is stored in the line before anybody is told of it, and a bell is set before its delivery is
//! acknowledged.

mod line;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tracing::warn;

pub use line::{ring, turn};

use crate::broker::patience::Patience;
use crate::broker::{Broker, Error, Publish};
use crate::model::limit::Limit;
use crate::model::limit::ledger::{Answer, Ledger};
use crate::model::{Tenant, Timestamp};
use crate::protocol::limit;
use crate::protocol::subject::TaskSubject;

/// A ledger and its place in its stream: 0 where it is not stored.
#[derive(Clone)]
struct Stored {
    ledger: Ledger,
    sequence: u64,
}

/// What a task wants of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Ask,
    Leave,
    /// It is in the line.
    Wait,
}

/// What a task is told.
#[derive(Clone, Copy, Debug)]
struct Told {
    answer: Answer,
    /// Whether some of the line may come now.
    invite: bool,
}

struct Request {
    want: Want,
    task: String,
    told: oneshot::Sender<Told>,
}

/// One limit in this process.
#[derive(Default)]
struct Desk {
    requests: Mutex<Vec<Request>>,
    known: tokio::sync::Mutex<Option<Stored>>,
}

/// The limits of a tenant, as one process sees them.
pub struct Desks {
    broker: Broker,
    tenant: Tenant,
    desks: Mutex<HashMap<String, Arc<Desk>>>,
}

/// Desks that are kept although nobody stands at them, for what they remember of their ledgers.
const IDLE_DESKS_MAX: usize = 1_024;

impl Desks {
    /// The limits of `tenant`.
    #[must_use]
    pub fn new(broker: Broker, tenant: Tenant) -> Self {
        Self { broker, tenant, desks: Mutex::default() }
    }

    /// A task asks to start now.
    pub async fn ask(&self, limit: &Limit, task: &TaskSubject) -> Answer {
        self.want(limit, Want::Ask, task).await.answer
    }

    /// A task is over, or is not to start: its place is free. Whether the line is to be looked after now, by [`turn`](Self::turn).
    pub async fn leave(&self, limit: &Limit, task: &TaskSubject) -> bool {
        self.want(limit, Want::Leave, task).await.invite
    }

    /// A task is stored in the limit's line: from now on a bell is before it. Whether the line is to be looked after now, by
    /// [`turn`](Self::turn), once the delivery that was parked is finished.
    pub async fn wait(&self, limit: &Limit, task: &TaskSubject) -> bool {
        self.want(limit, Want::Wait, task).await.invite
    }

    /// Looks after a line: those come who may.
    pub async fn turn(&self, limit: &Limit) {
        if let Err(error) = turn(&self.broker, &self.tenant, &limit.token()).await {
            warn!(%error, limit = limit.name, "failed to look after a line, which is left to its bell");
        }
    }

    async fn want(&self, limit: &Limit, want: Want, task: &TaskSubject) -> Told {
        let desk = self.desk(&limit.token());
        loop {
            let (told, mut hears) = oneshot::channel();
            let request = Request { want, task: task.key.to_string(), told };
            desk.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            let mut known = desk.known.lock().await;
            // Whoever had the desk before may have done this too.
            match hears.try_recv() {
                Ok(told) => return told,
                // Who took the request up was dropped on the way.
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let requests = std::mem::take(&mut *desk.requests.lock().unwrap_or_else(PoisonError::into_inner));
            self.serve(limit, requests, &mut known).await;
            if let Ok(told) = hears.try_recv() {
                return told;
            }
        }
    }

    fn desk(&self, token: &str) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if desks.len() > IDLE_DESKS_MAX {
            desks.retain(|_, desk| Arc::strong_count(desk) > 1);
        }
        Arc::clone(desks.entry(token.to_owned()).or_default())
    }

    /// Answers all requests by one change of the record.
    async fn serve(&self, limit: &Limit, requests: Vec<Request>, known: &mut Option<Stored>) {
        let (mut fresh, mut patience) = (false, Patience::default());
        loop {
            let stored = match known.take() {
                Some(stored) => stored,
                None => {
                    fresh = true;
                    let token = limit.token();
                    let look = || read(&self.broker, &self.tenant, &token);
                    let found = Patience::default().insist("read a limit", look).await.unwrap_or_default();
                    found.unwrap_or_else(|| Stored { ledger: Ledger::new(limit.clone()), sequence: 0 })
                }
            };
            let now = self.broker.clock.now();
            let Decided { ledger, answers, ring: rings } = decide(&stored.ledger, limit, &requests, now);
            let changed = ledger != stored.ledger;
            // What this process remembers may be old. A change is checked by its compare-and-set, all else by a look.
            if !fresh && (!changed || answers.contains(&Answer::Wait)) {
                continue;
            }
            let sequence = if changed {
                match write(&self.broker, &self.tenant, &ledger, stored.sequence).await {
                    Ok(sequence) => sequence,
                    Err(Error::Conflict { .. }) => continue,
                    Err(error) => {
                        warn!(%error, limit = limit.name, "failed to write a limit, trying again");
                        patience.wait().await;
                        continue;
                    }
                }
            } else {
                stored.sequence
            };
            if rings {
                ring(&self.broker, &self.tenant, &ledger).await;
            }
            let invite = ledger.waiting && ledger.invitations(now) > 0;
            for (request, answer) in requests.into_iter().zip(answers) {
                // Who does not listen any more asks again when its task is delivered again.
                request.told.send(Told { answer, invite }).ok();
            }
            *known = Some(Stored { ledger, sequence });
            return;
        }
    }
}

struct Decided {
    ledger: Ledger,
    answers: Vec<Answer>,
    /// Whether a bell is to be set.
    ring: bool,
}

/// What all requests together make of a ledger.
fn decide(before: &Ledger, limit: &Limit, requests: &[Request], now: Timestamp) -> Decided {
    let mut ledger = before.clone();
    ledger.limit.clone_from(limit);
    let mut ring = false;
    // Who leaves makes room for who asks.
    for request in requests.iter().filter(|request| request.want == Want::Leave) {
        ledger.leave(&request.task);
    }
    let mut answer = |request: &Request| match request.want {
        Want::Leave => Answer::Go,
        Want::Ask => ledger.ask(&request.task, now),
        Want::Wait => {
            ring |= ledger.waits(now);
            Answer::Go
        }
    };
    let answers = requests.iter().map(&mut answer).collect();
    Decided { ledger, answers, ring }
}

/// The ledger of a limit; `None` where nothing is known of it.
async fn read(broker: &Broker, tenant: &Tenant, token: &str) -> Result<Option<Stored>, Error> {
    let subject = limit::record(tenant, token);
    let Some(message) = broker.streams.last(&subject).await? else { return Ok(None) };
    match limit::decode_ledger(&message.payload) {
        Ok(ledger) => Ok(Some(Stored { ledger, sequence: message.sequence })),
        Err(rejection) => Err(Error::Other(format!("the record on {subject} cannot be read: {rejection}"))),
    }
}

/// Writes a ledger in place of the one with sequence `expected`.
async fn write(broker: &Broker, tenant: &Tenant, ledger: &Ledger, expected: u64) -> Result<u64, Error> {
    let subject = limit::record(tenant, &ledger.limit.token());
    let ttl = ledger.keep_for(broker.clock.now());
    let publish = Publish { expect: Some(expected), ttl, ..Publish::new(subject, limit::encode_ledger(ledger)) };
    Ok(broker.streams.publish(publish).await?.sequence)
}

/// Changes a limit that there is: what operators decide holds for those who wait too.
///
/// # Errors
/// What the broker fails with.
pub async fn change(broker: &Broker, tenant: &Tenant, limit: &Limit) -> Result<(), Error> {
    loop {
        let Some(Stored { mut ledger, sequence }) = read(broker, tenant, &limit.token()).await? else { return Ok(()) };
        ledger.limit.clone_from(limit);
        match write(broker, tenant, &ledger, sequence).await {
            Ok(_) => break,
            Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    turn(broker, tenant, &limit.token()).await
}
