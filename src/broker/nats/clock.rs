//! The clock of a broker elsewhere: this machine's.

use crate::broker::Clock;
use crate::model::Timestamp;

/// The machine's clock. Hosts and servers are expected to agree within a second, as NTP gives.
pub(super) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port through which everything else reads the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
