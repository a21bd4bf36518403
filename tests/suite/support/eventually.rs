//! Waiting for a condition that nothing signals, within a bound.

use std::time::{Duration, Instant};

/// How long a condition may take: a busy machine of two cores is slow, a hanging test is slower.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The first value that `look` finds, looking every few milliseconds, in tests that wait for processes and do nothing else.
pub(crate) fn eventually_there<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "what is looked at here gives no signal")]
fn pause() {
    std::thread::sleep(LOOK_PAUSE);
}

/// The same for tasks, which others go on beside.
pub(crate) async fn eventually<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let found = tokio::time::timeout(PATIENCE, async {
        let mut pause = tokio::time::interval(LOOK_PAUSE);
        loop {
            pause.tick().await;
            if let Some(found) = look().await {
                break found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
