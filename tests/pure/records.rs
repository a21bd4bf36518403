//! Stored records: what is written reads back, nothing is read of what was cut short, a changed byte never panics, and what a newer
//! program wrote is refused as such.
#![cfg(test)]

use std::fmt::Debug;

use bytes::Bytes;
use lovage::model::debounce::Gathered;
use lovage::model::limit::ledger::{Ledger, Place};
use lovage::model::limit::{Limit, Rule};
use lovage::model::schedule::{Begun, Cause, Overlap, Paused, Progress, Rules, Slot, Stage, Waiting, When};
use lovage::model::signature::Wanted;
use lovage::model::{Datum, Failure, Labels, RunId, Timestamp, once};
use lovage::protocol::batch::BatchRecord;
use lovage::protocol::debounce::{self, Series};
use lovage::protocol::flow::FlowRecord;
use lovage::protocol::host::{self, Capacity, Done, HostDetail, HostLoading, HostRecord, HostState, HostTask};
use lovage::protocol::once::Claim;
use lovage::protocol::queue::{Decided, MarkRecord, QueueRecord};
use lovage::protocol::schedule::{Call, Schedule, Stored, What};
use lovage::protocol::secret::{KeyRecord, SecretRecord};
use lovage::protocol::serving::Serving;
use lovage::protocol::singleton::Holder;
use lovage::protocol::task::{Form, TaskMessage};
use lovage::protocol::webhook::WebhookRecord;
use lovage::protocol::{Headers, Rejection, dead, limit, queue};
use lovage::workflow::journal::{Decision, End, Ending, Event, Parent, Question};
use lovage::workflow::wire::{self, Entry, Fault, RecordName, RunState};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;

use super::{
    config, digest, duration, failure, json, kind, labels, name, options, priority, run_id, step_id, task_message,
    task_ref, time, usage, version,
};

/// Where a body is cut, and what one of its bytes becomes.
type Damage = (Index, u8);

fn damage() -> impl Strategy<Value = Damage> {
    (any::<Index>(), any::<u8>())
}

/// All that a record in JSON with its version in `v` promises.
fn holds<T: PartialEq + Debug>(
    written: &T,
    body: &Bytes,
    read: impl Fn(&Bytes) -> Result<T, Rejection>,
    (at, byte): Damage,
) -> Result<(), TestCaseError> {
    let whole = read(body);
    prop_assert_eq!(whole.as_ref(), Ok(written));
    let at = at.index(body.len());
    prop_assert!(read(&body.slice(..at)).is_err(), "the first {} bytes are a whole one", at);
    let mut changed = body.to_vec();
    changed[at] = byte;
    drop(read(&changed.into()));
    let newer = String::from_utf8(body.to_vec()).unwrap().replacen("{\"v\":1", "{\"v\":71", 1);
    let refused = read(&newer.into()).map_err(|rejection| rejection.to_string()).unwrap_err();
    prop_assert!(refused.contains("71 is not version 1") && refused.contains("update it"), "{}", refused);
    Ok(())
}

fn stamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let unit = select(&["s", "m", "h", "d"][..]);
    let rate = (1..10_000_u32, unit).prop_map(|(count, unit)| format!("{count}/{unit}").parse().unwrap());
    let fit = |rule: Rule| rule.checked().ok();
    (option::of(rate), option::of(1..=1_000_u32), option::of(1..=1_000_u32))
        .prop_filter_map("it limits nothing", move |(rate, burst, concurrency)| fit(Rule { rate, burst, concurrency }))
}

pub(super) fn a_limit() -> impl Strategy<Value = Limit> {
    (any::<String>(), rule()).prop_map(|(name, rule)| Limit { name, rule })
}

fn ledger() -> impl Strategy<Value = Ledger> {
    let place = (any::<String>(), stamp(), any::<bool>());
    let places = vec(place.prop_map(|(task, since, started)| Place { task, since, started }), 0..4);
    (a_limit(), any::<i64>(), places, any::<bool>(), option::of(stamp())).prop_map(
        |(limit, virtual_us, places, waiting, bell)| Ledger { virtual_us, places, waiting, bell, ..Ledger::new(limit) },
    )
}

fn host_record() -> impl Strategy<Value = HostRecord> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let state = select(&[HostState::Serving, HostState::Draining][..]);
    let named = (name(), name(), any::<String>(), any::<String>());
    (named, labels(), btree_map(name(), any::<u32>(), 0..4), state, numbers, stamp()).prop_map(
        |((id, tenant, name, version), labels, queues, state, numbers, started)| {
            let (slots, running, reserved, memory_bytes) = numbers;
            let v = host::VERSION;
            HostRecord {
                v,
                id,
                tenant,
                name,
                labels,
                queues,
                state,
                slots,
                running,
                reserved,
                version,
                started,
                memory_bytes,
            }
        },
    )
}

fn host_detail() -> impl Strategy<Value = HostDetail> {
    let numbers = (any::<u32>(), any::<bool>(), any::<u64>());
    let task = (any::<String>(), task_ref(), name(), name(), stamp(), numbers).prop_map(
        |(id, task, tenant, queue, since, (attempt, running, memory_bytes))| HostTask {
            id,
            task,
            tenant,
            queue,
            attempt,
            since,
            running,
            memory_bytes,
        },
    );
    let done = (any::<u64>(), any::<u64>(), any::<String>()).prop_map(|(attempts, fuel, last_failure)| Done {
        attempts,
        failed: attempts / 2,
        busy_us: fuel / 2,
        fuel,
        last_failure,
    });
    let capacity =
        any::<[u64; 6]>().prop_map(|[slots_free, cores, memory, timeout, hot_modules, hot_bytes]| Capacity {
            slots_free,
            cores,
            task_memory_bytes_max: memory,
            attempt_timeout_ms_max: timeout,
            hot_modules,
            hot_bytes,
        });
    let loading = (name(), version(), any::<u64>(), stamp(), any::<u64>())
        .prop_map(|(module, version, size, since, tasks)| HostLoading { module, version, size, since, tasks });
    let lists = (vec(task, 0..3), vec(loading, 0..3));
    (host_record(), lists, any::<u64>(), btree_map(name(), done, 0..3), capacity).prop_map(
        |(host, (tasks, loading), tasks_left_out, done, capacity)| HostDetail {
            host,
            tasks,
            tasks_left_out,
            loading,
            done,
            capacity,
        },
    )
}

fn slot() -> impl Strategy<Value = Slot> {
    let cause = prop_oneof![Just(Cause::Slot), name().prop_map(Cause::Trigger), name().prop_map(Cause::Backfill)];
    (stamp(), cause).prop_map(|(at, cause)| Slot { at, cause })
}

fn overlap() -> impl Strategy<Value = Overlap> {
    select(&[Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::Cancel][..])
}

fn progress() -> impl Strategy<Value = Progress> {
    let stage = prop_oneof![
        select(&[Stage::Begin, Stage::Open, Stage::Cancel, Stage::Ended][..]),
        any::<String>().prop_map(Stage::Refused)
    ];
    let begun = (slot(), stamp(), stage).prop_map(|(slot, decided, stage)| Begun { slot, decided, stage });
    let waiting = (slot(), overlap()).prop_map(|(slot, overlap)| Waiting { slot, overlap });
    (stamp(), vec(waiting, 0..3), vec(begun, 0..3), any::<[u64; 3]>()).prop_map(
        |(decided, waiting, recent, [started, skipped, missed])| Progress {
            waiting: waiting.into(),
            recent: recent.into(),
            started,
            skipped,
            missed,
            ..Progress::new(decided)
        },
    )
}

fn rules() -> impl Strategy<Value = Rules> {
    let when = prop_oneof![
        (any::<String>(), any::<String>()).prop_map(|(expression, zone)| When::Cron { expression, zone }),
        (duration(), stamp()).prop_map(|(every, anchor)| When::Every { every, anchor }),
        stamp().prop_map(|at| When::Once { at }),
    ];
    (when, overlap(), duration(), duration(), option::of(stamp()))
        .prop_map(|(when, overlap, catch_up, jitter, until)| Rules { when, overlap, catch_up, jitter, until })
}

/// What a schedule starts; its inputs are text, as those of schedules are.
fn what() -> impl Strategy<Value = What> {
    let wanted =
        (option::of(duration()), option::of(duration())).prop_map(|(expires, timeout)| Wanted { expires, timeout });
    let call = (task_ref(), options(), any::<String>(), wanted, name(), priority()).prop_map(
        |(task, options, input, wanted, queue, priority)| {
            let signature = lovage::model::Signature { options, ..lovage::model::Signature::new(task, input) };
            What::Task(Box::new(Call { signature, wanted, queue, priority }))
        },
    );
    let flow = (name(), option::of(version()), option::of(any::<String>()), labels())
        .prop_map(|(name, version, input, labels)| What::Flow { name, version, input: input.map(Bytes::from), labels });
    prop_oneof![call, flow]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let paused = (stamp(), any::<String>()).prop_map(|(since, note)| Paused { since, note });
    (name(), name(), stamp(), rules(), what(), option::of(paused), progress()).prop_map(
        |(name, life, created, rules, what, paused, progress)| Schedule {
            name,
            life,
            created,
            rules,
            what,
            paused,
            progress,
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let fault = (kind(), any::<String>(), option::of(step_id()));
    let fault = fault.prop_map(|(kind, message, step)| Fault { kind, message, step });
    let parent = (run_id(), step_id(), any::<u32>(), any::<u32>());
    let parent = parent.prop_map(|(run, step, generation, depth)| Parent { run, step, generation, depth });
    let told = (option::of(name()), option::of(version()), option::of(any::<String>()), labels());
    let ended = (option::of(stamp()), option::of(fault), option::of(parent));
    (run_id(), select(&RunState::ALL[..]), told, stamp(), ended, any::<(u32, u64)>()).prop_map(
        |(
            run,
            state,
            (flow, flow_version, reason, labels),
            started,
            (ended, failure, parent),
            (generation, sequence),
        )| {
            let begun = Entry::unknown(run, started);
            Entry { state, flow, flow_version, reason, labels, ended, failure, parent, generation, sequence, ..begun }
        },
    )
}

fn datum() -> impl Strategy<Value = Datum> {
    json().prop_map(|json| Datum::of_json(&json))
}

/// Records of a run that carry something, under the names that they are written under.
fn event() -> impl Strategy<Value = (RecordName, Event)> {
    let end = || prop_oneof![datum().prop_map(Ok::<Datum, Failure>), failure().prop_map(Err)];
    let child = (step_id(), any::<u32>(), end()).prop_map(|(step, generation, end)| {
        (RecordName::Child { step: step.clone(), generation }, Event::Child { step, generation, end })
    });
    let signal = (name(), name(), datum())
        .prop_map(|(id, name, payload)| (RecordName::Signal(id), Event::Signal { name, payload }));
    let decision = prop_oneof![
        datum().prop_map(Decision::Value),
        any::<bool>().prop_map(Decision::Holds),
        option::of(0..1_000_usize).prop_map(Decision::Branch),
        any::<u64>().prop_map(Decision::Millis),
        failure().prop_map(Decision::Failed),
    ];
    let decided = (step_id(), any::<u32>(), decision).prop_map(|(step, generation, decision)| {
        let question = Question::Value;
        let named = RecordName::Decided { step: step.clone(), question, generation };
        (named, Event::Decided { step, question, decision, generation })
    });
    let result =
        prop_oneof![datum().prop_map(Ending::Succeeded), failure().prop_map(Ending::Failed), Just(Ending::Cancelled)];
    let over = (any::<u32>(), result, vec(failure(), 0..3)).prop_map(|(generation, result, compensation_failures)| {
        let end = End { result, compensation_failures };
        (RecordName::End(generation), Event::End { generation, end })
    });
    prop_oneof![child, signal, decided, over]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_batch_and_a_flow_read_back(
        (id, name, version) in (run_id(), name(), version()), digest in digest(), numbers: [u64; 2], at in stamp(), harm in damage(),
    ) {
        let [tasks, sent] = numbers;
        let batch = BatchRecord { v: 1, id, tasks, sent, begun: at };
        holds(&batch, &batch.encode(), BatchRecord::decode, harm)?;
        prop_assert_eq!(batch.is_whole(), sent >= tasks);
        let flow = FlowRecord { v: 1, name, version, digest, size: sent, pushed_at: at };
        holds(&flow, &flow.encode(), FlowRecord::decode, harm)?;
    }

    #[test]
    fn what_hosts_say_reads_back(detail in host_detail(), slots in btree_map(name(), any::<u64>(), 0..4), harm in damage()) {
        holds(&detail.host, &host::encode(&detail.host), HostRecord::decode, harm)?;
        let body = host::encode(&detail);
        prop_assert_eq!(host::decode(&body), Ok(detail.clone()));
        let HostRecord { id, labels, .. } = detail.host;
        let serving = Serving { v: 1, host: id, labels, queues: slots };
        holds(&serving, &serving.encode(), Serving::decode, harm)?;
    }

    #[test]
    fn what_is_known_of_a_limit_reads_back(ledger in ledger(), limits in vec(a_limit(), 0..=4), harm in damage()) {
        holds(&ledger, &limit::encode_ledger(&ledger), limit::decode_ledger, harm)?;
        let mut headers = Headers::new();
        limit::encode(&limits, &mut headers);
        prop_assert_eq!(limit::decode(&headers), Ok(limits));
    }

    #[test]
    fn what_was_decided_of_a_queue_reads_back(
        (tenant, of) in (name(), name()), requires in labels(), limit in option::of(rule()), note in option::of(any::<String>()),
        since in stamp(), harm in damage(),
    ) {
        let paused = note.map(|note| Paused { since, note });
        let record = QueueRecord { paused, requires: requires.clone(), limit, ..QueueRecord::new(of) };
        holds(&record, &record.encode(), QueueRecord::decode, harm)?;
        let subject = queue::subject(&tenant, &record.queue);
        prop_assert_eq!(Decided::read(&subject, &record.encode()), Ok(Decided::Queue(record.clone())));
        let mark = MarkRecord::new(record.queue, requires);
        holds(&mark, &mark.encode(), MarkRecord::decode, harm)?;
    }

    #[test]
    fn a_claim_a_secret_and_a_webhook_read_back(
        texts in any::<[String; 5]>(), on in vec(any::<String>(), 0..3), id in name(), call in digest(), at in stamp(),
        removed: bool, name in name(), harm in damage(),
    ) {
        let [key, sender, sealed, url, task] = texts;
        let claim = Claim { v: 1, key: key.clone(), id, call, until: at };
        holds(&claim, &claim.encode(), Claim::decode, harm)?;
        let public = KeyRecord { v: 1, key: key.clone() };
        holds(&public, &public.encode(), KeyRecord::decode, harm)?;
        let secret = SecretRecord { v: 1, key, sender, sealed: sealed.clone() };
        holds(&secret, &secret.encode(), SecretRecord::decode, harm)?;
        let task = Some(task).filter(|task| !task.is_empty());
        let webhook = WebhookRecord { v: 1, name, url, on, task, secret: sealed, created: at, removed };
        holds(&webhook, &webhook.encode(), WebhookRecord::decode, harm)?;
    }

    #[test]
    fn who_has_a_singleton_and_what_gathers_read_back(
        texts in any::<[String; 2]>(), (id, queue) in (name(), name()), since in stamp(), times in (time(), time()), going: bool,
        priority in priority(), harm in damage(),
    ) {
        let [held, gathers] = texts;
        let holder = Holder { v: 1, name: held, id, since, queue, priority: priority.number() };
        holds(&holder, &holder.encode(), Holder::decode, harm)?;
        prop_assert_eq!(holder.priority(), priority);
        let series = Series { v: 1, name: gathers, id: holder.id };
        holds(&series, &series.encode(), Series::decode, harm)?;
        let calls = Gathered { first: times.0, due: times.1, going };
        let headers = Headers::new().with(debounce::GATHERED, debounce::gathered(&calls));
        prop_assert_eq!(debounce::read_gathered(&headers), Ok(calls));
    }

    #[test]
    fn a_schedule_reads_back(schedule in schedule(), harm in damage()) {
        let there = Stored::There(Box::new(schedule.clone()));
        holds(&there, &schedule.encode(), Stored::decode, harm)?;
    }

    #[test]
    fn a_run_at_a_glance_reads_back(entry in entry(), harm in damage()) {
        holds(&entry, &entry.encode(), Entry::decode, harm)?;
    }

    #[test]
    fn a_record_of_a_journal_reads_back((name, event) in event(), (at, byte) in damage()) {
        let (headers, body) = wire::encode(&event).unwrap();
        prop_assert_eq!(wire::decode(&name, &headers, &body), Ok(event));
        let at = at.index(body.len());
        prop_assert!(wire::decode(&name, &headers, &body.slice(..at)).is_err(), "the first {} bytes", at);
        let mut changed = body.to_vec();
        changed[at] = byte;
        drop(wire::decode(&name, &headers, &changed.into()));
    }

    /// A letter is the task's own message with how it ended beside it: nothing of either is lost, but what is too long of the failure.
    #[test]
    fn a_dead_letter_holds_its_task_and_how_it_ended(
        message in task_message(), failure in failure(), mut usage in usage(), place in (name(), name()), priority in priority(), at in stamp(),
    ) {
        prop_assume!(usage.attempt > 0);
        // The labels of what was called are those of the message.
        let labels: Labels = message.signature.options.labels.clone();
        let mut about = usage.about.take().map(|about| *about).unwrap_or_default();
        about.labels = labels;
        usage.about = (about != Default::default()).then(|| Box::new(about));
        let (tenant, queue) = (lovage::model::Tenant::default_tenant(), place.0);
        let (headers, body) = message.encode();
        let headers = headers.with("Nats-Sequence", "7");
        let letter = dead::encode(&headers, priority, &failure, &usage);
        prop_assert!(letter.value("Nats-Sequence").is_none());
        let subject = dead::subject(&tenant, &queue, &place.1);
        let read = dead::decode(&subject, &letter, &body, at, 3).unwrap();
        prop_assert_eq!((read.queue, read.id, read.priority, read.died), (queue, place.1, priority, at));
        prop_assert_eq!(read.usage, usage);
        prop_assert_eq!(read.message, Ok::<TaskMessage, _>(message));
        let cut: String = failure.message.chars().take(1_000).collect();
        prop_assert_eq!((&read.failure.kind, &read.failure.message), (&failure.kind, &cut));
        prop_assert!(read.failure.detail == failure.detail || read.failure.detail.is_none());
    }

    #[test]
    fn an_id_under_a_key_tells_its_window_and_no_other_key_has_it(
        key in "\\PC{1,20}", other in "\\PC{1,20}", until in 0..17_592_186_044_416_i64, left in 0..10_000_000_000_i64,
    ) {
        let end = Timestamp::from_millis(until);
        let id = once::task_id(&key, end).unwrap();
        prop_assert_eq!(once::until(&id), Some(end));
        prop_assert_eq!(once::task_id(&other, end) == Some(id.clone()), key == other);
        let kept = once::keep_for(&id, Timestamp::from_millis(until - left));
        prop_assert_eq!(kept.is_some(), left > 0);
        prop_assert!(kept.is_none_or(|kept| kept <= once::WINDOW_MAX && kept.as_millis() <= left.unsigned_abs().into()));
        // A single task, never a run's step.
        prop_assert!(id.as_str().parse::<RunId>().is_err());
    }
}

/// A letter of a composed input says so: it cannot be sent again by itself.
#[test]
fn a_letter_of_a_step_keeps_that_its_input_was_composed() {
    let signature = lovage::model::Signature::new("m/t".parse().unwrap(), "{\"text\":\"1\",\"elsewhere\":[]}");
    let message = TaskMessage { form: Form::Composed, ..TaskMessage::first(signature) };
    let (headers, body) = message.encode();
    let failure = Failure::new(lovage::model::Kind::Trap, "");
    let priority = lovage::protocol::subject::PRIORITY_DEFAULT;
    let letter = dead::encode(&headers, priority, &failure, &lovage::model::lifecycle::Usage::default());
    let read = dead::decode("lvg.t.dead.q.x", &letter, &body, Timestamp::default(), 1).unwrap();
    assert_eq!(read.message.unwrap().form, Form::Composed);
}
