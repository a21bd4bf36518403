//! When a schedule has its slots: cron expressions in a time zone, intervals, and single points in time.
//!
//! Where clocks are put forward or back, cron has the rules of Vixie's: an expression with one fixed time of day has exactly one
//! slot on every day that it names (at the first moment behind a gap; at the first of two equal times), and one with several
//! times of day follows the clock on the wall (nothing in a gap, both of two equal times).

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::model::time::{format_duration, written};

/// The shortest interval: a schedule is no metronome, each slot costs three writes.
pub const EVERY_MIN: Duration = Duration::from_secs(1);

/// The longest cron expression, in bytes: all fields with long lists fit.
pub const EXPRESSION_LEN_MAX: usize = 256;

/// The zone of schedules that name none.
pub const ZONE_DEFAULT: &str = "UTC";

/// When a schedule has its slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// By a cron expression on the clocks of a time zone.
    Cron {
        /// Five fields (minute, hour, day of month, month, day of week), or six with seconds first.
        expression: String,
        /// The zone's name in the IANA database.
        zone: String,
    },
    /// At equal distances.
    Every {
        /// The distance.
        #[serde(with = "written")]
        every: Duration,
        /// One slot, from which all others follow.
        anchor: Timestamp,
    },
    /// Once.
    Once {
        /// The only slot.
        at: Timestamp,
    },
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { expression, zone } => write!(f, "{expression} {zone}"),
            Self::Every { every, .. } => write!(f, "every {}", format_duration(*every)),
            Self::Once { at } => write!(f, "once, {at}"),
        }
    }
}

/// Why a schedule cannot have its slots as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The expression is none.
    #[error(
        "cron {expression:?}: {problem}; it takes five fields (minute hour day month weekday), or six with seconds first"
    )]
    Expression {
        /// What was given, cut to 80 characters.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The zone is not in the database.
    #[error("time zone {zone:?}: there is none of this name in the IANA database{}", nearest(zone))]
    Zone {
        /// What was given, cut to 80 characters.
        zone: String,
    },
    /// There is no slot from now on.
    #[error("{field}: {problem}")]
    Never {
        /// What was asked for, as `cron "0 0 30 2 *"`.
        field: String,
        /// Why nothing comes of it.
        problem: String,
    },
    /// The interval is too short.
    #[error("every {}: an interval is at least {}", format_duration(*.every), format_duration(EVERY_MIN))]
    TooOften {
        /// What was asked for.
        every: Duration,
    },
    /// The text is no point in time.
    #[error(
        "time {text:?}: it takes RFC 3339, as in 2026-11-22T07:30:00Z, or a local time such as 2026-11-22T07:30 with a zone"
    )]
    Time {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// The clock shows the local time twice on that day.
    #[error("time {text:?}: it comes twice on that day in {zone}; say which: {earlier} or {later}")]
    Twice {
        /// What was given.
        text: String,
        /// The zone.
        zone: String,
        /// The first of the two.
        earlier: Timestamp,
        /// The second.
        later: Timestamp,
    },
    /// The clock does not show the local time on that day.
    #[error("time {text:?}: it does not exist on that day in {zone}, where clocks are put forward over it")]
    Skipped {
        /// What was given.
        text: String,
        /// The zone.
        zone: String,
    },
}

/// The slots of a schedule.
#[derive(Clone, Debug)]
pub struct Calendar(Slots);

#[derive(Clone, Debug)]
enum Slots {
    Cron(Box<Cron>, TimeZone),
    Every(Duration, Timestamp),
    Once(Timestamp),
}

impl Calendar {
    /// The slots of `when`.
    ///
    /// # Errors
    /// An expression that is none, a zone that is not known, and an interval that is too short.
    pub fn new(when: &When) -> Result<Self, Unfit> {
        Ok(Self(match when {
            When::Cron { expression, zone: name } => Slots::Cron(Box::new(parse(expression)?), zone(name)?),
            When::Every { every, .. } if *every < EVERY_MIN => return Err(Unfit::TooOften { every: *every }),
            When::Every { every, anchor } => Slots::Every(*every, *anchor),
            When::Once { at } => Slots::Once(*at),
        }))
    }

    /// The first slot behind `after`; `None` where there is none any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Slots::Cron(cron, zone) => {
                // The search is by whole seconds, and excludes the one that it begins with.
                let begin = jiff::Timestamp::from_second(after.as_millis().div_euclid(1_000)).ok()?;
                let next = cron.find_next_occurrence(&begin.to_zoned(zone.clone()), false).ok()?;
                Some(Timestamp::from_millis(next.timestamp().as_millisecond())).filter(|next| *next > after)
            }
            Slots::Every(_, anchor) if after < *anchor => Some(*anchor),
            Slots::Every(every, anchor) => {
                let every = i64::try_from(every.as_millis()).ok()?;
                let whole = after.as_millis().checked_sub(anchor.as_millis())?.checked_div(every)?;
                let distance = whole.checked_add(1)?.checked_mul(every)?;
                anchor.as_millis().checked_add(distance).map(Timestamp::from_millis)
            }
            Slots::Once(at) => Some(*at).filter(|at| *at > after),
        }
    }

    /// The slots from `from` to `to`, both included, at most `max` of them.
    pub fn between(&self, from: Timestamp, to: Timestamp, max: usize) -> Vec<Timestamp> {
        let first = self.next(Timestamp::from_millis(from.as_millis().saturating_sub(1)));
        std::iter::successors(first, |slot| self.next(*slot)).take_while(|slot| *slot <= to).take(max).collect()
    }
}

fn parse(expression: &str) -> Result<Cron, Unfit> {
    let refuse = |problem: String| Unfit::Expression { expression: cut(expression), problem };
    if expression.len() > EXPRESSION_LEN_MAX {
        return Err(refuse(format!("it has more than {EXPRESSION_LEN_MAX} bytes")));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    parser.parse(expression).map_err(|error| refuse(error.to_string().trim_end_matches('.').to_owned()))
}

/// A zone of the IANA database that is built in.
///
/// # Errors
/// A name that is not in it.
pub fn zone(name: &str) -> Result<TimeZone, Unfit> {
    let found = (name.len() <= EXPRESSION_LEN_MAX).then(|| TimeZone::get(name).ok()).flatten();
    found.ok_or_else(|| Unfit::Zone { zone: cut(name) })
}

/// Reads a point in time: RFC 3339, or a local time of `zone`, which must be there once.
///
/// # Errors
/// Another text, and a local time that comes twice or never.
pub fn parse_time(text: &str, zone_name: &str) -> Result<Timestamp, Unfit> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let local: DateTime = text.parse().map_err(|_| Unfit::Time { text: cut(text) })?;
    // A text with an offset of which RFC 3339 knows nothing is not to be read as a local time.
    if text.contains(['Z', 'z', '+', '[']) {
        return Err(Unfit::Time { text: cut(text) });
    }
    let ambiguous = zone(zone_name)?.to_ambiguous_timestamp(local);
    let millis = |time: Result<jiff::Timestamp, jiff::Error>| {
        time.map(|time| Timestamp::from_millis(time.as_millisecond())).map_err(|_| Unfit::Time { text: cut(text) })
    };
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => millis(ambiguous.compatible()),
        AmbiguousOffset::Gap { .. } => Err(Unfit::Skipped { text: cut(text), zone: cut(zone_name) }),
        AmbiguousOffset::Fold { .. } => {
            let (earlier, later) = (millis(ambiguous.earlier())?, millis(ambiguous.later())?);
            Err(Unfit::Twice { text: cut(text), zone: cut(zone_name), earlier, later })
        }
    }
}

/// A slot as the clocks of a zone show it.
#[must_use]
pub fn local(slot: Timestamp, zone_name: &str) -> String {
    let zoned = zone(zone_name).ok().zip(jiff::Timestamp::from_millisecond(slot.as_millis()).ok());
    zoned.map_or_else(
        || slot.to_string(),
        |(zone, at)| at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
    )
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A zone that may have been meant.
fn nearest(zone: &str) -> String {
    let wanted = zone.to_ascii_lowercase();
    let near = |name: &str| {
        let name = name.to_ascii_lowercase();
        let city = name.rsplit('/').next().unwrap_or(&name);
        strsim::damerau_levenshtein(&name, &wanted).min(strsim::damerau_levenshtein(city, &wanted))
    };
    let all = jiff::tz::db().available().map(|name| name.to_string());
    let nearest = all.map(|name| (near(&name), name)).min();
    nearest.filter(|(distance, _)| *distance <= 3).map(|(_, name)| format!("; is it {name}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cron(expression: &str, zone: &str) -> Result<Calendar, Unfit> {
        Calendar::new(&When::Cron { expression: expression.to_owned(), zone: zone.to_owned() })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The next slots, as UTC without the day's first and the seconds' last characters.
    fn slots(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let calendar = cron(expression, zone).unwrap();
        let slots = std::iter::successors(calendar.next(at(from)), |slot| calendar.next(*slot));
        slots.take(count).map(|slot| slot.to_string()[5..16].to_owned()).collect()
    }

    #[test]
    fn a_fixed_time_has_one_slot_on_every_day() {
        for (expression, zone, from, expected) in [
            // Berlin goes from 02:00 to 03:00 on 29 March 2026 at 01:00Z, and from 03:00 to 02:00 on 25 October at 01:00Z.
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
            ("0 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", ["03-28T01:00", "03-29T01:00", "03-30T00:00"]),
            ("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", ["10-24T00:30", "10-25T00:30", "10-26T01:30"]),
            // New York on 8 March at 07:00Z, and on 1 November at 06:00Z.
            ("15 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", ["03-07T07:15", "03-08T07:00", "03-09T06:15"]),
            ("30 1 * * *", "America/New_York", "2026-10-31T00:00:00Z", ["10-31T05:30", "11-01T05:30", "11-02T06:30"]),
            // Lord Howe's clocks move by half an hour.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-02T16:00:00Z",
                ["10-03T15:30", "10-04T15:15", "10-05T15:15"],
            ),
            // Havana's are put forward at midnight.
            ("0 0 * * *", "America/Havana", "2026-03-07T12:00:00Z", ["03-08T05:00", "03-09T04:00", "03-10T04:00"]),
            ("0 9 * * MON-FRI", "Asia/Tokyo", "2026-11-19T12:00:00Z", ["11-20T00:00", "11-23T00:00", "11-24T00:00"]),
            ("0 0 L * *", "UTC", "2028-01-15T00:00:00Z", ["01-31T00:00", "02-29T00:00", "03-31T00:00"]),
            ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", ["02-29T00:00", "02-29T00:00", "02-29T00:00"]),
            ("@daily", "UTC", "2026-12-30T00:00:00Z", ["12-31T00:00", "01-01T00:00", "01-02T00:00"]),
        ] {
            assert_eq!(slots(expression, zone, from, 3), expected, "{expression} {zone}");
        }
    }

    #[test]
    fn several_times_of_day_follow_the_clock_on_the_wall() {
        let forward = slots("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29:00Z", 3);
        assert_eq!(forward, ["03-29T00:30", "03-29T01:00", "03-29T01:30"], "nothing is due between 02:00 and 03:00");
        let back = slots("*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4);
        assert_eq!(back, ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-26T01:00"], "02:30 comes twice");
        let two = slots("30 2,4 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2);
        assert_eq!(two, ["03-29T02:30", "03-30T00:30"], "02:30 does not come");
        assert_eq!(
            slots("*/20 * * * * *", "UTC", "2026-01-01T00:00:00Z", 3),
            ["01-01T00:00"; 2].iter().chain(&["01-01T00:01"]).map(ToString::to_string).collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_interval_is_counted_from_its_anchor() {
        let every =
            |ms| Calendar::new(&When::Every { every: Duration::from_millis(ms), anchor: Timestamp::from_millis(500) });
        let calendar = every(2_000).unwrap();
        for (after, next) in [(-9, 500), (0, 500), (499, 500), (500, 2_500), (2_499, 2_500), (2_500, 4_500)] {
            assert_eq!(calendar.next(Timestamp::from_millis(after)), Some(Timestamp::from_millis(next)), "{after}");
        }
        assert_eq!(calendar.next(Timestamp::from_millis(i64::MAX)), None);
        assert!(every(999).unwrap_err().to_string().contains("at least 1s"));
        let once = Calendar::new(&When::Once { at: Timestamp::from_millis(7) }).unwrap();
        assert_eq!(once.next(Timestamp::from_millis(6)), Some(Timestamp::from_millis(7)));
        assert_eq!(once.next(Timestamp::from_millis(7)), None);
    }

    #[test]
    fn a_range_holds_both_of_its_ends() {
        let calendar = cron("0 * * * *", "UTC").unwrap();
        let hours = |from, to, max| calendar.between(at(from), at(to), max).len();
        assert_eq!(hours("2026-01-01T00:00:00Z", "2026-01-01T03:00:00Z", 9), 4);
        assert_eq!(hours("2026-01-01T00:00:00.001Z", "2026-01-01T02:59:59Z", 9), 2);
        assert_eq!(hours("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 9), 9);
        assert_eq!(hours("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", 9), 0);
    }

    #[test]
    fn what_never_comes_has_no_slot() {
        for expression in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(cron(expression, "UTC").unwrap().next(at("2026-01-01T00:00:00Z")), None, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_or_zone_is_named() {
        let long = "1,".repeat(200);
        for (expression, zone, words) in [
            ("", "UTC", "five fields"),
            ("* * * *", "UTC", "five fields"),
            ("61 * * * *", "UTC", "61 * * * *"),
            ("* 24 * * *", "UTC", "five fields"),
            ("*/0 * * * *", "UTC", "five fields"),
            ("every day", "UTC", "every day"),
            (long.as_str(), "UTC", "more than 256 bytes"),
            ("* * * * *", "Mars/Phobos", "IANA database"),
            ("* * * * *", "Europe/Berlinn", "is it Europe/Berlin?"),
            ("* * * * *", "tokyo", "is it Asia/Tokyo?"),
            ("* * * * *", "", "IANA database"),
            ("* * * * *", "../../etc/passwd", "IANA database"),
        ] {
            let error = cron(expression, zone).unwrap_err().to_string();
            assert!(error.contains(words), "{expression} {zone}: {error}");
        }
    }

    #[test]
    fn a_local_time_must_be_there_once() {
        assert_eq!(parse_time("2026-07-01T09:30", "Europe/Berlin"), Ok(at("2026-07-01T07:30:00Z")));
        assert_eq!(parse_time("2026-07-01 09:30:05", "UTC"), Ok(at("2026-07-01T09:30:05Z")));
        assert_eq!(parse_time("2026-07-01T09:30:00+02:00", "Asia/Tokyo"), Ok(at("2026-07-01T07:30:00Z")));
        let twice = parse_time("2026-10-25T02:30", "Europe/Berlin").unwrap_err().to_string();
        assert!(twice.contains("2026-10-25T00:30:00.000Z or 2026-10-25T01:30:00.000Z"), "{twice}");
        let skipped = parse_time("2026-03-29T02:30", "Europe/Berlin").unwrap_err().to_string();
        assert!(skipped.contains("does not exist on that day in Europe/Berlin"), "{skipped}");
        for bad in ["", "tomorrow", "25:00", "2026-13-01T00:00", "-1"] {
            let error = parse_time(bad, "UTC").unwrap_err().to_string();
            assert!(error.contains("RFC 3339"), "{bad}: {error}");
        }
        assert!(matches!(parse_time("2026-07-01T09:30", "Nowhere"), Err(Unfit::Zone { .. })));
    }

    #[test]
    fn a_slot_is_shown_as_the_clocks_of_its_zone_show_it() {
        assert_eq!(local(at("2026-10-25T01:30:00Z"), "Europe/Berlin"), "Sun 2026-10-25 02:30:00 CET");
        assert_eq!(local(at("2026-10-25T00:30:00Z"), "Europe/Berlin"), "Sun 2026-10-25 02:30:00 CEST");
        assert_eq!(local(at("2026-10-25T00:30:00Z"), "Nowhere"), "2026-10-25T00:30:00.000Z");
    }

    proptest! {
        #[test]
        fn no_expression_makes_the_calendar_panic(expression in "[0-9*/,#LW?A-Z -]{0,40}", after in any::<i64>()) {
            if let Ok(calendar) = cron(&expression, "America/New_York") {
                let after = Timestamp::from_millis(after / 4_000_000);
                if let Some(next) = calendar.next(after) {
                    prop_assert!(next > after);
                }
            }
        }

        #[test]
        fn slots_go_forward_without_a_gap_over_any_change_of_clocks(start in 1_760_000_000_i64..1_800_000_000) {
            let calendar = cron("*/15 * * * *", "America/Sao_Paulo").unwrap();
            let after = Timestamp::from_millis(start * 1_000);
            let next = calendar.next(after).unwrap();
            prop_assert!(next.since(after) <= Duration::from_secs(900));
        }
    }
}
