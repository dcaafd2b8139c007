//! The layout of the store: one leading byte per kind of row, so that kinds never meet and each
//! can be scanned in order.

use crate::index::Prefix;
use syncline_store::Key;
use syncline_types::EntityId;

/// Statistics and root of the state: one row.
pub const STATS: &[u8] = &[0x01];
const RECORD: u8 = 0x02;
const NODE: u8 = 0x03;
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
