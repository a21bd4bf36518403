//! A bar: how much of something is done, in twenty characters.

/// The cells of a bar.
const WIDTH: usize = 20;

/// Twenty characters of progress, in brackets.
pub(super) fn bar(done: u64, of: u64) -> String {
    let full = (u128::from(done) * WIDTH as u128).checked_div(u128::from(of));
    let full = full.and_then(|full| usize::try_from(full).ok()).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}]", "█".repeat(full), "░".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_from_left_to_right_and_is_never_wider_than_itself() {
        assert_eq!(bar(0, 4), "[░░░░░░░░░░░░░░░░░░░░]");
        assert_eq!(bar(2, 4), "[██████████░░░░░░░░░░]");
        assert_eq!(bar(9, 4), bar(0, 0));
        assert_eq!(bar(u64::MAX, u64::MAX), bar(1, 1));
    }
}
