//! Printing: outputs as one line of JSON, tables for people.

use std::io::Write as _;

use serde::Serialize;

use super::Fault;
use crate::protocol::note::printable;

/// Prints a task's output: JSON on one line; bytes that are no JSON as they are.
pub(super) fn value(bytes: &[u8]) -> Result<(), Fault> {
    let spread = bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let compact = spread.then(|| serde_json::from_slice::<serde_json::Value>(bytes).ok()).flatten();
    let mut line = compact.map_or_else(|| bytes.to_vec(), |json| json.to_string().into_bytes());
    if std::str::from_utf8(bytes).is_ok() {
        line.push(b'\n');
    }
    write(&line)
}

/// Prints anything as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string(value).map_err(|error| Fault::platform(format!("failed to print: {error}")))?;
    line(&text)
}

/// Prints one line.
pub(super) fn line(text: &str) -> Result<(), Fault> {
    write(format!("{text}\n").as_bytes())
}

/// Prints rows in columns below a head.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Fault> {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let scaled = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", scaled(1 << 10)),
        _ => format!("{:.1} MiB", scaled(1 << 20)),
    }
}

/// A reader that went away (as `head` does) is no fault of ours.
fn write(bytes: &[u8]) -> Result<(), Fault> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Fault::platform(format!("failed to print: {error}")))
        }
        _ => Ok(()),
    }
}
