//! Does on request whatever a task may do, good or bad: the platform's tests call it.

use std::hint::black_box;
use std::time::Duration;

use lovage_guest::serde_json::Value;
use lovage_guest::{
    Attempt, Bytes, Failure, Flow, attempt, blob, data, info, is_cancelled, kv, progress, secrets, task,
};

/// Rounds of `burn` that are one unit, 1 to 3 ms on today's machines.
const ROUNDS_PER_UNIT: u32 = 1_000_000;
/// Rounds between two looks of `wait_cancel`, so that it does not spend its budget of host calls at
/// once.
const ROUNDS_PER_LOOK: u32 = 100_000;
/// The page size of WebAssembly: touching a byte of each makes memory real.
const PAGE_BYTES: usize = 65_536;

/// How to fail.
#[data]
struct Fail {
    kind: Kind,
    message: String,
    /// Milliseconds that the next attempt should wait.
    after_ms: Option<u64>,
}

#[data]
#[serde(rename_all = "lowercase")]
enum Kind {
    Retryable,
    Permanent,
}

#[data]
struct Flaky {
    /// The first attempt that succeeds.
    until: u32,
}

#[data]
struct Chatty {
    lines: u32,
}

#[data]
struct Steps {
    n: u32,
}

#[data]
struct Burn {
    units: u32,
}

#[data]
struct Size {
    bytes: usize,
}

/// Returns its input.
#[task]
fn echo(value: Value) -> Value {
    value
}

/// Fails as it is told.
#[task]
fn fail(input: Fail) -> Result<(), Failure> {
    let failure = match input.kind {
        Kind::Retryable => Failure::retryable(input.message),
        Kind::Permanent => Failure::permanent(input.message),
    };
    Err(match input.after_ms {
        Some(ms) => failure.after(Duration::from_millis(ms)),
        None => failure,
    })
}

/// Fails until a given attempt, and then returns that attempt's number.
#[task]
fn flaky(input: Flaky) -> Result<u32, Failure> {
    let number = attempt().number;
    if number < input.until {
        return Err(
            Failure::retryable(format!("attempt {number} of {}", input.until)).detail(number)
        );
    }
    Ok(number)
}

/// Panics.
#[task]
fn panic(message: String) {
    panic!("{message}");
}

/// Tells what the host says of this attempt.
#[task]
fn info() -> Attempt {
    attempt().clone()
}

/// Logs lines.
#[task]
fn chatty(input: Chatty) -> u32 {
    for line in 1..=input.lines {
        info!("line {line} of {}", input.lines);
    }
    input.lines
}

/// Reports its progress step by step.
#[task]
fn steps(input: Steps) -> u32 {
    for step in 1..=input.n {
        progress(f64::from(step), f64::from(input.n), format!("step {step}").as_str());
    }
    input.n
}

/// Computes for a while, 1 to 3 ms a unit, and returns a checksum that is the same everywhere.
#[task]
fn burn(input: Burn) -> u32 {
    (0..input.units).fold(1, |checksum, _| mix(checksum, ROUNDS_PER_UNIT))
}

/// Computes until somebody cancels it, and then ends tidily.
#[task]
fn wait_cancel() -> &'static str {
    let mut checksum = 1;
    while !is_cancelled() {
        checksum = black_box(mix(checksum, ROUNDS_PER_LOOK));
    }
    "tidy"
}

/// Returns a text of so many bytes.
#[task]
fn fill(input: Size) -> String {
    "x".repeat(input.bytes)
}

/// Takes so many bytes of memory, uses them, and returns how many there were.
#[task]
fn alloc(input: Size) -> usize {
    let mut memory = vec![0_u8; input.bytes];
    for byte in memory.iter_mut().step_by(PAGE_BYTES) {
        *byte = 1;
    }
    black_box(&memory).len()
}

/// Hands back a flow that takes its place.
#[task]
fn replace(flow: Value) -> Flow {
    Flow(flow)
}

/// Returns its input's bytes as they are, not as JSON.
#[task(media_type = "application/octet-stream")]
fn raw(bytes: Bytes) -> Bytes {
    bytes
}

/// Sets a key of a bucket.
#[task]
fn remember(bucket: String, key: String, value: String) -> Result<(), Failure> {
    kv::set(&bucket, &key, value.as_bytes())?;
    Ok(())
}

/// Reads a key of a bucket.
#[task]
fn recall(bucket: String, key: String) -> Result<Option<String>, Failure> {
    let entry = kv::get(&bucket, &key)?;
    Ok(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
}

/// Removes a key of a bucket.
#[task]
fn forget(bucket: String, key: String) -> Result<(), Failure> {
    Ok(kv::delete(&bucket, &key)?)
}

/// Lists keys of a bucket.
#[task]
fn list(bucket: String, prefix: String, limit: u32) -> Result<Vec<String>, Failure> {
    Ok(kv::keys(&bucket, &prefix, limit)?)
}

/// Sets a key of a bucket that has no entry yet, to so many bytes.
#[task]
fn claim(bucket: String, key: String, bytes: usize) -> Result<(), Failure> {
    kv::compare_and_set(&bucket, &key, &vec![b'x'; bytes], kv::Revision::NONE)?;
    Ok(())
}

/// Writes an object.
#[task]
fn store(bucket: String, name: String, text: String) -> Result<(), Failure> {
    Ok(blob::write(&bucket, &name, text.as_bytes())?)
}

/// Reads a part of an object.
#[task]
fn load(bucket: String, name: String, offset: u64, len: u32) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&blob::read(&bucket, &name, offset, len)?).into_owned())
}

/// Tells how long an object is.
#[task]
fn size(bucket: String, name: String) -> Result<u64, Failure> {
    Ok(blob::size(&bucket, &name)?)
}

/// Tells a secret, in one of the ways in which a guest can.
#[task]
fn tell(name: String, how: String) -> Result<String, Failure> {
    let secret = secrets::get(&name).ok_or_else(|| Failure::permanent("there is no such secret"))?;
    match how.as_str() {
        "log" => info!("the key is {secret}, as I said"),
        "progress" => progress(1.0, None, secret.as_str()),
        "output" => return Ok(format!("the key is {secret}")),
        "failure" => return Err(Failure::permanent(format!("the key is {secret}"))),
        "panic" => panic!("the key is {secret}"),
        _ => {}
    }
    Ok(format!("told by {how}"))
}

/// Asks for a key again and again.
#[task]
fn ask(bucket: String, times: u32) -> Result<u32, Failure> {
    let mut granted = 0;
    for _ in 0..times {
        granted += u32::from(kv::get(&bucket, "key").is_ok());
    }
    Ok(granted)
}

/// Tells how long a secret is, if there is one.
#[task]
fn secret_len(name: String) -> Option<usize> {
    secrets::get(&name).map(|secret| secret.len())
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

lovage_guest::export!(
    echo,
    fail,
    flaky,
    panic,
    info,
    chatty,
    steps,
    burn,
    wait_cancel,
    fill,
    alloc,
    replace,
    raw,
    remember,
    recall,
    forget,
    list,
    claim,
    store,
    load,
    size,
    tell,
    ask,
    secret_len,
);
