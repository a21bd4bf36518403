//! Texts that people and strangers write: rates, labels, times, versions, and subjects beyond those of tasks. Whatever is read is
//! written the same, and what is none of ours is refused without a panic.
#![cfg(test)]

use std::time::Duration;

use lovage::model::limit::{BURST_MAX, Limit, Rate, Rule};
use lovage::model::requirement::{Mark, is_met};
use lovage::model::schedule::calendar::parse_time;
use lovage::model::schedule::{Calendar, When};
use lovage::model::signature::{LABEL_LEN_MAX, parse_label};
use lovage::model::time::{DURATION_MAX, parse_duration};
use lovage::model::{Policy, Queue, TaskRef, Tenant, Timestamp, Version};
use lovage::protocol::batch::{BATCH_LABEL, Defaults};
use lovage::protocol::queue::{consumer_name, of_consumer};
use lovage::protocol::subject::{Band, TaskSubject};
use lovage::protocol::webhook::{self, DeliverySubject};
use lovage::protocol::{Stream, dead, limit, secret};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::records::rule;
use super::{config, hostile, labels, name, policy, priority, task_key, time, version};

fn mark() -> impl Strategy<Value = Option<Mark>> {
    option::of("[0-9a-f]{12}".prop_map(|text| text.parse().unwrap()))
}

/// Subjects of lines, bells and deliveries, nearly.
fn waiting_like() -> impl Strategy<Value = String> {
    prop_oneof![
        "lvg\\.[a-zA]{1,2}(\\.task)?\\.line\\.[0-9a-f*]{0,2}\\.[a-z]{1,2}(\\.[0-9]{1,2}){1,2}\\.[a-z>]{1,2}",
        "lvg\\.[a-zA]{1,2}(\\.x)?\\.fire\\.~limit\\.[0-9a-f*.]{0,4}",
        "lvg\\.[a-zA]{1,2}(\\.x)?\\.(hook|hookwait)\\.[a-zA*]{1,2}\\.[0-9a-z.]{0,4}",
    ]
}

/// Texts like rates, and others.
fn rate_like() -> impl Strategy<Value = String> {
    prop_oneof!["[-+ 0-9]{1,6}/[smhdx]", "[0-9]{1,12}/[smhd]", "\\PC{0,8}"]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_rate_is_evenly_spread_over_its_unit_and_never_faster(text in rate_like()) {
        let Ok(rate) = text.parse::<Rate>() else { return Ok(()) };
        prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
        let (count, unit) = text.split_once('/').unwrap();
        let count: u32 = count.parse().unwrap();
        let unit = match unit { "s" => 1, "m" => 60, "h" => 3_600, _ => 86_400 };
        let whole = rate.interval() * count;
        // What a division leaves is less than a nanosecond a start.
        prop_assert!(whole <= Duration::from_secs(unit) && whole + Duration::from_nanos(count.into()) > Duration::from_secs(unit));
        prop_assert!(rate.interval() >= Duration::from_micros(100));
    }

    #[test]
    fn a_rule_reads_back_and_is_refused_beyond_its_bounds(rule in rule(), beyond in BURST_MAX + 1..) {
        let text = serde_json::to_string(&rule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Rule>(&text).unwrap().checked(), Ok(rule));
        let (burst, concurrency) = (Rule { burst: Some(beyond), ..rule }, Rule { concurrency: Some(beyond), ..rule });
        prop_assert!(burst.checked().is_err() && concurrency.checked().is_err());
        prop_assert_eq!(rule.to_string().contains("at a time"), rule.holds());
    }

    /// Limits of queues, of tasks, of their keys and of keys alone live in one space of names.
    #[test]
    fn limits_of_different_things_have_different_names(
        queue in name::<Queue>(), task in name::<Queue>(), key in "[a-z ]{1,12}", other in "[a-z ]{1,12}", rule in rule(),
    ) {
        let task = format!("{task}/{task}");
        let all = [
            Limit::of_queue(&queue, rule).name,
            Limit::of_task(&task, None, rule).unwrap().name,
            Limit::of_task(&task, Some(&key), rule).unwrap().name,
            Limit::of_key(&key, rule).unwrap().name,
            Limit::of_key(&format!("{key} key {key}"), rule).unwrap().name,
        ];
        let mut tokens: Vec<String> = all.iter().map(|name| lovage::model::limit::token(name)).collect();
        tokens.sort_unstable();
        tokens.dedup();
        prop_assert_eq!(tokens.len(), all.len(), "{:?}", all);
        let (one, two) = (Limit::of_key(&key, rule).unwrap(), Limit::of_key(&other, rule).unwrap());
        prop_assert_eq!(one.token() == two.token(), key == other);
    }

    #[test]
    fn a_label_is_what_was_written(text in prop_oneof!["[a-c=, \u{0}-\u{9f}]{0,8}", "\\PC{0,140}"]) {
        if let Ok((key, value)) = parse_label(&text) {
            prop_assert_eq!(format!("{key}={value}"), text.clone());
            prop_assert!(!key.is_empty() && !key.contains('=') && text.len() <= LABEL_LEN_MAX);
            prop_assert!(!text.contains(|c: char| c == ',' || c.is_control()));
        }
    }

    #[test]
    fn two_requirements_have_one_mark_only_if_the_same_hosts_meet_them(one in labels(), other in labels()) {
        prop_assert_eq!(Mark::of(&one) == Mark::of(&other), one == other);
        let both: lovage::model::Labels = one.iter().chain(&other).map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert!(is_met(&both, &other));
        prop_assert_eq!(is_met(&one, &both), both == one);
    }

    /// A fraction of a unit is the same as so many of the smaller one.
    #[test]
    fn a_fraction_of_a_unit_is_what_it_comes_to(whole in 0..300_u64, tenths in 0..10_u64, unit in select(&["s", "m", "h"][..])) {
        let unit_ms = match unit { "s" => 1_000, "m" => 60_000, _ => 3_600_000 };
        let read = parse_duration(&format!("{whole}.{tenths}{unit}"));
        prop_assert_eq!(read, Ok(Duration::from_millis(whole * unit_ms + tenths * unit_ms / 10)));
    }

    #[test]
    fn a_duration_is_read_or_refused_with_what_it_takes(text in prop_oneof!["[0-9.]{1,24}(ms|[smhdMy])", "[-+0-9a-z. ]{0,10}"]) {
        match parse_duration(&text) {
            Ok(read) => prop_assert!(read <= DURATION_MAX && !text.contains(['-', '+', ' '])),
            Err(error) => prop_assert!(error.to_string().contains("100ms, 5s, 1h30m or 2d")),
        }
    }

    #[test]
    fn a_local_time_of_utc_is_the_time_itself(at in time(), junk in "[0-9T:Z+. -]{0,20}|\\PC{0,12}") {
        let written = at.to_string();
        prop_assert_eq!(parse_time(written.trim_end_matches('Z'), "UTC"), Ok(at));
        prop_assert_eq!(parse_time(&written, "no zone is asked for"), Ok(at));
        drop(parse_time(&junk, "Europe/Berlin"));
        drop(junk.parse::<Timestamp>());
    }

    #[test]
    fn the_next_version_is_one_that_nobody_has(taken in vec(prop_oneof![version(), any::<u64>().prop_map(|n| n.to_string().parse().unwrap())], 0..6)) {
        let next = Version::next_after(&taken);
        prop_assert!(!taken.contains(&next), "{}", next);
        prop_assert_eq!(next.to_string().parse(), Ok(next));
    }

    #[test]
    fn a_task_is_named_in_one_way(text in prop_oneof!["[a-zA-Z0-9@/._ -]{0,20}", "[a-z]{1,3}(@[a-z.]{0,3})?/[a-zA]{0,3}"]) {
        if let Ok(task) = text.parse::<TaskRef>() {
            prop_assert_eq!(task.to_string(), text);
        }
    }

    #[test]
    fn a_policy_has_two_forms_that_read_back(policy in policy(), attempts in 0..2_000_u32) {
        let written = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Policy>(&written).unwrap(), policy);
        let short = serde_json::from_str::<Policy>(&attempts.to_string()).ok();
        prop_assert_eq!(short, (1..=1_000).contains(&attempts).then(|| Policy::of_attempts(attempts)));
    }

    #[test]
    fn a_consumer_tells_the_queue_and_the_band_that_it_is_named_after(queue in name(), priority in priority(), mark in mark(), text in "(queue|band)-[0-9~a-f-]{0,6}|\\PC{0,9}") {
        let band = Band { priority, mark };
        prop_assert_eq!(of_consumer(&consumer_name(&queue, &band)), Some((queue, band)));
        drop(of_consumer(&text));
    }

    #[test]
    fn a_line_a_bell_and_a_delivery_read_back(
        tenant in name::<Tenant>(), queue in name(), priority in priority(), mark in mark(), key in task_key(),
        (token, hook) in ("[0-9a-f]{32}", name()), id in "[0-9a-z_~-]{1,40}",
    ) {
        let task = TaskSubject { tenant: tenant.clone(), queue, priority, mark, key };
        let line = limit::line(&token, &task);
        prop_assert_eq!(limit::read_line(&line), Some((token.clone(), task)));
        prop_assert_eq!(Stream::of(&line), Some(Stream::Limit));
        let ring = limit::ring(&tenant, &token);
        prop_assert_eq!(limit::read_ring(&ring), Some((tenant.clone(), token)));
        prop_assert!(TaskSubject::read(&ring).is_none() && limit::read_line(&ring).is_none());
        let told = DeliverySubject { tenant: tenant.clone(), name: hook, id };
        prop_assert_eq!(webhook::tenant_of(&told.history()), Some(tenant));
        prop_assert_eq!([told.due(), told.waiting()].map(|subject| Stream::of(&subject)), [Some(Stream::Hook), Some(Stream::Hook)]);
        prop_assert_eq!(DeliverySubject::read(&told.due()), Some(told));
    }

    #[test]
    fn whatever_a_waiting_subject_is_read_from_is_written_the_same(text in prop_oneof![hostile(), waiting_like()]) {
        if let Some((token, task)) = limit::read_line(&text) {
            prop_assert_eq!(limit::line(&token, &task), text.clone());
        }
        if let Some((tenant, token)) = limit::read_ring(&text) {
            prop_assert_eq!(limit::ring(&tenant, &token), text.clone());
        }
        if let Some(told) = DeliverySubject::read(&text) {
            prop_assert_eq!(told.due(), text.clone());
        }
        if let Some(name) = secret::read_name(&text) {
            prop_assert!(text.ends_with(name.as_str()));
        }
        drop(dead::decode(&text, &lovage::protocol::Headers::new(), &bytes::Bytes::new(), Timestamp::default(), 1));
    }

    #[test]
    fn a_line_of_a_batch_keeps_its_labels_or_says_why_not(
        given in btree_map("[a-c=, ]{1,3}", "[a-c=,]{0,3}", 0..4), own in labels(), inputs: bool,
    ) {
        let line = serde_json::json!({"task": "m/t", "labels": given}).to_string();
        let task = inputs.then(|| "m/t".parse().unwrap());
        let mut defaults = Defaults { task, ..Defaults::default() };
        defaults.options.labels.clone_from(&own);
        match defaults.read(&line) {
            Ok(entry) => {
                let mut expected = own;
                if !inputs {
                    expected.extend(given);
                }
                prop_assert_eq!(&entry.signature.options.labels, &expected);
                // With the batch's own there are no more than a host reads.
                prop_assert!(expected.contains_key(BATCH_LABEL) || expected.len() < lovage::model::signature::LABELS_MAX);
            }
            Err(why) => prop_assert!(why.contains("label"), "{}", why),
        }
    }

    /// However many slots there are, a listing of them is in order, within its range and its bound, and a part of a longer one.
    #[test]
    fn a_listing_of_slots_keeps_to_its_range_and_its_bound(
        every in 1_000..100_000_000_u64, anchor in -1_000_000_000..1_000_000_000_i64, from in -1_000_000_000..1_000_000_000_i64,
        length in 0..1_000_000_000_i64, max in 0..50_usize,
    ) {
        let when = When::Every { every: Duration::from_millis(every), anchor: Timestamp::from_millis(anchor) };
        let calendar = Calendar::new(&when).unwrap();
        let (from, to) = (Timestamp::from_millis(from), Timestamp::from_millis(from + length));
        let slots = calendar.between(from, to, max);
        prop_assert!(slots.len() <= max && slots.is_sorted_by(|one, next| one < next));
        let of_interval = |slot: &Timestamp| (slot.as_millis() - anchor).rem_euclid(i64::try_from(every).unwrap()) == 0;
        prop_assert!(slots.iter().all(|slot| (from..=to).contains(slot) && of_interval(slot) && slot.as_millis() >= anchor));
        prop_assert!(calendar.between(from, to, max + 1).starts_with(&slots));
        if slots.len() < max {
            let next = calendar.next(slots.last().copied().unwrap_or(Timestamp::from_millis(from.as_millis() - 1)));
            prop_assert!(next.is_none_or(|next| next > to));
        }
    }
}
