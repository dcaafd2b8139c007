//! Bringing the index in step with the records.

use super::Interface;
use super::held::Level;
use crate::error::StorageError;
use crate::index::{self, Entry};
use crate::record_codec::own_hash;
use std::collections::BTreeMap;
use syncline_store::ReadView;
use syncline_types::{Digest, Encode, EntityId};

/// How many entries are looked at side by side.
const AT_ONCE: usize = 16;

impl<V: ReadView> Interface<V> {
    /// Brings the index in step with the records: deepest entities first, each once.
    pub(super) fn refresh(&mut self) -> Result<(), StorageError> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let mut levels: BTreeMap<u32, Level> = BTreeMap::new();
        for place in std::mem::take(&mut self.touched) {
            let (id, depth) = (self.records.at(place)?.id, self.depth_at(place)?);
            levels.entry(depth).or_default().touched.push((id, place));
        }
        while let Some((depth, level)) = levels.pop_last() {
            let mut last = None;
            let entities = self.entities_of(level)?;
            for (at, &place) in entities.iter().enumerate() {
                if at.is_multiple_of(AT_ONCE) {
                    self.visit(entities.get(at..).unwrap_or_default())?;
                }
                let parent = self.refresh_entry(place)?.filter(|parent| Some(*parent) != last);
                let Some(parent) = parent else { continue };
                last = Some(parent);
                let parent_place = self.place(parent)?;
                let parent_depth = self.depth_at(parent_place)?;
                if parent_depth >= depth {
                    return Err(StorageError::Index { what: "a parent above its child" });
                }
                levels.entry(parent_depth).or_default().parents.insert(parent);
            }
        }
        Ok(())
    }

    /// The places of all entities of a level, ascending by id but for those that only have children in
    /// it, which come last.
    fn entities_of(&mut self, Level { mut touched, mut parents }: Level) -> Result<Vec<usize>, StorageError> {
        touched.sort_unstable();
        let mut places = Vec::with_capacity(touched.len() + parents.len());
        for (id, place) in touched {
            if parents.remove(&id) {
                self.records.at(place)?.touched.get_or_insert_default().kids = true;
            }
            places.push(place);
        }
        for id in parents {
            let place = self.place(id)?;
            self.records.at(place)?.touched.get_or_insert_default().kids = true;
            places.push(place);
        }
        Ok(places)
    }

    /// Has the nodes at hand in which the first few of these entities are, if they have one parent.
    fn visit(&mut self, places: &[usize]) -> Result<(), StorageError> {
        let (mut parent, mut ids) = (None, [EntityId::ROOT; AT_ONCE]);
        let mut count = 0;
        for (to, &place) in ids.iter_mut().zip(places) {
            let held = self.records.at(place)?;
            let own = held.record.as_ref().map(|record| record.parent);
            if held.id == EntityId::ROOT || own.is_none() || parent.is_some_and(|parent| Some(parent) != own)
            {
                break;
            }
            (parent, *to, count) = (own, held.id, count + 1);
        }
        match (parent, ids.get(..count)) {
            (Some(parent), Some(ids)) if count > 1 => self.tries.visit(&self.view, parent, ids),
            _ => Ok(()),
        }
    }

    /// Brings the entry of one entity up to date. Gives its parent if that changed anything.
    fn refresh_entry(&mut self, place: usize) -> Result<Option<EntityId>, StorageError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let held = self.records.at(place)?;
        let (id, touched) = (held.id, held.touched.take().unwrap_or_default());
        if id == EntityId::ROOT {
            self.buffer = buffer;
            self.stats.root = self.full_hash_of_root()?;
            return Ok(None);
        }
        let own = touched.own.then(|| held.own_hash(&mut buffer));
        let parent = held.record.as_ref().map(|record| record.parent);
        self.work.hash_computations += u64::from(touched.own);
        self.buffer = buffer;
        let Some(parent) = parent else { return Ok(None) };
        let kids = if touched.kids { Some(self.tries.root(&self.view, id)?) } else { None };
        let mut known_own = None;
        let moved_from = touched.moved_from.as_deref().copied();
        let changed = self.tries.update(&self.view, parent, id, |known| {
            let known = moved_from.or(known);
            known_own = known.map(|entry| entry.own);
            let Entry { own: old, kids: old_kids, .. } =
                known.unwrap_or(Entry { id, own: Digest::ZERO, kids: Digest::ZERO });
            Entry { id, own: own.unwrap_or(old), kids: kids.unwrap_or(old_kids) }
        })?;
        if own.is_some() {
            self.changes.note(id, known_own, own);
        } else if known_own.is_none() {
            return Err(StorageError::Index { what: "the entry of an entity with children" });
        }
        Ok((changed || moved_from.is_some()).then_some(parent))
    }

    fn depth_at(&mut self, place: usize) -> Result<u32, StorageError> {
        let held = self.records.at(place)?;
        held.record.as_ref().map(|r| r.depth).ok_or(StorageError::Index { what: "the record of a parent" })
    }

    fn full_hash_of_root(&mut self) -> Result<Digest, StorageError> {
        let Some(record) = self.held(EntityId::ROOT)?.record.clone() else { return Ok(Digest::ZERO) };
        let own = own_hash(EntityId::ROOT, &record.to_bytes());
        self.changes.note_root(own);
        self.work.hash_computations += 2;
        Ok(index::full_hash(own, self.tries.root(&self.view, EntityId::ROOT)?))
    }
}
