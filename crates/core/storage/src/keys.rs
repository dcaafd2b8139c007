//! The layout of the store: one leading byte per kind of row, so that kinds never meet and each
//! can be scanned in order.
//!
//! There is room for two states, each in a *slot*: the kinds of the second are those of the first with
//! one bit more. One is shown; in the other a snapshot is received. Showing it is one row.

use crate::error::StorageError;
use crate::index::Prefix;
use syncline_store::{Key, ReadView};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Hlc, Reader, Writer};

const STATS: u8 = 0x01;
const RECORD: u8 = 0x02;
const NODE: u8 = 0x03;
const ORDER: u8 = 0x04;
const GRAVE: u8 = 0x05;
/// Where the kinds of a slot begin to repeat. A state may have so many kinds of rows, less one.
const SLOT: u8 = 0x08;
/// Which slot is shown: one row, and none while it is the first.
pub const ACTIVE: &[u8] = &[SLOT];
/// First byte of rows that belong to the layers above (deltas, clock, staged snapshots).
pub const ABOVE: u8 = 0x10;

/// One of the two places for the rows of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Slot {
    /// Where every state begins.
    #[default]
    First,
    /// The other one.
    Second,
}

impl Slot {
    /// The slot of the state that is shown. O(1).
    pub fn active<V: ReadView>(view: &V) -> Result<Self, StorageError> {
        let row = view.read(ACTIVE)?;
        let slot = row.map(|row| Self::from_bytes(&row)).transpose();
        Ok(slot.map_err(StorageError::row("which slot is shown"))?.unwrap_or_default())
    }

    /// The one that this is not.
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The first key of the slot, and the first one after it.
    pub fn bounds(self) -> (Key, Key) {
        (Key::of(&[&[self.kind(STATS)]]), Key::of(&[&[self.kind(SLOT - 1) + 1]]))
    }

    const fn kind(self, kind: u8) -> u8 {
        match self {
            Self::First => kind,
            Self::Second => kind + SLOT,
        }
    }
}

impl Encode for Slot {
    fn encode(&self, out: &mut Writer) {
        out.u8(self.kind(0) / SLOT);
    }
}

impl Decode for Slot {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::First),
            1 => Ok(Self::Second),
            tag => Err(DecodeError::UnknownTag { what: "slot", found: u64::from(tag) }),
        }
    }
}

/// Whether a key that begins with `first` is of this kind, in either slot.
const fn is_of(first: u8, kind: u8) -> bool {
    first < ABOVE && first % SLOT == kind
}

/// Statistics and root of the state: one row.
pub fn stats(slot: Slot) -> Key {
    Key::of(&[&[slot.kind(STATS)]])
}

/// The row of one record.
pub fn record(slot: Slot, id: EntityId) -> Key {
    Key::of(&[&[slot.kind(RECORD)], id.as_bytes()])
}

/// The id in the key of a record row.
pub fn record_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, id) = key.split_first()?;
    Some(EntityId(id.try_into().ok().filter(|_| is_of(kind, RECORD))?))
}

/// The first key after all record rows.
pub fn records_end(slot: Slot) -> Key {
    Key::of(&[&[slot.kind(RECORD + 1)]])
}

/// What the keys of all nodes of the trie over the children of `entity` begin with.
pub fn trie(slot: Slot, entity: EntityId) -> Key {
    Key::of(&[&[slot.kind(NODE)], entity.as_bytes()])
}

/// The slot and the entity in what [`trie`] gives.
pub fn trie_of(key: &[u8]) -> Option<(Slot, EntityId)> {
    let (&kind, entity) = key.split_first().filter(|(kind, _)| is_of(**kind, NODE))?;
    let slot = if kind == NODE { Slot::First } else { Slot::Second };
    Some((slot, EntityId(entity.try_into().ok()?)))
}

/// The row of one node of the trie over the children of `entity`.
pub fn node(slot: Slot, entity: EntityId, prefix: Prefix) -> Key {
    Key::of(&[&[slot.kind(NODE)], entity.as_bytes(), &[prefix.len()], prefix.packed()])
}

/// The row that says that `id` is a child of `parent` in the place of `label`. The label is escaped so
/// that rows order as labels do, whatever bytes are in them.
pub fn order(slot: Slot, parent: EntityId, label: &[u8], id: EntityId) -> Key {
    let mut place = Vec::with_capacity(label.len() + 2);
    escape(label, &mut place);
    place.extend([0, 0]);
    Key::of(&[&[slot.kind(ORDER)], parent.as_bytes(), &place, id.as_bytes()])
}

/// From which row on the children of `parent` have labels of at least `label`.
pub fn order_from(slot: Slot, parent: EntityId, label: &[u8]) -> Key {
    let mut place = Vec::with_capacity(label.len());
    escape(label, &mut place);
    Key::of(&[&[slot.kind(ORDER)], parent.as_bytes(), &place])
}

/// The first key after all order rows of `parent`.
pub fn order_end(slot: Slot, parent: EntityId) -> Key {
    match parent.successor() {
        Some(next) => Key::of(&[&[slot.kind(ORDER)], next.as_bytes()]),
        None => Key::of(&[&[slot.kind(ORDER + 1)]]),
    }
}

/// The child that an order row names.
pub fn order_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, rest) = key.split_first()?;
    let id = rest.split_last_chunk::<32>().map(|(_, id)| EntityId(*id));
    id.filter(|_| is_of(kind, ORDER) && rest.len() >= 66)
}

fn escape(label: &[u8], out: &mut Vec<u8>) {
    for &byte in label {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
}

/// The row that says that `id` is dead and was last changed at `stamp`.
pub fn grave(slot: Slot, stamp: Hlc, id: EntityId) -> Key {
    Key::of(&[&[slot.kind(GRAVE)], &stamp.time().to_be_bytes(), stamp.replica().as_bytes(), id.as_bytes()])
}

/// The entity that a grave row names.
pub fn grave_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, rest) = key.split_first()?;
    let id = rest.split_last_chunk::<32>().map(|(_, id)| EntityId(*id));
    id.filter(|_| is_of(kind, GRAVE) && rest.len() == 56)
}
