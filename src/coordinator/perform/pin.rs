//! Finds the versions of what a replacement calls.

use tracing::warn;

use super::Performer;
use crate::broker::patience::Patience;
use crate::model::{Failure, FlowName, Kind, TaskRef, Version};
use crate::store::catalogue::Unresolved;
use crate::workflow::journal::Decision;

impl Performer {
    /// The versions, or what was not found.
    pub(super) async fn pin(&self, tasks: &[TaskRef], flows: &[(FlowName, Option<Version>)]) -> Decision {
        let mut patience = Patience::default();
        loop {
            let found = self.shared.catalogue.pins(&self.tenant, tasks.iter().cloned(), flows.iter().cloned()).await;
            let unresolved = match found {
                Ok(pins) => return Decision::Pins(Box::new(pins)),
                Err(unresolved) => unresolved,
            };
            let kind = match &unresolved {
                Unresolved::Broker(error) => {
                    warn!(run = %self.run, %error, "failed to find what a replacement calls, trying again");
                    patience.wait().await;
                    continue;
                }
                Unresolved::Module { .. } | Unresolved::Unreadable { .. } => Kind::ModuleMissing,
                Unresolved::Task { .. } => Kind::TaskMissing,
                Unresolved::Flow { .. } | Unresolved::Document { .. } => Kind::BadFlow,
                Unresolved::TooMany => Kind::Limit,
            };
            return Decision::Failed(Failure::new(kind, format!("failed to {unresolved}")));
        }
    }
}
