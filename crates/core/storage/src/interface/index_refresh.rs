//! The refresh of the index: updates it to match the records.

use super::Interface;
use super::record_cache::{PREFETCH, sort_key};
use crate::error::StorageError;
use crate::index::{self, EntryUpdate};
use crate::record::own_hash;
use std::collections::BTreeMap;
use syncline_store::ReadView;
use syncline_types::{Digest, Encode, EntityId};

/// The number of entries that are changed at once. It is small enough that they stay in the CPU's cache
/// meanwhile.
const AT_ONCE: usize = 512;

/// Stale entities by depth, as indices into the record cache.
type Levels = BTreeMap<u32, Vec<u32>>;

/// An entity whose index entry is out of date.
struct Sibling {
    /// The cache index of its parent.
    parent: u32,
    /// The first bytes of its id, to sort by.
    sort_key: u64,
    /// Its own cache index.
    index: u32,
}

impl<V: ReadView> Interface<V> {
    /// Updates the index to match the records, from the deepest entities up.
    ///
    /// An entry contains the root of the entity's own trie, so the entries of the children must be right first.
    /// Parents are always at a smaller depth, hence each level adds work to shallower levels only, and each
    /// entity is visited once.
    pub(super) fn refresh(&mut self) -> Result<(), StorageError> {
        if self.stale.is_empty() {
            return Ok(());
        }
        let mut levels = Levels::new();
        for index in std::mem::take(&mut self.stale) {
            levels.entry(self.position_of(index)?.0).or_default().push(index);
        }
        let mut updates = Vec::new();
        while let Some((depth, level)) = levels.pop_last() {
            if depth == 0 {
                for index in level {
                    self.records.at(index)?.stale = None;
                }
                self.stats.root = self.full_hash_of_root()?;
                continue;
            }
            let siblings = self.siblings(&level)?;
            let families = || siblings.chunk_by(|a, b| a.parent == b.parent);
            let parents = families().filter_map(|siblings| self.records.id(siblings.first()?.parent));
            self.tries.prefetch(&self.view, parents);
            for siblings in families() {
                self.refresh_entries(siblings, depth, &mut levels, &mut updates)?;
            }
        }
        Ok(())
    }

    /// The entities of a level, grouped by parent and within a group ascending by id.
    fn siblings(&mut self, level: &[u32]) -> Result<Vec<Sibling>, StorageError> {
        let mut siblings = Vec::with_capacity(level.len());
        // Neighbors often have the same parent: one lookup serves all of them.
        let mut last_parent = None;
        for &index in level {
            let (_, parent) = self.position_of(index)?;
            let parent = match last_parent {
                Some((id, index)) if id == parent => index,
                _ => {
                    let index = self.cache_index(parent)?;
                    last_parent = Some((parent, index));
                    index
                }
            };
            siblings.push(Sibling { parent, sort_key: sort_key(self.records.at(index)?.id), index });
        }
        siblings.sort_unstable_by(|a, b| {
            let ids = || self.records.id(a.index).cmp(&self.records.id(b.index));
            (a.parent, a.sort_key).cmp(&(b.parent, b.sort_key)).then_with(ids)
        });
        Ok(siblings)
    }

    /// Brings the entries of `siblings` up to date. If that changed any, their parent becomes stale.
    fn refresh_entries(
        &mut self,
        siblings: &[Sibling],
        depth: u32,
        levels: &mut Levels,
        updates: &mut Vec<EntryUpdate>,
    ) -> Result<(), StorageError> {
        let Some(&Sibling { parent, .. }) = siblings.first() else {
            return Err(StorageError::internal("a group of siblings is not empty"));
        };
        let parent_id = self.records.at(parent)?.id;
        let (parent_depth, _) = self.position_of(parent)?;
        // Joins keep parents above their children. Damaged rows may not, and the passes over levels would then
        // visit the parent before its child.
        if parent_depth >= depth {
            return Err(StorageError::Index { what: "a parent above its child" });
        }
        let mut changed = false;
        for some in siblings.chunks(AT_ONCE) {
            updates.clear();
            for few in some.chunks(PREFETCH) {
                self.records.prefetch(few.iter().map(|sibling| sibling.index));
                for sibling in few {
                    let update = self.update_of(sibling.index)?;
                    // Only an entity that has moved here brings `before` along. The trie of this parent gets a new
                    // entry for it, which `Tries::update` reports as well.
                    changed |= update.before.is_some();
                    updates.push(update);
                }
            }
            changed |= self.tries.update(&self.view, parent_id, updates)?;
            for update in &*updates {
                if update.own.is_some() {
                    self.change_feed.push(update.id, update.before, update.own);
                } else if update.before.is_none() {
                    // The record was in the view and did not change, but the view has no entry for it.
                    return Err(StorageError::Index { what: "the entry of an entity with children" });
                }
            }
        }
        if changed {
            let cached = self.records.at(parent)?;
            if cached.stale.is_none() {
                levels.entry(parent_depth).or_default().push(parent);
            }
            cached.stale.get_or_insert_default().kids = true;
        }
        Ok(())
    }

    /// The update that brings the entry of one entity up to date. The entity is not stale after that.
    fn update_of(&mut self, index: u32) -> Result<EntryUpdate, StorageError> {
        let cached = self.records.at(index)?;
        let id = cached.id;
        debug_assert!(cached.stale.is_some(), "only stale entities are refreshed");
        let stale = cached.stale.take().unwrap_or_default();
        let mut update = EntryUpdate { id, own: None, kids: None, before: None };
        if stale.own {
            update.own = cached.own_hash(&mut self.buffer, &mut self.work.hash_computations);
        }
        if stale.kids {
            update.kids = Some(self.tries.root(&self.view, id)?);
        }
        // The trie of the new parent has no entry yet: what is not stale comes from the old entry.
        if let Some(old) = stale.moved_from {
            update.before = Some(old.own);
            update.own = update.own.or(Some(old.own));
            update.kids = update.kids.or(Some(old.kids));
        }
        Ok(update)
    }

    /// The depth and the parent of a cached record. If there is no record, a record of the view names a
    /// parent that the view does not have.
    fn position_of(&mut self, index: u32) -> Result<(u32, EntityId), StorageError> {
        self.records.at(index)?.position.ok_or(StorageError::Index { what: "the record of a parent" })
    }

    pub(super) fn full_hash_of_root(&mut self) -> Result<Digest, StorageError> {
        // A state without records has the root zero.
        let Some(record) = self.record(EntityId::ROOT)? else { return Ok(Digest::ZERO) };
        let own = own_hash(EntityId::ROOT, &record.to_bytes());
        self.change_feed.push_root(own);
        self.work.hash_computations += 2;
        Ok(index::full_hash(own, self.tries.root(&self.view, EntityId::ROOT)?))
    }
}
