//! One delivery of a step's attempt: its outcome goes into the journal of its run, whatever it is. What follows is none of a
//! host's business: it neither tries again nor schedules anything.

use bytes::Bytes;
use tracing::{debug, info};

use super::attempt::{Attempt, Ran};
use super::gate::{Close, Delivered, Start};
use crate::broker::Publish;
use crate::broker::patience::Patience;
use crate::model::lifecycle::{DELIVERIES_MAX, Usage};
use crate::model::step_life::{self, Commit, Look, Seen, StepEnd, StepOutcome, Verdict};
use crate::model::{Failure, Kind, StepAttempt};
use crate::protocol::subject::{self, RecordName, RecordSubject};
use crate::protocol::{Headers, step};
use crate::sandbox::{self, Cancel};
use crate::store::values;

impl Attempt<'_> {
    /// Decides, runs and commits.
    pub(super) async fn settle_step(&self, step: &StepAttempt, headers: &Headers, payload: &Bytes) -> Close {
        let mut message = match self.read(headers, payload) {
            Ok(message) => message,
            Err(rejection) => {
                self.fail_step(step, failed(step, Kind::BadInput, rejection.to_string())).await;
                return Close::Plain;
            }
        };
        // The subject is what the broker held unique; a header is what somebody wrote.
        message.attempt = step.attempt;
        // What was handed back is not lost; what is delivered again is looked at all the same.
        let handed_back = if self.delivery > DELIVERIES_MAX { self.handed_back().await } else { 0 };
        let seen = Seen {
            attempt: step.attempt,
            delivery: self.delivery.saturating_sub(handed_back).max(self.delivery.min(2)),
            recheck: message.recheck,
            shielded: message.shielded,
            expires: message.signature.options.expires,
        };
        // Who cancels writes a record, then sends word: who can be found before it looks misses neither.
        let cancel = Cancel::default();
        let entry = self.shared.running.enter(self.subject, self.work(&message), cancel.clone());
        let look = if seen.needs_look() { self.look(step).await } else { Look::default() };
        let limits = self.limits(&message.signature.options.fleet);
        match step_life::on_delivery(&seen, &look, self.shared.broker.clock.now()) {
            Verdict::Drop => debug!("dropped a delivery of an attempt that is over, or not wanted any more"),
            Verdict::Fail(failure) => self.fail_step(step, failure).await,
            Verdict::Run => {
                if let Start::Parked(lines) = self.start(&limits, Delivered { headers, payload }).await {
                    return Close::Lines(lines);
                }
                let ran = self.invoke(&message, &cancel).await;
                drop(entry);
                self.commit_ran(step, ran).await;
            }
        }
        self.leave(limits).await
    }

    /// What the journal says, by its leader.
    async fn look(&self, step: &StepAttempt) -> Look {
        let tenant = &self.subject.tenant;
        let record = |record| RecordSubject { tenant: tenant.clone(), run: step.run.clone(), record }.to_string();
        let (outcome, cancel, end) = futures::join!(
            self.last(RecordSubject::outcome(tenant, step).to_string()),
            self.last(record(RecordName::Cancel(0))),
            self.last(record(RecordName::End(0))),
        );
        let look = Look { outcome, cancel, end, retry: None };
        if end.is_none() {
            return look;
        }
        // Only a run that has ended is retried, and only then can it be cancelled or end again.
        let (retry, later_cancel, later_end) = futures::join!(
            self.last(subject::run_retries(tenant, &step.run)),
            self.last(subject::later_cancels(tenant, &step.run)),
            self.last(subject::later_ends(tenant, &step.run)),
        );
        Look { cancel: cancel.max(later_cancel), end: end.max(later_end), retry, ..look }
    }

    /// The place of the last record on `subject`.
    async fn last(&self, subject: String) -> Option<u64> {
        let read = || self.shared.broker.streams.last(&subject);
        let last = Patience::default().insist("look at the journal", read).await;
        last.unwrap_or_default().map(|message| message.sequence)
    }

    /// Commits what an attempt ended with.
    async fn commit_ran(&self, step: &StepAttempt, Ran { outcome, usage, cancelled, binary }: Ran) {
        let (broker, shelf) = (&self.shared.broker, self.shelf());
        let end = match step_life::on_outcome(outcome, cancelled, step.attempt) {
            Commit::Succeed(output) => match sandbox::json(&output, binary) {
                Ok(output) => StepEnd::Succeeded(values::keep(broker, shelf, output).await),
                Err(error) => StepEnd::Failed(failed(step, Kind::OutputLimit, error.to_string())),
            },
            Commit::Replace(flow) => StepEnd::Replaced(values::keep(broker, shelf, flow.into()).await),
            Commit::Fail(failure) => StepEnd::Failed(failure),
        };
        self.commit_step(step, end, usage).await;
    }

    /// Commits a failure of an attempt that did not run here.
    async fn fail_step(&self, step: &StepAttempt, failure: Failure) {
        info!(%failure, "failed without running");
        self.commit_step(step, StepEnd::Failed(failure), self.no_usage(step.attempt)).await;
    }

    /// Writes the attempt's record, for as long as it takes. If there is one, another delivery was first.
    async fn commit_step(&self, step: &StepAttempt, end: StepEnd, usage: Usage) {
        let outcome = StepOutcome { end, usage };
        let (headers, payload) = step::encode(&outcome);
        let subject = RecordSubject::outcome(&self.subject.tenant, step).to_string();
        let publish = Publish { subject, headers, payload, expect: Some(0), ..Publish::default() };
        let write = || self.shared.broker.streams.publish(publish.clone());
        match Patience::default().insist("commit the outcome", write).await {
            Ok(_) => self.shared.metrics.step_ended(&outcome),
            Err(_) => info!("another outcome of this attempt was committed first"),
        }
    }
}

fn failed(step: &StepAttempt, kind: Kind, message: String) -> Failure {
    Failure { attempt: Some(step.attempt), ..Failure::new(kind, message) }
}
