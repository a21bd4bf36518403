//! Slots of cron expressions against a plain model that looks at every minute on the wall, over changes of clocks of many kinds.
#![cfg(test)]

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use lovage::model::Timestamp;
use lovage::model::schedule::calendar::{EVERY_MIN, EXPRESSION_LEN_MAX, local, parse_time, zone};
use lovage::model::schedule::{Calendar, When};
use proptest::prelude::*;
use proptest::sample::select;

use super::config;

/// Zones and days on which their clocks change: forward and back, by an hour, by half of one, by two, at night and at midnight.
const CHANGES: [(&str, &str); 17] = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Havana", "2026-03-08"),
    ("America/Havana", "2026-11-01"),
    ("Africa/Cairo", "2026-04-24"),
    ("Africa/Cairo", "2026-10-29"),
    ("America/Santiago", "2026-04-04"),
    ("America/Santiago", "2026-09-06"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Antarctica/Troll", "2026-10-25"),
    ("Asia/Kathmandu", "2026-03-29"),
    ("UTC", "2026-03-29"),
];

const DAY_MS: i64 = 24 * 3_600_000;

fn cron(expression: &str, zone: &str) -> Calendar {
    Calendar::new(&When::Cron { expression: expression.to_owned(), zone: zone.to_owned() }).unwrap()
}

/// Noon of the day before, in UTC, where every clock of the table is at rest.
fn day_before(day: &str) -> i64 {
    let noon: Timestamp = format!("{day}T12:00:00Z").parse().unwrap();
    noon.as_millis() - DAY_MS
}

/// Every minute from two days before until two days after the window, with what the clock shows: day, hour and minute.
fn minutes(zone: &TimeZone, from: i64) -> Vec<(i64, String, (u8, u8))> {
    let all = (from - 2 * DAY_MS..from + 4 * DAY_MS).step_by(60_000);
    let shown = all.map(|at| {
        let shown = zone.to_datetime(jiff::Timestamp::from_millisecond(at).unwrap());
        let clock = (u8::try_from(shown.hour()).unwrap(), u8::try_from(shown.minute()).unwrap());
        (at, shown.date().to_string(), clock)
    });
    shown.collect()
}

fn list(numbers: &BTreeSet<u8>) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..config() })]

    /// One fixed time of day: the first moment of each day at which the clock shows it, or has passed it.
    #[test]
    fn a_fixed_time_comes_once_a_day((name, day) in select(&CHANGES[..]), hour in 0..24_u8, minute in 0..60_u8) {
        let from = day_before(day);
        let mut seen = BTreeSet::new();
        let mut expected = Vec::new();
        for (at, date, clock) in minutes(&zone(name).unwrap(), from) {
            if clock >= (hour, minute) && seen.insert(date) {
                expected.push(at);
            }
        }
        // The scan may begin behind the time of its first day.
        expected.retain(|at| (from..=from + 3 * DAY_MS).contains(at));
        let calendar = cron(&format!("{minute} {hour} * * *"), name);
        let slots = calendar.between(Timestamp::from_millis(from), Timestamp::from_millis(from + 3 * DAY_MS), 100);
        let slots: Vec<i64> = slots.into_iter().map(Timestamp::as_millis).collect();
        prop_assert_eq!(slots, expected, "{} {}:{} around {}", name, hour, minute, day);
    }

    /// Several times of day: whenever the clock shows one of them, be it twice or never.
    #[test]
    fn several_times_come_whenever_the_clock_shows_them(
        (name, day) in select(&CHANGES[..]), hours in prop::collection::btree_set(0..24_u8, 1..6),
        minutes_of in prop::collection::btree_set((0..12_u8).prop_map(|five| five * 5), 2..5),
    ) {
        let from = day_before(day);
        let until = from + 3 * DAY_MS;
        let shows = |(_, _, (hour, minute)): &(i64, String, (u8, u8))| hours.contains(hour) && minutes_of.contains(minute);
        let all = minutes(&zone(name).unwrap(), from);
        let expected: Vec<i64> = all.into_iter().filter(shows).map(|(at, ..)| at).filter(|at| (from..=until).contains(at)).collect();
        let calendar = cron(&format!("{} {} * * *", list(&minutes_of), list(&hours)), name);
        let slots = calendar.between(Timestamp::from_millis(from), Timestamp::from_millis(until), 10_000);
        let slots: Vec<i64> = slots.into_iter().map(Timestamp::as_millis).collect();
        prop_assert_eq!(slots, expected, "{} {:?} {:?} around {}", name, hours, minutes_of, day);
    }

    /// A local time that is there once is where the clock shows it; one that is not there once says so.
    #[test]
    fn a_local_time_is_found_where_the_clock_shows_it((name, day) in select(&CHANGES[..]), hour in 0..24_u8, minute in 0..60_u8) {
        let all = minutes(&zone(name).unwrap(), day_before(day));
        let shows: Vec<i64> = all.into_iter().filter(|(_, date, clock)| date == day && *clock == (hour, minute)).map(|(at, ..)| at).collect();
        let text = format!("{day}T{hour:02}:{minute:02}");
        match (parse_time(&text, name), shows.as_slice()) {
            (Ok(read), [at]) => prop_assert_eq!(read.as_millis(), *at),
            (Err(told), []) => prop_assert!(told.to_string().contains("does not exist on that day"), "{}", told),
            (Err(told), [one, other]) => {
                let which = format!("say which: {} or {}", Timestamp::from_millis(*one), Timestamp::from_millis(*other));
                prop_assert!(told.to_string().contains(&which), "{}", told);
            }
            (read, shows) => prop_assert!(false, "{} in {}: {:?}, but it is at {:?}", text, name, read, shows),
        }
    }
}

#[test]
fn fields_of_an_expression_mean_what_cron_says() {
    let slots = |expression: &str, from: &str, count: usize| -> Vec<String> {
        let calendar = cron(expression, "UTC");
        let from: Timestamp = from.parse().unwrap();
        let slots = std::iter::successors(calendar.next(from), |slot| calendar.next(*slot));
        slots.take(count).map(|slot| slot.to_string()[5..16].to_owned()).collect()
    };
    // 2026-01-01 is a Thursday.
    for (expression, expected) in [
        ("*/20 0 * * *", ["01-01T00:20", "01-01T00:40", "01-02T00:00", "01-02T00:20"]),
        ("5-7 0 * * *", ["01-01T00:05", "01-01T00:06", "01-01T00:07", "01-02T00:05"]),
        ("10-30/10 12 1 * *", ["01-01T12:10", "01-01T12:20", "01-01T12:30", "02-01T12:10"]),
        ("0 0 * * 0", ["01-04T00:00", "01-11T00:00", "01-18T00:00", "01-25T00:00"]),
        ("0 0 * * 7", ["01-04T00:00", "01-11T00:00", "01-18T00:00", "01-25T00:00"]),
        ("0 0 * * sun", ["01-04T00:00", "01-11T00:00", "01-18T00:00", "01-25T00:00"]),
        ("0 0 * * MON-WED", ["01-05T00:00", "01-06T00:00", "01-07T00:00", "01-12T00:00"]),
        ("0 0 1 FEB,APR *", ["02-01T00:00", "04-01T00:00", "02-01T00:00", "04-01T00:00"]),
        ("0 0 31 * *", ["01-31T00:00", "03-31T00:00", "05-31T00:00", "07-31T00:00"]),
        // A day of the month or a day of the week, where both are given.
        ("0 0 13 * FRI", ["01-02T00:00", "01-09T00:00", "01-13T00:00", "01-16T00:00"]),
        ("0 0 * * FRI#2", ["01-09T00:00", "02-13T00:00", "03-13T00:00", "04-10T00:00"]),
        ("0 0 * * FRIL", ["01-30T00:00", "02-27T00:00", "03-27T00:00", "04-24T00:00"]),
        ("@hourly", ["01-01T01:00", "01-01T02:00", "01-01T03:00", "01-01T04:00"]),
        ("@weekly", ["01-04T00:00", "01-11T00:00", "01-18T00:00", "01-25T00:00"]),
        ("@monthly", ["02-01T00:00", "03-01T00:00", "04-01T00:00", "05-01T00:00"]),
        ("@yearly", ["01-01T00:00", "01-01T00:00", "01-01T00:00", "01-01T00:00"]),
    ] {
        assert_eq!(slots(expression, "2026-01-01T00:00:00Z", 4), expected, "{expression}");
    }
    // A slot is behind the time that is asked about, however little.
    let minute = |from| slots("* * * * *", from, 1);
    assert_eq!(minute("2026-01-01T00:00:59.999Z"), ["01-01T00:01"]);
    assert_eq!(minute("2026-01-01T00:01:00Z"), ["01-01T00:02"]);
    assert_eq!(minute("2025-12-31T23:59:59.999Z"), ["01-01T00:00"]);
    assert_eq!(minute("1969-12-31T23:59:30.5Z"), ["01-01T00:00"], "before the epoch, too");
}

#[test]
fn schedules_are_written_as_people_say_them() {
    let at = Timestamp::from_millis(1_795_000_000_000);
    for (when, golden, shown) in [
        (
            When::Cron { expression: "0 9 * * MON-FRI".to_owned(), zone: "Europe/Berlin".to_owned() },
            r#"{"cron":{"expression":"0 9 * * MON-FRI","zone":"Europe/Berlin"}}"#,
            "0 9 * * MON-FRI Europe/Berlin",
        ),
        (
            When::Every { every: Duration::from_secs(5_400), anchor: at },
            r#"{"every":{"every":"1h30m","anchor":1795000000000}}"#,
            "every 1h30m",
        ),
        (When::Once { at }, r#"{"once":{"at":1795000000000}}"#, "once, 2026-11-18T11:06:40.000Z"),
    ] {
        assert_eq!(serde_json::to_string(&when).unwrap(), golden);
        assert_eq!(serde_json::from_str::<When>(golden).unwrap(), when);
        assert_eq!(when.to_string(), shown);
    }
    for bad in [
        "{}",
        r#""once""#,
        r#"{"once":{}}"#,
        r#"{"once":{"at":1,"zone":"UTC"}}"#,
        r#"{"every":{"every":90,"anchor":1}}"#,
        r#"{"every":{"every":"1h"}}"#,
        r#"{"daily":{"at":1}}"#,
        r#"{"cron":{"expression":"* * * * *"}}"#,
    ] {
        assert!(serde_json::from_str::<When>(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_cannot_be_a_schedule_is_told_in_full() {
    let five = "it takes five fields (minute hour day month weekday), or six with seconds first";
    let cron_told = |expression: &str| {
        let when = When::Cron { expression: expression.to_owned(), zone: "UTC".to_owned() };
        Calendar::new(&when).unwrap_err().to_string()
    };
    let long = "1,".repeat(EXPRESSION_LEN_MAX);
    assert_eq!(
        cron_told(&long),
        format!("cron {:?}: it has more than {EXPRESSION_LEN_MAX} bytes; {five}", "1,".repeat(40))
    );
    for bad in [
        "60 * * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * MOO",
        "1-a * * * *",
        "5-1 * * * *",
        "@never",
    ] {
        let told = cron_told(bad);
        assert!(told.starts_with(&format!("cron {bad:?}: ")) && told.ends_with(five), "{told}");
        assert!(told.lines().count() == 1 && told.len() < 250, "{told}");
    }
    let every = |every| Calendar::new(&When::Every { every, anchor: Timestamp::default() }).map(drop);
    assert_eq!(every(EVERY_MIN), Ok(()));
    assert_eq!(every(Duration::ZERO).unwrap_err().to_string(), "every 0ms: an interval is at least 1s");
    for (name, told) in [
        ("Mars/Phobos", "time zone \"Mars/Phobos\": there is none of this name in the IANA database"),
        (
            "europe/berlinn",
            "time zone \"europe/berlinn\": there is none of this name in the IANA database; is it Europe/Berlin?",
        ),
        ("Lodnon", "time zone \"Lodnon\": there is none of this name in the IANA database; is it Europe/London?"),
    ] {
        assert_eq!(zone(name).unwrap_err().to_string(), told);
    }
    // Names are as the database has them, in any case of letters.
    assert!(zone("EUROPE/berlin").is_ok() && zone("UTC").is_ok());
    for (text, told) in [
        (
            "2026-11-22T07:30+01:00[Europe/Berlin",
            "time \"2026-11-22T07:30+01:00[Europe/Berlin\": it takes RFC 3339, as in 2026-11-22T07:30:00Z, or a local time \
             such as 2026-11-22T07:30 with a zone",
        ),
        (
            "2026-03-29T02:00",
            "time \"2026-03-29T02:00\": it does not exist on that day in Europe/Berlin, where clocks are put forward over it",
        ),
        (
            "2026-10-25T02:59:59",
            "time \"2026-10-25T02:59:59\": it comes twice on that day in Europe/Berlin; say which: 2026-10-25T00:59:59.000Z or \
             2026-10-25T01:59:59.000Z",
        ),
    ] {
        assert_eq!(parse_time(text, "Europe/Berlin").unwrap_err().to_string(), told);
    }
}

#[test]
fn a_slot_is_shown_with_the_name_of_its_clock() {
    for (at, name, shown) in [
        ("2026-07-01T12:00:00Z", "America/New_York", "Wed 2026-07-01 08:00:00 EDT"),
        ("2026-01-01T00:00:00Z", "Asia/Kathmandu", "Thu 2026-01-01 05:45:00 +0545"),
        ("2026-03-29T00:59:59Z", "Antarctica/Troll", "Sun 2026-03-29 00:59:59 +00"),
        ("2026-03-29T01:00:00Z", "Antarctica/Troll", "Sun 2026-03-29 03:00:00 +02"),
        ("2026-01-01T00:00:00Z", "UTC", "Thu 2026-01-01 00:00:00 UTC"),
    ] {
        assert_eq!(local(at.parse().unwrap(), name), shown);
    }
    assert_eq!(local(Timestamp::from_millis(i64::MAX), "UTC"), format!("{}ms", i64::MAX));
}
