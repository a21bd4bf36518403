//! Sales: the export of each shop, their sum, and the report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lovage_guest::{Failure, attempt, data, info, task};

/// What became of one shop's export.
#[data]
pub(crate) struct Sales {
    shop: String,
    #[serde(default)]
    rows: Vec<Row>,
    #[serde(default)]
    rejected: Vec<Rejected>,
    /// Why there is none.
    #[serde(default)]
    error: Option<String>,
}

#[data]
pub(crate) struct Row {
    item: String,
    quantity: u64,
    price: u64,
}

/// A line that could not be read.
#[data]
pub(crate) struct Rejected {
    line: u64,
    why: String,
}

/// The sales of all shops.
#[data]
pub(crate) struct Totals {
    good: usize,
    bad: usize,
    /// Each line that could not be read.
    rejected: Vec<String>,
    /// Shops without an export, and why.
    missing: Vec<String>,
    cents: u64,
    /// Pieces and cents by item.
    items: BTreeMap<String, (u64, u64)>,
}

/// The sales of a shop as CSV. Oslo is always slow to answer: its first attempt fails.
#[task]
pub(crate) fn export(shop: String, day: String) -> Result<String, Failure> {
    let csv = match shop.as_str() {
        "Lisbon" => include_str!("../data/lisbon.csv"),
        "Oslo" if attempt().number == 1 => return Err(Failure::retryable("Oslo does not answer")),
        "Oslo" => include_str!("../data/oslo.csv"),
        "Turin" => include_str!("../data/turin.csv"),
        _ => return Err(Failure::permanent(format_args!("there is no shop in {shop}"))),
    };
    info!("{shop} sent {} lines for {day}", csv.lines().count() - 1);
    Ok(csv.to_owned())
}

/// Adds up the sales of all shops.
#[task]
pub(crate) fn totals(sales: Vec<Sales>) -> Totals {
    let mut totals = Totals { good: 0, bad: 0, rejected: vec![], missing: vec![], cents: 0, items: BTreeMap::new() };
    for Sales { shop, rows, rejected, error } in sales {
        totals.good += rows.len();
        totals.bad += rejected.len();
        totals.rejected.extend(rejected.iter().map(|bad| format!("{shop}, line {}: {}", bad.line, bad.why)));
        totals.missing.extend(error.map(|error| format!("{shop}: {error}")));
        for Row { item, quantity, price } in rows {
            let (pieces, cents) = totals.items.entry(item).or_default();
            *pieces += quantity;
            *cents += quantity * price;
            totals.cents += quantity * price;
        }
    }
    totals
}

/// Writes the report of a day.
#[task]
pub(crate) fn report(totals: Totals, day: String) -> String {
    let mut text = format!("Sales of {day}: {}\n", euros(totals.cents));
    for (item, (pieces, cents)) in &totals.items {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{item}: {pieces} pieces, {}", euros(*cents));
    }
    for missing in &totals.missing {
        _ = writeln!(text, "Missing: {missing}");
    }
    text
}

fn euros(cents: u64) -> String {
    format!("{}.{:02} EUR", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sales_of_the_same_item_are_added_up() {
        let row = |quantity, price| Row { item: "basil".to_owned(), quantity, price };
        let of = |shop: &str, rows| Sales { shop: shop.to_owned(), rows, rejected: vec![], error: None };
        let totals = totals(vec![of("Oslo", vec![row(2, 150), row(1, 150)]), of("Turin", vec![row(1, 125)])]);
        assert_eq!((totals.good, totals.cents, totals.items["basil"]), (3, 575, (4, 575)));
        assert!(report(totals, "Monday".to_owned()).starts_with("Sales of Monday: 5.75 EUR\nbasil: 4 pieces"));
    }
}
