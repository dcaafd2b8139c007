//! A resumable walk over the descendants of one entity.

use crate::error::StorageError;
use crate::index::Entry;
use crate::interface::Interface;
use crate::prefix::Prefix;
use syncline_store::ReadView;
use syncline_types::EntityId;

/// A depth-first walk in id order over the descendants of an entity. It can be stopped after any record and
/// resumed there later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subtree {
    /// The entities whose children are being visited, from the outermost.
    open: Vec<OpenEntity>,
}

/// An entity some of whose children were visited.
#[derive(Clone, PartialEq, Eq, Debug)]
struct OpenEntity {
    id: EntityId,
    /// The last child that was visited.
    passed: Option<EntityId>,
    /// The last child to visit.
    last: EntityId,
}

impl OpenEntity {
    const fn all_children(id: EntityId) -> Self {
        Self { id, passed: None, last: EntityId::LAST }
    }
}

impl Subtree {
    /// The children of `entity` that begin with `prefix`, with all their descendants, after the record `after`.
    /// `None` if that record is not among them. O(depth).
    pub fn begin<V: ReadView>(
        state: &mut Interface<V>,
        entity: EntityId,
        prefix: Prefix,
        after: Option<EntityId>,
    ) -> Result<Option<Self>, StorageError> {
        let Some(after) = after else {
            return Ok(Some(Self::of_children(entity, prefix.first_id(), prefix.last_id())));
        };
        // From `after` up to `entity`: on each level, the walk has passed the path.
        let mut open = vec![OpenEntity::all_children(after)];
        let mut at = after;
        loop {
            // A record that is gone by now, or the root of the tree reached without meeting `entity`.
            let Some(record) = state.record(at)?.filter(|record| record.depth > 0) else { return Ok(None) };
            let parent = record.parent;
            if parent == entity {
                let is_wanted = prefix.contains(at);
                open.push(OpenEntity { id: entity, passed: Some(at), last: prefix.last_id() });
                open.reverse();
                return Ok(is_wanted.then_some(Self { open }));
            }
            open.push(OpenEntity { id: parent, passed: Some(at), last: EntityId::LAST });
            at = parent;
        }
    }

    /// The children of `entity` from `from` to `to`, with all their descendants.
    pub fn of_children(entity: EntityId, from: EntityId, to: EntityId) -> Self {
        Self { open: vec![OpenEntity { id: entity, passed: from.predecessor(), last: to }] }
    }

    /// The next entity, parents before children. O(log n).
    pub fn next<V: ReadView>(&mut self, state: &mut Interface<V>) -> Result<Option<Entry>, StorageError> {
        while let Some(parent) = self.open.last_mut() {
            let from = parent.passed.map_or(Some(EntityId::ROOT), EntityId::successor);
            let next = match from.filter(|from| *from <= parent.last) {
                Some(from) => state.children_between(parent.id, from, parent.last, 1)?.pop(),
                None => None,
            };
            let Some(entry) = next else {
                self.open.pop();
                continue;
            };
            debug_assert!(parent.passed < Some(entry.id) && entry.id <= parent.last, "children ascend");
            parent.passed = Some(entry.id);
            if !entry.kids.is_zero() {
                self.open.push(OpenEntity::all_children(entry.id));
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }
}
