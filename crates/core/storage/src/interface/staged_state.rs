//! A staged state: a second state beside the active one, which a snapshot fills and then replaces it.
//!
//! The staged state has its rows in the other [`Slot`]. While it is filled, readers keep seeing the active
//! state, and batches for both may alternate. A crash leaves the staged rows as they are: the next batch goes
//! on from there, or the caller removes all rows of the slot and starts again.
//!
//! [`Interface::publish`] ends the staging with one batch that joins the active state into the staged one and
//! writes the row that names the active slot. The batch is atomic, so after a crash readers see either the
//! complete old state or the complete new one. The rows of the old slot are garbage then; the caller of
//! `publish` must remove them.

use super::Interface;
use crate::error::StorageError;
use crate::keys::Slot;
use crate::record::Record;
use syncline_crdt::Merges;
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc, canary};

impl<V: ReadView> Interface<V> {
    /// Opens the staged state: the one in the slot that is not active. It is empty at first, and no reader
    /// sees it before [`Interface::publish`]. O(1).
    pub fn open_staged(view: V, merges: Merges) -> Result<Self, StorageError> {
        let slot = Slot::active(&view)?.other();
        Self::open_slot(view, slot, merges)
    }

    /// Removes the content of a record from the state. If the entity has children, a placeholder keeps its
    /// position, since the children need a parent.
    pub fn reset_record(&mut self, id: EntityId) -> Result<(), StorageError> {
        self.refresh()?;
        let index = self.cache_index(id)?;
        // There is no such record: it has no content to remove.
        let Some(record) = self.records.at(index)?.record()?.cloned() else { return Ok(()) };
        if id != EntityId::ROOT && self.tries.root(&self.view, id)?.is_zero() {
            return self.remove_record(id);
        }
        let placeholder = Record::placeholder(record.depth, record.parent);
        self.derive(id, Some(&record), Some(&placeholder))?;
        self.replace(index, Some(placeholder))?;
        self.mark_stale(index)?.own = true;
        Ok(())
    }

    /// Makes this staged state the active one, as soon as the batch of the result is applied. `active` is the
    /// state that is active now.
    ///
    /// All records of `active` are joined in first, so that nothing that was written or received during the
    /// staging is lost (**I5**). The horizon of `active` is retained. The caller must remove the rows of
    /// `active`. `latest` is the latest stamp that entered the staged state in any batch. O(records of
    /// `active`), in time and memory.
    pub fn publish(mut self, mut active: Self, latest: Hlc) -> Result<Self, StorageError> {
        let generation = active.stats()?.generation;
        if !canary!(SnapshotOverwrites) {
            // `each_entry` visits parents before children, as `join` requires.
            let mut ids = vec![EntityId::ROOT];
            active.each_entry(|_, entry| ids.push(entry.id))?;
            for id in ids {
                if let Some(record) = active.record(id)? {
                    self.join(id, Record::clone(&record))?;
                }
            }
        }
        // Generations only grow, also for readers that do not know of slots.
        self.stats.generation += generation;
        self.stats.horizon = active.stats.horizon;
        self.latest = latest.max(active.latest);
        self.changed = true;
        self.published = true;
        Ok(self)
    }
}
