//! Properties of the model and the protocol, which do no IO: what is written reads back, what is read never panics, and no text
//! reaches beyond its tenant.
//!
//! `LOVAGE_SEED` replays a run.
#![cfg(test)]

mod arithmetic;
mod calendars;
mod expressions;
mod journals;
mod messages;
mod names;
mod reach;
mod records;
mod subjects;
mod texts;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lovage::model::debounce::{Debounce, Timing};
use lovage::model::grants::{Allow, Allowance, Buckets, Grant, Grants};
use lovage::model::lifecycle::{About, End, Record, Settled, TRIED_MAX, Tried, Usage};
use lovage::model::limit::LIMITS_MAX;
use lovage::model::limits::{FuelWish, Off, Wish};
use lovage::model::module::{Manifest, ManifestTask, RECORD_VERSION};
use lovage::model::retry::ATTEMPTS_MAX;
use lovage::model::signature::Options;
use lovage::model::singleton::{Mode, Singleton};
use lovage::model::step_life::{StepEnd, StepOutcome};
use lovage::model::time::{DURATION_MAX, format_duration, parse_duration};
use lovage::model::{
    Contract, Datum, Digest, Failure, Kind, Limits, ModuleRecord, Policy, RunId, Signature, StepAttempt, StepId,
    TaskDescription, TaskId, TaskKey, TaskRef, Tenant, Timestamp, Value, Version,
};
use lovage::protocol::note::printable;
use lovage::protocol::subject::{self, Control, Priority, RecordName, RecordSubject, TaskSubject};
use lovage::protocol::task::{Form, TaskMessage, read_composed};
use lovage::protocol::{Headers, Stream, kv, module, record, secret, step};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

fn config() -> Config {
    let given = std::env::var_os("LOVAGE_SEED").and_then(|seed| seed.into_string().ok()?.parse().ok());
    let seed = given.unwrap_or(20_261_122);
    println!("LOVAGE_SEED={seed}");
    Config { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}

// Arbitrary values of the model.

fn checked<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>(
    form: &'static str,
) -> impl Strategy<Value = T> {
    form.prop_map(|text| text.parse().unwrap())
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    checked("[a-z0-9_-]{1,64}")
}

fn version() -> impl Strategy<Value = Version> {
    checked("[a-z0-9._-]{1,32}")
}

fn task_ref() -> impl Strategy<Value = TaskRef> {
    (name(), option::of(version()), checked("[a-zA-Z0-9_-]{1,64}")).prop_map(|(module, version, task)| TaskRef {
        module,
        version,
        task,
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

fn digest() -> impl Strategy<Value = Digest> {
    bytes().prop_map(|bytes| Digest::of(&bytes))
}

fn value() -> impl Strategy<Value = Value> {
    let stored = (digest(), any::<u64>()).prop_map(|(digest, size)| Value::Stored { digest, size });
    prop_oneof![bytes().prop_map(Value::Inline), stored]
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..=u64::try_from(DURATION_MAX.as_millis()).unwrap()).prop_map(Duration::from_millis)
}

/// From the year 1 to 9999, as RFC 3339 has it.
fn time() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_000..253_402_207_200_000_i64).prop_map(Timestamp::from_millis)
}

fn kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(Kind::ALL)
}

/// Factors of few digits: the last bit of a long fraction is not kept by the JSON reader.
fn policy() -> impl Strategy<Value = Policy> {
    let factor = (4..=400_u16).prop_map(|quarters| f64::from(quarters) / 4.0);
    (1..=ATTEMPTS_MAX, duration(), factor, duration(), any::<bool>(), vec(kind(), 0..4))
        .prop_map(|(attempts, backoff, factor, max, jitter, on)| Policy { attempts, backoff, factor, max, jitter, on })
}

fn fuel() -> impl Strategy<Value = FuelWish> {
    prop_oneof![any::<u64>().prop_map(FuelWish::Units), Just(FuelWish::Off(Off::Off))]
}

/// A wish as a task message may carry it: of the output's size only a manifest speaks.
fn wish() -> impl Strategy<Value = Wish> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap();
    (option::of(fuel()), option::of(any::<u64>()), option::of(duration()), option::of(duration())).prop_map(
        move |(fuel, memory_bytes, timeout, grace)| Wish {
            fuel,
            memory_bytes,
            attempt_timeout_ms: timeout.map(millis),
            output_bytes: None,
            cancel_grace_ms: grace.map(millis),
        },
    )
}

/// A key as it travels in a header: without white space around it.
fn key() -> impl Strategy<Value = String> {
    "[!-~]([ -~\\u{e4}]{0,10}[!-~])?"
}

/// What gathers calls, or lets one of them through.
fn gathering() -> impl Strategy<Value = (Option<Singleton>, Option<Debounce>)> {
    let mode = proptest::sample::select(&[Mode::Skip, Mode::Cancel][..]);
    let singleton = (key(), mode).prop_map(|(key, mode)| Singleton { key, mode });
    let timing = (1_000..=604_800_000_u64, option::of(0..1_000_000_u64)).prop_map(|(period, more)| Timing {
        period: Duration::from_millis(period),
        timeout: more.map(|more| Duration::from_millis(period + more)),
    });
    let debounce = (option::of(key()), timing).prop_map(|(key, timing)| Debounce { key, timing });
    (option::of(singleton), option::of(debounce))
}

fn options() -> impl Strategy<Value = Options> {
    let keys = (option::of("\\PC{0,60}"), option::of(key()), gathering());
    let fleet = vec(records::a_limit(), 0..=LIMITS_MAX);
    (policy(), wish(), (option::of(time()), option::of(time())), keys, fleet, labels(), labels()).prop_map(
        |(
            retry,
            limits,
            (expires, timeout_at),
            (idempotency_key, limit_key, (singleton, debounce)),
            fleet,
            labels,
            requires,
        )| {
            Options {
                retry,
                limits,
                expires,
                timeout_at,
                idempotency_key,
                limit_key,
                fleet,
                singleton,
                debounce,
                labels,
                requires,
            }
        },
    )
}

fn task_message() -> impl Strategy<Value = TaskMessage> {
    let traceparent = option::of("[a-f0-9-]{0,64}");
    let publish = (any::<bool>(), any::<bool>(), any::<bool>(), option::of(digest()));
    (task_ref(), value(), options(), 1..=ATTEMPTS_MAX, publish, traceparent).prop_map(
        |(task, input, options, attempt, (recheck, shielded, composed, digest), traceparent)| TaskMessage {
            signature: Signature { task, input, options },
            attempt,
            recheck,
            shielded,
            form: if composed { Form::Composed } else { Form::Plain },
            digest,
            traceparent,
        },
    )
}

fn run_id() -> impl Strategy<Value = RunId> {
    checked("[0-9a-hjkmnp-tv-z]{26}")
}

/// Steps as a flow makes them, and any other text that is one.
fn step_id() -> impl Strategy<Value = StepId> {
    prop_oneof![checked("0((-|_|~)[0-9]{1,4}|-[cusf]){0,6}"), checked("0[0-9a-z_~-]{0,40}")]
}

fn step_attempt() -> impl Strategy<Value = StepAttempt> {
    (run_id(), step_id(), 1..=u32::MAX).prop_map(|(run, step, attempt)| StepAttempt { run, step, attempt })
}

fn task_key() -> impl Strategy<Value = TaskKey> {
    prop_oneof![name().prop_map(TaskKey::Single), step_attempt().prop_map(TaskKey::Step)]
}

fn record_name() -> impl Strategy<Value = RecordName> {
    prop_oneof![
        Just(RecordName::Start),
        any::<u32>().prop_map(RecordName::Cancel),
        any::<u32>().prop_map(RecordName::End),
        (step_id(), 1..=u32::MAX).prop_map(|(step, attempt)| RecordName::Step { step, attempt }),
        (step_id(), name()).prop_map(|(step, what)| RecordName::Timer { step, what }),
        (step_id(), name()).prop_map(|(step, what)| RecordName::Decided { step, what }),
        (step_id(), any::<u32>()).prop_map(|(step, generation)| RecordName::Child { step, generation }),
        name().prop_map(RecordName::Signal),
        any::<u32>().prop_map(RecordName::Pause),
        any::<u32>().prop_map(RecordName::Resume),
        any::<u32>().prop_map(RecordName::Retry),
    ]
}

fn step_outcome() -> impl Strategy<Value = StepOutcome> {
    let end = prop_oneof![
        value().prop_map(StepEnd::Succeeded),
        value().prop_map(StepEnd::Replaced),
        failure().prop_map(StepEnd::Failed),
    ];
    (end, usage()).prop_map(|(end, usage)| StepOutcome { end, usage })
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Into::into),
        any::<bool>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            btree_map(".{0,8}", inner, 0..4)
                .prop_map(|map: BTreeMap<String, serde_json::Value>| map.into_iter().collect()),
        ]
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let place = (option::of(task_ref()), option::of(step_id()), option::of(any::<u32>()));
    (kind(), any::<String>(), place, option::of(json()), option::of(any::<u64>())).prop_map(
        |(kind, message, (task, step, attempt), detail, retry_after_ms)| Failure {
            kind,
            message,
            task,
            step,
            attempt,
            detail,
            retry_after_ms,
        },
    )
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[^=,\\p{C}]{1,12}", "[^,\\p{C}]{0,12}", 0..=16)
}

/// What was called, where something of it is known.
fn about() -> impl Strategy<Value = Option<Box<About>>> {
    (option::of(task_ref()), option::of(name()), labels()).prop_map(|(task, queue, labels)| {
        let about = About { task, queue, labels };
        (about != About::default()).then(|| Box::new(about))
    })
}

fn tried() -> impl Strategy<Value = Vec<Tried>> {
    let one = (any::<u32>(), name(), time(), failure()).prop_map(|(attempt, host, at, failure)| {
        let Failure { kind, message, .. } = failure;
        Tried { attempt, host, at, kind, message }
    });
    vec(one, 0..=TRIED_MAX)
}

fn usage() -> impl Strategy<Value = Usage> {
    let numbers = (1..u32::MAX, any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let ran = (numbers, option::of(name()), about(), tried()).prop_map(
        |((attempt, delivery, fuel, memory_bytes, duration_us), host, about, tried)| Usage {
            attempt,
            delivery,
            host,
            fuel,
            memory_bytes,
            duration_us,
            about,
            tried,
        },
    );
    prop_oneof![Just(Usage::default()), ran]
}

fn task_record() -> impl Strategy<Value = Record> {
    let end = prop_oneof![
        value().prop_map(End::Succeeded),
        failure().prop_map(End::Failed),
        Just(End::Cancelled),
        Just(End::Expired),
    ];
    let retrying = (any::<u32>(), time(), failure(), tried());
    prop_oneof![
        retrying.prop_map(|(next, due, failure, tried)| Record::Retrying { next, due, failure, tried }),
        (end, usage()).prop_map(|(end, usage)| Record::Settled(Settled { end, usage })),
    ]
}

fn description() -> impl Strategy<Value = TaskDescription> {
    let task = checked("[a-zA-Z0-9_-]{1,64}");
    (task, any::<String>(), option::of(json()), option::of(json()), option::of(any::<String>())).prop_map(
        |(name, summary, input_schema, output_schema, media_type)| TaskDescription {
            name,
            summary,
            input_schema,
            output_schema,
            media_type,
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let args = || option::of(vec(any::<String>(), 0..3));
    let task = (any::<String>(), args()).prop_map(|(summary, args)| ManifestTask { summary, args });
    let tasks = btree_map(checked("[a-zA-Z0-9_-]{1,64}"), task, 0..3);
    (tasks, args(), option::of(any::<String>()), wish(), any::<bool>(), grants()).prop_map(
        |(tasks, args, script, limits, flows, grants)| Manifest {
            tasks,
            args,
            limits,
            script,
            flows,
            grants,
            ..Manifest::default()
        },
    )
}

fn grant() -> impl Strategy<Value = Grant> {
    checked(
        "(kv|blob)=[a-z0-9_-]{1,64}(:r|:rw)?|secret=[a-zA-Z0-9_-]{1,64}|config=[a-z_][a-zA-Z0-9_]{0,63}=.{0,20}|clock|random",
    )
}

fn grants() -> impl Strategy<Value = Grants> {
    vec(grant(), 0..6).prop_map(|all| all.into_iter().fold(Grants::default(), Grants::with))
}

fn module_record() -> impl Strategy<Value = ModuleRecord> {
    let contract =
        proptest::sample::select(&[Contract::Command, Contract::CommandComponent, Contract::Task, Contract::Typed][..]);
    let named = (name(), version(), digest(), option::of(digest()), any::<u64>());
    (named, contract, vec(description(), 0..3), manifest(), any::<i64>(), any::<bool>()).prop_map(
        |((name, version, digest, source_digest, size), contract, tasks, manifest, pushed_at, removed)| ModuleRecord {
            v: RECORD_VERSION,
            name,
            version,
            digest,
            source_digest,
            size,
            contract,
            tasks,
            manifest,
            pushed_at: Timestamp::from_millis(pushed_at),
            removed,
        },
    )
}

fn priority() -> impl Strategy<Value = Priority> {
    (0..=9_u8).prop_map(|number| Priority::new(number).unwrap())
}

/// Texts that look like what the protocol takes, and texts that do not.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.*> _~@/-]{0,70}",
        "(lvg|t|task|fire|ctl|cancel|find|res|\\*|>|[0-9]{1,4})(\\.(lvg|a|task|fire|5|\\*|>)){0,6}",
        any::<String>()
    ]
}

/// Subjects of tasks, nearly.
fn task_like() -> impl Strategy<Value = String> {
    "lvg\\.[a-zA-Z*]{1,2}\\.(task|fire)\\.[a-z*]{1,2}\\.[+ ]?[0-9]{1,3}\\.[a-z>]{1,2}"
}

/// Subjects of attempts of steps, nearly.
fn step_task_like() -> impl Strategy<Value = String> {
    "lvg\\.(a|ctl)\\.task\\.q\\.5\\.[0z]{26}\\.0[-~_]?[0-9A]?\\.[+0]?[0-9]{1,2}(\\.1)?"
}

/// Subjects of records, nearly.
fn record_like() -> impl Strategy<Value = String> {
    "lvg\\.(a|ctl)\\.run\\.[0z*]\\.[0z]{26}\\.(start|step|timer|child|pause|end)(\\.(0|0-1|01|1|x)){0,3}"
}

/// Headers of the protocol's names, with values near and far from what they take.
fn headers() -> impl Strategy<Value = Headers> {
    let names = [
        "Lovage-Task",
        "Lovage-Attempt",
        "Lovage-Recheck",
        "Lovage-Shielded",
        "Lovage-Form",
        "Lovage-Digest",
        "Lovage-Usage",
        "Lovage-Retry",
        "Lovage-Fuel",
        "Lovage-Memory",
        "Lovage-Attempt-Timeout",
        "Lovage-Expires",
        "Lovage-Idempotency-Key",
        "Lovage-Labels",
        "Lovage-Value",
        "Lovage-Version",
        "Lovage-State",
        "Lovage-Due",
        "Lovage-Host",
        "Lovage-Usage",
        "traceparent",
    ];
    let near = [
        "m/t",
        "1",
        "0",
        "4294967296",
        "-1",
        "off",
        "retrying",
        "failed",
        "succeeded",
        "1e999",
        "5s",
        "{}",
        "=",
        "a=1,a=2",
        "attempt=1 delivery=-1 host= us",
        "{\"attempts\":2,\"factor\":1e300}",
        "9999-12-31T23:59:60Z",
        "sha256: 1",
        "composed",
        "1 1 * 1 1 1",
        "{\"text\":\"null\",\"elsewhere\":[]}",
        " 1 ",
        "\u{0}",
    ];
    let value =
        prop_oneof![proptest::sample::select(near.to_vec()).prop_map(str::to_owned), any::<String>(), hostile()];
    vec((proptest::sample::select(names.to_vec()), value), 0..8).prop_map(Headers::from_iter)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_task_message_reads_back(message in task_message()) {
        let (headers, body) = message.encode();
        prop_assert_eq!(TaskMessage::decode(&headers, &body), Ok(message));
    }

    #[test]
    fn a_record_reads_back(written in task_record()) {
        let (headers, body) = record::encode(&written);
        prop_assert_eq!(record::decode(&headers, &body), Ok(written));
    }

    #[test]
    fn a_module_record_reads_back(written in module_record()) {
        prop_assert_eq!(module::decode(&module::encode(&written)), Ok(written));
    }

    #[test]
    fn a_key_is_read_from_nothing_but_its_own_subject(token in "[a-zA-Z0-9~_.*%-]{0,12}") {
        if let Some(key) = kv::read_key(&format!("lvg.acme.kv.b.{token}")) {
            let written = kv::subject(&"acme".parse().unwrap(), &"b".parse().unwrap(), &key);
            prop_assert_eq!(written, format!("lvg.acme.kv.b.{token}"));
        }
    }

    #[test]
    fn two_keys_of_a_bucket_never_share_a_subject(one in "\\PC{1,8}", other in "\\PC{1,8}") {
        let written = |key: &str| kv::subject(&"acme".parse().unwrap(), &"b".parse().unwrap(), key);
        prop_assert_eq!(written(&one) == written(&other), one == other);
    }

    #[test]
    fn a_grant_reads_back(grant in grant()) {
        prop_assert_eq!(grant.to_string().parse::<Grant>(), Ok(grant));
    }

    #[test]
    fn a_guest_never_gets_what_was_not_granted(granted in grants(), allowed in grants(), which in any::<bool>()) {
        let kv = Some(if which { Buckets::Named(allowed.kv.clone()) } else { Buckets::All(which) });
        let all = Allowance { kv, blob: Some(Buckets::Named(allowed.blob.clone())), secrets: Some(which), ..Allowance::default() };
        let given = Allow { all, ..Allow::default() }.granted(&Tenant::default_tenant(), &granted);
        for (bucket, access) in &given.kv {
            prop_assert!(granted.kv[bucket] >= *access && which && allowed.kv[bucket] >= *access);
        }
        for (bucket, access) in &given.blob {
            prop_assert!(granted.blob[bucket] >= *access && allowed.blob[bucket] >= *access);
        }
        prop_assert!(given.secrets.is_subset(&granted.secrets) && (which || given.secrets.is_empty()));
        prop_assert!(given.http.is_none());
    }

    #[test]
    fn no_message_makes_a_reader_panic(headers in headers(), body in bytes(), text in hostile()) {
        for body in [body, Bytes::from(text)] {
            for (place, problem) in [
                TaskMessage::decode(&headers, &body).err(),
                record::decode(&headers, &body).err(),
                step::decode(&headers, &body).err(),
                read_composed(&body).err(),
                module::decode(&body).err(),
            ].into_iter().flatten().map(|rejection| (rejection.place, rejection.problem)) {
                prop_assert!(!place.is_empty() && !problem.is_empty());
                prop_assert!(place.chars().count() <= 400 && problem.chars().count() <= 400);
            }
        }
    }

    #[test]
    fn a_header_never_holds_a_second_line(value in any::<String>()) {
        let headers = Headers::new().with("A", format!("{value}\r\nEvil: 1"));
        prop_assert!(!headers.value("A").unwrap().contains(['\r', '\n']));
    }

    #[test]
    fn a_subject_reads_back(tenant in name(), queue in name(), priority in 0..=9_u8, key in task_key()) {
        let task = TaskSubject { tenant, queue, priority: Priority::new(priority).unwrap(), mark: None, key };
        prop_assert_eq!(TaskSubject::read(&task.task()), Some(task.clone()));
        prop_assert_eq!(TaskSubject::read(&task.fire()), Some(task.clone()));
        prop_assert_eq!(Stream::of(&task.task()), Some(Stream::Task(task.tenant.clone())));
        let TaskSubject { tenant, key, .. } = task;
        prop_assert_eq!(Control::read(&subject::cancel(&tenant, &key)), Some(Control::Cancel(tenant.clone(), key.clone())));
        prop_assert_eq!(Control::read(&subject::find(&tenant, &key)), Some(Control::Find(tenant, key)));
    }

    #[test]
    fn two_keys_never_share_a_subject(one in task_key(), other in task_key()) {
        let tenant = Tenant::default_tenant();
        let subjects = |key: &TaskKey| [subject::log(&tenant, key), subject::progress(&tenant, key), subject::cancel(&tenant, key)];
        for (one_subject, other_subject) in subjects(&one).into_iter().zip(subjects(&other)) {
            prop_assert_eq!(one_subject == other_subject, one == other);
        }
    }

    #[test]
    fn a_subject_of_a_record_reads_back(tenant in name(), run in run_id(), record in record_name()) {
        let record = RecordSubject { tenant, run, record };
        prop_assert_eq!(Stream::of(&record.to_string()), Some(Stream::Journal));
        prop_assert_eq!(RecordSubject::read(&record.to_string()), Some(record));
    }

    #[test]
    fn an_outcome_of_a_step_reads_back(written in step_outcome()) {
        let (headers, body) = step::encode(&written);
        prop_assert_eq!(step::decode(&headers, &body), Ok(written));
    }

    #[test]
    fn whatever_a_subject_is_read_from_is_written_the_same(text in prop_oneof![hostile(), task_like(), step_task_like()]) {
        if let Some(task) = TaskSubject::read(&text) {
            prop_assert!([task.task(), task.fire()].contains(&text), "{} is another form of {:?}", text, task);
        }
        if let Some(Control::Cancel(tenant, key)) = Control::read(&text) {
            prop_assert_eq!(subject::cancel(&tenant, &key), text);
        }
    }

    #[test]
    fn whatever_a_record_is_read_from_is_written_the_same(text in prop_oneof![hostile(), record_like()]) {
        if let Some(record) = RecordSubject::read(&text) {
            prop_assert_eq!(record.to_string(), text);
        }
    }

    #[test]
    fn no_text_makes_a_subject_of_another_tenant(text in hostile()) {
        let tenant: Tenant = "acme".parse().unwrap();
        let mut subjects = Vec::new();
        if let Ok(id) = text.parse::<TaskId>() {
            let place = TaskSubject { tenant: tenant.clone(), queue: "q".parse().unwrap(), priority: subject::PRIORITY_DEFAULT, mark: None, key: (&id).into() };
            subjects.extend([(place.task(), 6), (place.fire(), 6), (subject::schedule(&tenant, &id), 4), (subject::result(&tenant, &id), 4)]);
            subjects.extend([(subject::log(&tenant, &id), 4), (subject::progress(&tenant, &id), 5)]);
        }
        let run: RunId = "0".repeat(26).parse().unwrap();
        if let Ok(step) = text.parse::<StepId>() {
            subjects.push((subject::timer(&tenant, &run, &step, &"w".parse().unwrap()), 7));
            let step = StepAttempt { run: run.clone(), step, attempt: 1 };
            subjects.extend([(RecordSubject::outcome(&tenant, &step).to_string(), 8), (subject::log(&tenant, step), 6)]);
        }
        if let Ok(what) = text.parse() {
            subjects.push((subject::timer(&tenant, &run, &StepId::root(), &what), 7));
        }
        if let (Ok(version), Ok(module)) = (text.parse::<Version>(), "m".parse()) {
            subjects.push((subject::module(&tenant, &module, &version), 5));
        }
        if lovage::model::grants::is_key(&text) {
            let written = kv::subject(&tenant, &"b".parse().unwrap(), &text);
            prop_assert_eq!(kv::read_key(&written), Some(text.clone()));
            subjects.push((written, 5));
        }
        if let Ok(name) = text.parse() {
            subjects.push((secret::subject(&tenant, &name), 4));
        }
        for (subject, tokens) in subjects {
            prop_assert_eq!(subject.split('.').count(), tokens, "{}", subject);
            prop_assert!(subject.starts_with("lvg.acme.") && !subject.contains(['*', '>', ' ']), "{}", subject);
        }
    }

    #[test]
    fn two_versions_never_share_a_subject(one in version(), other in version()) {
        let subject = |version| subject::module(&Tenant::default_tenant(), &"m".parse().unwrap(), version);
        prop_assert_eq!(subject(&one) == subject(&other), one == other);
    }

    #[test]
    fn what_is_read_as_a_duration_is_written_so(text in "([0-9]{1,4}(ms|s|m|h|d)){0,4}|\\PC{0,12}") {
        if let Ok(duration) = parse_duration(&text) {
            prop_assert!(duration <= DURATION_MAX);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn a_time_reads_back(time in time()) {
        prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
    }

    #[test]
    fn a_digest_has_one_form(digest in digest(), at in 0..71_usize, with in any::<char>()) {
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        let mut changed: Vec<char> = digest.to_string().chars().collect();
        changed[at] = with;
        let changed: String = changed.into_iter().collect();
        if let Ok(read) = changed.parse::<Digest>() {
            prop_assert_eq!(read.to_string(), changed);
        }
    }

    #[test]
    fn waits_grow_within_their_bound(policy in policy(), id in name::<TaskId>(), attempt in 1..ATTEMPTS_MAX) {
        let policy = Policy { on: vec![], ..policy };
        let plain = Policy { jitter: false, ..policy.clone() };
        let failure = Failure::new(Kind::Returned, "");
        let wait = |policy: &Policy, attempt| policy.wait_after(&failure, id.as_str(), attempt);
        prop_assert_eq!(wait(&plain, attempt).is_none(), attempt >= policy.attempts);
        if let Some(waited) = wait(&plain, attempt) {
            prop_assert!(waited <= policy.max && waited >= policy.backoff.min(policy.max));
            prop_assert!(wait(&plain, attempt + 1).is_none_or(|next| next >= waited));
            let jittered = wait(&Policy { jitter: true, ..policy }, attempt).unwrap();
            prop_assert!(jittered <= waited && jittered * 2 + Duration::from_nanos(2) >= waited);
        }
    }

    #[test]
    fn no_back_off_is_no_wait(factor in 1.0..=100.0, attempt in 1..ATTEMPTS_MAX) {
        let policy = Policy { attempts: ATTEMPTS_MAX, backoff: Duration::ZERO, factor, ..Policy::default() };
        let failure = Failure::new(Kind::Returned, "");
        prop_assert_eq!(policy.wait_after(&failure, "t", attempt), Some(Duration::ZERO));
    }

    #[test]
    fn a_guest_never_asks_for_more_than_a_year(asked in any::<u64>()) {
        let failure = Failure::new(Kind::Returned, "").after(Duration::from_millis(asked));
        let waits = Policy::default().wait_after(&failure, "t", 1).unwrap();
        prop_assert!(waits <= DURATION_MAX);
    }

    #[test]
    fn limits_stay_within_a_ceiling(wish in wish(), ceiling in wish(), higher in wish()) {
        let (limits, ceiling) = (Limits::default().with(&wish), Limits::default().with(&ceiling));
        let bounded = limits.within(&ceiling);
        let below = |one: &Limits, other: &Limits| {
            other.fuel.is_none_or(|most| one.fuel.is_some_and(|fuel| fuel <= most))
                && one.memory_bytes <= other.memory_bytes
                && one.table_elements <= other.table_elements
                && one.attempt_timeout <= other.attempt_timeout
                && one.output_bytes <= other.output_bytes
                && one.log_bytes <= other.log_bytes
                && one.cancel_grace <= other.cancel_grace
        };
        prop_assert!(below(&bounded, &ceiling) && below(&bounded, &limits), "{:?}", bounded);
        prop_assert_eq!(bounded.within(&ceiling), bounded);
        // A lower ceiling never allows more.
        let lower = ceiling.within(&Limits::default().with(&higher));
        prop_assert!(below(&limits.within(&lower), &bounded));
        prop_assert_eq!(limits.with(&Wish::default()), limits);
    }

    #[test]
    fn what_is_printed_drives_no_terminal(text in prop_oneof![any::<String>(), "[\u{0}-\u{9f}\u{200e}-\u{206f}a]{0,40}"]) {
        let shown = printable(&text);
        let drives = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        prop_assert!(!shown.contains(drives), "{:?}", shown);
        prop_assert_eq!(printable(&shown), shown);
    }

    #[test]
    fn a_datum_that_is_taken_apart_is_composed_the_same(
        items in vec((prop_oneof![Just("1"), Just("null"), Just("[null,2]"), Just("{\"a\":[]}"), Just("\"x,y]\"")], any::<bool>()), 0..12),
    ) {
        // Some of them stand elsewhere, under the digest of their text.
        let datum = |(text, elsewhere): &(&'static str, bool)| {
            let bytes = Bytes::from_static(text.as_bytes());
            if *elsewhere { Datum::stored(Digest::of(&bytes), bytes.len() as u64) } else { Datum::parse(&bytes).unwrap() }
        };
        let members: Vec<Datum> = items.iter().map(datum).collect();
        let array = Datum::array(&members);
        prop_assert_eq!(&array.items().unwrap(), &members);
        let nested = Datum::array([&array, &array]);
        prop_assert_eq!(nested.items().unwrap(), [array.clone(), array.clone()]);
        let parts: Vec<Bytes> = items.iter().map(|(text, _)| Bytes::from_static(text.as_bytes())).collect();
        let whole = array.whole(|digest| parts.iter().find(|part| Digest::of(part) == *digest)).unwrap();
        let texts: Vec<&str> = items.iter().map(|(text, _)| *text).collect();
        prop_assert_eq!(whole.text(), &format!("[{}]", texts.join(",")));
        prop_assert_eq!(array.size(), whole.size() + 4 * items.iter().filter(|(_, elsewhere)| *elsewhere).count() as u64);
        let read = Datum::of_parts(array.text(), array.elsewhere().to_vec());
        prop_assert_eq!(read.unwrap(), array);
    }

    #[test]
    fn no_text_makes_a_reader_of_runs_panic(text in "[-0-9a-z_~.]{0,40}") {
        drop(text.parse::<lovage::model::StepId>());
        drop(text.parse::<lovage::workflow::timer::TimerId>());
        drop(text.parse::<lovage::model::RunId>());
        drop(lovage::workflow::wire::name(&format!("lvg.t.run.0.{text}")));
        drop(lovage::workflow::flow::Document::parse_yaml(&text));
    }

    #[test]
    fn steps_are_within_their_ancestors_alone(path in vec((0..4_u8, 0..20_usize), 1..8), other in 0..20_usize) {
        use lovage::model::step::Handler;
        let mut steps = vec![lovage::model::StepId::root()];
        for (kind, number) in path {
            let last = steps.last().unwrap();
            let next = match kind {
                0 => last.child(number),
                1 => last.item(number),
                2 => last.replacement(),
                _ => last.handler(Handler::Catch),
            };
            prop_assert_eq!(next.as_str().parse::<lovage::model::StepId>().unwrap(), next.clone());
            // A replacement of a replacement stands beside it, not below.
            let beside = kind == 2 && last.as_str().rsplit_once('~').is_some_and(|(_, n)| n.parse::<u32>().is_ok());
            prop_assert!(beside || next.is_within(last));
            prop_assert!(!last.is_within(&next) || next == *last);
            steps.push(next);
        }
        let stranger = lovage::model::StepId::root().child(other + 100);
        prop_assert!(steps.iter().all(|step| !step.is_within(&stranger)));
    }
}
