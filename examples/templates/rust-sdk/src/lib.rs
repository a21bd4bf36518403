//! Tasks are the functions that `export!` names.

use lovage_guest::{Failure, data, task};

/// What some numbers have in common.
#[data]
struct Summary {
    count: usize,
    mean: f64,
    min: f64,
    max: f64,
}

/// Sums numbers up.
#[task]
fn run(numbers: Vec<f64>) -> Result<Summary, Failure> {
    if numbers.is_empty() {
        return Err(Failure::permanent("no numbers"));
    }
    let count = numbers.len();
    Ok(Summary {
        count,
        mean: numbers.iter().sum::<f64>() / count as f64,
        min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
        max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

lovage_guest::export!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_mean() {
        assert!(run(Vec::new()).is_err());
        assert_eq!(run(vec![1.0, 3.0]).unwrap().mean, 2.0);
    }
}
