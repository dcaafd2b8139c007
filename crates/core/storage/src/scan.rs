//! Reading all records in id order: verification, reports.

use crate::error::StorageError;
use crate::index::{BUCKET, Entry, Prefix};
use crate::interface::Interface;
use crate::keys::{self, Slot};
use crate::record::Record;
use syncline_crdt::Merges;
use syncline_store::{Bytes, MemoryStore, ReadView};
use syncline_types::{Decode, Digest, EntityId};

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
    let (slot, mut page) = (Slot::active(view)?, RecordPage { records: Vec::new(), is_last: true });
    let (mut bytes, mut cursor) = (0, after);
    loop {
        let Some(from) = cursor.map_or(Some(EntityId::ROOT), EntityId::successor) else { return Ok(page) };
        let rows = view.range(&keys::record(slot, from), &keys::records_end(slot), STRIDE)?;
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
    /// The root of a state made anew from the records alone: it must equal the stored one (**L4**). The
    /// new state is held in memory. O(n).
    pub fn rebuilt_root(&self) -> Result<Digest, StorageError> {
        rebuilt(self.view())?.root_hash()
    }

    /// Calls `each` with the depth and the index entry of every entity but the root, parents before
    /// children. O(n).
    pub fn each_entry(&mut self, mut each: impl FnMut(u32, &Entry)) -> Result<(), StorageError> {
        let mut open = vec![(EntityId::ROOT, 1)];
        while let Some((parent, depth)) = open.pop() {
            self.scan_children(parent, &mut |entry| {
                each(depth, entry);
                if !entry.kids.is_zero() {
                    open.push((entry.id, depth + 1));
                }
            })?;
        }
        Ok(())
    }

    /// How many children of `entity` there are under `prefix`. O(log n).
    pub fn count_under(&mut self, entity: EntityId, prefix: Prefix) -> Result<u64, StorageError> {
        match self.node(entity, prefix)? {
            Some(node) => Ok(node.count()),
            // They share a bucket with others.
            None => {
                let few = self.children_between(entity, prefix.first_id(), prefix.last_id(), BUCKET)?;
                Ok(few.len() as u64)
            }
        }
    }

    /// Whether an application sees `id`: it is live and was written after the last delete of each
    /// of its ancestors. O(depth).
    pub fn is_visible(&mut self, id: EntityId) -> Result<bool, StorageError> {
        let Some(record) = self.record(id)? else { return Ok(false) };
        let written = if syncline_types::canary!(DeleteHidesByCreation) {
            record.created_at
        } else {
            record.updated_at
        };
        let (mut visible, mut above) = (record.is_live(), record);
        while visible && above.depth > 0 {
            let Some(parent) = self.record(above.parent)? else { break };
            visible = parent.deleted_at < written;
            above = parent;
        }
        Ok(visible)
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

/// A state made anew from the records that `view` shows, and from nothing else, in the same slot.
pub(crate) fn rebuilt<V: ReadView>(view: &V) -> Result<Interface<MemoryStore>, StorageError> {
    let slot = Slot::active(view)?;
    let mut fresh = Interface::open_slot(MemoryStore::default(), slot, Merges::default())?;
    let mut by_depth = Vec::new();
    let mut after = None;
    loop {
        let page = record_page(view, after, 1 << 20)?;
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
    for (depth, id, record) in by_depth {
        record.check(id).map_err(|_| StorageError::Index { what: "a record that keeps the rules" })?;
        if depth > 1 && fresh.record(record.parent)?.is_none_or(|parent| parent.depth >= depth) {
            return Err(StorageError::Index { what: "the parent of a record" });
        }
        fresh.join(id, record)?;
    }
    Ok(fresh)
}

/// A walk over what hangs below an entity, depth first in id order, that can be left and taken up
/// again at any record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subtree {
    /// From the outermost: an entity, the last of its children that was passed, and the last wanted.
    open: Vec<(EntityId, Option<EntityId>, EntityId)>,
}

impl Subtree {
    /// Everything below `entity` whose outermost ancestor below it has `prefix`, after the record
    /// `after`. `None` if that record does not hang there. O(depth).
    pub fn begin<V: ReadView>(
        state: &mut Interface<V>,
        entity: EntityId,
        prefix: Prefix,
        after: Option<EntityId>,
    ) -> Result<Option<Self>, StorageError> {
        let Some(after) = after else {
            return Ok(Some(Self::of_children(entity, prefix.first_id(), prefix.last_id())));
        };
        let mut open = vec![(after, None, EntityId::LAST)];
        let mut at = after;
        loop {
            let Some(record) = state.record(at)?.filter(|record| record.depth > 0) else { return Ok(None) };
            let parent = record.parent;
            if parent == entity {
                let wanted = prefix.contains(at);
                open.push((entity, Some(at), prefix.last_id()));
                open.reverse();
                return Ok(wanted.then_some(Self { open }));
            }
            open.push((parent, Some(at), EntityId::LAST));
            at = parent;
        }
    }

    /// The children of `entity` from `from` to `to`, with everything below them.
    pub fn of_children(entity: EntityId, from: EntityId, to: EntityId) -> Self {
        Self { open: vec![(entity, from.predecessor(), to)] }
    }

    /// The next entity. O(log n).
    pub fn next<V: ReadView>(&mut self, state: &mut Interface<V>) -> Result<Option<Entry>, StorageError> {
        while let Some((parent, passed, last)) = self.open.last_mut() {
            let from = passed.map_or(Some(EntityId::ROOT), EntityId::successor).filter(|from| *from <= *last);
            let next = match from {
                Some(from) => state.children_between(*parent, from, *last, 1)?.pop(),
                None => None,
            };
            let Some(entry) = next else {
                self.open.pop();
                continue;
            };
            *passed = Some(entry.id);
            if !entry.kids.is_zero() {
                self.open.push((entry.id, None, EntityId::LAST));
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }
}
