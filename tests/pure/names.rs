//! Names of every kind: which texts each takes, in which words it refuses others, and that a bound is a bound.
#![cfg(test)]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use lovage::model::name::{CONTROL, NAME_LEN_MAX, PARTITIONS, VERSION_LEN_MAX};
use lovage::model::step::{Handler, STEP_LEN_MAX};
use lovage::model::{
    BucketName, ConfigKey, CoordinatorId, FlowName, HostId, ModuleName, Queue, RunId, ScheduleName, SecretName,
    SignalId, SignalName, StepId, StepName, TaskId, TaskName, TaskRef, Tenant, Version, WebhookName, Word,
};
use proptest::prelude::*;

use super::config;

/// Texts that some kind of name takes and another does not.
const TEXTS: [&str; 13] =
    ["a", "A", "7", "a-b", "a_b", "a.b", "-", "_", "ctl", "LOVAGE_X", "01jd0000000000000000000000", "a b", "ä"];

/// Which of the texts a kind takes.
fn taken<T: FromStr>() -> Vec<&'static str> {
    TEXTS.into_iter().filter(|text| text.parse::<T>().is_ok()).collect()
}

/// The longest text of one character that a kind takes.
fn longest<T: FromStr>() -> usize {
    (1..2_000).take_while(|length| "a".repeat(*length).parse::<T>().is_ok()).last().unwrap_or(0)
}

fn told<T: FromStr<Err: Display> + Debug>(text: &str) -> String {
    text.parse::<T>().unwrap_err().to_string()
}

#[test]
fn each_kind_takes_its_own_characters() {
    let plain = ["a", "7", "a-b", "a_b", "-", "_", "ctl", "01jd0000000000000000000000"];
    for (kind, taken) in [
        ("queue", taken::<Queue>()),
        ("module", taken::<ModuleName>()),
        ("task id", taken::<TaskId>()),
        ("host", taken::<HostId>()),
        ("coordinator", taken::<CoordinatorId>()),
        ("flow", taken::<FlowName>()),
        ("schedule", taken::<ScheduleName>()),
        ("webhook", taken::<WebhookName>()),
        ("signal id", taken::<SignalId>()),
        ("bucket", taken::<BucketName>()),
        ("word", taken::<Word>()),
    ] {
        assert_eq!(taken, plain, "{kind}");
    }
    let not_control: Vec<&str> = plain.into_iter().filter(|text| *text != CONTROL).collect();
    assert_eq!(taken::<Tenant>(), not_control);
    let upper = ["a", "A", "7", "a-b", "a_b", "-", "_", "ctl", "LOVAGE_X", "01jd0000000000000000000000"];
    for taken in [taken::<TaskName>(), taken::<SignalName>(), taken::<SecretName>()] {
        assert_eq!(taken, upper);
    }
    assert_eq!(taken::<Version>(), ["a", "7", "a-b", "a_b", "a.b", "-", "_", "ctl", "01jd0000000000000000000000"]);
    assert_eq!(taken::<StepName>(), ["a", "a_b", "_", "ctl"]);
    assert_eq!(taken::<ConfigKey>(), ["a", "A", "a_b", "_", "ctl"]);
    assert_eq!(taken::<RunId>(), ["01jd0000000000000000000000"]);
}

#[test]
fn each_kind_is_as_long_as_it_may_be() {
    let names = [longest::<Tenant>(), longest::<Queue>(), longest::<ModuleName>(), longest::<TaskName>()];
    assert_eq!(names, [NAME_LEN_MAX; 4]);
    let others = [longest::<TaskId>(), longest::<StepName>(), longest::<ConfigKey>(), longest::<SignalName>()];
    assert_eq!(others, [NAME_LEN_MAX; 4]);
    assert_eq!(longest::<Version>(), VERSION_LEN_MAX);
    assert_eq!((1..40).filter(|length| "a".repeat(*length).parse::<RunId>().is_ok()).collect::<Vec<_>>(), [26]);
    let step = |length: usize| "0".repeat(length).parse::<StepId>().is_ok();
    assert_eq!((step(STEP_LEN_MAX), step(STEP_LEN_MAX + 1)), (true, false));
}

#[test]
fn what_is_no_name_is_told_with_its_rule() {
    let name = "it takes 1 to 64 characters of a-z, 0-9, '_' and '-'";
    let upper = "it takes 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'";
    for (told, expected) in [
        (told::<Queue>(""), format!("invalid queue \"\": {name}")),
        (told::<ModuleName>("A"), format!("invalid module name \"A\": {name}")),
        (told::<TaskId>("a.b"), format!("invalid task id \"a.b\": {name}")),
        (told::<HostId>("a\nb"), format!("invalid host id \"a\\nb\": {name}")),
        (told::<CoordinatorId>("*"), format!("invalid coordinator id \"*\": {name}")),
        (told::<FlowName>(">"), format!("invalid flow name \">\": {name}")),
        (told::<ScheduleName>("a b"), format!("invalid schedule name \"a b\": {name}")),
        (told::<WebhookName>("ä"), format!("invalid webhook name \"ä\": {name}")),
        (told::<SignalId>("A"), format!("invalid signal id \"A\": {name}")),
        (told::<BucketName>("a/b"), format!("invalid bucket \"a/b\": {name}")),
        (told::<Word>("~"), format!("invalid word \"~\": {name}")),
        (told::<Tenant>("ctl"), format!("invalid tenant \"ctl\": {name}, and is not ctl")),
        (told::<TaskName>("a.b"), format!("invalid task name \"a.b\": {upper}")),
        (told::<SignalName>(""), format!("invalid signal name \"\": {upper}")),
        (told::<SecretName>("a b"), format!("invalid secret name \"a b\": {upper}")),
        (
            told::<Version>("V1"),
            "invalid version \"V1\": it takes 1 to 32 characters of a-z, 0-9, '.', '_' and '-'".to_owned(),
        ),
        (
            told::<StepName>("1st"),
            "invalid step name \"1st\": it takes 1 to 64 characters of a-z, 0-9 and '_', the first no digit".to_owned(),
        ),
        (
            told::<ConfigKey>("LOVAGE_TASK"),
            "invalid config key \"LOVAGE_TASK\": it takes 1 to 64 characters of a-z, A-Z, 0-9 and '_', the first no \
             digit, and is not LOVAGE_ and more"
                .to_owned(),
        ),
        (
            told::<RunId>("01JD0000000000000000000000"),
            "invalid run id \"01JD0000000000000000000000\": it takes the 26 characters of a ULID, in lower case"
                .to_owned(),
        ),
        (
            told::<StepId>("1-0"),
            "invalid step \"1-0\": it takes a path such as 0-2_17-1, as runs show prints it".to_owned(),
        ),
        (
            told::<TaskRef>("resize"),
            "invalid task \"resize\": it takes the form module/task or module@version/task".to_owned(),
        ),
        (told::<TaskRef>("M/t"), format!("invalid module name \"M\": {name}")),
        (told::<TaskRef>("m/t/u"), format!("invalid task name \"t/u\": {upper}")),
    ] {
        assert_eq!(told, expected);
    }
    // A stranger's text is quoted up to a bound.
    let long = told::<Queue>(&"ä".repeat(500));
    assert_eq!(long, format!("invalid queue \"{}\": {name}", "ä".repeat(80)));
}

#[test]
fn names_are_texts_in_json_and_are_checked_there() {
    let queue: Queue = serde_json::from_str("\"images\"").unwrap();
    assert_eq!(serde_json::to_string(&queue).unwrap(), "\"images\"");
    assert_eq!(
        (format!("{queue}"), format!("{queue:?}"), String::from(queue)),
        ("images".into(), "images".into(), "images".into())
    );
    for bad in ["\"a.b\"", "\"\"", "7", "null", "[\"a\"]"] {
        assert!(serde_json::from_str::<Queue>(bad).is_err(), "{bad}");
    }
    let step = serde_json::from_str::<StepId>("\"0..1\"").unwrap_err().to_string();
    assert_eq!(step, "invalid step \"0..1\": it takes a path such as 0-2_17-1, as runs show prints it");
    let task: TaskRef = serde_json::from_str("\"m@1.2/Run\"").unwrap();
    assert_eq!((task.module.as_str(), task.version.unwrap().as_str(), task.task.as_str()), ("m", "1.2", "Run"));
}

#[test]
fn the_partition_of_a_run_is_the_last_of_its_characters() {
    assert_eq!(PARTITIONS.len(), 32);
    for partition in PARTITIONS.chars() {
        let run: RunId = format!("{}{partition}", "0".repeat(25)).parse().unwrap();
        assert_eq!(run.partition(), partition);
    }
    // Crockford's base 32 leaves these out, since they look like others.
    for letter in ['i', 'l', 'o', 'u'] {
        assert!(format!("{}{letter}", "0".repeat(25)).parse::<RunId>().is_err(), "{letter}");
    }
}

#[test]
fn the_next_version_counts_integers_alone() {
    let next = |taken: &[&str]| {
        let taken: Vec<Version> = taken.iter().map(|text| text.parse().unwrap()).collect();
        Version::next_after(&taken).to_string()
    };
    for (taken, expected) in [
        (&[][..], "1"),
        (&["0"], "1"),
        (&["007"], "8"),
        (&["9", "10", "2"], "11"),
        (&["1.9", "2-rc", "v3"], "1"),
        (&["-5"], "1"),
        // Its successor would be longer than a version may be, so it does not count.
        (&["99999999999999999999999999999999", "4"], "5"),
        (&["9999999999999999999999999999999"], "10000000000000000000000000000000"),
    ] {
        assert_eq!(next(taken), expected, "{taken:?}");
    }
}

#[test]
fn a_step_is_named_by_its_path() {
    let root = StepId::root();
    for (step, path) in [
        (root.clone(), "0"),
        (root.child(2).item(17).child(1), "0-2_17-1"),
        (root.handler(Handler::Catch), "0-c"),
        (root.child(0).handler(Handler::Compensate), "0-0-u"),
        (root.handler(Handler::OnSuccess).child(1), "0-s-1"),
        (root.handler(Handler::OnFailure), "0-f"),
        (root.replacement(), "0~1"),
        (root.replacement().replacement(), "0~2"),
        (root.replacement().child(3).replacement(), "0~1-3~1"),
        (root.child(9).replacement().replacement().replacement(), "0-9~3"),
    ] {
        assert_eq!(step.as_str(), path);
        assert_eq!(path.parse(), Ok(step));
    }
    for (step, other, within) in [
        ("0-1", "0", true),
        ("0-1", "0-1", true),
        ("0-10", "0-1", false),
        ("0-1_2", "0-1", true),
        ("0-1~1-4", "0-1", true),
        ("0-1~10", "0-1~1", false),
        ("0-c", "0", true),
        ("0-cc", "0-c", false),
        ("0", "0-1", false),
    ] {
        let of = |text: &str| text.parse::<StepId>().unwrap();
        assert_eq!(of(step).is_within(&of(other)), within, "{step} in {other}");
    }
}

proptest! {
    #![proptest_config(config())]

    /// No name can end a token of a subject, be a wildcard, or reach into a path.
    #[test]
    fn whatever_is_a_name_is_one_token(text in "[ -~]{1,5}|\\PC{1,4}") {
        let tokens = [
            text.parse::<Queue>().is_ok(), text.parse::<Tenant>().is_ok(), text.parse::<TaskName>().is_ok(),
            text.parse::<StepId>().is_ok(), text.parse::<ConfigKey>().is_ok(), text.parse::<StepName>().is_ok(),
        ];
        if tokens.contains(&true) {
            prop_assert!(!text.contains(['.', '*', '>', '/', '\\', ' ', '=', ',', '\0']), "{:?}", text);
            prop_assert!(text.is_ascii());
        }
        // What is a step's name stands in expressions as it is.
        if text.parse::<StepName>().is_ok() {
            prop_assert!(text.parse::<Queue>().is_ok() && text.parse::<ConfigKey>().is_ok());
        }
    }

    #[test]
    fn two_lists_of_parts_never_give_one_run(one in prop::collection::vec("[ab]{0,2}", 0..4), other in prop::collection::vec("[ab]{0,2}", 0..4)) {
        let of = |parts: &[String]| RunId::derived(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(of(&one) == of(&other), one == other);
        prop_assert_eq!(of(&one).as_str().parse(), Ok(of(&one)));
    }
}
