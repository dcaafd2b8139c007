//! What the checks of collections ask of a replica.

use super::SimReplica;
use syncline_replica::{Notice, Replica};
use syncline_store::MemoryStore;
use syncline_sync::Sketch;

impl SimReplica {
    /// The rows on disk from before the last step, if that step raised the horizon.
    pub(crate) const fn before_collection(&self) -> Option<&MemoryStore> {
        self.before_collection.as_ref()
    }

    /// The time of the replica's clock, while the node is up.
    pub(crate) fn clock(&self) -> Option<u64> {
        self.replica.as_ref().map(Replica::clock)
    }

    /// The sketch that the replica has in memory, if it has one.
    pub(crate) fn sketch(&self) -> Option<&Sketch> {
        self.replica.as_ref().and_then(Replica::sketch)
    }

    /// Retains the rows that a step is about to change, if it has raised the horizon.
    pub(super) fn remember_collected(&mut self, notices: &[Notice]) {
        let collects = |notice: &Notice| matches!(notice, Notice::TombstonesCollected { .. });
        self.before_collection = notices.iter().any(collects).then(|| self.disk.rows().clone());
    }
}
