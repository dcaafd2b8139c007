//! The differences between two states, in words.

use std::collections::BTreeMap;
use syncline_storage::{Record, StorageError, record_page};
use syncline_store::MemoryStore;
use syncline_types::{Decode, EntityId};

/// One entity whose records differ between two states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordDifference {
    /// The entity that differs.
    pub entity: EntityId,
    /// The record in the left state, in words; `None` if there is none.
    pub left: Option<String>,
    /// The record in the right state, in words; `None` if there is none.
    pub right: Option<String>,
}

impl std::fmt::Display for RecordDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "entity {}: {} | {}", self.entity, side(&self.left), side(&self.right))
    }
}

fn records(store: &MemoryStore) -> Result<BTreeMap<EntityId, Vec<u8>>, StorageError> {
    let page = record_page(store, None, usize::MAX)?;
    Ok(page.records.into_iter().map(|(id, bytes)| (id, bytes.to_vec())).collect())
}

/// A record in one line of text.
fn words(bytes: &[u8]) -> String {
    Record::from_bytes(bytes).map_or_else(|_| "a damaged record".to_owned(), |record| record.to_string())
}

/// Up to `limit` entities whose records differ between two states, ascending by id. O(n).
///
/// # Errors
///
/// If a state cannot be read.
pub fn differences(
    left: &MemoryStore,
    right: &MemoryStore,
    limit: usize,
) -> Result<Vec<RecordDifference>, StorageError> {
    let left = records(left)?;
    let right = records(right)?;
    let mut ids: Vec<EntityId> = left.keys().chain(right.keys()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let differ = ids.into_iter().filter(|id| left.get(id) != right.get(id)).take(limit);
    let side =
        |records: &BTreeMap<EntityId, Vec<u8>>, id: EntityId| records.get(&id).map(|bytes| words(bytes));
    Ok(differ
        .map(|entity| RecordDifference { entity, left: side(&left, entity), right: side(&right, entity) })
        .collect())
}
