//! Forgetting tombstones that nobody needs any more.
//!
//! A tombstone is *causally stable* once every member has seen the delete and everything that was
//! written before it: then no write can arrive that the delete would have to hide (Baquero, Almeida,
//! Shoker, "Making operation-based CRDTs operation-based", 2014). Members agree on a *horizon*, a
//! stamp before which all is stable; how is the replica's business. Here is what follows from one:
//! what is dead, was last changed before the horizon, and holds nothing that a later join could need,
//! is taken out of the state, with all that it hides. Counters, texts and custom values are kept, since
//! what they have counted and held would otherwise come back different; so are elements that were
//! removed from a set which is still there.

use crate::error::StorageError;
use crate::interface::Interface;
use crate::keys;
use crate::record::Record;
use syncline_crdt::Value;
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc};

impl Record {
    /// When the record was last changed, if it is dead and holds nothing that a later join could need.
    pub fn grave(&self) -> Option<Hlc> {
        // An element that was removed from its set is not meant: a removal has no stamp of its own, so that
        // nobody can tell who has seen it.
        let dead = self.deleted_at > Hlc::ZERO && self.deleted_at >= self.updated_at;
        (dead && self.is_forgettable()).then(|| self.latest_stamp())
    }

    const fn is_forgettable(&self) -> bool {
        !matches!(
            self.value,
            Value::GCounter(_)
                | Value::PnCounter(_)
                | Value::Rga(_)
                | Value::Custom(_)
                | Value::User(_)
                | Value::Frozen(_)
        )
    }
}

impl<V: ReadView> Interface<V> {
    /// Whether raising the horizon to `horizon` would find anything to look at. O(log n).
    pub fn has_graves(&mut self, horizon: Hlc) -> Result<bool, StorageError> {
        Ok(!self.graves(horizon, 1)?.is_empty())
    }

    /// Takes note that everything up to `horizon` is stable, and forgets what may be forgotten. Gives
    /// how many records that were. O(tombstones up to the horizon, with all below them).
    ///
    /// The caller vouches that every member has seen everything stamped up to `horizon`, and so has
    /// this state.
    pub fn raise_horizon(&mut self, horizon: Hlc) -> Result<u64, StorageError> {
        if horizon <= self.horizon() {
            return Ok(0);
        }
        let graves = self.graves(horizon, usize::MAX)?;
        self.set_horizon(horizon);
        let mut forgotten = 0;
        for id in graves {
            let Some(subtree) = self.forgettable_subtree(id, horizon)? else { continue };
            forgotten += subtree.len() as u64;
            // Children before parents.
            for id in subtree.into_iter().rev() {
                self.forget(id)?;
            }
        }
        Ok(forgotten)
    }

    /// Entities that died up to `horizon`.
    fn graves(&mut self, horizon: Hlc, limit: usize) -> Result<Vec<EntityId>, StorageError> {
        let slot = self.slot();
        let from = keys::grave(slot, Hlc::ZERO, EntityId::ROOT);
        let to = keys::grave(slot, horizon, EntityId::LAST);
        self.derived_rows(&from, &to, limit, keys::grave_id)
    }

    /// `id` with all below it, parents first, if all of it may go.
    fn forgettable_subtree(
        &mut self,
        id: EntityId,
        horizon: Hlc,
    ) -> Result<Option<Vec<EntityId>>, StorageError> {
        let Some(top) = self.record(id)?.filter(|record| record.grave().is_some()) else { return Ok(None) };
        let mut hidden_by = top.deleted_at;
        let mut above = top;
        while above.depth > 0 {
            let Some(parent) = self.record(above.parent)? else { break };
            hidden_by = hidden_by.max(parent.deleted_at);
            above = parent;
        }
        let mut found = Vec::new();
        let mut open = vec![(id, hidden_by)];
        while let Some((id, hidden_by)) = open.pop() {
            let Some(record) = self.record(id)? else { continue };
            let unseen = record.grave().is_some() || record.updated_at <= hidden_by;
            if !unseen || !record.is_forgettable() || record.latest_stamp() > horizon {
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
