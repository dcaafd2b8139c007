//! What checks and tests read of a replica.

use super::SimReplica;
use crate::node::replica_ids::is_replica_of;
use std::sync::Arc;
use syncline_replica::Pending;
use syncline_storage::{Record, StorageError};
use syncline_sync::DeltaLog;
use syncline_types::EntityId;

impl SimReplica {
    /// The record of an entity on disk.
    pub fn record(&self, id: EntityId) -> Result<Option<Arc<Record>>, StorageError> {
        self.state()?.record(id)
    }

    /// The log on disk; an empty one if it cannot be read. O(authors).
    pub fn log(&self) -> DeltaLog {
        DeltaLog::load(self.disk(), self.config.delta_retention).unwrap_or_default()
    }

    /// The unfinished work of the replica, except for work with hostile nodes.
    pub(crate) fn pending(&self) -> Pending {
        match (&self.replica, &self.roles) {
            (None, _) => Pending::default(),
            (Some(replica), None) => replica.pending(),
            (Some(replica), Some(roles)) => replica.pending_but_for(
                |peer| roles.is_hostile(peer.into()),
                |author| roles.hostile().any(|node| is_replica_of(author, node)),
            ),
        }
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
