//! The visibility of entities to applications, and iteration over all entities of a state.

use super::Interface;
use crate::error::StorageError;
use crate::index::{BUCKET, Entry};
use crate::prefix::Prefix;
use crate::record::Record;
use std::sync::Arc;
use syncline_crdt::Value;
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc, canary};

impl<V: ReadView> Interface<V> {
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

    /// The number of children of `entity` under `prefix`. O(log n).
    pub fn count_under(&mut self, entity: EntityId, prefix: Prefix) -> Result<u64, StorageError> {
        match self.node(entity, prefix)? {
            Some(node) => Ok(node.count()),
            // No node is at `prefix`: at most one bucket, at a shorter prefix, contains such children.
            None => {
                let few = self.children_between(entity, prefix.first_id(), prefix.last_id(), BUCKET)?;
                Ok(few.len() as u64)
            }
        }
    }

    /// Whether an application sees `id`: the record is live, and was written after the last delete of each
    /// ancestor; an element of a set was added after it. O(depth + replicas in an element).
    pub fn is_visible(&mut self, id: EntityId) -> Result<bool, StorageError> {
        // An entity without a record is not visible.
        let Some(record) = self.record(id)? else { return Ok(false) };
        let written = if canary!(DeleteHidesByCreation) { record.created_at } else { record.updated_at };
        let mut visible = record.is_live();
        let mut above = Arc::clone(&record);
        let mut deleted_at = Hlc::ZERO;
        while visible && above.depth > 0 {
            let parent = self.record(above.parent)?;
            above = parent.ok_or(StorageError::Index { what: "the record of a parent" })?;
            deleted_at = deleted_at.max(above.deleted_at);
            visible = deleted_at < written;
        }
        Ok(match &record.value {
            Value::Element(element) if visible => element.is_present_after(deleted_at),
            _ => visible,
        })
    }

    /// Every entity that an application sees, with its record, in depth-first order of ids. O(n · depth).
    pub fn visible(&mut self) -> Result<Vec<(EntityId, Arc<Record>)>, StorageError> {
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
