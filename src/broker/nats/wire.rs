//! What NATS sends, as messages of ours, and back.

use async_nats::{HeaderMap, HeaderName, HeaderValue};

use crate::broker::{Error, Message, Result};
use crate::model::Timestamp;
use crate::protocol::Headers;

/// How the names of the broker's own headers begin.
const OWN: &str = "Nats-";

/// Headers that a direct get puts beside those of the message.
const PLACE: [&str; 6] =
    ["Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"];

/// What the reply subject of a delivery says: `$JS.ACK[.<domain>.<account>].<stream>.<consumer>.<count>.<sequence>.<consumer
/// sequence>.<nanoseconds>.<pending>[.<random>]` (NATS ADR-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How often the message has been delivered.
    pub(super) count: u64,
    /// Its place in the stream.
    pub(super) sequence: u64,
    /// The number of this delivery among all of its consumer.
    pub(super) delivery: u64,
    /// When it was stored.
    pub(super) time: Timestamp,
    /// Messages that the consumer has not delivered yet.
    pub(super) pending: u64,
}

impl Place {
    /// Reads a reply subject; `None` if it is not one of a delivery.
    pub(super) fn read(reply: &str) -> Option<Self> {
        let tail = reply.strip_prefix("$JS.ACK.")?;
        let skipped = if tail.split('.').count() >= 9 { 4 } else { 2 };
        let mut tokens = tail.split('.').skip(skipped);
        let mut number = || tokens.next()?.parse::<u64>().ok();
        let (count, sequence, delivery, nanos, pending) = (number()?, number()?, number()?, number()?, number()?);
        let time = Timestamp::from_millis(i64::try_from(nanos / 1_000_000).ok()?);
        Some(Self { count, sequence, delivery, time, pending })
    }
}

/// Our headers as NATS's. Those of the broker's own, which a message brings along that is published again, are left out: its old
/// id would make the server take it for a duplicate, and acknowledge what it drops.
pub(super) fn header_map(headers: &Headers) -> Result<HeaderMap> {
    let own = |name: &str| name.get(..OWN.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(OWN));
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !own(name)) {
        append(&mut map, name, value)?;
    }
    Ok(map)
}

/// Adds one header.
pub(super) fn append(map: &mut HeaderMap, name: &str, value: &str) -> Result<()> {
    let name: HeaderName = name.parse().map_err(|_| Error::Other(format!("{name:?} is no header name")))?;
    let value: HeaderValue = value.parse().map_err(|_| Error::Other("a header value holds a line break".to_owned()))?;
    map.append(name, value);
    Ok(())
}

/// NATS's headers as ours, sorted by name, since NATS's client keeps no order.
pub(super) fn headers(map: Option<&HeaderMap>) -> Headers {
    let Some(map) = map else { return Headers::new() };
    let mut pairs: Vec<(&str, &str)> = map
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str())))
        .collect();
    pairs.sort_unstable();
    pairs.into_iter().collect()
}

/// A message that a consumer delivered.
pub(super) fn delivered(message: async_nats::Message, place: &Place) -> Message {
    Message {
        headers: headers(message.headers.as_ref()),
        subject: message.subject.into_string(),
        payload: message.payload,
        sequence: place.sequence,
        time: place.time,
        reply: None,
    }
}

/// A message that was heard on the bus.
pub(super) fn heard(message: async_nats::Message) -> Message {
    Message {
        headers: headers(message.headers.as_ref()),
        subject: message.subject.into_string(),
        payload: message.payload,
        sequence: 0,
        time: Timestamp::default(),
        reply: message.reply.map(async_nats::Subject::into_string),
    }
}

/// A message that a direct get answered with.
pub(super) fn direct(message: async_nats::Message) -> Result<Message> {
    let mut headers = headers(message.headers.as_ref());
    let place = || {
        let sequence = headers.value("Nats-Sequence")?.parse().ok()?;
        let time = headers.value("Nats-Time-Stamp")?.parse().ok()?;
        Some((headers.value("Nats-Subject")?.to_owned(), sequence, time))
    };
    let Some((subject, sequence, time)) = place() else {
        return Err(Error::Other("a direct get answered without saying where".to_owned()));
    };
    for name in PLACE {
        headers.remove(name);
    }
    Ok(Message { subject, headers, payload: message.payload, sequence, time, reply: None })
}

/// Headers as they go over the wire: a line that names the protocol, then `Name: value` lines.
pub(super) fn parse_headers(bytes: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(bytes);
    let mut pairs: Vec<(&str, &str)> =
        text.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(n, v)| (n.trim(), v.trim())).collect();
    pairs.sort_unstable();
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_subject_says_where_its_message_stands() {
        let place = Place { count: 2, sequence: 30, delivery: 4, time: Timestamp::from_millis(1_600), pending: 6 };
        for text in [
            "$JS.ACK.LVG_TASK_t.c.2.30.4.1600999999.6",
            "$JS.ACK.hub.ACCHASH.LVG_TASK_t.c.2.30.4.1600999999.6",
            "$JS.ACK._.ACCHASH.LVG_TASK_t.c.2.30.4.1600999999.6.x7Yz",
        ] {
            assert_eq!(Place::read(text), Some(place), "{text}");
        }
        for text in ["", "_INBOX.a.b", "$JS.ACK.s.c.2.30.4.x.6", "$JS.ACK.s.c.1"] {
            assert_eq!(Place::read(text), None, "{text}");
        }
    }

    #[test]
    fn headers_of_the_wire_are_read() {
        let headers = parse_headers(b"NATS/1.0\r\nB: x:y\r\nA: 1\r\n\r\n");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("A", "1"), ("B", "x:y")]);
    }
}
