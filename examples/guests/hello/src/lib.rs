//! The smallest module: two functions that are tasks.

use lovage_guest::task;

/// Adds two numbers.
#[task]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Greets somebody.
#[task]
fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

lovage_guest::export!(add, greet);
