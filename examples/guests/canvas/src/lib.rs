//! The tasks of which the tests of flows are made: small, and each with one thing that a flow can show.

use std::hint::black_box;

use lovage_guest::serde_json::Value;
use lovage_guest::{Failure, Flow, attempt, info, task};

/// Rounds of `slow` in about a millisecond on today's machines.
const ROUNDS_PER_MS: u32 = 500_000;
/// The first attempt of `flaky` that succeeds.
const FLAKY_UNTIL: u32 = 3;

/// Adds two numbers.
#[task]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Returns what it receives.
#[task]
fn id(x: Value) -> Value {
    x
}

/// Adds up the numbers of a list.
#[task]
fn sum(list: Vec<i64>) -> i64 {
    list.iter().sum()
}

/// Puts a value behind a list.
#[task]
fn append(mut list: Vec<Value>, x: Value) -> Vec<Value> {
    list.push(x);
    list
}

/// Makes a list of two values.
#[task]
fn pair(a: Value, b: Value) -> Vec<Value> {
    vec![a, b]
}

/// Fails: `returned` may be tried again, `trap` is a panic, every other kind is refused for good. The kind is the input, the
/// first of a list, or the field `kind`.
#[task]
fn fail(kind: Value) -> Result<Value, Failure> {
    let named = match &kind {
        Value::Array(all) => all.first(),
        Value::Object(fields) => fields.get("kind"),
        other => Some(other),
    };
    match named.and_then(Value::as_str) {
        Some("returned") => Err(Failure::retryable("it was told to")),
        Some("trap") => panic!("it was told to"),
        _ => Err(Failure::permanent("it was told to")),
    }
}

/// Writes its last argument to the log, and returns it.
#[task]
fn mark(arguments: Value) -> Value {
    let last = match arguments {
        Value::Array(mut all) => all.pop().unwrap_or(Value::Null),
        other => other,
    };
    note(&last);
    last
}

/// Fails twice, and then returns 7.
#[task]
fn flaky() -> Result<u32, Failure> {
    match attempt().number {
        number if number < FLAKY_UNTIL => Err(Failure::retryable(format!("attempt {number} of {FLAKY_UNTIL}"))),
        _ => Ok(7),
    }
}

/// Says that it begins, computes for about so many milliseconds, and returns a value.
#[task]
fn slow(ms: u32, x: Value) -> Value {
    info!("slow");
    black_box((0..ms).fold(1, |state, _| mix(state, ROUNDS_PER_MS)));
    x
}

/// Hands back its last argument, a flow, to take its place; a text before it goes to the log.
#[task]
fn replace(arguments: Vec<Value>) -> Flow {
    let mut arguments = arguments;
    let flow = arguments.pop().unwrap_or(Value::Null);
    if let Some(text @ Value::String(_)) = arguments.pop() {
        note(&text);
    }
    Flow(flow)
}

/// A line of the log: a text without its quotes.
fn note(value: &Value) {
    match value.as_str() {
        Some(text) => info!("{text}"),
        None => info!("{value}"),
    }
}

/// So many rounds of xorshift: no memory, no calls, nothing that a compiler could shorten.
fn mix(seed: u32, rounds: u32) -> u32 {
    let mut state = seed;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
    }
    state
}

lovage_guest::export!(add, id, sum, append, pair, fail, mark, flaky, slow, replace);
