//! The derived rows other than the index: the order of siblings, tombstones, and counters.

use super::Interface;
use crate::error::StorageError;
use crate::keys;
use crate::record::{Label, Record};
use std::collections::BTreeMap;
use syncline_store::{Key, ReadView};
use syncline_types::EntityId;

impl<V: ReadView> Interface<V> {
    /// Updates the derived rows for a record that changes from `before` to `after`: a live record with an
    /// ordering label has an order row, a tombstone has a tombstone row, and all but the root's are counted.
    pub(super) fn derive(
        &mut self,
        id: EntityId,
        before: Option<&Record>,
        after: Option<&Record>,
    ) -> Result<(), StorageError> {
        if id != EntityId::ROOT {
            self.count(before, after)?;
        }
        let slot = self.slot;
        let order = |record: &Record| match &record.label {
            Label::Ordered(label) if record.is_live() => Some(keys::order(slot, record.parent, label, id)),
            _ => None,
        };
        let tombstone =
            |record: &Record| record.tombstone_stamp().map(|stamp| keys::tombstone(slot, stamp, id));
        for (old, new) in [
            (before.and_then(order), after.and_then(order)),
            (before.and_then(tombstone), after.and_then(tombstone)),
        ] {
            if old != new {
                self.derived.extend(old.map(|key| (key, false)));
                self.derived.extend(new.map(|key| (key, true)));
            }
        }
        Ok(())
    }

    /// Up to `limit` entities of the derived rows with `from <= key < to`, in the order of keys. Rows that this
    /// batch adds are included, and rows that it removes are not.
    pub(super) fn derived_rows(
        &mut self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        id_of: impl Fn(&[u8]) -> Option<EntityId>,
    ) -> Result<Vec<EntityId>, StorageError> {
        let mut from = Key::from(from);
        let mut found = Vec::new();
        while found.len() < limit {
            let wanted = limit - found.len();
            let stored = self.view.range(&from, to, wanted)?;
            self.work.storage_reads += 1;
            let complete = stored.len() < wanted;
            // Changes of the batch are merged only as far as the stored rows reach: a later change must not come
            // before stored rows that are not read yet.
            let upto = match stored.last() {
                Some((last, _)) if !complete => Key::of(&[last, &[0]]),
                _ => Key::from(to),
            };
            debug_assert!(from <= upto, "each pass goes on where the last one ended");
            let mut rows: BTreeMap<Key, bool> = stored.into_iter().map(|(key, _)| (key, true)).collect();
            rows.extend(self.derived.range(from..upto.clone()).map(|(key, added)| (key.clone(), *added)));
            for (key, _) in rows.into_iter().filter(|(_, present)| *present) {
                found.push(id_of(&key).ok_or(StorageError::Index { what: "the key of a derived row" })?);
            }
            if complete {
                break;
            }
            from = upto;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Up to `limit` live children of `id` whose ordering labels are at least `from`, in the order of their
    /// labels. With `after`, only children that follow that label and child. O(log n + limit).
    pub fn ordered_children(
        &mut self,
        id: EntityId,
        from: &[u8],
        after: Option<(&[u8], EntityId)>,
        limit: usize,
    ) -> Result<Vec<EntityId>, StorageError> {
        let from = match after {
            Some((label, child)) => Key::of(&[&keys::order(self.slot, id, label, child), &[0]]),
            None => keys::order_from(self.slot, id, from),
        };
        self.derived_rows(&from, &keys::order_end(self.slot, id), limit, keys::order_id)
    }
}
