//! Records as a batch sees and changes them.

use crate::error::StorageError;
use crate::index;
use crate::record::Record;
use crate::record_codec::own_hash;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use syncline_store::Bytes;
use syncline_types::{Decode, Digest, Encode, EntityId, Writer};

/// A record in one form or the other, or both; in neither: there is none.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: EntityId,
    /// Its depth and parent, if there is a record.
    pub(super) home: Option<(u32, EntityId)>,
    record: Option<Arc<Record>>,
    /// The canonical bytes of a dirty record, once they were needed.
    bytes: Option<Bytes>,
    /// The digest of these bytes, once it was needed.
    own: Option<Digest>,
    pub(super) dirty: bool,
    /// What of its index entry must be brought up to date.
    pub(super) touched: Option<Touched>,
}

impl Held {
    /// A record as the view has it.
    pub(super) fn new(id: EntityId, record: Option<Record>) -> Self {
        let home = record.as_ref().map(|record| (record.depth, record.parent));
        let record = record.map(Arc::new);
        Self { id, home, record, bytes: None, own: None, dirty: false, touched: None }
    }

    /// Becomes another record, or none.
    pub(super) fn replace(&mut self, record: Option<Record>) {
        self.home = record.as_ref().map(|record| (record.depth, record.parent));
        (self.record, self.bytes, self.own, self.dirty) = (record.map(Arc::new), None, None, true);
    }

    /// Becomes a record that nobody needs at once but as bytes.
    pub(super) fn replace_encoded(&mut self, home: (u32, EntityId), bytes: Bytes) {
        (self.record, self.home, self.dirty) = (None, Some(home), true);
        self.own = Some(own_hash(self.id, &bytes));
        self.bytes = Some(bytes);
    }

    /// The record, if there is one.
    pub(super) fn record(&mut self) -> Result<Option<&Arc<Record>>, StorageError> {
        if let (None, Some(bytes)) = (&self.record, &self.bytes) {
            let record = Record::from_bytes(bytes).map_err(StorageError::row("a record"))?;
            self.record = Some(Arc::new(record));
        }
        Ok(self.record.as_ref())
    }

    /// Its bytes, for the batch.
    pub(super) fn bytes(&mut self, buffer: &mut Writer) -> Option<&Bytes> {
        if let (None, Some(record)) = (&self.bytes, &self.record) {
            buffer.clear();
            record.encode(buffer);
            self.bytes = Some(buffer.as_slice().into());
        }
        self.bytes.as_ref()
    }

    /// As [`Held::bytes`], which are not kept.
    pub(super) fn encoded(&self) -> Option<Bytes> {
        let record = || self.record.as_ref().map(|record| record.to_bytes().into());
        self.bytes.clone().or_else(record)
    }

    /// The digest of a record that has changed.
    pub(super) fn own_hash(&mut self, buffer: &mut Writer, hashes: &mut u64) -> Option<Digest> {
        if self.own.is_none() {
            let id = self.id;
            self.own = self.bytes(buffer).map(|bytes| own_hash(id, bytes));
            *hashes += 1;
        }
        self.own
    }
}

/// What of an entity's index entry must be brought up to date.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub(super) own: bool,
    pub(super) kids: bool,
    /// The entry that the entity had where it used to hang.
    pub(super) moved_from: Option<Box<index::Entry>>,
}

/// The first bytes of an id as a number, which orders as ids do.
pub(super) fn first(id: EntityId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// All records that a batch has looked at, each in a place that it keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    /// By the first bytes of the id, which nearly always tell entities apart.
    places: BTreeMap<u64, u32>,
    /// By id: those that another has the first bytes of.
    others: BTreeMap<EntityId, u32>,
    held: Vec<Held>,
}

const MISSING: StorageError = StorageError::Index { what: "a record that is held" };

impl Records {
    pub(super) fn place(&self, id: EntityId) -> Option<u32> {
        let place = *self.places.get(&first(id))?;
        if self.id(place) == Some(id) { Some(place) } else { self.others.get(&id).copied() }
    }

    /// Gives a place to a record that has none.
    pub(super) fn push(&mut self, held: Held) -> u32 {
        let place = self.held.len() as u32;
        match self.places.entry(first(held.id)) {
            Entry::Vacant(free) => {
                free.insert(place);
            }
            Entry::Occupied(_) => {
                self.others.insert(held.id, place);
            }
        }
        self.held.push(held);
        place
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.held.reserve(more);
    }

    pub(super) fn at(&mut self, place: u32) -> Result<&mut Held, StorageError> {
        self.held.get_mut(place as usize).ok_or(MISSING)
    }

    pub(super) fn id(&self, place: u32) -> Option<EntityId> {
        self.held.get(place as usize).map(|held| held.id)
    }

    /// Those from `from` to `to`, in no order.
    pub(super) fn range(&self, from: EntityId, to: EntityId) -> impl Iterator<Item = &Held> {
        let places = self.places.range(first(from)..=first(to)).map(|(_, place)| place);
        let places = places.chain(self.others.range(from..=to).map(|(_, place)| place));
        let held = places.filter_map(|place| self.held.get(*place as usize));
        held.filter(move |held| from <= held.id && held.id <= to)
    }

    /// The places of all, ascending by id.
    pub(super) fn places(&self) -> Vec<u32> {
        let mut places: Vec<u32> = self.places.values().chain(self.others.values()).copied().collect();
        if !self.others.is_empty() {
            places.sort_unstable_by_key(|place| self.id(*place));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_whose_ids_begin_alike_have_places_of_their_own() {
        let id = |first: u8, last: u8| {
            let mut bytes = [first; 32];
            bytes[31] = last;
            EntityId(bytes)
        };
        let ids = [id(7, 2), id(9, 1), id(7, 3), id(7, 1)];
        let mut records = Records::default();
        for id in ids {
            assert_eq!(records.place(id), None);
            records.push(Held::new(id, None));
        }
        assert_eq!(ids.map(|id| records.place(id)), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(records.place(id(7, 9)), None);
        assert_eq!(records.places(), [3, 0, 2, 1]);
        let mut found: Vec<_> = records.range(id(7, 2), id(8, 0)).map(|held| held.id).collect();
        found.sort_unstable();
        assert_eq!(found, [id(7, 2), id(7, 3)]);
    }
}
