//! Printing: outputs as one line of JSON, tables for people.

use std::io::Write as _;

use serde::Serialize;

use super::Fault;
use crate::protocol::note::printable;

/// Prints a task's output: JSON on one line; bytes that are no JSON as they are.
pub(super) fn value(bytes: &[u8]) -> Result<(), Fault> {
    write(&one_line(bytes))
}

fn one_line(bytes: &[u8]) -> Vec<u8> {
    let spread = bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let compact = spread.then(|| serde_json::from_slice::<serde_json::Value>(bytes).ok()).flatten();
    let mut line = compact.map_or_else(|| bytes.to_vec(), |json| json.to_string().into_bytes());
    if std::str::from_utf8(bytes).is_ok() {
        line.push(b'\n');
    }
    line
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
    columns(head, rows).iter().try_for_each(|row| line(row))
}

fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    // A tab would move what stands behind it.
    let shown = |cell: &str| printable(cell).replace('\t', " ");
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Says on stderr what was done to something.
#[expect(clippy::unnecessary_wraps, reason = "the last line of commands that can fail")]
pub(super) fn told(what: &str, to: &impl std::fmt::Display) -> Result<(), Fault> {
    eprintln!("{what} {to}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_one_line_and_other_bytes_are_left_alone() {
        for (bytes, shown) in [
            (&b"{\"a\":\n  [1,\r\n 2]}"[..], &b"{\"a\":[1,2]}\n"[..]),
            (b"{ \"b\": 1, \"a\": 1.50 }", b"{ \"b\": 1, \"a\": 1.50 }\n"),
            (b"two\nlines", b"two\nlines\n"),
            (b"\"line\\nbreak\"", b"\"line\\nbreak\"\n"),
            (b"", b"\n"),
            (b"\x89PNG\r\n\xff", b"\x89PNG\r\n\xff"),
        ] {
            assert_eq!(one_line(bytes), shown, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn columns_stand_below_their_heads_and_drive_no_terminal() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let shown = columns(
            &["NAME", "SIZE", "NOTE"],
            &[row(["\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}", "1", ""]), row(["a", "22222", "\x1b[2J"])],
        );
        assert_eq!(shown, ["NAME   SIZE   NOTE", "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}  1", "a      22222  \\u{1b}[2J"]);
        assert_eq!(columns(&["NAME"], &[]), ["NAME"]);
    }

    proptest! {
        #[test]
        fn cells_of_a_column_begin_below_each_other(rows in proptest::collection::vec(any::<[String; 3]>(), 0..8)) {
            let cells: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
            let shown = columns(&["ONE", "TWO", "THREE"], &cells);
            prop_assert_eq!(shown.len(), rows.len() + 1);
            let head = shown[0].clone();
            let starts = ["TWO", "THREE"].map(|name| head.find(name).unwrap());
            for (line, row) in shown.iter().skip(1).zip(&rows) {
                prop_assert!(!line.contains(char::is_control), "{:?}", line);
                for (start, cell) in starts.into_iter().zip(&row[1..]) {
                    let cell = printable(cell).replace('\t', " ");
                    let found: String = line.chars().skip(start).take(cell.chars().count()).collect();
                    prop_assert_eq!(found.trim_end(), cell.trim_end());
                }
            }
        }

        #[test]
        fn an_output_is_one_line_if_it_is_json_and_means_the_same(json in "[\\[{\"a: 1,}\\]\n\r]{0,12}", number in any::<i64>(), text in any::<String>()) {
            let spread = serde_json::to_vec_pretty(&serde_json::json!({"text": text, "list": [number]})).unwrap();
            let line = one_line(&spread);
            prop_assert_eq!(line.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
            let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
            prop_assert_eq!(read(&line), read(&spread));
            // What is no JSON is left alone, but for its end.
            if serde_json::from_str::<serde_json::Value>(&json).is_err() {
                prop_assert_eq!(one_line(json.as_bytes()), format!("{json}\n").into_bytes());
            }
        }
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let sizes = [0, 1_023, 1_024, 1_536, 1_048_575, 1_048_576, 64 << 20, u64::MAX].map(size);
        assert_eq!(sizes[..5], ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1024.0 KiB"]);
        assert_eq!(sizes[5..], ["1.0 MiB", "64.0 MiB", "17592186044416.0 MiB"]);
    }
}
