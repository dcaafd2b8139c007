//! Restricts the oracle to the writes of hostile nodes that have arrived. A hostile node may withhold its
//! writes; honest nodes must show exactly those that arrived.

use crate::disk_view::CheckedDiskView;
use crate::hostile::HostileRoles;
use crate::oracle::{Oracle, OracleWrite};
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_storage::{Action, Interface, StorageError};
use syncline_sync::{Dot, VersionVector};
use syncline_types::ReplicaId;

impl Oracle {
    /// The oracle without the writes of hostile nodes that are missing from `state`, the state of an
    /// honest node that covers `covered`. It has no writes of outsiders. O(writes log n).
    pub(crate) fn arrived(
        &self,
        roles: &HostileRoles,
        mut state: Interface<CheckedDiskView>,
        covered: &VersionVector,
    ) -> Result<Self, StorageError> {
        // Writes have other numbers here, so none is uncertain; no run has both hostile nodes and replaced disks.
        let mut arrived = Self {
            merges: self.merges.clone(),
            resets_counters: self.resets_counters,
            merge_faults: self.merge_faults,
            ..Self::default()
        };
        for (nodes, actions) in &self.initial {
            // No honest node accepts anything from an outsider.
            if nodes.iter().all(|node| roles.is_outsider(*node)) {
                continue;
            }
            let mut present = actions.clone();
            // Only hostile nodes have this state and may withhold it, so what has arrived is read from
            // the honest state.
            if nodes.iter().all(|node| roles.is_hostile(*node)) {
                let mut there = Vec::new();
                for action in actions.iter() {
                    if self.is_in(action, &mut state)? {
                        there.push(action.clone());
                    }
                }
                present = there.into();
            }
            arrived.initial.push((nodes.clone(), present));
        }
        let mut written: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        for write in &self.writes {
            // Writes of one author are numbered in the order of acknowledgement, as their deltas are.
            let seq = written.entry(write.author).or_default();
            *seq += 1;
            if roles.is_outsider(write.node) {
                continue;
            }
            if !roles.is_hostile(write.node) || covered.covers(Dot { author: write.author, seq: *seq }) {
                arrived.writes.push(write.clone());
                continue;
            }
            // No honest node covers the delta, but its records may have arrived in part, by sessions.
            let mut operations = Vec::new();
            let mut actions = Vec::new();
            for (operation, action) in write.operations.iter().zip(&write.actions) {
                if self.is_in(action, &mut state)? {
                    operations.push(operation.clone());
                    actions.push(action.clone());
                }
            }
            if !actions.is_empty() {
                let seen = write.seen.clone();
                arrived.writes.push(Arc::new(OracleWrite { operations, actions, seen, ..**write }));
            }
        }
        Ok(arrived)
    }

    /// Whether `state` contains an action: joining it would change nothing.
    pub(super) fn is_in(
        &self,
        action: &Action,
        state: &mut Interface<CheckedDiskView>,
    ) -> Result<bool, StorageError> {
        // An action that makes no valid record was never applied.
        let (Some(own), Ok(record)) = (state.record(action.id())?, action.to_record()) else {
            return Ok(false);
        };
        let mut joined = syncline_storage::Record::clone(&own);
        Ok(!joined.join(&record))
    }
}
