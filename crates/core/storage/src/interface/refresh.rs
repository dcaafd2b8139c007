//! Bringing the index in step with the records.

use super::Interface;
use super::held::{SIDE_BY_SIDE, first};
use crate::error::StorageError;
use crate::index::{self, Update};
use crate::record_codec::own_hash;
use std::collections::BTreeMap;
use syncline_store::ReadView;
use syncline_types::{Digest, Encode, EntityId};

/// How many entries are changed at once: as many as stay at hand meanwhile.
const AT_ONCE: usize = 512;

/// Entities of one depth that must be brought up to date, by depth; their places.
type Levels = BTreeMap<u32, Vec<u32>>;

/// An entity whose entry must be brought up to date.
struct Sibling {
    /// The place of its parent.
    parent: u32,
    /// The first bytes of its id.
    first: u64,
    place: u32,
}

impl<V: ReadView> Interface<V> {
    /// Brings the index in step with the records: deepest entities first, each once.
    pub(super) fn refresh(&mut self) -> Result<(), StorageError> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let mut levels = Levels::new();
        for place in std::mem::take(&mut self.touched) {
            levels.entry(self.home_of(place)?.0).or_default().push(place);
        }
        let mut updates = Vec::new();
        while let Some((depth, level)) = levels.pop_last() {
            if depth == 0 {
                for place in level {
                    self.records.at(place)?.touched = None;
                }
                self.stats.root = self.full_hash_of_root()?;
                continue;
            }
            let siblings = self.siblings(&level)?;
            let of_one_parent = || siblings.chunk_by(|a, b| a.parent == b.parent);
            let parents = of_one_parent().filter_map(|siblings| self.records.id(siblings.first()?.parent));
            self.tries.prefetch(&self.view, parents);
            for siblings in of_one_parent() {
                self.refresh_entries(siblings, depth, &mut levels, &mut updates)?;
            }
        }
        Ok(())
    }

    /// The entities of a level, those of one parent together and ascending by id.
    fn siblings(&mut self, level: &[u32]) -> Result<Vec<Sibling>, StorageError> {
        let mut siblings = Vec::with_capacity(level.len());
        let mut known = None;
        for &place in level {
            let (_, parent) = self.home_of(place)?;
            let parent = match known {
                Some((id, place)) if id == parent => place,
                _ => {
                    let place = self.place(parent)?;
                    known = Some((parent, place));
                    place
                }
            };
            siblings.push(Sibling { parent, first: first(self.records.at(place)?.id), place });
        }
        siblings.sort_unstable_by(|a, b| {
            let ids = || self.records.id(a.place).cmp(&self.records.id(b.place));
            (a.parent, a.first).cmp(&(b.parent, b.first)).then_with(ids)
        });
        Ok(siblings)
    }

    /// Brings the entries of siblings up to date, and has their parent brought up to date if that changed
    /// anything.
    fn refresh_entries(
        &mut self,
        siblings: &[Sibling],
        depth: u32,
        levels: &mut Levels,
        updates: &mut Vec<Update>,
    ) -> Result<(), StorageError> {
        let Some(&Sibling { parent, .. }) = siblings.first() else { return Ok(()) };
        let (parent_id, (parent_depth, _)) = (self.records.at(parent)?.id, self.home_of(parent)?);
        if parent_depth >= depth {
            return Err(StorageError::Index { what: "a parent above its child" });
        }
        let mut changed = false;
        for some in siblings.chunks(AT_ONCE) {
            updates.clear();
            for few in some.chunks(SIDE_BY_SIDE) {
                self.records.visit(few.iter().map(|sibling| sibling.place));
                for sibling in few {
                    let update = self.update_of(sibling.place)?;
                    // What has moved is new here, and was told of before.
                    changed |= update.before.is_some();
                    updates.push(update);
                }
            }
            changed |= self.tries.update(&self.view, parent_id, updates)?;
            for update in &*updates {
                if update.own.is_some() {
                    self.changes.note(update.id, update.before, update.own);
                } else if update.before.is_none() {
                    return Err(StorageError::Index { what: "the entry of an entity with children" });
                }
            }
        }
        if changed {
            let held = self.records.at(parent)?;
            if held.touched.is_none() {
                levels.entry(parent_depth).or_default().push(parent);
            }
            held.touched.get_or_insert_default().kids = true;
        }
        Ok(())
    }

    /// What must be done about the entry of one entity.
    fn update_of(&mut self, place: u32) -> Result<Update, StorageError> {
        let held = self.records.at(place)?;
        let (id, touched) = (held.id, held.touched.take().unwrap_or_default());
        let mut update = Update { id, own: None, kids: None, before: None };
        if touched.own {
            update.own = held.own_hash(&mut self.buffer, &mut self.work.hash_computations);
        }
        if touched.kids {
            update.kids = Some(self.tries.root(&self.view, id)?);
        }
        if let Some(known) = touched.moved_from {
            update.before = Some(known.own);
            update.own = update.own.or(Some(known.own));
            update.kids = update.kids.or(Some(known.kids));
        }
        Ok(update)
    }

    /// The depth and the parent of an entity that is there.
    fn home_of(&mut self, place: u32) -> Result<(u32, EntityId), StorageError> {
        self.records.at(place)?.home.ok_or(StorageError::Index { what: "the record of a parent" })
    }

    /// Whether the trie of `id` has the root that is told of it: by the entry of `id`, or for the root by the
    /// figures.
    pub(crate) fn is_told(&mut self, id: EntityId) -> Result<bool, StorageError> {
        if id == EntityId::ROOT {
            return Ok(self.root_hash()? == self.full_hash_of_root()?);
        }
        let told = self.entry(id)?.map_or(Digest::ZERO, |entry| entry.kids);
        Ok(self.tries.root(&self.view, id)? == told)
    }

    fn full_hash_of_root(&mut self) -> Result<Digest, StorageError> {
        let Some(record) = self.record(EntityId::ROOT)? else { return Ok(Digest::ZERO) };
        let own = own_hash(EntityId::ROOT, &record.to_bytes());
        self.changes.note_root(own);
        self.work.hash_computations += 2;
        Ok(index::full_hash(own, self.tries.root(&self.view, EntityId::ROOT)?))
    }
}
