//! Reading all records in the order of their rows.

use crate::error::StorageError;
use crate::keys::{self, Slot};
use crate::stats::Stats;
use syncline_store::{Bytes, Key, ReadView};
use syncline_types::EntityId;

/// A run of records in the order of their rows: by [locator](syncline_types::ShortIdKey::locator), then by id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordPage {
    /// Ids and canonical bytes.
    pub records: Vec<(EntityId, Bytes)>,
    /// Whether no record follows this page.
    pub is_last: bool,
}

/// The records of the active state that follow that of `after`, whether or not `after` has a record, until their
/// ids and bytes reach `byte_limit`. A page has at least one record, if any follow. O(log n + records of the page).
pub fn record_page<V: ReadView>(
    view: &V,
    after: Option<EntityId>,
    byte_limit: usize,
) -> Result<RecordPage, StorageError> {
    const STRIDE: usize = 128;
    let slot = Slot::active(view)?;
    let short_ids = Stats::read(view, slot)?.short_ids;
    let after_row = |id: EntityId| Key::of(&[&keys::record(slot, short_ids.locator(id), id), &[0]]);
    let mut page = RecordPage { records: Vec::new(), is_last: true };
    let mut bytes = 0;
    let mut from = after.map_or_else(|| keys::records_begin(slot), after_row);
    loop {
        let rows = view.range(&from, &keys::records_end(slot), STRIDE)?;
        let exhausted = rows.len() < STRIDE;
        for (key, row) in rows {
            if bytes >= byte_limit {
                page.is_last = false;
                return Ok(page);
            }
            let id = keys::record_id(&key).ok_or(StorageError::Index { what: "the key of a record" })?;
            debug_assert!(from <= key, "rows of records ascend by key");
            bytes += 32 + row.len();
            page.records.push((id, row));
            from = Key::of(&[&key, &[0]]);
        }
        if exhausted {
            return Ok(page);
        }
    }
}
