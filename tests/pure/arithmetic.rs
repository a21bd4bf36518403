//! Arithmetic of rules against figures that were worked out elsewhere, and against plain models: turns, waits, limits, ids, hosts.
#![cfg(test)]

use std::time::Duration;

use lovage::model::limits::{
    ATTEMPT_TIMEOUT_DEFAULT, CANCEL_GRACE_DEFAULT, FUEL_DEFAULT, FuelWish, LOG_BYTES_DEFAULT, MEMORY_BYTES_DEFAULT,
    OUTPUT_BYTES_DEFAULT, Off, TABLE_ELEMENTS_DEFAULT, Wish,
};
use lovage::model::requirement::{Labels, Mark, text};
use lovage::model::scaling::{GROWTH_MAX, Load, TARGET, hosts_wanted};
use lovage::model::time::{DURATION_MAX, format_duration, parse_duration};
use lovage::model::turns::{PASSED_FOR_EACH, Turns};
use lovage::model::{Failure, Kind, Limits, Policy, RunId, Timestamp, limit, once};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::config;

/// What happened to classes that wait for turns, from which everything about them can be counted again.
#[derive(Clone, Debug)]
enum Happened {
    /// Classes that wait now; all others have left.
    Waits(Vec<u8>),
    /// One had its turn before these.
    Turn(u8, Vec<u8>),
    /// So many turns were taken back.
    Back(u64),
}

/// How often a class was passed over since its last turn.
fn passed(history: &[Happened], class: u8) -> u64 {
    history.iter().fold(0, |passed, happened| match happened {
        Happened::Waits(classes) if !classes.contains(&class) => 0,
        Happened::Turn(had, _) if *had == class => 0,
        Happened::Turn(_, others) if others.contains(&class) => passed + 1,
        Happened::Back(turns) => passed.saturating_sub(*turns),
        Happened::Waits(_) | Happened::Turn(..) => passed,
    })
}

/// The rule of turns as its page says it, one slot after the other, from the whole history each time.
fn share(history: &mut Vec<Happened>, waiting: &[(u8, usize)], free: usize) -> Vec<usize> {
    history.push(Happened::Waits(waiting.iter().map(|(class, _)| *class).collect()));
    let mut shares = vec![0; waiting.len()];
    for _ in 0..free {
        let left: Vec<usize> = (0..waiting.len()).filter(|place| shares[*place] < waiting[*place].1).collect();
        let Some(first) = left.first() else { break };
        let mut chosen = (*first, None);
        for (rank, place) in left.iter().enumerate().skip(1) {
            let passed = passed(history, waiting[*place].0);
            let bound = PASSED_FOR_EACH * u64::try_from(rank).unwrap();
            // Owed more than whoever is owed most so far.
            if passed >= bound && chosen.1.is_none_or(|most| passed - bound > most) {
                chosen = (*place, Some(passed - bound));
            }
        }
        shares[chosen.0] += 1;
        let others = left.iter().skip(1).filter(|place| **place != chosen.0);
        history.push(Happened::Turn(waiting[chosen.0].0, others.map(|place| waiting[*place].0).collect()));
    }
    shares
}

fn waits(policy: &Policy, kind: Kind, id: &str, attempts: std::ops::RangeInclusive<u32>) -> Vec<Option<u128>> {
    let failure = Failure::new(kind, "no");
    attempts.map(|attempt| policy.wait_after(&failure, id, attempt).map(|wait| wait.as_millis())).collect()
}

fn plain(attempts: u32, backoff_ms: u64, factor: f64, max_ms: u64) -> Policy {
    let (backoff, max) = (Duration::from_millis(backoff_ms), Duration::from_millis(max_ms));
    Policy { attempts, backoff, factor, max, jitter: false, on: Vec::new() }
}

#[test]
fn waits_are_what_the_policy_comes_to() {
    let returned = |policy: &Policy, attempts| waits(policy, Kind::Returned, "t", attempts);
    for (policy, expected) in [
        (plain(1, 1_000, 2.0, 60_000), [None, None, None, None, None]),
        (plain(4, 1_000, 1.0, 60_000), [Some(1_000), Some(1_000), Some(1_000), None, None]),
        (plain(9, 100, 1.5, 60_000), [Some(100), Some(150), Some(225), Some(337), Some(506)]),
        (plain(9, 10, 100.0, 600_000), [Some(10), Some(1_000), Some(100_000), Some(600_000), Some(600_000)]),
        (plain(9, 5_000, 2.0, 3_000), [Some(3_000); 5]),
        (plain(9, 1_000, 2.0, 0), [Some(0); 5]),
    ] {
        assert_eq!(returned(&policy, 1..=5), expected, "{policy:?}");
    }
    // The default: seconds that double, up to ten minutes, in three attempts.
    let default = Policy { jitter: false, ..Policy::default() };
    assert_eq!(returned(&default, 1..=3), [Some(1_000), Some(2_000), None]);
    assert_eq!(returned(&Policy { attempts: 1_000, ..default }, 998..=1_000), [Some(600_000), Some(600_000), None]);
}

#[test]
fn a_list_of_kinds_is_in_place_of_the_default_one() {
    let of = |on: &[Kind]| Policy { on: on.to_vec(), ..plain(3, 1_000, 1.0, 9_000) };
    let retried = |policy: &Policy| -> Vec<&str> {
        let kinds = Kind::ALL.iter().filter(|kind| waits(policy, **kind, "t", 1..=1)[0].is_some());
        kinds.map(|kind| kind.code()).collect()
    };
    assert_eq!(retried(&of(&[])), ["returned", "trap", "deadline", "module_missing"]);
    assert_eq!(retried(&of(&[Kind::Refused])), ["refused"]);
    assert_eq!(retried(&of(&[Kind::Timeout, Kind::Cancelled, Kind::Timeout])), ["cancelled", "timeout"]);
}

#[test]
fn a_wait_that_was_asked_for_is_kept_to_the_last_attempt_but_one() {
    let policy = plain(3, 1_000, 2.0, 2_000);
    let asked = |kind, ms| Failure::new(kind, "later").after(Duration::from_millis(ms));
    let wait = |failure: &Failure, attempt| policy.wait_after(failure, "t", attempt);
    // Beyond the policy's longest wait, as the guest knows better; a year at most.
    assert_eq!(wait(&asked(Kind::Returned, 90_000), 1), Some(Duration::from_secs(90)));
    assert_eq!(wait(&asked(Kind::Returned, 0), 2), Some(Duration::ZERO));
    assert_eq!(wait(&asked(Kind::Returned, u64::MAX), 1), Some(DURATION_MAX));
    assert_eq!(wait(&asked(Kind::Returned, 90_000), 3), None);
    assert_eq!(wait(&asked(Kind::Refused, 90_000), 1), None);
}

/// Two hosts, and two versions of this program, agree on a wait: half of it, and a share of the other half by the sha256 of the id
/// and the attempt.
#[test]
fn jitter_is_the_same_everywhere_and_for_ever() {
    let policy = Policy { jitter: true, ..plain(9, 10_000, 1.0, 10_000) };
    for (id, attempt, ms) in
        [("t1", 1, 5_080), ("t1", 2, 8_775), ("t2", 1, 7_003), ("01jd0000000000000000000000", 1, 9_745), ("", 1, 7_024)]
    {
        assert_eq!(waits(&policy, Kind::Returned, id, attempt..=attempt), [Some(ms)], "{id} {attempt}");
    }
}

#[test]
fn a_policy_that_cannot_be_says_what_it_takes() {
    let forms = "a retry policy is a number of attempts, or a map of attempts, backoff, factor, max, jitter and on";
    for (text, problem) in [
        ("0", "attempts must be from 1 to 1000"),
        ("1001", "attempts must be from 1 to 1000"),
        (r#"{"attempts":0}"#, "attempts must be from 1 to 1000"),
        (r#"{"factor":0.99}"#, "factor must be from 1 to 100"),
        (r#"{"factor":100.5}"#, "factor must be from 1 to 100"),
        ("-1", forms),
        ("1.5", forms),
        ("null", forms),
        ("\"3\"", forms),
        ("[]", forms),
        ("[5]", forms),
        (r#"{"attempts":4294967296}"#, forms),
        (r#"{"backoff":5}"#, forms),
        (r#"{"max":"400d"}"#, forms),
        (r#"{"on":["sometimes"]}"#, forms),
        (r#"{"on":"trap"}"#, forms),
        (r#"{"delay":"1s"}"#, forms),
    ] {
        let told = serde_json::from_str::<Policy>(text).unwrap_err().to_string();
        assert_eq!(told, problem, "{text}");
    }
    let least: Policy = serde_json::from_str("{}").unwrap();
    assert_eq!(least, Policy::default());
}

#[test]
fn limits_have_a_golden_form_and_what_is_left_out_has_a_default() {
    let golden = r#"{"fuel":50000000000,"memory_bytes":134217728,"table_elements":30000,"attempt_timeout":"1m","output_bytes":67108864,"log_bytes":1048576,"cancel_grace":"5s"}"#;
    let limits = Limits::default();
    assert_eq!(serde_json::to_string(&limits).unwrap(), golden);
    let older = golden.replace(r#","cancel_grace":"5s""#, "");
    assert_eq!(serde_json::from_str::<Limits>(&older).unwrap(), limits);
    for (bad, words) in [
        (golden.replace("50000000000", "-1"), "invalid value"),
        (golden.replace("\"1m\"", "60"), "invalid type"),
        (golden.replace("\"1m\"", "\"60\""), "it takes a duration such as 100ms"),
        (golden.replace("fuel", "fule"), "unknown field `fule`"),
        (golden.replace(r#""log_bytes":1048576,"#, ""), "missing field `log_bytes`"),
    ] {
        let told = serde_json::from_str::<Limits>(&bad).unwrap_err().to_string();
        assert!(told.contains(words), "{bad}: {told}");
    }
    assert_eq!(
        (FUEL_DEFAULT, MEMORY_BYTES_DEFAULT, TABLE_ELEMENTS_DEFAULT, LOG_BYTES_DEFAULT, OUTPUT_BYTES_DEFAULT),
        (50_000_000_000, 128 << 20, 30_000, 1 << 20, 64 << 20)
    );
}

#[test]
fn a_wish_takes_the_place_of_what_it_names_and_of_nothing_else() {
    let base = Limits::default();
    let ms = Duration::from_millis;
    for (wish, expected) in [
        ("{}", base),
        (r#"{"fuel":7}"#, Limits { fuel: Some(7), ..base }),
        (r#"{"fuel":"off"}"#, Limits { fuel: None, ..base }),
        (r#"{"memory_bytes":65536}"#, Limits { memory_bytes: 65_536, ..base }),
        (r#"{"attempt_timeout_ms":1500}"#, Limits { attempt_timeout: ms(1_500), ..base }),
        (r#"{"output_bytes":0}"#, Limits { output_bytes: 0, ..base }),
        (r#"{"cancel_grace_ms":0}"#, Limits { cancel_grace: ms(0), ..base }),
    ] {
        let read: Wish = serde_json::from_str(wish).unwrap();
        assert_eq!(base.with(&read), expected, "{wish}");
        assert_eq!(serde_json::to_string(&read).unwrap(), wish);
    }
    for bad in [
        r#"{"fuel":"none"}"#,
        r#"{"fuel":1.5}"#,
        r#"{"memory":1}"#,
        r#"{"attempt_timeout_ms":"1s"}"#,
        r#"{"log_bytes":1}"#,
    ] {
        assert!(serde_json::from_str::<Wish>(bad).is_err(), "{bad}");
    }
    // Each limit is bounded by its own ceiling alone.
    let all = Limits {
        fuel: None,
        memory_bytes: u64::MAX,
        table_elements: u64::MAX,
        attempt_timeout: DURATION_MAX,
        output_bytes: u64::MAX,
        log_bytes: u64::MAX,
        cancel_grace: DURATION_MAX,
    };
    assert_eq!(all.within(&base), base);
    assert_eq!(base.within(&all), base);
    assert_eq!((base.attempt_timeout, base.cancel_grace), (ATTEMPT_TIMEOUT_DEFAULT, CANCEL_GRACE_DEFAULT));
    let off = Wish { fuel: Some(FuelWish::Off(Off::Off)), ..Wish::default() };
    assert_eq!(serde_json::to_string(&off).unwrap(), r#"{"fuel":"off"}"#);
}

/// Digests by which subjects and ids name things: another program must come to the same.
#[test]
fn names_that_follow_from_a_digest_never_change() {
    for (parts, id) in [
        (&[][..], "3g42rwwmtvm8sfs47e144vkc4n"),
        (&[""], "fngn11btqcfb7a6fdny2tsxd5j"),
        (&["a", "bc"], "tac1p60yxzwnad2x9r9rq5ekce"),
        (&["ab", "c"], "3e5nsy1akvzn12kmdnvcdrr6e5"),
        (&["nightly", "2026-01-02T03:04:05Z"], "02fz3bv0adv1mkje6hm91qt0s3"),
    ] {
        let derived = RunId::derived(parts);
        assert_eq!(derived.as_str(), id, "{parts:?}");
        assert_eq!(Some(derived.partition()), id.chars().last());
    }
    assert_eq!(limit::token("queue images"), "81224554e94423729fb58457637de9ad");
    let until = Timestamp::from_millis(1_795_000_000_123);
    let id = once::task_id("order 7", until).unwrap();
    assert_eq!(id.as_str(), "k0fc89f8ae19394b48debd6353bb9ad33-1a1ee565e7b");
    assert_eq!(once::task_id("order 7", Timestamp::from_millis(-1)), None);
    for (pairs, written, mark) in [
        (&[("gpu", "yes")][..], "gpu=yes", "a3345b173964"),
        (&[("region", "eu")], "region=eu", "2405171ff237"),
        (&[("region", "eu"), ("gpu", "yes")], "gpu=yes,region=eu", "066d4bbc585b"),
    ] {
        let labels: Labels = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!((text(&labels).as_str(), Mark::of(&labels).unwrap().to_string().as_str()), (written, mark));
    }
}

#[test]
fn durations_are_written_in_the_fewest_units() {
    for (ms, text) in [
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_001, "1s1ms"),
        (59_999, "59s999ms"),
        (60_000, "1m"),
        (3_600_000, "1h"),
        (3_600_001, "1h1ms"),
        (86_399_000, "23h59m59s"),
        (90_061_001, "1d1h1m1s1ms"),
        (31_622_400_000, "366d"),
    ] {
        assert_eq!(format_duration(Duration::from_millis(ms)), text);
    }
    assert_eq!(format_duration(Duration::from_nanos(1_999_999)), "1ms", "rounded down");
    let told = parse_duration(&format!("{}s", "9".repeat(200))).unwrap_err();
    assert_eq!(told.text.len(), 80);
    assert_eq!(
        parse_duration("1 h").unwrap_err().to_string(),
        r#"invalid time "1 h": it takes a duration such as 100ms, 5s, 1h30m or 2d, of a year at most"#
    );
    for text in ["366d1ms", "8784h1ms", "367d", "18446744073709551616ms", "213503982334602d"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    assert_eq!(parse_duration("8784h"), Ok(DURATION_MAX));
}

#[test]
fn points_in_time_do_not_leave_their_range() {
    let at = Timestamp::from_millis;
    let (first, last) = (at(i64::MIN), at(i64::MAX));
    assert_eq!((last.after(Duration::MAX), first.before(Duration::MAX)), (last, first));
    assert_eq!(at(5).before(Duration::from_secs(1)), at(-995));
    assert_eq!(at(5).since(at(9)), Duration::ZERO);
    assert_eq!(last.since(first), Duration::from_millis(i64::MAX.unsigned_abs()));
    assert_eq!((last.to_string(), first.to_string()), (format!("{}ms", i64::MAX), format!("{}ms", i64::MIN)));
    for (text, shown) in [
        ("2026-11-22T07:30:00Z", "2026-11-22T07:30:00.000Z"),
        ("2026-11-22T07:30:00.0019+01:00", "2026-11-22T06:30:00.001Z"),
        ("2026-11-22t07:30:00z", "2026-11-22T07:30:00.000Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
    ] {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), shown, "{text}");
    }
    for bad in ["", "2026-11-22", "2026-11-22T07:30:00", "2026-02-29T00:00:00Z", "2026-11-22T25:00:00Z", "1795000000"] {
        let told = bad.parse::<Timestamp>().unwrap_err().to_string();
        assert_eq!(told, format!("invalid time {bad:?}: it takes RFC 3339, as in 2026-11-22T07:30:00Z"));
    }
}

#[test]
fn more_hosts_are_wanted_from_the_first_second_beyond_the_target() {
    let load = |waiting, seconds| Load {
        waiting,
        running: 16,
        oldest: Duration::from_secs(seconds),
        rate: 10.0,
        hosts: 2,
        slots: 16,
        paused: false,
    };
    let target = TARGET.as_secs();
    assert_eq!(hosts_wanted(&load(10 * target, 1)), 2, "done in just the target");
    assert_eq!(hosts_wanted(&load(10 * target + 1, 1)), 3);
    assert_eq!(hosts_wanted(&load(10, target)), 2, "waited for just the target");
    assert_eq!(hosts_wanted(&load(10, target + 1)), 3);
    assert_eq!(hosts_wanted(&load(u64::MAX, 1)), 2 * GROWTH_MAX);
    assert_eq!(hosts_wanted(&Load { waiting: 1, hosts: 3, slots: 0, ..Load::default() }), 1, "hosts without slots");
    assert_eq!(hosts_wanted(&Load { waiting: u64::MAX, running: u64::MAX, ..Load::default() }), u64::MAX);
}

proptest! {
    #![proptest_config(config())]

    /// Slots are given out as the rule says, whatever waits, comes, goes and is taken back meanwhile.
    #[test]
    fn turns_are_those_of_the_plain_rule(
        steps in vec((btree_map(0..6_u8, 0..30_usize, 0..6), 0..40_usize, prop::option::of(0..20_usize)), 1..12),
    ) {
        let (mut turns, mut history) = (Turns::default(), Vec::new());
        for (waiting, free, back) in steps {
            // The first class is the most urgent one.
            let waiting: Vec<(u8, usize)> = waiting.into_iter().rev().collect();
            prop_assert_eq!(turns.share(&waiting, free), share(&mut history, &waiting, free), "{:?}", waiting);
            if let Some(back) = back {
                turns.take_back(back);
                history.push(Happened::Back(u64::try_from(back).unwrap()));
            }
        }
    }

    /// Giving out slots in two parts is giving them out at once, as long as nothing runs out in between.
    #[test]
    fn slots_may_be_given_out_in_parts(classes in 1..7_u8, first in 0..60_usize, second in 0..60_usize) {
        let waiting: Vec<(u8, usize)> = (0..classes).map(|class| (class, usize::MAX)).collect();
        let mut parts = Turns::default();
        let (one, two) = (parts.share(&waiting, first), parts.share(&waiting, second));
        let both: Vec<usize> = one.iter().zip(&two).map(|(one, two)| one + two).collect();
        prop_assert_eq!(both, Turns::default().share(&waiting, first + second));
    }

    #[test]
    fn an_earlier_time_is_as_far_away_as_it_was_put(at in any::<i32>(), ms in 0..DURATION_MAX.as_millis()) {
        let (at, by) = (Timestamp::from_millis(at.into()), Duration::from_millis(u64::try_from(ms).unwrap()));
        prop_assert_eq!(at.after(by).since(at), by);
        prop_assert_eq!(at.before(by).after(by), at);
        prop_assert_eq!(at.since(at.before(by)), by);
    }

    /// More that waits, longer waits and less done never want fewer hosts.
    #[test]
    fn a_heavier_load_never_wants_fewer_hosts(
        waiting in 1..1_000_000_u64, more in 0..1_000_000_u64, running in 0..100_u64, oldest in 0..100_u64, rate in 0.1..1e4, hosts in 1..50_u64,
    ) {
        // No more run than there are slots.
        let (slots, running) = (hosts * 4, running % (hosts * 4 + 1));
        let load = Load { waiting, running, oldest: Duration::from_secs(oldest), rate, hosts, slots, paused: false };
        let wanted = hosts_wanted(&load);
        let heavier = [
            Load { waiting: waiting + more, ..load },
            Load { rate: rate / 2.0, ..load },
            Load { oldest: Duration::from_secs(oldest * 2), ..load },
        ];
        for heavier in heavier {
            prop_assert!(hosts_wanted(&heavier) >= wanted, "{:?}", heavier);
        }
    }
}
