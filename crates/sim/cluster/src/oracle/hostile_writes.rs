//! What of the writes of hostile nodes has arrived: these may be withheld, and the others have to show what
//! came of them, and no more.

use crate::hostile::Cast;
use crate::oracle::{Acknowledged, Oracle};
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_storage::{Action, Interface, StorageError};
use syncline_store::MemoryStore;
use syncline_sync::{Dot, VersionVector};
use syncline_types::ReplicaId;

impl Oracle {
    /// The same without those writes of hostile nodes that are not in a state of the honest, which covers
    /// `covered`. Nothing of an outsider is there. O(writes log n).
    pub(crate) fn arrived(
        &self,
        cast: &Cast,
        mut state: Interface<MemoryStore>,
        covered: &VersionVector,
    ) -> Result<Self, StorageError> {
        let mut arrived = Self { merges: self.merges.clone(), ..Self::default() };
        for (nodes, actions) in &self.begun {
            if nodes.iter().all(|node| cast.is_outsider(*node)) {
                continue;
            }
            let mut kept = actions.clone();
            if nodes.iter().all(|node| cast.is_hostile(*node)) {
                let mut there = Vec::new();
                for action in actions.iter() {
                    if self.is_in(action, &mut state)? {
                        there.push(action.clone());
                    }
                }
                kept = there.into();
            }
            arrived.begun.push((nodes.clone(), kept));
        }
        let mut written: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        for write in &self.writes {
            let seq = written.entry(write.author).or_default();
            *seq += 1;
            if cast.is_outsider(write.node) {
                continue;
            }
            if !cast.is_hostile(write.node) || covered.covers(Dot { author: write.author, seq: *seq }) {
                arrived.writes.push(write.clone());
                continue;
            }
            let (mut operations, mut actions) = (Vec::new(), Vec::new());
            for (operation, action) in write.operations.iter().zip(&write.actions) {
                if self.is_in(action, &mut state)? {
                    operations.push(operation.clone());
                    actions.push(action.clone());
                }
            }
            if !actions.is_empty() {
                arrived.writes.push(Arc::new(Acknowledged { operations, actions, ..**write }));
            }
        }
        Ok(arrived)
    }

    /// Whether joining an action would change nothing.
    fn is_in(&self, action: &Action, state: &mut Interface<MemoryStore>) -> Result<bool, StorageError> {
        let (Some(own), Ok(record)) = (state.record(action.id())?, action.to_record()) else {
            return Ok(false);
        };
        let mut joined = syncline_storage::Record::clone(&own);
        Ok(!joined.join(&record, &self.merges))
    }
}
