//! The map of subjects: what each thing is written on, which stream keeps it and by which rules, and that no two streams ask the
//! server for the same subject.
#![cfg(test)]

use std::collections::BTreeSet;
use std::time::Duration;

use lovage::model::{RunId, StepAttempt, StepId, TaskId, TaskKey, Tenant};
use lovage::protocol::stream::{Bucket, PerSubject, Retention};
use lovage::protocol::subject::{
    self, Band, Control, Priority, RECURRING, RecordName, RecordSubject, TaskSubject, band_tasks, read_recurring,
};
use lovage::protocol::webhook::{self, DeliverySubject};
use lovage::protocol::{Stream, batch, dead, debounce, kv, limit, once, queue, secret, singleton};
use proptest::prelude::*;

use super::{config, hostile};

const RUN: &str = "01jd000000000000000000000a";

fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

fn single() -> TaskKey {
    TaskKey::Single("t1".parse().unwrap())
}

fn step() -> StepAttempt {
    StepAttempt { run: RUN.parse().unwrap(), step: "0-1".parse().unwrap(), attempt: 2 }
}

fn place(key: TaskKey) -> TaskSubject {
    let mark = Some("066d4bbc585b".parse().unwrap());
    TaskSubject { tenant: tenant(), queue: "images".parse().unwrap(), priority: Priority::new(7).unwrap(), mark, key }
}

#[test]
fn a_task_is_written_where_the_protocol_says() {
    let (t, id): (Tenant, TaskId) = (tenant(), "t1".parse().unwrap());
    let queue = "images".parse().unwrap();
    for (written, subject, stream) in [
        (place(single()).task(), "lvg.acme.task.images.7~066d4bbc585b.t1", Stream::Task(tenant())),
        (
            place(step().into()).task(),
            "lvg.acme.task.images.7~066d4bbc585b.01jd000000000000000000000a.0-1.2",
            Stream::Task(tenant()),
        ),
        (place(single()).fire(), "lvg.acme.fire.images.7~066d4bbc585b.t1", Stream::Schedule),
        (subject::task_anywhere(&t, &id), "lvg.acme.task.*.*.t1", Stream::Task(tenant())),
        (subject::fire_anywhere(&t, &id), "lvg.acme.fire.*.*.t1", Stream::Schedule),
        (subject::queue_tasks(&t, &queue), "lvg.acme.task.images.>", Stream::Task(tenant())),
        (subject::tasks(&t), "lvg.acme.task.>", Stream::Task(tenant())),
        (subject::schedule(&t, &id), "lvg.acme.sched.t1", Stream::Schedule),
        (subject::schedules(&t), "lvg.acme.sched.>", Stream::Schedule),
        (subject::result(&t, &id), "lvg.acme.res.t1", Stream::Result),
        (subject::log(&t, &id), "lvg.acme.log.t1", Stream::Log),
        (subject::log(&t, step()), "lvg.acme.log.01jd000000000000000000000a.0-1.2", Stream::Log),
        (subject::progress(&t, &id), "lvg.acme.ev.progress.t1", Stream::Event),
        (subject::running(&t, &id), "lvg.acme.ev.running.t1", Stream::Event),
        (subject::hand_backs(&t, &single()), "lvg.acme.ev.handback.t1", Stream::Event),
        (dead::subject(&t, &queue, &id), "lvg.acme.dead.images.t1", Stream::Dead),
        (dead::anywhere(&t, &id), "lvg.acme.dead.*.t1", Stream::Dead),
        (dead::all(&t, None), "lvg.acme.dead.*.*", Stream::Dead),
        (dead::all(&t, Some(&queue)), "lvg.acme.dead.images.*", Stream::Dead),
        (once::kept(&t, &id), "lvg.acme.kept.t1", Stream::Once),
        (once::subject(&t, "order 7"), "lvg.acme.once.0fc89f8ae19394b48debd6353bb9ad33", Stream::Once),
        (debounce::record(&t, "0f"), "lvg.acme.debounce.0f", Stream::Limit),
        (debounce::gathered_as(&t, "0f", &id), "lvg.acme.line.0f.*.*.t1", Stream::Limit),
        (debounce::bell(&t, "0f"), "lvg.acme.sched.~debounce.0f", Stream::Schedule),
        (debounce::ring(&t, "0f"), "lvg.acme.fire.~debounce.0f", Stream::Schedule),
        (limit::record(&t, "0f"), "lvg.acme.limit.0f", Stream::Limit),
        (limit::bell(&t, "0f"), "lvg.acme.sched.~limit.0f", Stream::Schedule),
        (limit::line("0f", &place(single())), "lvg.acme.line.0f.images.7~066d4bbc585b.t1", Stream::Limit),
        (limit::line_anywhere(&t, &id), "lvg.acme.line.*.*.*.t1", Stream::Limit),
    ] {
        assert_eq!(written, subject);
        assert_eq!(Stream::of(&written), Some(stream), "{written}");
    }
    assert!(singleton::subject(&t, "m/t").starts_with("lvg.acme.single."));
    assert_eq!(Stream::of(&singleton::subject(&t, "m/t")), Some(Stream::Once));
}

#[test]
fn what_a_tenant_keeps_is_written_where_the_protocol_says() {
    let t = tenant();
    let run: RunId = RUN.parse().unwrap();
    let (queue, module, flow) = ("images".parse().unwrap(), "m".parse().unwrap(), "etl".parse().unwrap());
    let (version, mark) = ("1.2".parse().unwrap(), "066d4bbc585b".parse().unwrap());
    let hook = DeliverySubject { tenant: tenant(), name: "ops".parse().unwrap(), id: "d1".to_owned() };
    for (written, subject, stream) in [
        (subject::module(&t, &module, &version), "lvg.acme.module.m.1~2", Stream::Module),
        (subject::module_versions(&t, &module), "lvg.acme.module.m.*", Stream::Module),
        (subject::modules(&t), "lvg.acme.module.>", Stream::Module),
        (subject::flow(&t, &flow, &version), "lvg.acme.flow.etl.1~2", Stream::Flow),
        (subject::flow_versions(&t, &flow), "lvg.acme.flow.etl.*", Stream::Flow),
        (subject::flows(&t), "lvg.acme.flow.>", Stream::Flow),
        (subject::recurring(&t, &"nightly".parse().unwrap()), "lvg.acme.schedule.nightly", Stream::Recurring),
        (subject::all_recurring(&t), "lvg.acme.schedule.*", Stream::Recurring),
        (queue::subject(&t, &queue), "lvg.acme.queue.images", Stream::Queue),
        (queue::mark_subject(&t, &queue, &mark), "lvg.acme.queue.images.066d4bbc585b", Stream::Queue),
        (queue::marks(&t, &queue), "lvg.acme.queue.images.*", Stream::Queue),
        (queue::all(&t), "lvg.acme.queue.>", Stream::Queue),
        (batch::subject(&t, &run), "lvg.acme.batch.01jd000000000000000000000a", Stream::Batch),
        (batch::all(&t), "lvg.acme.batch.*", Stream::Batch),
        (kv::subject(&t, &"b".parse().unwrap(), "a.b"), "lvg.acme.kv.b.a~2Eb", Stream::Kv),
        (kv::all(&t, &"b".parse().unwrap()), "lvg.acme.kv.b.*", Stream::Kv),
        (secret::subject(&t, &"api_key".parse().unwrap()), "lvg.acme.secret.api_key", Stream::Secret),
        (secret::all(&t), "lvg.acme.secret.*", Stream::Secret),
        (webhook::subject(&t, &hook.name), "lvg.acme.webhook.ops", Stream::Webhook),
        (webhook::all(&t), "lvg.acme.webhook.*", Stream::Webhook),
        (hook.due(), "lvg.acme.hook.ops.d1", Stream::Hook),
        (hook.waiting(), "lvg.acme.hookwait.ops.d1", Stream::Hook),
        (hook.history(), "lvg.acme.ev.delivery.ops.d1", Stream::Event),
        (webhook::history(&t, &hook.name), "lvg.acme.ev.delivery.ops.*", Stream::Event),
        (
            subject::timer(&t, &run, &StepId::root(), &"sleep0".parse().unwrap()),
            "lvg.acme.timer.a.01jd000000000000000000000a.0.sleep0",
            Stream::Journal,
        ),
    ] {
        assert_eq!(written, subject);
        assert_eq!(Stream::of(&written), Some(stream), "{written}");
    }
    assert_eq!(read_recurring("lvg.acme.schedule.nightly"), Some((tenant(), "nightly".parse().unwrap())));
    for bad in ["lvg.acme.schedule.", "lvg.acme.schedule.a.b", "lvg.ctl.schedule.a", "lvg.acme.sched.a", RECURRING] {
        assert_eq!(read_recurring(bad), None, "{bad}");
    }
}

#[test]
fn records_of_a_run_have_one_name_each() {
    let root = StepId::root;
    let child = |generation| RecordName::Child { step: root().child(1), generation };
    for (record, name) in [
        (RecordName::Start, "start"),
        (RecordName::Step { step: root().item(3), attempt: 2 }, "step.0_3.2"),
        (RecordName::Timer { step: root(), what: "sleep0".parse().unwrap() }, "timer.0.sleep0"),
        (RecordName::Decided { step: root(), what: "input".parse().unwrap() }, "decided.0.input"),
        (child(0), "child.0-1"),
        (child(2), "child.0-1.2"),
        (RecordName::Signal("s-1".parse().unwrap()), "signal.s-1"),
        (RecordName::Cancel(0), "cancel"),
        (RecordName::Cancel(1), "cancel.1"),
        (RecordName::Pause(0), "pause.0"),
        (RecordName::Resume(12), "resume.12"),
        (RecordName::Retry(0), "retry.0"),
        (RecordName::End(0), "end"),
        (RecordName::End(u32::MAX), "end.4294967295"),
    ] {
        let place = RecordSubject { tenant: tenant(), run: RUN.parse().unwrap(), record };
        let subject = format!("lvg.acme.run.a.{RUN}.{name}");
        assert_eq!(place.to_string(), subject);
        assert_eq!(RecordSubject::read(&subject), Some(place));
    }
    // A second name of a record would be a second record of what happened once.
    for name in [
        "",
        "begin",
        "start.0",
        "step.0",
        "step.0.0",
        "step.0.01",
        "step.0.2.1",
        "step.1.1",
        "timer.0",
        "timer.0.A",
        "decided.0",
        "child",
        "child.0.0",
        "child.0-1.01",
        "signal",
        "signal.A",
        "signal.a.b",
        "cancel.0",
        "cancel.x",
        "pause",
        "pause.00",
        "pause.+1",
        "resume.-1",
        "retry.4294967296",
        "end.0",
        "end.1.1",
        "END",
    ] {
        assert_eq!(RecordSubject::read(&format!("lvg.acme.run.a.{RUN}.{name}")), None, "{name}");
    }
    for subject in [
        format!("lvg.acme.run.b.{RUN}.start"),
        format!("lvg.acme.run.aa.{RUN}.start"),
        format!("lvg.acme.run..{RUN}.start"),
        format!("lvg.ctl.run.a.{RUN}.start"),
        format!("lvg.acme.runs.a.{RUN}.start"),
        format!("x.acme.run.a.{RUN}.start"),
        "lvg.acme.run.a.a.start".to_owned(),
    ] {
        assert_eq!(RecordSubject::read(&subject), None, "{subject}");
    }
}

#[test]
fn places_in_queues_are_read_in_one_form_alone() {
    for (subject, reads) in [
        ("lvg.acme.task.q.5.t1", true),
        ("lvg.acme.fire.q.0~066d4bbc585b.t1", true),
        ("lvg.acme.task.q.05.t1", false),
        ("lvg.acme.task.q.10.t1", false),
        ("lvg.acme.task.q.+5.t1", false),
        ("lvg.acme.task.q.5~.t1", false),
        ("lvg.acme.task.q.5~066D4BBC585B.t1", false),
        ("lvg.acme.task.q.5", false),
        ("lvg.acme.task.q.5.", false),
        ("lvg.acme.task.Q.5.t1", false),
        ("lvg.acme.task.*.5.t1", false),
        ("lvg.acme.sched.q.5.t1", false),
        ("lvg.ctl.task.q.5.t1", false),
        ("lvg.acme.task.q.5.t1.t2", false),
    ] {
        assert_eq!(TaskSubject::read(subject).is_some(), reads, "{subject}");
    }
    let bands: Vec<String> = ["5", "9", "5~066d4bbc585b", "0~a3345b173964", "0", "9~a3345b173964", "9~066d4bbc585b"]
        .iter()
        .map(|text| Band::read(text).unwrap())
        .collect::<BTreeSet<Band>>()
        .iter()
        .map(ToString::to_string)
        .collect();
    let order = ["9~066d4bbc585b", "9~a3345b173964", "9", "5~066d4bbc585b", "5", "0~a3345b173964", "0"];
    assert_eq!(bands, order, "urgent ones first, and of one priority those that not every host may take");
    let queue = "images".parse().unwrap();
    for (band, consumer, tasks) in [
        ("5", "queue-images", "lvg.acme.task.images.5.>"),
        ("6", "band-6-images", "lvg.acme.task.images.6.>"),
        ("5~066d4bbc585b", "band-5~066d4bbc585b-images", "lvg.acme.task.images.5~066d4bbc585b.>"),
    ] {
        let band = Band::read(band).unwrap();
        assert_eq!(queue::consumer_name(&queue, &band), consumer);
        assert_eq!(band_tasks(&tenant(), &queue, &band), tasks);
        assert_eq!(queue::of_consumer(consumer), Some((queue.clone(), band)));
    }
    for stranger in
        ["", "queue", "queue-", "queue-A", "band-", "band-5", "band-x-images", "band-10-images", "other-5-images"]
    {
        assert_eq!(queue::of_consumer(stranger), None, "{stranger}");
    }
}

#[test]
fn words_to_hosts_are_read_in_one_form_alone() {
    let t = tenant();
    for (word, subject) in [
        (Control::Cancel(tenant(), single()), subject::cancel(&t, single())),
        (Control::Cancel(tenant(), step().into()), subject::cancel(&t, step())),
        (Control::Find(tenant(), single()), subject::find(&t, single())),
        (Control::Watch(tenant()), subject::watch(&t)),
    ] {
        assert_eq!(Control::read(&subject), Some(word), "{subject}");
        assert_eq!(Stream::of(&subject), None, "a word is not kept: {subject}");
        assert!(subject.starts_with("lvg.ctl.") && subject.contains(".acme."), "{subject}");
    }
    for bad in [
        "lvg.ctl.cancel.acme",
        "lvg.ctl.cancel.acme.",
        "lvg.ctl.stop.acme.t1",
        "lvg.ctl.cancel.ctl.t1",
        "lvg.acme.cancel.t1",
    ] {
        assert_eq!(Control::read(bad), None, "{bad}");
    }
}

/// Whether a subject may match both patterns.
fn meet(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('.').collect(), other.split('.').collect());
    for (place, (left, right)) in one.iter().zip(&other).enumerate() {
        match (*left, *right) {
            (">", _) | (_, ">") => return place < one.len() && place < other.len(),
            (left, right) if left != right && left != "*" && right != "*" => return false,
            _ => {}
        }
    }
    one.len() == other.len()
}

/// A server refuses a stream whose subjects another one has.
#[test]
fn no_two_streams_capture_the_same_subject() {
    assert!(meet("a.*.c", "a.b.>") && meet("a.>", "a.b.c") && !meet("a.b", "a.b.c") && !meet("a.>", "a"));
    let streams: Vec<Stream> =
        Stream::all(&tenant()).into_iter().chain([Stream::Task("other".parse().unwrap())]).collect();
    for (place, one) in streams.iter().enumerate() {
        for other in streams.iter().skip(place + 1) {
            for (left, right) in one
                .rules()
                .subjects
                .iter()
                .flat_map(|left| other.rules().subjects.into_iter().map(move |right| (left.clone(), right)))
            {
                assert!(!meet(&left, &right), "{one:?} {left} and {other:?} {right}");
            }
            assert_ne!(one.name(), other.name());
        }
    }
}

#[test]
fn every_stream_has_the_rules_of_what_it_keeps() {
    let day = Duration::from_secs(24 * 3600);
    let of = |keeps: fn(&Stream) -> bool| -> Vec<String> {
        let streams = Stream::all(&tenant()).into_iter().filter(keeps);
        streams.map(|stream| stream.name().trim_start_matches("LVG_").to_lowercase()).collect()
    };
    assert_eq!(of(|stream| stream.rules().retention == Retention::WorkQueue), ["task_acme", "schedule", "hook"]);
    assert_eq!(of(|stream| stream.rules().schedules), ["schedule", "hook", "journal"]);
    assert_eq!(of(|stream| stream.rules().per_subject == PerSubject::Unique), ["task_acme"], "a task is queued once");
    assert_eq!(
        of(|stream| stream.rules().per_subject == PerSubject::All),
        ["schedule", "log", "event", "hook", "journal"]
    );
    assert_eq!(of(|stream| stream.rules().direct_reads), ["result"]);
    assert_eq!(of(|stream| stream.rules().age_max.is_some()), ["result", "log", "event", "dead", "batch"]);
    let age = |stream: Stream| stream.rules().age_max.unwrap();
    assert_eq!((age(Stream::Result), age(Stream::Log), age(Stream::Event)), (day, day, day));
    assert_eq!((age(Stream::Dead), age(Stream::Batch)), (day * 14, day * 7));
    for stream in Stream::all(&tenant()) {
        let rules = stream.rules();
        // A server refuses schedules in a stream that refuses new messages, or whose messages have no time to live of their own.
        assert!(!rules.schedules || (!rules.refuse_when_full && rules.message_ttl), "{stream:?}");
        // A work queue that dropped its oldest would lose tasks.
        assert!(
            rules.retention != Retention::WorkQueue || rules.messages_max.is_none() || rules.refuse_when_full,
            "{stream:?}"
        );
    }
    // A value that a result refers to outlives it, and one that a dead letter refers to outlives the letter.
    let kept = |bucket: Bucket| bucket.age_max();
    assert!(kept(Bucket::Values).unwrap() > age(Stream::Result));
    assert!(kept(Bucket::LongValues).unwrap() > age(Stream::Dead));
    assert_eq!([Bucket::Modules, Bucket::Flows, Bucket::RunValues, Bucket::Blobs].map(kept), [None; 4]);
    let names: BTreeSet<&str> = Bucket::ALL.iter().map(|bucket| bucket.name()).collect();
    assert_eq!(names.len(), Bucket::ALL.len());
}

proptest! {
    #![proptest_config(config())]

    /// What belongs to a stream is captured by one of its subjects, and by no other stream's.
    #[test]
    fn a_subject_is_kept_by_the_stream_that_captures_it(text in prop_oneof![hostile(), "lvg\\.(acme|ctl)\\.(task|res|ev|line|kept|host|secret|x)(\\.[a-z]{1,2}){1,3}"]) {
        let captures = |stream: &Stream| stream.rules().subjects.iter().any(|pattern| meet(pattern, &text));
        let literal = !text.contains(['*', '>']) && text.split('.').all(|token| !token.is_empty());
        let named = text.split('.').nth(1).is_some_and(|token| token == "acme" || token == "ctl");
        if literal && named && text.split('.').count() > 3 {
            let captured: Vec<Stream> = Stream::all(&tenant()).into_iter().filter(captures).collect();
            prop_assert!(captured.len() <= 1, "{:?}", captured);
            if let Some(stream) = captured.first() && text.starts_with("lvg.acme.") {
                prop_assert_eq!(Stream::of(&text), Some(stream.clone()));
            }
        }
    }
}
