//! Attempts of steps: each ends with one record in the journal of its run, on both brokers.

mod outcomes;
mod races;
mod values;
mod wanted;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use lovage::broker::memory::Memory;
use lovage::broker::{Broker, Publish, Settings, Start};
use lovage::client::Client;
use lovage::model::step_life::{StepEnd, StepOutcome};
use lovage::model::{Failure, RunId, StepAttempt, Tenant, Value};
use lovage::protocol::subject::{self, PRIORITY_DEFAULT, RecordName, RecordSubject, TaskSubject};
use lovage::protocol::task::TaskMessage;
use lovage::protocol::{Headers, step};

use super::{Running, call, serve};
use crate::support::eventually::{PATIENCE, eventually};
use crate::support::modules;
use crate::support::nats::TestServer;

const RUN: &str = "01jd000000000000000000000z";

/// One line is logged whenever this runs.
const LINE: &str = r#"{"lines":1}"#;

/// A broker with the guest `probe`, as a coordinator sees it.
pub(super) struct Steps {
    pub(super) broker: Broker,
    client: Client,
    _server: Option<TestServer>,
}

impl Steps {
    pub(super) async fn over(broker: Broker, server: Option<TestServer>) -> Self {
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        modules::push(&client, "probe").await;
        Self { broker, client, _server: server }
    }

    async fn memory() -> Self {
        Self::over(Memory::new().broker(), None).await
    }

    async fn nats() -> Self {
        let server = TestServer::start(Settings::default()).await;
        Self::over(server.nats.broker(), Some(server)).await
    }

    pub(super) async fn host(&self, id: &str) -> Running {
        serve(&self.broker, id, |_| {}).await
    }

    /// Queues an attempt of a call.
    pub(super) async fn dispatch(&self, step: &StepAttempt, message: &TaskMessage) {
        let (headers, payload) = message.encode();
        self.publish(step, headers, payload).await;
    }

    async fn publish(&self, step: &StepAttempt, headers: Headers, payload: Bytes) {
        let publish = Publish { subject: place(step).task(), headers, payload, ..Publish::default() };
        self.broker.streams.publish(publish).await.unwrap();
    }

    /// What an attempt ends with.
    pub(super) async fn outcome(&self, step: &StepAttempt) -> StepOutcome {
        let mut records = self.broker.streams.read(&outcome_subject(step), Start::Sequence(1), true).await.unwrap();
        let record = tokio::time::timeout(PATIENCE, records.next()).await.expect("it must end").unwrap().unwrap();
        step::decode(&record.headers, &record.payload).unwrap()
    }

    /// Queues an attempt of a call and waits for its end.
    async fn run(&self, step: &StepAttempt, message: &TaskMessage) -> StepOutcome {
        self.dispatch(step, message).await;
        self.outcome(step).await
    }

    /// Writes a record of the run.
    async fn write(&self, record: RecordName) {
        let record = RecordSubject { tenant: Tenant::default_tenant(), run: RUN.parse().unwrap(), record };
        let publish = Publish { expect: Some(0), ..Publish::new(record.to_string(), "") };
        self.broker.streams.publish(publish).await.unwrap();
    }

    /// Waits until nothing is queued, and nothing is to come.
    pub(super) async fn until_idle(&self) {
        eventually("an empty queue", || async {
            self.broker.streams.last("lvg.default.task.>").await.unwrap().is_none().then_some(())
        })
        .await;
        for later in ["lvg.default.sched.>", "lvg.default.fire.>", "lvg.default.res.>"] {
            assert!(self.broker.streams.last(later).await.unwrap().is_none(), "{later}");
        }
    }

    /// Waits until a host runs the attempt.
    pub(super) async fn until_running(&self, step: &StepAttempt) {
        let word = subject::find(&Tenant::default_tenant(), step.clone());
        let patience = std::time::Duration::from_millis(200);
        eventually("a host that runs it", || async {
            let answers = self.broker.bus.ask(&word, Bytes::new(), patience, 1).await.unwrap();
            (!answers.is_empty()).then_some(())
        })
        .await;
    }

    /// How many messages there are on `subject`.
    async fn count(&self, subject: &str) -> usize {
        let messages = self.broker.streams.read(subject, Start::Sequence(1), false).await.unwrap();
        messages.try_collect::<Vec<_>>().await.unwrap().len()
    }

    /// How many records an attempt has: one, once it has ended.
    pub(super) async fn records(&self, step: &StepAttempt) -> usize {
        self.count(&outcome_subject(step)).await
    }

    /// How often an attempt of `probe/chatty` ran.
    pub(super) async fn runs(&self, step: &StepAttempt) -> usize {
        self.count(&subject::log(&Tenant::default_tenant(), step.clone())).await
    }
}

fn run() -> RunId {
    RUN.parse().unwrap()
}

/// Attempt `attempt` of `step`.
pub(super) fn attempt(step: &str, attempt: u32) -> StepAttempt {
    StepAttempt { run: run(), step: step.parse().unwrap(), attempt }
}

fn place(step: &StepAttempt) -> TaskSubject {
    TaskSubject {
        tenant: Tenant::default_tenant(),
        queue: "default".parse().unwrap(),
        priority: PRIORITY_DEFAULT,
        mark: None,
        key: step.clone().into(),
    }
}

fn outcome_subject(step: &StepAttempt) -> String {
    RecordSubject::outcome(&Tenant::default_tenant(), step).to_string()
}

/// The first dispatch of a call of the guest.
pub(super) fn first(task: &str, input: &str) -> TaskMessage {
    TaskMessage::first(call(task, input))
}

/// The same, dispatched once more.
fn again(task: &str, input: &str) -> TaskMessage {
    TaskMessage { recheck: true, ..first(task, input) }
}

fn output(outcome: &StepOutcome) -> &str {
    match &outcome.end {
        StepEnd::Succeeded(Value::Inline(bytes)) => std::str::from_utf8(bytes).unwrap(),
        other @ (StepEnd::Succeeded(_) | StepEnd::Failed(_) | StepEnd::Replaced(_)) => panic!("{other:?}"),
    }
}

pub(super) fn failure(outcome: &StepOutcome) -> &Failure {
    match &outcome.end {
        StepEnd::Failed(failure) => failure,
        other @ (StepEnd::Succeeded(_) | StepEnd::Replaced(_)) => panic!("{other:?}"),
    }
}

macro_rules! promises {
    ($($file:ident: $($promise:ident),+;)+) => {
        mod memory {
            $($(#[tokio::test]
            async fn $promise() {
                super::$file::$promise(super::Steps::memory().await).await;
            })+)+
        }
        mod nats {
            $($(#[tokio::test]
            async fn $promise() {
                super::$file::$promise(super::Steps::nats().await).await;
            })+)+
        }
    };
}

promises! {
    outcomes: an_attempt_commits_what_it_returns, a_guest_knows_its_run_and_step, a_failure_is_committed_and_left_to_others,
        a_flow_that_is_handed_back_is_the_outcome, a_message_that_cannot_be_read_is_an_outcome_too,
        a_module_other_than_the_pinned_one_does_not_run, an_interrupted_attempt_is_cancelled_whatever_it_says;
    wanted: what_was_committed_does_not_run_again, a_cancelled_run_is_left_alone_but_for_what_is_shielded,
        an_ended_run_is_left_alone_until_it_is_retried, nobody_in_time_means_expired;
    values: an_input_is_put_together_from_parts, output_that_is_no_json_is_base64, an_input_of_another_run_is_not_there;
}
