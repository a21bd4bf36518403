//! Dead letters on `lvg.<t>.dead.<queue>.<id>`: a task after its last failure, with what it takes to send it again. The message is
//! the task's own, with headers that say how it ended.

use bytes::Bytes;

use super::subject::{PRIORITY_DEFAULT, Priority};
use super::task::{TaskMessage, parsed};
use super::usage::{self, USAGE};
use super::{Headers, Rejection};
use crate::model::lifecycle::Usage;
use crate::model::{Failure, Queue, TaskId, Tenant, Timestamp};

/// What the task failed with, as JSON.
pub const FAILURE: &str = "Lovage-Failure";
/// The priority that it had, 0 to 9.
pub const PRIORITY: &str = "Lovage-Priority";

/// The longest message of a failure in a dead letter, in characters: the record of the task had it whole.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// The longest detail of a failure in a dead letter, in bytes; a longer one is left out.
const DETAIL_BYTES_MAX: usize = 2 << 10;

/// A dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// The task that died.
    pub id: TaskId,
    /// The queue that it was in.
    pub queue: Queue,
    /// Its priority there.
    pub priority: Priority,
    /// When it died.
    pub died: Timestamp,
    /// What it failed with.
    pub failure: Failure,
    /// What its last attempt took, and where.
    pub usage: Usage,
    /// Its message, or what is wrong with that: then nothing can be sent again.
    pub message: Result<TaskMessage, Rejection>,
    /// Where the letter stands in its stream.
    pub sequence: u64,
}

/// `lvg.<t>.dead.<queue>.<id>`: the letter of a task.
#[must_use]
pub fn subject(tenant: &Tenant, queue: &Queue, id: &TaskId) -> String {
    format!("lvg.{tenant}.dead.{queue}.{id}")
}

/// `lvg.<t>.dead.*.<id>`: the letter of a task, whichever its queue was.
#[must_use]
pub fn anywhere(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.dead.*.{id}")
}

/// `lvg.<t>.dead.<queue>.*`: the letters of a queue; of all queues where none is named.
#[must_use]
pub fn all(tenant: &Tenant, queue: Option<&Queue>) -> String {
    match queue {
        Some(queue) => format!("lvg.{tenant}.dead.{queue}.*"),
        None => format!("lvg.{tenant}.dead.*.*"),
    }
}

/// The headers of a letter, made of those of the task's message.
#[must_use]
pub fn encode(task: &Headers, priority: Priority, failure: &Failure, used: &Usage) -> Headers {
    // The server's own headers say how that message came here.
    let own = |name: &str| !name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"));
    let mut headers: Headers = task.iter().filter(|(name, _)| own(name)).collect();
    let mut failure = failure.clone();
    failure.message = failure.message.chars().take(MESSAGE_CHARS_MAX).collect();
    failure.detail = failure.detail.filter(|detail| detail.to_string().len() <= DETAIL_BYTES_MAX);
    headers.set(FAILURE, serde_json::to_string(&failure).unwrap_or_default());
    headers.set(PRIORITY, priority.to_string());
    usage::encode(used, &mut headers);
    headers
}

/// Reads a letter.
///
/// # Errors
/// A subject or headers that are none of a letter.
pub fn decode(
    subject: &str,
    headers: &Headers,
    body: &Bytes,
    died: Timestamp,
    sequence: u64,
) -> Result<Letter, Rejection> {
    let wrong = || Rejection::new("subject", "it takes lvg.<tenant>.dead.<queue>.<id>");
    let mut tokens = subject.split('.').skip(3);
    let mut token = || tokens.next().ok_or_else(wrong);
    let queue = token()?.parse().map_err(|error| Rejection::new("queue", error))?;
    let id = token()?.parse().map_err(|error| Rejection::new("id", error))?;
    let failure = headers.value(FAILURE).ok_or_else(|| Rejection::new(FAILURE, "is missing"))?;
    let failure = serde_json::from_str(failure).map_err(|error| Rejection::new(FAILURE, error))?;
    let mut task = headers.clone();
    for name in [FAILURE, PRIORITY, USAGE] {
        task.remove(name);
    }
    Ok(Letter {
        id,
        queue,
        priority: parsed::<u8>(headers, PRIORITY)?.and_then(Priority::new).unwrap_or(PRIORITY_DEFAULT),
        died,
        failure,
        usage: usage::decode(headers)?,
        message: TaskMessage::decode(&task, body),
        sequence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lifecycle::About;
    use crate::model::{Kind, Signature};
    use proptest::prelude::*;

    fn task() -> (Headers, Bytes) {
        let mut signature = Signature::new("m@1/t".parse().unwrap(), "[1]");
        signature.options.labels = [("a".to_owned(), "1".to_owned())].into();
        TaskMessage { attempt: 3, recheck: true, ..TaskMessage::first(signature) }.encode()
    }

    fn usage() -> Usage {
        Usage {
            attempt: 3,
            delivery: 1,
            host: Some("h".parse().unwrap()),
            fuel: 7,
            memory_bytes: 8,
            duration_us: 9,
            ..Usage::default()
        }
    }

    #[test]
    fn a_letter_has_a_golden_form() {
        let (headers, body) = task();
        let headers = headers.with("Nats-Msg-Id", "x").with("traceparent", "00-ab-cd-01");
        let failure = Failure { attempt: Some(3), ..Failure::new(Kind::Trap, "unreachable") };
        let letter = encode(&headers, Priority::new(9).unwrap(), &failure, &usage());
        let text: String = letter.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        assert_eq!(text, include_str!("../../tests/golden/dead-v1.txt"));
        let at = Timestamp::from_millis(5);
        let read = decode("lvg.t.dead.q.x", &letter, &body, at, 4).unwrap();
        assert_eq!((read.id.as_str(), read.queue.as_str(), read.priority.number()), ("x", "q", 9));
        let labels = [("a".to_owned(), "1".to_owned())].into();
        let usage = Usage { about: Some(Box::new(About { labels, ..About::default() })), ..usage() };
        assert_eq!((read.failure, read.usage, read.died, read.sequence), (failure, usage, at, 4));
        let message = read.message.unwrap();
        assert_eq!((message.attempt, message.signature.task.to_string()), (3, "m@1/t".to_owned()));
    }

    #[test]
    fn a_long_failure_is_cut_and_one_of_a_stranger_is_kept() {
        let mut failure = Failure::new(Kind::Returned, "x".repeat(100_000));
        failure.detail = Some("y".repeat(100_000).into());
        let headers = Headers::new().with("Lovage-Task", "no task");
        let letter = encode(&headers, PRIORITY_DEFAULT, &failure, &Usage::default());
        let read = decode("lvg.t.dead.q.x", &letter, &Bytes::new(), Timestamp::default(), 1).unwrap();
        assert_eq!((read.failure.message.len(), read.failure.detail), (1_000, None));
        assert!(read.message.unwrap_err().to_string().contains("module/task"));
        for (subject, headers) in [("lvg.t.dead.q", &letter), ("lvg.t.dead.Q.x", &letter), ("lvg.t.dead.q.x", &headers)]
        {
            assert!(decode(subject, headers, &Bytes::new(), Timestamp::default(), 1).is_err(), "{subject}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(name in "[A-Za-z-]{1,24}", value in "\\PC{0,80}") {
            let (headers, body) = task();
            for name in [name.as_str(), FAILURE, PRIORITY, USAGE] {
                drop(decode("lvg.t.dead.q.x", &headers.clone().with(name, value.clone()), &body, Timestamp::default(), 1));
            }
        }
    }
}
