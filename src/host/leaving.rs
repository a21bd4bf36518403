//! How a host leaves: it takes no more, lets finish what runs until a deadline, and hands back the rest.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::model::time::DURATION_MAX;

/// Whether the host leaves, and until when what runs may go on.
pub(super) struct Leaving {
    begun: CancellationToken,
    deadline: watch::Sender<Option<Instant>>,
}

impl Leaving {
    pub(super) fn new() -> Self {
        Self { begun: CancellationToken::new(), deadline: watch::Sender::new(None) }
    }

    /// Fires when the host takes no more.
    pub(super) const fn begun(&self) -> &CancellationToken {
        &self.begun
    }

    /// Begins, or sets another deadline: the last word counts.
    pub(super) fn begin(&self, within: Duration) {
        self.deadline.send_replace(Some(Instant::now() + within.min(DURATION_MAX)));
        self.begun.cancel();
    }

    /// Returns when the deadline has passed, which may be moved meanwhile.
    pub(super) async fn over(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let at = *deadline.borrow_and_update();
            let passed = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                changed = deadline.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_word_on_the_deadline_counts() {
        let leaving = Leaving::new();
        leaving.begin(Duration::from_secs(1_000));
        assert!(leaving.begun().is_cancelled());
        let began = Instant::now();
        tokio::join!(leaving.over(), async { leaving.begin(Duration::from_secs(2)) });
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        leaving.begin(Duration::MAX);
    }
}
