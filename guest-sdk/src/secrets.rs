//! Secrets of the tenant, granted by name. The platform never logs them; neither should a guest.

use crate::wire;

/// The secret of that name; none where it does not exist or is not granted.
pub fn get(name: &str) -> Option<String> {
    wire::secret(name)
}
