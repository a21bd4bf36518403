//! The message that asks for a task: its body is the input itself, everything else is in headers, so that any NATS client can
//! submit one.

use std::borrow::Cow;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Headers, Rejection, debounce, limit, singleton};
use crate::model::datum::Elsewhere;
use crate::model::limits::{FuelWish, Off, Wish};
use crate::model::retry::ATTEMPTS_MAX;
use crate::model::signature::{LABELS_MAX, Options, parse_label};
use crate::model::time::{format_duration, parse_duration};
use crate::model::{Datum, Digest, Labels, Policy, Signature, TaskRef, Timestamp, Value, requirement};

/// `module/task` or `module@version/task`. The only header that a task needs.
pub const TASK: &str = "Lovage-Task";
/// The number of the attempt; 1 where it is absent.
pub const ATTEMPT: &str = "Lovage-Attempt";
/// Present on every publish that is not the first submit: look for a committed outcome before running.
pub const RECHECK: &str = "Lovage-Recheck";
/// The retry policy: a number of attempts, or JSON.
pub const RETRY: &str = "Lovage-Retry";
/// Units of fuel, or `off`.
pub const FUEL: &str = "Lovage-Fuel";
/// Bytes of linear memory.
pub const MEMORY: &str = "Lovage-Memory";
/// The wall-clock bound of one attempt, as in `90s`.
pub const ATTEMPT_TIMEOUT: &str = "Lovage-Attempt-Timeout";
/// How long a guest that asks whether it is cancelled may go on after that, as in `5s`.
pub const CANCEL_GRACE: &str = "Lovage-Cancel-Grace";
/// RFC 3339: a delivery after it does not run.
pub const EXPIRES: &str = "Lovage-Expires";
/// RFC 3339: when the task must have ended, all its attempts included.
pub const TIMEOUT_AT: &str = "Lovage-Timeout-At";
/// The same for every attempt and delivery of the task.
pub const IDEMPOTENCY_KEY: &str = "Lovage-Idempotency-Key";
/// The key of the limit that the task declares, in place of the declared one: who submits puts the limit itself into
/// [`LIMITS`](limit::LIMITS).
pub const LIMIT_KEY: &str = "Lovage-Limit-Key";
/// `key=value`, separated by commas.
pub const LABELS: &str = "Lovage-Labels";
/// Labels that a host must have, `key=value` each, with commas between them; the subject carries their mark.
pub const REQUIRES: &str = "Lovage-Requires";
/// `sha256:<digest> <size>`: the input (or output) is in the object store and the body is empty.
pub const VALUE: &str = "Lovage-Value";
/// Present on a compensation and its retries: a cancel of the run does not stop it.
pub const SHIELDED: &str = "Lovage-Shielded";
/// `composed`: the input is a [`Datum`] as [`compose`] writes it, which the host puts together.
pub const FORM: &str = "Lovage-Form";
/// The digest that the module must have: the one that a run was started with.
pub const DIGEST: &str = "Lovage-Digest";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_LEN_MAX: usize = 256;

/// How the bytes of an input are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// They are the input.
    #[default]
    Plain,
    /// They are JSON of which parts stand elsewhere ([`compose`]).
    Composed,
}

/// A task as it is queued.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskMessage {
    /// What to call, with what, and how.
    pub signature: Signature,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Whether this is not the first submit.
    pub recheck: bool,
    /// Whether it runs although its run was cancelled.
    pub shielded: bool,
    /// How the bytes of the input are to be read.
    pub form: Form,
    /// The digest that the module must have.
    pub digest: Option<Digest>,
    /// W3C trace context of the submitter.
    pub traceparent: Option<String>,
}

impl TaskMessage {
    /// The first submit of a signature.
    #[must_use]
    pub const fn first(signature: Signature) -> Self {
        Self {
            signature,
            attempt: 1,
            recheck: false,
            shielded: false,
            form: Form::Plain,
            digest: None,
            traceparent: None,
        }
    }

    /// Headers and body of the message. What has its default value is left out.
    #[must_use]
    pub fn encode(&self) -> (Headers, Bytes) {
        let Signature { task, input, options } = &self.signature;
        let mut headers = Headers::new().with(TASK, task.to_string());
        if self.attempt > 1 {
            headers.set(ATTEMPT, self.attempt.to_string());
        }
        if self.recheck {
            headers.set(RECHECK, "1");
        }
        if self.shielded {
            headers.set(SHIELDED, "1");
        }
        if let Some(digest) = &self.digest {
            headers.set(DIGEST, digest.to_string());
        }
        if self.form == Form::Composed {
            headers.set(FORM, "composed");
        }
        encode_options(options, &mut headers);
        if let Some(traceparent) = &self.traceparent {
            headers.set(TRACEPARENT, traceparent);
        }
        let body = encode_value(input, &mut headers);
        (headers, body)
    }

    /// Reads a message, which may come from anyone.
    ///
    /// # Errors
    /// The first header that is not as the protocol says.
    pub fn decode(headers: &Headers, body: &Bytes) -> Result<Self, Rejection> {
        let task: TaskRef = parsed(headers, TASK)?
            .ok_or_else(|| Rejection::new(TASK, "is missing: it takes module/task or module@version/task"))?;
        let attempt = parsed(headers, ATTEMPT)?.unwrap_or(1);
        if !(1..=ATTEMPTS_MAX).contains(&attempt) {
            return Err(Rejection::new(ATTEMPT, "it takes a number from 1 to 1000"));
        }
        let form = match headers.value(FORM) {
            None => Form::Plain,
            Some("composed") => Form::Composed,
            Some(_) => return Err(Rejection::new(FORM, "it takes composed")),
        };
        let signature = Signature { task, input: decode_value(headers, body)?, options: decode_options(headers)? };
        Ok(Self {
            signature,
            attempt,
            recheck: headers.value(RECHECK).is_some(),
            shielded: headers.value(SHIELDED).is_some(),
            form,
            digest: parsed(headers, DIGEST)?,
            traceparent: headers.value(TRACEPARENT).filter(|text| text.len() <= 64).map(str::to_owned),
        })
    }
}

/// A composed input as it stands in a message.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Composed<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    elsewhere: Cow<'a, [Elsewhere]>,
}

/// The bytes of an input that a host puts together: `{"text": "...", "elsewhere": [{"at", "digest", "size"}]}`.
#[must_use]
pub fn compose(input: &Datum) -> Bytes {
    let text = String::from_utf8_lossy(input.text());
    serde_json::to_vec(&Composed { text, elsewhere: Cow::Borrowed(input.elsewhere()) }).unwrap_or_default().into()
}

/// Reads what [`compose`] wrote.
///
/// # Errors
/// Bytes of another form, and parts that have no place in the text.
pub fn read_composed(body: &Bytes) -> Result<Datum, Rejection> {
    let Composed { text, elsewhere } =
        serde_json::from_slice(body).map_err(|error| Rejection::new("composed input", error))?;
    let text = Bytes::from(text.into_owned());
    Datum::of_parts(&text, elsewhere.into_owned()).map_err(|error| Rejection::new("composed input", error))
}

fn encode_options(options: &Options, headers: &mut Headers) {
    let Options { retry, limits, idempotency_key, limit_key, fleet, labels, requires, .. } = options;
    if *retry != Policy::default() {
        let text = if *retry == Policy::of_attempts(retry.attempts) {
            retry.attempts.to_string()
        } else {
            serde_json::to_string(retry).unwrap_or_default()
        };
        headers.set(RETRY, text);
    }
    match limits.fuel {
        Some(FuelWish::Units(units)) => headers.set(FUEL, units.to_string()),
        Some(FuelWish::Off(Off::Off)) => headers.set(FUEL, "off"),
        None => {}
    }
    if let Some(bytes) = limits.memory_bytes {
        headers.set(MEMORY, bytes.to_string());
    }
    for (name, ms) in [(ATTEMPT_TIMEOUT, limits.attempt_timeout_ms), (CANCEL_GRACE, limits.cancel_grace_ms)] {
        if let Some(ms) = ms {
            headers.set(name, format_duration(std::time::Duration::from_millis(ms)));
        }
    }
    for (name, time) in [(EXPIRES, options.expires), (TIMEOUT_AT, options.timeout_at)] {
        if let Some(time) = time {
            headers.set(name, time.to_string());
        }
    }
    if let Some(key) = idempotency_key {
        headers.set(IDEMPOTENCY_KEY, key);
    }
    if let Some(key) = limit_key {
        headers.set(LIMIT_KEY, key);
    }
    limit::encode(fleet, headers);
    singleton::encode(options.singleton.as_ref(), headers);
    debounce::encode(options.debounce.as_ref(), headers);
    for (name, labels) in [(LABELS, labels), (REQUIRES, requires)] {
        if !labels.is_empty() {
            headers.set(name, requirement::text(labels));
        }
    }
}

fn decode_options(headers: &Headers) -> Result<Options, Rejection> {
    let retry = match headers.value(RETRY) {
        Some(text) => serde_json::from_str(text).map_err(|error| Rejection::new(RETRY, error))?,
        None => Policy::default(),
    };
    let fuel = match headers.value(FUEL) {
        Some("off") => Some(FuelWish::Off(Off::Off)),
        Some(_) => parsed(headers, FUEL)?.map(FuelWish::Units),
        None => None,
    };
    let limits = Wish {
        fuel,
        memory_bytes: parsed(headers, MEMORY)?,
        attempt_timeout_ms: millis(headers, ATTEMPT_TIMEOUT)?,
        output_bytes: None,
        cancel_grace_ms: millis(headers, CANCEL_GRACE)?,
    };
    let idempotency_key = headers.value(IDEMPOTENCY_KEY).map(str::to_owned);
    if idempotency_key.as_ref().is_some_and(|key| key.len() > IDEMPOTENCY_KEY_LEN_MAX) {
        return Err(Rejection::new(IDEMPOTENCY_KEY, "it takes up to 256 bytes"));
    }
    Ok(Options {
        retry,
        limits,
        expires: parsed::<Timestamp>(headers, EXPIRES)?,
        timeout_at: parsed::<Timestamp>(headers, TIMEOUT_AT)?,
        idempotency_key,
        limit_key: headers.value(LIMIT_KEY).map(str::to_owned),
        fleet: limit::decode(headers)?,
        singleton: singleton::decode(headers)?,
        debounce: debounce::decode(headers)?,
        labels: read_labels(headers, LABELS)?,
        requires: read_labels(headers, REQUIRES)?,
    })
}

/// A header that holds a duration, in milliseconds.
fn millis(headers: &Headers, name: &'static str) -> Result<Option<u64>, Rejection> {
    let read = |text| parse_duration(text).map_err(|error| Rejection::new(name, error));
    let duration = headers.value(name).map(read).transpose()?;
    Ok(duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

/// The labels in a header; none where it is absent.
pub(super) fn read_labels(headers: &Headers, name: &str) -> Result<Labels, Rejection> {
    let labels = headers.value(name).into_iter().flat_map(|text| text.split(','));
    let labels: Labels =
        labels.map(parse_label).collect::<Result<_, _>>().map_err(|error| Rejection::new(name, error))?;
    if labels.len() > LABELS_MAX {
        return Err(Rejection::new(name, "it takes up to 16 labels"));
    }
    Ok(labels)
}

/// The header's value in its type; `None` where it is absent.
pub(super) fn parsed<T>(headers: &Headers, name: &str) -> Result<Option<T>, Rejection>
where
    T: FromStr<Err: std::fmt::Display>,
{
    headers.value(name).map(|text| text.trim().parse().map_err(|error| Rejection::new(name, error))).transpose()
}

/// The body that carries a value, or none and a header that refers to it.
pub(super) fn encode_value(value: &Value, headers: &mut Headers) -> Bytes {
    match value {
        Value::Inline(bytes) => bytes.clone(),
        Value::Stored { digest, size } => {
            headers.set(VALUE, format!("{digest} {size}"));
            Bytes::new()
        }
    }
}

/// The value that a message carries or refers to.
pub(super) fn decode_value(headers: &Headers, body: &Bytes) -> Result<Value, Rejection> {
    let Some(text) = headers.value(VALUE) else { return Ok(Value::Inline(body.clone())) };
    let form = || Rejection::new(VALUE, "it takes sha256:<digest> <size in bytes>");
    let (digest, size) = text.split_once(' ').ok_or_else(form)?;
    let digest: Digest = digest.parse().map_err(|_| form())?;
    Ok(Value::Stored { digest, size: size.parse().map_err(|_| form())? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::debounce::{Debounce, Timing};
    use crate::model::limit::{Limit, Rule};
    use crate::model::singleton::{Mode, Singleton};
    use proptest::prelude::*;

    fn bare() -> Headers {
        Headers::new().with(TASK, "thumbs/resize")
    }

    #[test]
    fn a_task_needs_one_header() {
        let message = TaskMessage::decode(&bare(), &Bytes::from_static(b"{}")).unwrap();
        assert_eq!(message, TaskMessage::first(Signature::new("thumbs/resize".parse().unwrap(), "{}")));
        assert_eq!(message.encode(), (bare(), Bytes::from_static(b"{}")));
    }

    #[test]
    fn every_option_has_a_golden_form() {
        let mut signature = Signature::new("m@1/t".parse().unwrap(), Bytes::new());
        signature.input = Value::Stored { digest: Digest::of(b"abc"), size: 3 };
        let period = std::time::Duration::from_secs(30);
        signature.options = Options {
            retry: Policy { attempts: 5, backoff: std::time::Duration::from_millis(100), ..Policy::default() },
            limits: Wish {
                fuel: Some(FuelWish::Off(Off::Off)),
                memory_bytes: Some(1 << 20),
                attempt_timeout_ms: Some(90_000),
                output_bytes: None,
                cancel_grace_ms: Some(5_000),
            },
            expires: Some(Timestamp::from_millis(1_000)),
            timeout_at: Some(Timestamp::from_millis(2_000)),
            idempotency_key: Some("k".into()),
            limit_key: Some("k".into()),
            fleet: vec![Limit::of_key("k", Rule { concurrency: Some(2), ..Rule::default() }).unwrap()],
            singleton: Some(Singleton { key: "k".into(), mode: Mode::Cancel }),
            debounce: Some(Debounce { key: Some("k".into()), timing: Timing { period, timeout: Some(period * 4) } }),
            labels: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
            requires: [("gpu".to_owned(), "yes".to_owned())].into(),
        };
        let message = TaskMessage {
            attempt: 2,
            recheck: true,
            shielded: true,
            form: Form::Composed,
            digest: Some(Digest::of(b"abc")),
            traceparent: Some("00-ab-cd-01".into()),
            ..TaskMessage::first(signature)
        };
        let (headers, body) = message.encode();
        let golden = include_str!("../../tests/golden/task-v1.txt");
        let text: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        assert_eq!(text, golden);
        assert_eq!(TaskMessage::decode(&headers, &body).unwrap(), message);
    }

    #[test]
    fn a_rejection_names_the_header_and_what_it_takes() {
        for (name, value, problem) in [
            (TASK, "resize", "it takes the form module/task"),
            (ATTEMPT, "0", "from 1 to 1000"),
            (ATTEMPT, "two", "invalid digit"),
            (RETRY, "{\"tries\":1}", "a retry policy is"),
            (FUEL, "-1", "invalid digit"),
            (MEMORY, "1GB", "invalid digit"),
            (ATTEMPT_TIMEOUT, "soon", "it takes a duration"),
            (EXPIRES, "tomorrow", "it takes RFC 3339"),
            (LABELS, "a", "key=value"),
            (REQUIRES, "gpu", "key=value"),
            (VALUE, "sha256:00 3", "sha256:<digest>"),
            (FORM, "torn", "it takes composed"),
            (DIGEST, "abc", ""),
        ] {
            let error = TaskMessage::decode(&bare().with(name, value), &Bytes::new()).unwrap_err();
            assert_eq!(error.place, name);
            assert!(error.problem.contains(problem), "{error}");
        }
        let missing = TaskMessage::decode(&Headers::new(), &Bytes::new()).unwrap_err();
        assert!(missing.to_string().starts_with("Lovage-Task: is missing"), "{missing}");
    }

    #[test]
    fn a_composed_input_has_a_golden_form() {
        let part = Datum::stored(Digest::of(b"abc"), 3);
        let input = Datum::array([&Datum::of_json(&"a\"ü".into()), &part]);
        let body = compose(&input);
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let golden = format!(r#"{{"text":"[\"a\\\"ü\",null]","elsewhere":[{{"at":9,"digest":"{digest}","size":3}}]}}"#);
        assert_eq!(std::str::from_utf8(&body).unwrap(), golden);
        assert_eq!(read_composed(&body).unwrap(), input);
        let misplaced = golden.replace(r#""at":9"#, r#""at":8"#);
        for bad in ["null", "{}", r#"{"text":"{","elsewhere":[]}"#, &misplaced] {
            let error = read_composed(&Bytes::copy_from_slice(bad.as_bytes())).unwrap_err();
            assert_eq!(error.place, "composed input", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(name in "[A-Za-z-]{1,24}", value in "\\PC{0,80}") {
            let headers = bare().with(&name, value.clone());
            drop(TaskMessage::decode(&headers, &Bytes::new()));
            for name in [TASK, ATTEMPT, RETRY, FUEL, MEMORY, ATTEMPT_TIMEOUT, EXPIRES, LABELS, REQUIRES, VALUE, FORM, DIGEST] {
                drop(TaskMessage::decode(&bare().with(name, value.clone()), &Bytes::new()));
            }
        }
    }
}
