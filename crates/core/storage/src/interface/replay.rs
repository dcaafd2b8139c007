//! The replay of redo logs: the index as it was before a crash, from the index rows of the last flush and the changes
//! since.

use super::Interface;
use crate::error::StorageError;
use crate::index::apply_log;
use crate::keys::{self, Slot};
use crate::stats::Stats;
use syncline_crdt::Merges;
use syncline_store::{ReadView, WriteBatch};
use syncline_types::{Digest, EntityId};

/// Applies redo logs ([`Edit::redo_entry`](syncline_store::Edit::redo_entry)) to the index rows of `view`, whose
/// other rows are later. `logs` has for each trie its key, made by [`keys::trie`], and its changes in the order in
/// which they were made. The batch of the result has one edit for each trie that is not as in the view, and nothing
/// else. Its index has the roots of the statistics rows. O(changes · log n + depth of each).
///
/// A slot without a statistics row is left as it is: its rows are being removed, and nobody reads them.
///
/// # Errors
/// [`StorageError::Row`] and [`StorageError::Index`] if a log is damaged, or does not belong to these rows.
pub fn redo<'l, V: ReadView>(
    view: &V,
    logs: impl IntoIterator<Item = (&'l [u8], &'l [u8])>,
) -> Result<WriteBatch, StorageError> {
    let mut states = [Replay::open(view, Slot::First)?, Replay::open(view, Slot::Second)?];
    for (trie, log) in logs {
        let (slot, entity) = keys::trie_of(trie).ok_or(StorageError::Index { what: "the key of a trie" })?;
        let [first, second] = &mut states;
        let replay = if slot == Slot::First { first } else { second };
        replay.apply(entity, log)?;
    }
    let mut batch = WriteBatch::default();
    for replay in states {
        replay.finish(&mut batch)?;
    }
    Ok(batch)
}

/// The replay of the logs of one slot.
struct Replay<V> {
    state: Interface<V>,
    /// The root that was acknowledged; `None` if the slot has no statistics.
    root: Option<Digest>,
    /// The entities whose tries have a log.
    changed: Vec<EntityId>,
}

impl<V: ReadView> Replay<V> {
    fn open(view: &V, slot: Slot) -> Result<Self, StorageError> {
        let has_stats = view.read(&keys::stats(slot))?.is_some();
        let root = if has_stats { Some(Stats::read(view, slot)?.root) } else { None };
        let state = Interface::open_slot(view.clone(), slot, Merges::default())?;
        Ok(Self { state, root, changed: Vec::new() })
    }

    fn apply(&mut self, entity: EntityId, log: &[u8]) -> Result<(), StorageError> {
        if self.root.is_some() {
            let Interface { tries, view, .. } = &mut self.state;
            apply_log(tries, view, entity, log)?;
            self.changed.push(entity);
        }
        Ok(())
    }

    /// Computes the hashes from the deepest changed trie up to the root, and compares the root.
    fn finish(self, batch: &mut WriteBatch) -> Result<(), StorageError> {
        let Self { mut state, root, changed } = self;
        // A slot without a state or without a log has nothing to compute.
        let Some(root) = root.filter(|_| !changed.is_empty()) else { return Ok(()) };
        for entity in changed {
            let index = state.cache_index(entity)?;
            if state.records.at(index)?.position.is_some() {
                state.mark_stale(index)?.kids = true;
            } else if !state.tries.root(&state.view, entity)?.is_zero() {
                // An entity is removed after its children.
                return Err(StorageError::Index { what: "the record of an entity with children" });
            }
        }
        state.refresh()?;
        // The refresh ends where it changes nothing, which need not be at the root.
        if state.full_hash_of_root()? != root {
            return Err(StorageError::Index { what: "the root that was acknowledged" });
        }
        state.tries.finish(batch);
        Ok(())
    }
}
