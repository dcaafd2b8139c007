//! Tombstone collection.
//!
//! A tombstone is *causally stable* once every member has seen the delete and everything that was written
//! before it. Then no write can arrive that the delete would have to hide (Baquero, Almeida, Shoker, "Making
//! operation-based CRDTs operation-based", 2014). Members agree on a *horizon*: a stamp up to which every
//! change is stable. The replica computes the horizon; this module removes the tombstones that the horizon
//! allows to remove.
//!
//! A subtree is collected as a whole or not at all. All of its records must be dead or hidden by a delete
//! above them, last changed up to the horizon, and of a type that a later join cannot need
//! (`Record::is_collectable`). Which subtrees these are follows from the records and the horizon alone, so
//! replicas with equal records and equal horizons collect the same ones and keep equal roots.

use super::Interface;
use crate::error::StorageError;
use crate::keys;
use std::collections::BTreeSet;
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc};

impl<V: ReadView> Interface<V> {
    /// Whether there are tombstones up to `horizon`, collectable or not. O(log n).
    pub fn has_tombstones(&mut self, horizon: Hlc) -> Result<bool, StorageError> {
        Ok(!self.tombstones(horizon, 1)?.is_empty())
    }

    /// Raises the horizon and collects the tombstones that it allows to collect. Returns the number of records
    /// that were removed. A horizon that is not above the present one changes nothing.
    /// O(tombstones up to the horizon, with their descendants).
    ///
    /// The caller guarantees that every member, and this state, has seen everything with stamps up to
    /// `horizon`.
    pub fn raise_horizon(&mut self, horizon: Hlc) -> Result<u64, StorageError> {
        self.raise_horizon_but(horizon, &BTreeSet::new())
    }

    /// Like [`Interface::raise_horizon`], but no subtree is collected that contains one of the entities `kept`, since
    /// others have yet to see what happened to them. The next raise collects them.
    pub fn raise_horizon_but(
        &mut self,
        horizon: Hlc,
        kept: &BTreeSet<EntityId>,
    ) -> Result<u64, StorageError> {
        if horizon <= self.stats.horizon {
            return Ok(0);
        }
        let tombstones = self.tombstones(horizon, usize::MAX)?;
        self.stats.horizon = horizon;
        self.changed = true;
        let mut removed = 0;
        for id in tombstones {
            // Something in the subtree is still needed, or it was removed together with an ancestor.
            let Some(subtree) = self.collectable_subtree(id, horizon, kept)? else { continue };
            removed += subtree.len() as u64;
            // Children before parents, so that no record is ever without its parent.
            for id in subtree.into_iter().rev() {
                self.remove_record(id)?;
            }
        }
        Ok(removed)
    }

    /// Up to `limit` entities with tombstones up to `horizon`, by stamp.
    fn tombstones(&mut self, horizon: Hlc, limit: usize) -> Result<Vec<EntityId>, StorageError> {
        let from = keys::tombstone(self.slot, Hlc::ZERO, EntityId::ROOT);
        let to = keys::tombstone(self.slot, horizon, EntityId::LAST);
        self.derived_rows(&from, &to, limit, keys::tombstone_id)
    }

    /// `id` with all its descendants, parents before children, if all of them may be removed.
    fn collectable_subtree(
        &mut self,
        id: EntityId,
        horizon: Hlc,
        kept: &BTreeSet<EntityId>,
    ) -> Result<Option<Vec<EntityId>>, StorageError> {
        // An earlier subtree of the same pass contained this one.
        let Some(top) = self.record(id)?.filter(|record| record.tombstone_stamp().is_some()) else {
            return Ok(None);
        };
        // A delete hides everything below it that was written before: the latest one above counts.
        let mut hidden_by = top.deleted_at;
        let mut above = top;
        while above.depth > 0 {
            let parent = self.record(above.parent)?;
            above = parent.ok_or(StorageError::Index { what: "the record of a parent" })?;
            hidden_by = hidden_by.max(above.deleted_at);
        }
        let mut found = Vec::new();
        let mut open = vec![(id, hidden_by)];
        while let Some((id, hidden_by)) = open.pop() {
            let record = self.record(id)?.ok_or(StorageError::Index { what: "the record of an entry" })?;
            let is_unseen = record.tombstone_stamp().is_some() || record.updated_at <= hidden_by;
            // One record that is visible, needed or not stable prevents the collection of the whole subtree.
            let is_stable = record.latest_stamp() <= horizon && !kept.contains(&id);
            if !is_unseen || !record.is_collectable() || !is_stable {
                return Ok(None);
            }
            found.push(id);
            let hidden_by = hidden_by.max(record.deleted_at);
            let children = self.children(id, None, usize::MAX)?;
            open.extend(children.into_iter().map(|entry| (entry.id, hidden_by)));
        }
        Ok(Some(found))
    }
}
