//! The notes of a step about the records that it stages.

use syncline_storage::{ApplyContext, Record};
use syncline_types::{Digest, EntityId, Hlc};

/// The notes of one step of a snapshot transfer. The peer's state is a past one, so nothing can be pushed to
/// it. The clock of this replica is checked when the staged state is published, not when a record is staged:
/// a record that is early now may be acceptable by then.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Staging {
    /// The root of the peer's past state.
    pub(crate) boundary: Digest,
    /// Staged records whose stamps are ahead of the local clock.
    pub(crate) early: Vec<EntityId>,
    /// The latest stamp of the other staged records.
    pub(crate) latest: Hlc,
}

impl Staging {
    /// Notes a record that is about to be staged. Returns the context to join it in, which has no drift
    /// limit.
    pub(crate) fn note(&mut self, id: EntityId, record: &Record, context: &ApplyContext) -> ApplyContext {
        match record.check_drift(context.moment, context.max_drift_ms) {
            Ok(()) => self.latest = self.latest.max(record.latest_stamp()),
            Err(_) => self.early.push(id),
        }
        ApplyContext { max_drift_ms: u64::MAX, ..*context }
    }
}
