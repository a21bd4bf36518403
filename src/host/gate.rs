//! Limits across the fleet, as one delivery meets them: it starts, or it is parked and acknowledged, so that what waits holds
//! neither a slot nor a delivery.
//!
//! **Invariant:** a delivery is acknowledged only when its task is parked; a place is left only when its task's outcome is stored.

use super::attempt::Attempt;
use crate::broker::patience::Patience;
use crate::broker::{Publish, Schedule};
use crate::model::Timestamp;
use crate::model::limit::Limit;
use crate::model::limit::ledger::Answer;
use crate::protocol::limit::{PASSED, line};
use crate::protocol::task::RECHECK;
use crate::protocol::{Headers, subject};

/// A task's message as it was delivered.
#[derive(Clone, Copy)]
pub(super) struct Delivered<'a> {
    pub(super) headers: &'a Headers,
    pub(super) payload: &'a bytes::Bytes,
}

/// Whether a task starts.
pub(super) enum Start {
    /// It does.
    Now,
    /// It waits elsewhere. The lines of these limits are to be looked after when its delivery is finished: not before, since who is
    /// invited must find its place in the queue free.
    Parked(Vec<Limit>),
}

/// What is to be done for a delivery when all is stored that it came to.
pub(super) enum Close {
    /// It is acknowledged. A word that is lost does no harm: it is delivered again, and dropped.
    Plain,
    /// It is acknowledged, and when the broker has confirmed that, the lines of these limits are looked after.
    Lines(Vec<Limit>),
}

impl Attempt<'_> {
    /// The limits that the task is under, its queue's as the last one.
    pub(super) fn limits(&self, own: &[Limit]) -> Vec<Limit> {
        let of_queue = self.shared.rules.limit(&self.subject.queue);
        let of_queue = of_queue.map(|rule| Limit::of_queue(&self.subject.queue, rule));
        own.iter().cloned().chain(of_queue).collect()
    }

    /// Whether the task may start now. If not, it waits elsewhere when this returns, and its delivery can be acknowledged.
    pub(super) async fn start(&self, limits: &[Limit], delivered: Delivered<'_>) -> Start {
        if limits.is_empty() {
            return Start::Now;
        }
        let before = delivered.headers.value(PASSED).unwrap_or_default();
        let mut passed: Vec<String> = before.split(',').filter(|token| !token.is_empty()).map(str::to_owned).collect();
        for limit in limits {
            let token = limit.token();
            if passed.contains(&token) {
                continue;
            }
            match self.shared.desks.ask(limit, self.subject).await {
                Answer::Go if limit.rule.holds() => {}
                Answer::Go => passed.push(token),
                Answer::Wait => {
                    self.park(line(&token, self.subject), None, delivered, &passed).await;
                    tracing::debug!(limit = limit.name, "waits for its limit");
                    let look = self.shared.desks.wait(limit, self.subject).await;
                    return Start::Parked(look.then(|| limit.clone()).into_iter().collect());
                }
                Answer::Later(at) => {
                    let at = Some(at);
                    let key = &self.subject.key;
                    self.park(subject::schedule(&self.subject.tenant, key), at, delivered, &passed).await;
                    return Start::Parked(Vec::new());
                }
            }
        }
        Start::Now
    }

    /// The task is over, or is not to run: its places are free.
    pub(super) async fn leave(&self, limits: Vec<Limit>) -> Close {
        if limits.is_empty() {
            return Close::Plain;
        }
        let mut lines = Vec::new();
        for limit in limits {
            if self.shared.desks.leave(&limit, self.subject).await {
                lines.push(limit);
            }
        }
        Close::Lines(lines)
    }

    /// Stores the task where it waits. Repeating it changes nothing.
    async fn park(&self, subject: String, at: Option<Timestamp>, delivered: Delivered<'_>, passed: &[String]) {
        let own = |name: &str| !name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"));
        let mut headers: Headers = delivered.headers.iter().filter(|(name, _)| own(name)).collect();
        headers.set(RECHECK, "1");
        if !passed.is_empty() {
            headers.set(PASSED, passed.join(","));
        }
        let schedule = at.map(|at| Schedule { at, target: self.subject.fire() });
        let publish = Publish { subject, headers, payload: delivered.payload.clone(), schedule, ..Publish::default() };
        let broker = &self.shared.broker;
        drop(Patience::default().insist("park a task", || broker.streams.publish(publish.clone())).await);
    }
}
