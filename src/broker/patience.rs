//! Waiting for a broker that is away: back-off that grows to a bound, for as long as it takes.

use std::future::Future;
use std::time::Duration;

use tracing::warn;

use super::{Error, Result};

/// The first wait: a restart of a single server takes 150 ms.
const WAIT_MIN: Duration = Duration::from_millis(50);

/// The longest wait: work resumes within two seconds of the broker.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Waits that double from 50 ms to 2 s.
#[derive(Debug)]
pub struct Patience {
    wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { wait: WAIT_MIN }
    }
}

impl Patience {
    /// Waits, each time longer.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }

    /// Repeats `operation` while its error is transient, however long that is: the caller bounds it by dropping the future.
    ///
    /// # Errors
    /// The first error that is not transient.
    pub async fn retry<T, F, Fut>(mut self, what: &str, operation: F) -> Result<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        loop {
            match operation().await {
                Err(error) if error.is_transient() => {
                    warn!(%error, "failed to {what}, trying again");
                    self.wait().await;
                }
                result => return result,
            }
        }
    }

    /// The same, but what is not transient is tried again too, since giving up would lose what was done: a permission or a
    /// limit can be mended by an operator while the work waits. Only a conflict is handed to the caller, who must decide.
    ///
    /// # Errors
    /// [`Error::Conflict`] and [`Error::Occupied`].
    pub async fn insist<T, F, Fut>(mut self, what: &str, operation: F) -> Result<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        loop {
            match operation().await {
                Err(error @ (Error::Conflict { .. } | Error::Occupied { .. })) => return Err(error),
                Err(error) => {
                    warn!(%error, "failed to {what}, trying again");
                    self.wait().await;
                }
                Ok(value) => return Ok(value),
            }
        }
    }
}
