//! Records as a batch sees and changes them.

use crate::error::StorageError;
use crate::index;
use crate::record::Record;
use crate::record_codec::own_hash;
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_store::Bytes;
use syncline_types::{Decode, Digest, Encode, EntityId, Writer};

/// How many records are looked at side by side: [`Records::visit`].
pub(super) const SIDE_BY_SIDE: usize = 32;

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

    /// Its bytes.
    fn bytes(&mut self, buffer: &mut Writer) -> Option<&Bytes> {
        if let (None, Some(record)) = (&self.bytes, &self.record) {
            buffer.clear();
            record.encode(buffer);
            self.bytes = Some(buffer.as_slice().into());
        }
        self.bytes.as_ref()
    }

    /// As [`Held::bytes`], which are not kept any more: for the batch.
    pub(super) fn take_bytes(&mut self, buffer: &mut Writer) -> Option<Bytes> {
        self.bytes(buffer);
        self.bytes.take()
    }

    /// As [`Held::bytes`], of one that stays as it is.
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
///
/// Where the places are is in a hash table with open addressing by how the ids begin: nearly all are hashes
/// themselves. Ids that were chosen to begin alike go to a tree beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    slots: Vec<Slot>,
    /// Those that found no slot near where they belong.
    others: BTreeMap<EntityId, u32>,
    /// In pieces of [`PIECE`], and so small that memory for them is used again by the next batch.
    held: Vec<Vec<Held>>,
    count: u32,
}

/// Where a record is held.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// More of its id, so that hardly any other is looked at.
    tag: u32,
    /// [`FREE`]: there is none.
    place: u32,
}

const FREE: u32 = u32::MAX;
const PIECE: u32 = 256;
/// How far from where it belongs a slot may be.
const PROBES: usize = 16;
const MISSING: StorageError = StorageError::Index { what: "a record that is held" };

fn tag(id: EntityId) -> u32 {
    let [_, _, _, _, a, b, c, d, ..] = id.0;
    u32::from_be_bytes([a, b, c, d])
}

impl Records {
    /// The slots in which records whose ids begin so are looked for, in turn.
    fn near(&self, beginning: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len().wrapping_sub(1);
        let probes = if self.slots.is_empty() { 0 } else { PROBES };
        (0..probes).map(move |step| (beginning as usize + step) & mask)
    }

    /// The places in these slots, up to the first free one.
    fn places_near(&self, beginning: u32) -> impl Iterator<Item = Slot> {
        let slots = self.near(beginning).filter_map(|at| self.slots.get(at).copied());
        slots.take_while(|slot| slot.place != FREE)
    }

    pub(super) fn place(&self, id: EntityId) -> Option<u32> {
        let alike = self.places_near(id.prefix()).filter(|slot| slot.tag == tag(id));
        let found = alike.map(|slot| slot.place).find(|place| self.id(*place) == Some(id));
        found.or_else(|| self.others.get(&id).copied())
    }

    /// Gives a place to a record that has none.
    pub(super) fn push(&mut self, held: Held) -> u32 {
        let (place, id) = (self.count, held.id);
        match self.held.last_mut().filter(|last| last.len() < PIECE as usize) {
            Some(last) => last.push(held),
            // The first grows as it is needed: most batches are small.
            None => {
                let mut piece = Vec::with_capacity(if place == 0 { 1 } else { PIECE as usize });
                piece.push(held);
                self.held.push(piece);
            }
        }
        self.count += 1;
        if self.count as usize * 2 > self.slots.len() {
            self.rehash();
        } else {
            self.enter(id, place);
        }
        place
    }

    fn enter(&mut self, id: EntityId, place: u32) {
        let free =
            self.near(id.prefix()).find(|at| self.slots.get(*at).is_some_and(|slot| slot.place == FREE));
        match free.and_then(|at| self.slots.get_mut(at)) {
            Some(slot) => *slot = Slot { tag: tag(id), place },
            None => {
                self.others.insert(id, place);
            }
        }
    }

    fn rehash(&mut self) {
        let slots = (self.count as usize * 4).next_power_of_two();
        self.slots = vec![Slot { tag: 0, place: FREE }; slots];
        self.others.clear();
        for place in 0..self.count {
            if let Some(id) = self.id(place) {
                self.enter(id, place);
            }
        }
    }

    fn get(&self, place: u32) -> Option<&Held> {
        self.held.get((place / PIECE) as usize)?.get((place % PIECE) as usize)
    }

    pub(super) fn at(&mut self, place: u32) -> Result<&mut Held, StorageError> {
        let piece = self.held.get_mut((place / PIECE) as usize);
        piece.and_then(|piece| piece.get_mut((place % PIECE) as usize)).ok_or(MISSING)
    }

    /// Looks at all that is in these places, so that what is far away comes near side by side: about to be
    /// used one after the other, each would be waited for.
    pub(super) fn visit(&self, places: impl Iterator<Item = u32>) {
        let held = places.filter_map(|place| self.get(place));
        let seen = held.fold(0, |seen, held| {
            let own = held.own.map_or(0, |own| own.short());
            seen ^ own ^ u64::from(held.dirty) ^ u64::from(held.touched.is_some()) ^ first(held.id)
        });
        std::hint::black_box(seen);
    }

    pub(super) fn id(&self, place: u32) -> Option<EntityId> {
        self.get(place).map(|held| held.id)
    }

    /// Those with this [`EntityId::beginning`], in no order.
    pub(super) fn beginning(&self, beginning: u32) -> impl Iterator<Item = &Held> {
        let (from, to) = EntityId::range_of_prefix(beginning);
        let places = self.places_near(beginning).map(|slot| slot.place);
        let places = places.chain(self.others.range(from..=to).map(|(_, place)| *place));
        let held = places.filter_map(|place| self.get(place));
        held.filter(move |held| held.id.prefix() == beginning)
    }

    /// The places of all that have changed, ascending by id.
    pub(super) fn changed(&self) -> Vec<u32> {
        let changed = (0u32..).zip(self.held.iter().flatten()).filter(|(_, held)| held.dirty);
        let mut changed: Vec<_> = changed.map(|(place, held)| (first(held.id), place)).collect();
        changed.sort_unstable_by(|(first, place), (other, other_place)| {
            first.cmp(other).then_with(|| self.id(*place).cmp(&self.id(*other_place)))
        });
        changed.into_iter().map(|(_, place)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::btree_map::Entry;

    /// Ids of which many begin alike, some all of the way but for the end.
    fn id() -> impl Strategy<Value = EntityId> {
        (prop_oneof![Just(0u32), Just(7), any::<u32>()], 0..3u32, 0..40u8).prop_map(|(first, tag, last)| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&first.to_be_bytes());
            bytes[4..8].copy_from_slice(&tag.to_be_bytes());
            bytes[31] = last;
            EntityId(bytes)
        })
    }

    proptest! {
        #[test]
        fn each_entity_has_a_place_of_its_own(
            ids in proptest::collection::vec(id(), 0..300),
            absent in id(),
        ) {
            let mut records = Records::default();
            let mut model = BTreeMap::new();
            for id in ids {
                prop_assert_eq!(records.place(id), model.get(&id).copied());
                if let Entry::Vacant(free) = model.entry(id) {
                    let mut held = Held::new(id, None);
                    held.dirty = id.0[31] % 3 > 0;
                    free.insert(records.push(held));
                }
            }
            prop_assert_eq!(records.place(absent), model.get(&absent).copied());
            let changed = model.iter().filter(|(id, _)| id.0[31] % 3 > 0).map(|(_, place)| *place);
            prop_assert_eq!(records.changed(), changed.collect::<Vec<_>>());
            for beginning in model.keys().map(|id| id.prefix()).chain([absent.prefix()]) {
                let mut found: Vec<_> = records.beginning(beginning).map(|held| held.id).collect();
                found.sort_unstable();
                let expected = model.keys().copied().filter(|id| id.prefix() == beginning);
                prop_assert_eq!(found, expected.collect::<Vec<_>>());
            }
        }
    }
}
