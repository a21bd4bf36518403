//! What an attempt took and where, as one header: since writing and reading six of them took a tenth of a host's and a caller's
//! time. Records of tasks and of steps share it.

use std::num::ParseIntError;
use std::str::FromStr;

use super::task::{ATTEMPT, LABELS, parsed, read_labels};
use super::{Headers, Rejection};
use crate::model::lifecycle::{About, Tried, Usage};
use crate::model::{HostId, requirement};

/// As in `attempt=1 delivery=1 host=h1 fuel=77 memory=65536 us=42 task=thumbs/resize queue=images`. A caller that hears a delivery above 1 reads the stored record
/// to be sure.
pub const USAGE: &str = "Lovage-Usage";

/// The attempts of a task that failed before the last one, as JSON: `[{"attempt", "host", "at", "kind", "message"}]`.
pub const TRIED: &str = "Lovage-Tried";

/// Stood for the host where there was none, in the form by position.
const NO_HOST: &str = "*";

/// Sets the header, unless nothing ran.
pub(super) fn encode(usage: &Usage, headers: &mut Headers) {
    if *usage == Usage::default() {
        return;
    }
    let Usage { attempt, delivery, host, fuel, memory_bytes, duration_us, about, tried } = usage;
    let host = host.as_ref().map(|host| format!(" host={host}")).unwrap_or_default();
    let mut text =
        format!("attempt={attempt} delivery={delivery}{host} fuel={fuel} memory={memory_bytes} us={duration_us}");
    if let Some(About { task, queue, labels }) = about.as_deref() {
        if let Some(task) = task {
            text.extend([" task=", &task.to_string()]);
        }
        if let Some(queue) = queue {
            text.extend([" queue=", queue.as_str()]);
        }
        if !labels.is_empty() {
            headers.set(LABELS, requirement::text(labels));
        }
    }
    headers.set(USAGE, text);
    encode_tried(tried, headers);
}

/// Sets the header of attempts that failed, if there are any.
pub(super) fn encode_tried(tried: &[Tried], headers: &mut Headers) {
    if !tried.is_empty() {
        headers.set(TRIED, serde_json::to_string(tried).unwrap_or_default());
    }
}

/// Reads the attempts that failed; none where the header is absent, as in records of older hosts.
pub(super) fn decode_tried(headers: &Headers) -> Result<Vec<Tried>, Rejection> {
    let Some(text) = headers.value(TRIED) else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| Rejection::new(TRIED, error))
}

/// Reads the header, in any form that was ever written.
pub(super) fn decode(headers: &Headers) -> Result<Usage, Rejection> {
    let Some(text) = headers.value(USAGE) else { return decode_apart(headers) };
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        let form = || Rejection::new(USAGE, "it takes <attempt> <delivery> <host> <fuel> <memory> <microseconds>");
        return by_position(text).ok_or_else(form);
    }
    let (mut usage, mut about) =
        (Usage::default(), About { labels: read_labels(headers, LABELS)?, ..About::default() });
    for (name, value) in text.split_ascii_whitespace().filter_map(|pair| pair.split_once('=')) {
        match name {
            "attempt" => usage.attempt = number(value)?,
            "delivery" => usage.delivery = number(value)?,
            "host" => usage.host = Some(value.parse().map_err(|error| Rejection::new(USAGE, error))?),
            "fuel" => usage.fuel = number(value)?,
            "memory" => usage.memory_bytes = number(value)?,
            "us" => usage.duration_us = number(value)?,
            "task" => about.task = Some(value.parse().map_err(|error| Rejection::new(USAGE, error))?),
            "queue" => about.queue = Some(value.parse().map_err(|error| Rejection::new(USAGE, error))?),
            // Something that a later program counts.
            _ => {}
        }
    }
    usage.about = (about != About::default()).then(|| Box::new(about));
    usage.tried = decode_tried(headers)?;
    Ok(usage)
}

fn number<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, Rejection> {
    text.parse().map_err(|error| Rejection::new(USAGE, error))
}

/// As the first version of steps wrote it.
fn by_position(text: &str) -> Option<Usage> {
    let mut parts = text.split(' ');
    let usage = Usage {
        attempt: parts.next()?.parse().ok()?,
        delivery: parts.next()?.parse().ok()?,
        host: match parts.next()? {
            NO_HOST => None,
            host => Some(host.parse().ok()?),
        },
        fuel: parts.next()?.parse().ok()?,
        memory_bytes: parts.next()?.parse().ok()?,
        duration_us: parts.next()?.parse().ok()?,
        ..Usage::default()
    };
    parts.next().is_none().then_some(usage)
}

/// As the first version of records wrote it: a header for each number.
fn decode_apart(headers: &Headers) -> Result<Usage, Rejection> {
    Ok(Usage {
        attempt: parsed(headers, ATTEMPT)?.unwrap_or(0),
        delivery: parsed(headers, "Lovage-Delivery")?.unwrap_or(0),
        host: parsed::<HostId>(headers, "Lovage-Host")?,
        fuel: parsed(headers, "Lovage-Fuel-Used")?.unwrap_or(0),
        memory_bytes: parsed(headers, "Lovage-Memory-Peak")?.unwrap_or(0),
        duration_us: parsed(headers, "Lovage-Duration-Us")?.unwrap_or(0),
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn read(text: &str) -> Result<Usage, Rejection> {
        decode(&Headers::new().with(USAGE, text))
    }

    #[test]
    fn what_a_usage_does_not_say_is_nothing_and_what_it_says_wrongly_is_refused() {
        assert_eq!(read("").unwrap(), Usage::default());
        assert_eq!(decode(&Headers::new()).unwrap(), Usage::default());
        assert_eq!(read("fuel=7 joules=3 us").unwrap(), Usage { fuel: 7, ..Usage::default() });
        for text in ["fuel=-1", "attempt=4294967296", "us=", "host=A.b", "task=resize", "queue=A.b"] {
            assert_eq!(read(text).unwrap_err().place, USAGE, "{text}");
        }
    }

    #[test]
    fn both_forms_of_the_header_say_the_same() {
        let usage = read("attempt=2 delivery=1 host=h1 fuel=77 memory=65536 us=42").unwrap();
        assert_eq!(read("2 1 h1 77 65536 42").unwrap(), usage);
        assert_eq!(read("0 0 * 0 0 0").unwrap(), Usage::default());
        for text in ["1 1 h1 1 1", "1 1 h1 1 1 1 1", "1 1 H 1 1 1", "1"] {
            assert!(read(text).unwrap_err().problem.contains("<microseconds>"), "{text}");
        }
    }

    #[test]
    fn attempts_that_failed_have_a_header_of_their_own() {
        let tried = r#"[{"attempt":1,"host":"h1","at":"1970-01-01T00:00:01.000Z","kind":"trap","message":"a\nb"}]"#;
        let headers = Headers::new().with(USAGE, "attempt=2").with(TRIED, tried);
        let usage = decode(&headers).unwrap();
        let [Tried { attempt: 1, kind: Kind::Trap, message, .. }] = &usage.tried[..] else { panic!("{usage:?}") };
        assert_eq!(message, "a\nb");
        let mut written = Headers::new();
        encode(&usage, &mut written);
        assert_eq!(written.value(TRIED), Some(tried));
        assert_eq!(decode(&Headers::new().with(USAGE, "").with(TRIED, "{}")).unwrap_err().place, TRIED);
    }

    #[test]
    fn what_was_called_is_said_with_it() {
        let labels = [("team".to_owned(), "a b".to_owned())].into();
        let about = About { task: "thumbs@1/resize".parse().ok(), queue: "images".parse().ok(), labels };
        let usage = Usage { attempt: 1, delivery: 1, about: Some(Box::new(about)), ..Usage::default() };
        let mut headers = Headers::new();
        encode(&usage, &mut headers);
        let text = "attempt=1 delivery=1 fuel=0 memory=0 us=0 task=thumbs@1/resize queue=images";
        assert_eq!((headers.value(USAGE), headers.value(LABELS)), (Some(text), Some("team=a b")));
        assert_eq!(decode(&headers).unwrap(), usage);
    }
}
