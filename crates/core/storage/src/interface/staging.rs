//! A second state beside the one that is shown: built up unseen, and then put in its place.

use super::{Applied, ApplyContext, Interface};
use crate::error::{ApplyError, StorageError};
use crate::keys::Slot;
use crate::record::Record;
use syncline_crdt::Merges;
use syncline_store::{Bytes, ReadView};
use syncline_types::{EntityId, Hlc, canary};

impl<V: ReadView> Interface<V> {
    /// Opens the state that is not shown: empty at first, a state like any other, and nobody's business
    /// until [`Interface::publish`]. O(1).
    pub fn open_staged(view: V, merges: Merges) -> Result<Self, StorageError> {
        let slot = Slot::active(&view)?.other();
        Self::open_slot(view, slot, merges)
    }

    /// Where the rows of this state are.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// As [`Interface::merge_record`], with the bytes that the record was decoded from: a record that is
    /// new here is stored and hashed as it came.
    pub fn merge_encoded(
        &mut self,
        id: EntityId,
        record: Record,
        bytes: Bytes,
        context: &ApplyContext,
    ) -> Result<Applied, ApplyError> {
        self.check(id, &record, context)?;
        let rooted = self.ensure_root()?;
        Ok(Applied::from_flag(self.join_encoded(id, record, Some(bytes))? | rooted))
    }

    /// Takes what a record says out of the state, and leaves its place if something hangs below it.
    pub fn withhold(&mut self, id: EntityId) -> Result<(), StorageError> {
        self.refresh()?;
        let place = self.place(id)?;
        let Some(record) = self.records.at(place)?.record()?.cloned() else { return Ok(()) };
        if id != EntityId::ROOT && self.tries.root(&self.view, id)?.is_zero() {
            return self.forget(id);
        }
        let placeholder = Record::placeholder(record.depth, record.parent);
        self.derive(id, Some(&record), Some(&placeholder));
        if id != EntityId::ROOT {
            self.stats.remove(&record);
            self.stats.add(&placeholder);
        }
        self.replace(place, Some(placeholder))?;
        self.touch(place)?.own = true;
        Ok(())
    }

    /// Puts this state in place of `own`, the one that is shown, once the batch that it ends as is
    /// applied. Everything that `own` holds is joined in first (**I5**), and its horizon is kept; its rows
    /// stay for the caller to remove. `latest` is the latest stamp of all that was taken in here.
    /// O(records of `own`), in time and memory.
    pub fn publish(mut self, mut own: Self, latest: Hlc) -> Result<Self, StorageError> {
        let generation = own.stats()?.generation;
        if !canary!(SnapshotOverwrites) {
            let mut ids = vec![EntityId::ROOT];
            own.each_entry(|_, entry| ids.push(entry.id))?;
            for id in ids {
                if let Some(record) = own.record(id)? {
                    self.join(id, Record::clone(&record))?;
                }
            }
        }
        self.stats.generation += generation;
        self.stats.horizon = own.stats.horizon;
        self.latest = latest.max(own.latest);
        (self.changed, self.published) = (true, true);
        Ok(self)
    }
}
