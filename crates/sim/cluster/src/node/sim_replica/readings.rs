//! What checks and tests read of a replica.

use super::SimReplica;
use std::sync::Arc;
use syncline_storage::{Record, StorageError};
use syncline_sync::DeltaLog;
use syncline_types::EntityId;

impl SimReplica {
    /// The record of an entity on disk.
    pub fn record(&self, id: EntityId) -> Result<Option<Arc<Record>>, StorageError> {
        self.state()?.record(id)
    }

    /// The log on disk; an empty one if it cannot be read. O(authors).
    pub(crate) fn log(&self) -> DeltaLog {
        DeltaLog::load(self.disk(), self.config.delta_retention).unwrap_or_default()
    }

    /// Whether every edit of the last write lay within the texts and lists that the replica showed.
    pub(crate) const fn was_last_write_fitted(&self) -> bool {
        self.was_fitted
    }

    /// How far ahead of the local clock a stamp may be, in milliseconds.
    pub(crate) const fn max_drift_ms(&self) -> u64 {
        self.config.max_drift_ms
    }

    /// The number of entities that an application sees. O(n).
    pub fn visible_entities(&self) -> Result<usize, StorageError> {
        Ok(self.state()?.visible()?.len())
    }
}
