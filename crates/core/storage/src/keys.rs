//! The layout of rows in the store.
//!
//! The first byte of a key is the kind of the row, so each kind can be scanned in order:
//!
//! | kind | row | rest of the key | value |
//! |---|---|---|---|
//! | 1 | statistics | | [`Stats`](crate::Stats) |
//! | 1 | depth | 65,535 less the depth, two bytes big-endian | the number of records at that depth |
//! | 2 | record | locator big-endian, id | [`Record`](crate::Record) |
//! | 3 | index node | id of the parent, [`Prefix`] | [`Node`](crate::Node) |
//! | 4 | order of siblings | id of the parent, escaped label, `0 0`, id | empty |
//! | 5 | tombstone | stamp (time big-endian, replica), id | empty |
//!
//! A record is found by its [locator](syncline_types::ShortIdKey::locator), a keyed hash of its id, so that the rows of
//! all entities with one short id are side by side, whatever their ids have in common.
//!
//! A store has room for two states, each in a [`Slot`]. The kinds of the second slot are those of the first
//! plus eight. Readers see the *active* slot. A snapshot is received into the other one; one row switches
//! them.

use crate::error::StorageError;
use crate::prefix::Prefix;
use syncline_store::{Key, ReadView};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Hlc, Reader, ShortIdKey, Writer};

const STATS: u8 = 0x01;
const RECORD: u8 = 0x02;
const NODE: u8 = 0x03;
const ORDER: u8 = 0x04;
const TOMBSTONE: u8 = 0x05;
/// The distance between the kinds of the two slots. Kind zero is not used, so a state has at most seven kinds.
const SLOT: u8 = 0x08;
/// The key of the row that names the active slot. While the first slot is active, there is no such row.
pub const ACTIVE: &[u8] = &[SLOT];
/// The first kind of row that belongs to higher layers: deltas, the clock, staged snapshots.
pub const METADATA: u8 = 0x10;

/// The keys of the single rows of higher layers. One list, so that no two owners use one key: each key has another second
/// byte, and the rows of a group begin with the key of the group.
pub mod metadata {
    use super::METADATA;

    /// The heads of the delta log.
    pub const DELTA_LOG: &[u8] = &[METADATA, 1];
    /// The group of a staged snapshot; the row with this very key is its source.
    pub const SNAPSHOT: &[u8] = &[METADATA, 2];
    /// The clock and the incarnation.
    pub const CLOCK: &[u8] = &[METADATA, 3];
    /// The group of the authors of deltas.
    pub const AUTHOR: &[u8] = &[METADATA, 4];
    /// The end of the group of authors.
    pub const AUTHORS_END: &[u8] = &[METADATA, 5];
    /// The conflict that has stopped the replica.
    pub const CONFLICT: &[u8] = &[METADATA, 6];
    /// The last own write that the state of some peer has had.
    pub const SHARED: &[u8] = &[METADATA, 7];
    /// The collection of tombstones that is under way.
    pub const COLLECTION: &[u8] = &[METADATA, 8];
    /// The group of pruned deltas that are yet to be deleted.
    pub const LEFTOVERS: &[u8] = &[METADATA, 9];
    /// The end of that group.
    pub const LEFTOVERS_END: &[u8] = &[METADATA, 10];
}

/// One of the two sets of keys for the rows of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Slot {
    /// The slot that is active in a new store.
    #[default]
    First,
    /// The slot that the first snapshot is received into.
    Second,
}

impl Slot {
    /// The slot of the state that readers see. O(1).
    pub fn active<V: ReadView>(view: &V) -> Result<Self, StorageError> {
        let row = view.read(ACTIVE)?;
        let slot = row.map(|row| Self::from_bytes(&row)).transpose();
        Ok(slot.map_err(StorageError::row("which slot is shown"))?.unwrap_or_default())
    }

    /// The slot that is not this one: there are two.
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The first key of the slot, and the first key after the slot.
    pub fn bounds(self) -> (Key, Key) {
        (Key::of(&[&[self.kind(STATS)]]), Key::of(&[&[self.kind(SLOT - 1) + 1]]))
    }

    const fn kind(self, kind: u8) -> u8 {
        debug_assert!(kind < SLOT, "the kinds of a slot do not reach into the next one");
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

/// The key in slot `to` of the row that has this key in slot `from`.
pub fn moved(key: &[u8], from: Slot, to: Slot) -> Key {
    match key.split_first() {
        Some((kind, rest)) => Key::of(&[&[kind - from.kind(0) + to.kind(0)], rest]),
        None => Key::of(&[]),
    }
}

/// The row of a key in words: its kind, and the entity that it is about.
pub fn words(key: &[u8]) -> String {
    let Some((&kind, rest)) = key.split_first() else { return "a row without a key".to_owned() };
    let entity =
        |bytes: Option<&[u8; 32]>| bytes.map_or_else(|| "?".to_owned(), |bytes| EntityId(*bytes).to_string());
    match kind % SLOT {
        STATS if is_of(kind, STATS) => match depth_of(key) {
            Some(depth) => format!("the count of the records at depth {depth}"),
            None => "the counters".to_owned(),
        },
        RECORD if is_of(kind, RECORD) => format!("the record of {}", entity(rest.last_chunk())),
        NODE if is_of(kind, NODE) => {
            let prefix: String = rest.iter().skip(33).map(|byte| format!("{byte:02x}")).collect();
            let digits = rest.get(32).copied().unwrap_or_default();
            let prefix: String = prefix.chars().take(usize::from(digits)).collect();
            format!("the index node at prefix \"{prefix}\" below {}", entity(rest.first_chunk()))
        }
        ORDER if is_of(kind, ORDER) => {
            format!("the order row of {} below {}", entity(rest.last_chunk()), entity(rest.first_chunk()))
        }
        TOMBSTONE if is_of(kind, TOMBSTONE) => format!("the tombstone row of {}", entity(rest.last_chunk())),
        _ => format!("a row of kind {kind}"),
    }
}

/// Whether keys with the first byte `first` are of this kind, in either slot.
const fn is_of(first: u8, kind: u8) -> bool {
    first < METADATA && first % SLOT == kind
}

/// The row of the statistics, which include the root.
pub fn stats(slot: Slot) -> Key {
    Key::of(&[&[slot.kind(STATS)]])
}

/// The row with the number of records at `depth`, which is at most 65,535. The rows of greater depths come first.
pub fn depth(slot: Slot, depth: u32) -> Key {
    let depth = u16::try_from(depth).unwrap_or(u16::MAX);
    Key::of(&[&[slot.kind(STATS)], &(u16::MAX - depth).to_be_bytes()])
}

/// The first key of the rows of depths, and the first key after them.
pub fn depths(slot: Slot) -> (Key, Key) {
    (Key::of(&[&[slot.kind(STATS)], &[0]]), records_begin(slot))
}

/// The depth in the key of the row of a depth; `None` for any other key.
pub fn depth_of(key: &[u8]) -> Option<u32> {
    let (&kind, rest) = key.split_first()?;
    let reversed = u16::from_be_bytes(rest.try_into().ok().filter(|_| is_of(kind, STATS))?);
    Some(u32::from(u16::MAX - reversed))
}

/// The row of the record of `id`, which has this locator.
pub fn record(slot: Slot, locator: u32, id: EntityId) -> Key {
    Key::of(&[&[slot.kind(RECORD)], &locator.to_be_bytes(), id.as_bytes()])
}

/// The first key of the records with this short id, and the first key after them.
pub fn records_with_short_id(slot: Slot, short_id: u32) -> (Key, Key) {
    let (first, last) = ShortIdKey::locators_of(short_id);
    let end = match last.checked_add(1) {
        Some(next) => records_from(slot, next),
        None => records_end(slot),
    };
    (records_from(slot, first), end)
}

/// The lowest key of the records with this locator or a greater one.
fn records_from(slot: Slot, locator: u32) -> Key {
    Key::of(&[&[slot.kind(RECORD)], &locator.to_be_bytes()])
}

/// The first key of the records of the slot.
pub fn records_begin(slot: Slot) -> Key {
    Key::of(&[&[slot.kind(RECORD)]])
}

/// The id in the key of a record row; `None` for any other key.
pub fn record_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, rest) = key.split_first()?;
    let (_, id) = rest.split_first_chunk::<4>()?;
    Some(EntityId(id.try_into().ok().filter(|_| is_of(kind, RECORD))?))
}

/// The first key after all record rows.
pub fn records_end(slot: Slot) -> Key {
    Key::of(&[&[slot.kind(RECORD + 1)]])
}

/// The common prefix of the keys of all nodes of the trie over the children of `entity`.
pub fn trie(slot: Slot, entity: EntityId) -> Key {
    Key::of(&[&[slot.kind(NODE)], entity.as_bytes()])
}

/// The slot and the entity of a key made by [`trie`]; `None` for any other key.
pub fn trie_of(key: &[u8]) -> Option<(Slot, EntityId)> {
    let (&kind, entity) = key.split_first().filter(|(kind, _)| is_of(**kind, NODE))?;
    let slot = if kind == NODE { Slot::First } else { Slot::Second };
    Some((slot, EntityId(entity.try_into().ok()?)))
}

/// The row of the node at `prefix` in the trie over the children of `entity`.
pub fn node(slot: Slot, entity: EntityId, prefix: Prefix) -> Key {
    Key::of(&[&[slot.kind(NODE)], entity.as_bytes(), &[prefix.len()], prefix.packed()])
}

/// The row that orders the child `id` of `parent` by `label`.
///
/// A zero byte in the label is written as `0 ff` and the label ends with `0 0`. Rows then order as labels do,
/// whatever bytes the labels contain: the end of a label orders before every byte that could follow.
pub fn order(slot: Slot, parent: EntityId, label: &[u8], id: EntityId) -> Key {
    let mut escaped = Vec::with_capacity(label.len() + 2);
    escape(label, &mut escaped);
    escaped.extend([0, 0]);
    Key::of(&[&[slot.kind(ORDER)], parent.as_bytes(), &escaped, id.as_bytes()])
}

/// The lowest key of the order rows of `parent` whose labels are at least `label`.
pub fn order_from(slot: Slot, parent: EntityId, label: &[u8]) -> Key {
    let mut escaped = Vec::with_capacity(label.len());
    escape(label, &mut escaped);
    Key::of(&[&[slot.kind(ORDER)], parent.as_bytes(), &escaped])
}

/// The first key after all order rows of `parent`.
pub fn order_end(slot: Slot, parent: EntityId) -> Key {
    match parent.successor() {
        Some(next) => Key::of(&[&[slot.kind(ORDER)], next.as_bytes()]),
        None => Key::of(&[&[slot.kind(ORDER + 1)]]),
    }
}

/// The child in the key of an order row; `None` for any other key.
pub fn order_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, rest) = key.split_first()?;
    let id = rest.split_last_chunk::<32>().map(|(_, id)| EntityId(*id));
    // At least the parent, the end of the label and the child.
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

/// The row of the tombstone of `id`, which was last changed at `stamp`. Rows order by stamp, so that a scan up
/// to a horizon finds the tombstones that may be collectable.
pub fn tombstone(slot: Slot, stamp: Hlc, id: EntityId) -> Key {
    Key::of(&[
        &[slot.kind(TOMBSTONE)],
        &stamp.time().to_be_bytes(),
        stamp.replica().as_bytes(),
        id.as_bytes(),
    ])
}

/// The entity in the key of a tombstone row; `None` for any other key.
pub fn tombstone_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, rest) = key.split_first()?;
    let id = rest.split_last_chunk::<32>().map(|(_, id)| EntityId(*id));
    // A stamp is eight bytes of time and sixteen of the replica.
    id.filter(|_| is_of(kind, TOMBSTONE) && rest.len() == 56)
}
