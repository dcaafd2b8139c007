//! Paths that begin at an anchor: what an author may leave out of a path, and whether a state has it.

use super::Interface;
use crate::error::StorageError;
use crate::record::{Action, RelativeAction};
use std::collections::BTreeMap;
use syncline_store::ReadView;
use syncline_types::EntityId;

impl<V: ReadView> Interface<V> {
    /// The action without the part of its path that this state has, if the path is long. To be called before the
    /// action is applied. What is left out is in its place or above it, so that applying it would change nothing,
    /// here and in every state that has what this one has. O(depth).
    pub fn relative(&mut self, action: Action) -> Result<RelativeAction, StorageError> {
        let path = action.ancestors();
        let most = path.len().saturating_sub(RelativeAction::NAMED);
        let mut known = 0usize;
        let mut parent = EntityId::ROOT;
        // The anchor itself is the ancestor after those that are left out.
        let candidates = if most == 0 { &[] } else { path.get(..=most).unwrap_or_default() };
        for (depth, &ancestor) in (1..).zip(candidates) {
            if self.cached(ancestor)?.position.is_none_or(|known| (depth, parent) < known) {
                break;
            }
            parent = ancestor;
            known += 1;
        }
        let above = most.min(known.saturating_sub(1));
        debug_assert!(above <= action.ancestors().len(), "an anchor is on the path");
        Ok(RelativeAction { above: above as u32, action: action.without_first(above) })
    }

    /// Whether the state has the anchors of these actions, or has them once the actions before are applied: whether
    /// [`Interface::apply_relative`] applies all of them. A state may lack an anchor that the author of the actions
    /// had if the anchor was deleted and is collected here. O(named ancestors · log n).
    pub fn has_anchors(&mut self, actions: &[RelativeAction]) -> Result<bool, StorageError> {
        if actions.iter().all(|relative| relative.above == 0) {
            return Ok(true);
        }
        // What the actions before have added, with its depth.
        let mut added = BTreeMap::<EntityId, u32>::new();
        for relative in actions {
            if let Some((anchor, depth)) = relative.anchor()
                && added.get(&anchor).is_none_or(|added| *added > depth)
                && !self.has_anchor(anchor, depth)?
            {
                return Ok(false);
            }
            // Such an action is not applied to any state.
            let Ok(record) = relative.to_record() else { return Ok(false) };
            let id = relative.action.id();
            // Of a tombstone that was collected nothing is added, not even its path.
            if added.contains_key(&id) || !self.was_collected(id, &record)? {
                for (id, depth) in relative.places() {
                    let added = added.entry(id).or_insert(depth);
                    *added = depth.min(*added);
                }
            }
        }
        Ok(true)
    }

    /// The ancestors above those that the action names, in this state; see [`RelativeAction::below`]. `None` if the
    /// state lacks the anchor. O(depth · log n).
    pub fn path_above(&mut self, relative: &RelativeAction) -> Result<Option<Vec<EntityId>>, StorageError> {
        // Without an anchor the action names its whole path.
        let Some((anchor, depth)) = relative.anchor() else { return Ok(Some(Vec::new())) };
        if !self.has_anchor(anchor, depth)? {
            return Ok(None);
        }
        let mut above = Vec::new();
        let mut id = anchor;
        while let Some((_, parent)) = self.cached(id)?.position.filter(|(depth, _)| *depth > 1) {
            above.push(parent);
            id = parent;
        }
        above.reverse();
        Ok(Some(above))
    }

    /// Whether the state has `anchor` at `depth` or a smaller depth.
    pub(super) fn has_anchor(&mut self, anchor: EntityId, depth: u32) -> Result<bool, StorageError> {
        Ok(self.cached(anchor)?.position.is_some_and(|(known, _)| known <= depth))
    }
}
