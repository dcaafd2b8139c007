//! The layout of the store: one leading byte per kind of row, so that kinds never meet and each
//! can be scanned in order.

use crate::index::Prefix;
use syncline_store::Key;
use syncline_types::{EntityId, Hlc};

/// Statistics and root of the state: one row.
pub const STATS: &[u8] = &[0x01];
const RECORD: u8 = 0x02;
const NODE: u8 = 0x03;
const ORDER: u8 = 0x04;
const GRAVE: u8 = 0x05;
/// The first byte of a state's own rows.
pub(crate) const FIRST: u8 = 0x01;
/// First byte of rows that belong to the layers above (deltas, clock, staged snapshots).
pub const ABOVE: u8 = 0x10;

/// The row of one record.
pub fn record(id: EntityId) -> Key {
    Key::of(&[&[RECORD], id.as_bytes()])
}

/// The id in the key of a record row.
pub fn record_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, id) = key.split_first()?;
    Some(EntityId(id.try_into().ok().filter(|_| kind == RECORD)?))
}

/// The first key after all record rows.
pub const RECORDS_END: &[u8] = &[RECORD + 1];

/// The row of one node of the trie over the children of `entity`.
pub fn node(entity: EntityId, prefix: Prefix) -> Key {
    Key::of(&[&[NODE], entity.as_bytes(), &[prefix.len()], prefix.packed()])
}

/// The row that says that `id` is a child of `parent` in the place of `label`. The label is escaped so
/// that rows order as labels do, whatever bytes are in them.
pub fn order(parent: EntityId, label: &[u8], id: EntityId) -> Key {
    let mut place = Vec::with_capacity(label.len() + 2);
    escape(label, &mut place);
    place.extend([0, 0]);
    Key::of(&[&[ORDER], parent.as_bytes(), &place, id.as_bytes()])
}

/// From which row on the children of `parent` have labels of at least `label`.
pub fn order_from(parent: EntityId, label: &[u8]) -> Key {
    let mut place = Vec::with_capacity(label.len());
    escape(label, &mut place);
    Key::of(&[&[ORDER], parent.as_bytes(), &place])
}

/// The first key after all order rows of `parent`.
pub fn order_end(parent: EntityId) -> Key {
    match parent.successor() {
        Some(next) => Key::of(&[&[ORDER], next.as_bytes()]),
        None => Key::of(&[&[ORDER + 1]]),
    }
}

/// The child that an order row names.
pub fn order_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, rest) = key.split_first()?;
    let id = rest.split_last_chunk::<32>().map(|(_, id)| EntityId(*id));
    id.filter(|_| kind == ORDER && rest.len() >= 66)
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
pub fn grave(stamp: Hlc, id: EntityId) -> Key {
    Key::of(&[&[GRAVE], &stamp.time().to_be_bytes(), stamp.replica().as_bytes(), id.as_bytes()])
}

/// The entity that a grave row names.
pub fn grave_id(key: &[u8]) -> Option<EntityId> {
    let (&kind, rest) = key.split_first()?;
    let id = rest.split_last_chunk::<32>().map(|(_, id)| EntityId(*id));
    id.filter(|_| kind == GRAVE && rest.len() == 56)
}
