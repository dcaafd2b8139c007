//! What the checks of collections ask of a replica.

use super::SimReplica;
use syncline_replica::{Notice, Replica};
use syncline_store::MemoryStore;
use syncline_sync::{CollectionInProgress, Sketch};

impl SimReplica {
    /// The rows on disk from before the last step, if that step has collected tombstones.
    pub(crate) const fn before_collection(&self) -> Option<&MemoryStore> {
        self.before_collection.as_ref()
    }

    /// Whether the disk says that a collection of tombstones has not ended.
    pub(crate) fn is_collecting(&self) -> bool {
        !matches!(CollectionInProgress::load(self.disk()), Ok(None))
    }

    /// The time of the replica's clock, while the node is up.
    pub(crate) fn clock(&self) -> Option<u64> {
        self.replica.as_ref().map(Replica::clock)
    }

    /// The sketch that the replica has in memory, if it has one.
    pub(crate) fn sketch(&self) -> Option<&Sketch> {
        self.replica.as_ref().and_then(Replica::sketch)
    }

    /// Retains the rows that a step is about to change, if it has collected tombstones.
    pub(super) fn remember_collected(&mut self, notices: &[Notice]) {
        let collects = |notice: &Notice| matches!(notice, Notice::TombstonesCollected { .. });
        self.before_collection = notices.iter().any(collects).then(|| self.disk.rows().clone());
    }
}
