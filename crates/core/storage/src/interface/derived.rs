//! The rows that follow from records besides the index: places among siblings, and graves.

use super::Interface;
use crate::error::StorageError;
use crate::keys;
use crate::label::Label;
use crate::record::Record;
use std::collections::BTreeMap;
use syncline_store::{Key, ReadView};
use syncline_types::EntityId;

impl<V: ReadView> Interface<V> {
    /// Keeps the rows that follow from a record besides the index: its place among its siblings while it
    /// is live, its grave while it is dead.
    pub(super) fn derive(&mut self, id: EntityId, before: Option<&Record>, after: Option<&Record>) {
        let slot = self.slot;
        let place = |record: &Record| match &record.label {
            Label::Ordered(label) if record.is_live() => Some(keys::order(slot, record.parent, label, id)),
            _ => None,
        };
        let grave = |record: &Record| record.grave().map(|stamp| keys::grave(slot, stamp, id));
        for (old, new) in
            [(before.and_then(place), after.and_then(place)), (before.and_then(grave), after.and_then(grave))]
        {
            if old != new {
                self.derived.extend(old.map(|key| (key, false)));
                self.derived.extend(new.map(|key| (key, true)));
            }
        }
    }

    /// What the rows between two keys name, with those that this batch adds and without those that it
    /// takes out.
    pub(crate) fn derived_rows(
        &mut self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        name: impl Fn(&[u8]) -> Option<EntityId>,
    ) -> Result<Vec<EntityId>, StorageError> {
        let mut from = Key::from(from);
        let mut found = Vec::new();
        while found.len() < limit {
            let wanted = limit - found.len();
            let stored = self.view.range(&from, to, wanted)?;
            self.work.storage_reads += 1;
            let complete = stored.len() < wanted;
            let upto = match stored.last() {
                Some((last, _)) if !complete => Key::of(&[last, &[0]]),
                _ => Key::from(to),
            };
            let mut rows: BTreeMap<Key, bool> = stored.into_iter().map(|(key, _)| (key, true)).collect();
            rows.extend(self.derived.range(from..upto.clone()).map(|(key, there)| (key.clone(), *there)));
            for (key, _) in rows.into_iter().filter(|(_, there)| *there) {
                found.push(name(&key).ok_or(StorageError::Index { what: "the key of a derived row" })?);
            }
            if complete {
                break;
            }
            from = upto;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Up to `limit` live children of `id` with labels of at least `from` that order them, in the order
    /// of their labels; with `after`, only those that follow it. O(log n + limit).
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
