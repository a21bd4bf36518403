//! Sums of invoices, as a component that knows nothing of Lovage: the world of `wit/invoice.wit` and ordinary bindings.

wit_bindgen::generate!({ world: "invoice" });

use exports::example::invoice::billing::{Discount, Guest as Billing, Line, Problem, Rate, Sum};

struct Invoice;

export!(Invoice);

impl Guest for Invoice {
    fn check_digit(number: String) -> Result<char, String> {
        let mut sum = 0;
        for digit in number.chars() {
            let digit = digit.to_digit(10).ok_or_else(|| format!("{digit:?} is no digit"))?;
            sum = (sum + digit) * 2 % 11;
        }
        let digit = (12 - sum) % 11;
        Ok(if digit == 10 { 'X' } else { char::from_digit(digit, 10).unwrap_or('X') })
    }
}

/// A part of an amount, rounded down; none of at most 100 percent overflows.
fn percent_of(cents: u64, percent: u64) -> u64 {
    cents / 100 * percent + cents % 100 * percent / 100
}

impl Billing for Invoice {
    fn total(lines: Vec<Line>, rate: Rate, discount: Option<Discount>) -> Result<Sum, Problem> {
        let too_much = || Problem::Permanent("the sum is larger than any invoice".to_owned());
        let mut net: u64 = 0;
        for line in &lines {
            let cents = line.cents.checked_mul(line.quantity.into()).ok_or_else(too_much)?;
            net = net.checked_add(cents).ok_or_else(too_much)?;
        }
        let off = match discount.unwrap_or(Discount::None) {
            Discount::None => 0,
            Discount::Percent(percent) if percent > 100 => {
                return Err(Problem::Permanent(format!("a discount of {percent} percent")));
            }
            Discount::Percent(percent) => percent_of(net, percent.into()),
            Discount::Cents(cents) => cents,
        };
        let net = net.saturating_sub(off);
        let percent = match rate {
            Rate::Standard => 19,
            Rate::Reduced => 7,
            Rate::Exempt => 0,
        };
        let tax = percent_of(net, percent);
        let gross = net.checked_add(tax).ok_or_else(too_much)?;
        let note = (off > 0).then(|| format!("{off} cents off"));
        Ok(Sum { net, tax, gross, note })
    }

    fn split(cents: u64, ways: u32) -> Result<Vec<u64>, String> {
        let ways = u64::from(ways);
        if !(1..=10_000).contains(&ways) {
            return Err(format!("{ways} parts: 1 to 10000 are possible"));
        }
        Ok((0..ways).map(|part| cents / ways + u64::from(part < cents % ways)).collect())
    }
}
