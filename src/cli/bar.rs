//! A bar: how much of something is done, in twenty characters.

/// The cells of a bar.
const WIDTH: usize = 20;

/// Twenty characters of progress, in brackets.
pub(super) fn bar(done: u64, of: u64) -> String {
    let full = (u128::from(done) * WIDTH as u128).checked_div(u128::from(of));
    let full = full.and_then(|full| usize::try_from(full).ok()).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}]", "█".repeat(full), "░".repeat(WIDTH - full))
}

/// A text that a terminal cuts at its margin: one that went on in the next row could not be drawn again in place.
pub(super) fn cut_at_margin(text: &str) -> String {
    format!("\x1b[?7l{text}\x1b[?7h")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bar_never_goes_back_and_is_full_only_at_the_end(done in any::<u64>(), more in any::<u64>(), of in 1..u64::MAX) {
            let cells = |done| bar(done, of).chars().filter(|c| *c == '█').count();
            prop_assert_eq!(bar(done, of).chars().count(), WIDTH + 2);
            prop_assert!(cells(done) <= cells(done.saturating_add(more)));
            prop_assert_eq!(cells(done) == WIDTH, done >= of);
        }
    }

    #[test]
    fn a_bar_fills_from_left_to_right_and_is_never_wider_than_itself() {
        assert_eq!(bar(0, 4), "[░░░░░░░░░░░░░░░░░░░░]");
        assert_eq!(bar(2, 4), "[██████████░░░░░░░░░░]");
        assert_eq!(bar(9, 4), bar(0, 0));
        assert_eq!(bar(u64::MAX, u64::MAX), bar(1, 1));
    }
}
