//! What every language must be able to do: see ../../README.md. Rust with the SDK.

use lovage_guest::{Failure, info, progress, task};

/// Adds up numbers.
#[task]
fn sum(numbers: Vec<f64>) -> f64 {
    numbers.iter().sum()
}

/// Returns a text.
#[task]
fn echo(text: String) -> String {
    text
}

/// Fails so that another attempt may succeed.
#[task]
fn busy() -> Result<(), Failure> {
    Err(Failure::retryable("try again"))
}

/// Fails for good.
#[task]
fn never() -> Result<(), Failure> {
    Err(Failure::permanent("never again"))
}

/// Logs three lines.
#[task]
fn say() -> u32 {
    for line in 1..=3 {
        info!("line {line}: grüße");
    }
    3
}

/// Reports so many steps.
#[task]
fn steps(count: u32) -> u32 {
    for step in 1..=count {
        progress(f64::from(step), f64::from(count), "step");
    }
    count
}

/// Panics.
#[task]
fn panic() {
    panic!("as asked");
}

lovage_guest::export!(sum, echo, busy, never, say, steps, panic);
