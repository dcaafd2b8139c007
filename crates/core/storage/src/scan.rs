//! Reading all records in id order: snapshots, verification, reports.

use crate::error::StorageError;
use crate::index::Entry;
use crate::interface::{ApplyContext, Interface, successor};
use crate::keys;
use crate::record::Record;
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, Digest, EntityId, Moment, SimTime};

/// A run of records in id order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordPage {
    /// Ids and canonical bytes, ascending by id. The root's record, if any, comes first of all.
    pub records: Vec<(EntityId, Bytes)>,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// Records with ids above `after`, until their bytes reach `byte_limit` (at least one, if any
/// follow).
pub fn record_page<V: ReadView>(
    view: &V,
    after: Option<EntityId>,
    byte_limit: usize,
) -> Result<RecordPage, StorageError> {
    const STRIDE: usize = 128;
    let mut page = RecordPage { records: Vec::new(), is_last: true };
    let (mut bytes, mut cursor) = (0, after);
    loop {
        let Some(from) = cursor.map_or(Some(EntityId::ROOT), successor) else { return Ok(page) };
        let rows = view.range(&keys::record(from), keys::RECORDS_END, STRIDE)?;
        let exhausted = rows.len() < STRIDE;
        for (key, row) in rows {
            if bytes >= byte_limit {
                page.is_last = false;
                return Ok(page);
            }
            let id = keys::record_id(&key).ok_or(StorageError::Index { what: "the key of a record" })?;
            bytes += 32 + row.len();
            page.records.push((id, row));
            cursor = Some(id);
        }
        if exhausted {
            return Ok(page);
        }
    }
}

impl<V: ReadView> Interface<V> {
    /// The state as of the view, rebuilt from its records alone: its root must equal the stored one
    /// (**L4**). `empty` is a view without rows, on which the rebuilt index is held. O(n).
    pub fn rebuilt_root(&self, empty: V) -> Result<Digest, StorageError> {
        let mut fresh = Self::open(empty)?;
        let context = ApplyContext { moment: Moment::at(SimTime::MAX), max_drift_ms: u64::MAX };
        let mut by_depth = Vec::new();
        let mut after = None;
        loop {
            let page = record_page(self.view(), after, 1 << 20)?;
            for (id, bytes) in &page.records {
                let record = Record::from_bytes(bytes).map_err(StorageError::row("a record"))?;
                by_depth.push((record.depth, *id, record));
                after = Some(*id);
            }
            if page.is_last {
                break;
            }
        }
        by_depth.sort_by_key(|(depth, id, _)| (*depth, *id));
        for (_, id, record) in &by_depth {
            let merged = fresh.merge_record(*id, record, &context);
            merged.map_err(|_| StorageError::Index { what: "a record that can be merged" })?;
        }
        fresh.root_hash()
    }

    /// Every entity an application sees, with its record, in depth-first id order. O(n).
    pub fn visible(&mut self) -> Result<Vec<(EntityId, std::sync::Arc<Record>)>, StorageError> {
        let mut found = Vec::new();
        let mut open = vec![EntityId::ROOT];
        while let Some(parent) = open.pop() {
            let children: Vec<Entry> = self.children(parent, None, usize::MAX)?;
            open.extend(children.iter().rev().filter(|entry| !entry.kids.is_zero()).map(|entry| entry.id));
            for Entry { id, .. } in children {
                if self.is_visible(id)?
                    && let Some(record) = self.record(id)?
                {
                    found.push((id, record));
                }
            }
        }
        Ok(found)
    }
}
