//! Reading all records in id order.

use crate::error::StorageError;
use crate::keys::{self, Slot};
use syncline_store::{Bytes, ReadView};
use syncline_types::EntityId;

/// A run of records in id order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordPage {
    /// Ids and canonical bytes, ascending by id. The root's record, if any, comes first of all.
    pub records: Vec<(EntityId, Bytes)>,
    /// Whether no record follows this page.
    pub is_last: bool,
}

/// The records of the active state with ids above `after`, until their ids and bytes reach `byte_limit`. A page
/// has at least one record, if any follow. O(log n + records of the page).
pub fn record_page<V: ReadView>(
    view: &V,
    after: Option<EntityId>,
    byte_limit: usize,
) -> Result<RecordPage, StorageError> {
    const STRIDE: usize = 128;
    let slot = Slot::active(view)?;
    let mut page = RecordPage { records: Vec::new(), is_last: true };
    let mut bytes = 0;
    let mut cursor = after;
    loop {
        // Nothing follows the highest id.
        let Some(from) = cursor.map_or(Some(EntityId::ROOT), EntityId::successor) else { return Ok(page) };
        let rows = view.range(&keys::record(slot, from), &keys::records_end(slot), STRIDE)?;
        let exhausted = rows.len() < STRIDE;
        for (key, row) in rows {
            if bytes >= byte_limit {
                page.is_last = false;
                return Ok(page);
            }
            let id = keys::record_id(&key).ok_or(StorageError::Index { what: "the key of a record" })?;
            debug_assert!(cursor < Some(id), "rows of records ascend by id");
            bytes += 32 + row.len();
            page.records.push((id, row));
            cursor = Some(id);
        }
        if exhausted {
            return Ok(page);
        }
    }
}
