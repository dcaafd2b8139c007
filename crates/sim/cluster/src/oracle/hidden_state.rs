//! Compares invisible records with one state that joins all writes without a network.

use crate::disk_view::CheckedDiskView;
use crate::node::differences;
use crate::oracle::Oracle;
use crate::oracle::reference_state::ReferenceState;
use std::collections::BTreeMap;
use sync_sim_engine::node_id::NodeId;
use syncline_storage::{ApplyContext, ApplyError, Interface};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{Dot, VersionVector};
use syncline_types::{Digest, Hlc, Moment, ReplicaId, SimTime};

/// No clock and no drift bound: whatever a replica has accepted is accepted here.
const ANY_TIME: ApplyContext = ApplyContext { moment: Moment::at(SimTime::MAX), max_drift_ms: u64::MAX };

impl Oracle {
    /// The state that joins all acknowledged writes. O(writes log n).
    pub(crate) fn joined(&self) -> Result<MemoryStore, ApplyError> {
        let mut joined = MemoryStore::default();
        let mut state = Interface::open(CheckedDiskView::from(&joined))?;
        let initial = self.initial.iter().flat_map(|(_, actions)| actions.iter());
        for action in initial.chain(self.writes.iter().flat_map(|write| &write.actions)) {
            state.apply_action(action, &ANY_TIME)?;
        }
        joined.apply(state.finish()?)?;
        Ok(joined)
    }

    /// The root of the join of what a node began with and the writes that `covered` covers, after the tombstones up
    /// to `horizon` were collected. O(writes log n).
    pub fn joined_root(
        &self,
        node: NodeId,
        covered: &VersionVector,
        horizon: Hlc,
    ) -> Result<Digest, ApplyError> {
        let mut state = self.covered_by(node, covered)?;
        state.raise_horizon(horizon)?;
        Ok(state.root_hash()?)
    }

    /// The join of what a node began with and the writes that `covered` covers, not stored yet. O(writes).
    fn covered_by(
        &self,
        node: NodeId,
        covered: &VersionVector,
    ) -> Result<Interface<CheckedDiskView>, ApplyError> {
        let empty = CheckedDiskView::from(&MemoryStore::default());
        let mut state = Interface::open(empty)?;
        let initial = self.initial.iter().filter(|(nodes, _)| nodes.contains(&node));
        for action in initial.flat_map(|(_, actions)| actions.iter()) {
            state.apply_action(action, &ANY_TIME)?;
        }
        let mut written: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        for write in &self.writes {
            // Writes of one author are numbered in the order of acknowledgement, as their deltas are.
            let seq = written.entry(write.author).or_default();
            *seq += 1;
            if covered.covers(Dot { author: write.author, seq: *seq }) {
                for action in &write.actions {
                    state.apply_action(action, &ANY_TIME)?;
                }
            }
        }
        Ok(state)
    }

    /// The join of what a node began with and the writes that `covered` covers, as a [`ReferenceState`]. O(writes log n).
    pub(crate) fn covered_state(
        &self,
        node: NodeId,
        covered: &VersionVector,
    ) -> Result<ReferenceState, ApplyError> {
        let mut joined = MemoryStore::default();
        joined.apply(self.covered_by(node, covered)?.finish()?)?;
        Ok(ReferenceState::new(joined))
    }

    /// The join of all acknowledged writes as a [`ReferenceState`].
    pub fn as_state(&self) -> Result<ReferenceState, ApplyError> {
        Ok(ReferenceState::new(self.joined()?))
    }

    /// The first record on `disk`, whose root is `root`, that differs from the join of all acknowledged
    /// writes, in words. Only properties that do not depend on the order of merges are compared, so no
    /// tombstone may have been collected. `beside_adversaries` ignores records that no write left: they
    /// are invisible, and members take such records on trust. O(writes log n), in one batch.
    pub(crate) fn hidden_difference(
        &self,
        root: Digest,
        disk: &MemoryStore,
        beside_adversaries: bool,
    ) -> Result<Option<String>, ApplyError> {
        let joined = self.joined()?;
        if Interface::open(CheckedDiskView::from(&joined))?.root_hash()? == root {
            return Ok(None);
        }
        let found = differences(&joined, disk, if beside_adversaries { usize::MAX } else { 1 })?;
        if beside_adversaries {
            let written = found.iter().find(|difference| difference.left.is_some());
            return Ok(written.map(ToString::to_string));
        }
        Ok(Some(
            found.first().map_or_else(
                || "all records are equal, and the index differs".to_owned(),
                ToString::to_string,
            ),
        ))
    }
}
