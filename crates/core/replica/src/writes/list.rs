//! Lookup of list items by index.

use super::{OperationError, Target};
use syncline_crdt::position;
use syncline_storage::{Interface, Label, StorageError};
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc};

/// Calls `each` with the visible children of `parent` in the order of their labels, from the label `from`
/// on, until it returns false. O(n) in the children that are visited.
pub(crate) fn walk<V: ReadView>(
    state: &mut Interface<V>,
    parent: EntityId,
    from: &[u8],
    mut each: impl FnMut(EntityId, &[u8]) -> bool,
) -> Result<(), StorageError> {
    const PAGE: usize = 256;
    let mut last: Option<(Label, EntityId)> = None;
    loop {
        let after = last.as_ref().and_then(|(label, id)| Some((label.bytes()?, *id)));
        let page = state.ordered_children(parent, from, after, PAGE)?;
        let complete = page.len() < PAGE;
        for id in page {
            // The index lists only ids with a record. An id without one is damage, which `verify` reports; it
            // is skipped here.
            let Some(record) = state.record(id)? else { continue };
            // The id of an honest child follows from its label; any other id is forged.
            if state.is_visible(id)?
                && let Some(label) = record.label.bytes()
                && id == EntityId::child_of(parent, label)
                && !each(id, label)
            {
                return Ok(());
            }
            last = Some((record.label.clone(), id));
        }
        if complete {
            return Ok(());
        }
    }
}

/// Like [`walk`], for the items of a list: the children whose labels are positions.
pub(crate) fn items<V: ReadView>(
    state: &mut Interface<V>,
    list: EntityId,
    mut each: impl FnMut(EntityId, &[u8]) -> bool,
) -> Result<(), StorageError> {
    walk(state, list, &[], |id, label| !position::is_position(label) || each(id, label))
}

/// The location of the `at`-th item of a list, existing or not.
#[derive(Default)]
struct ItemLocation {
    /// The number of items before the location: `at`, or the number of all items if the list is shorter.
    seen: usize,
    /// The position of the item directly before the location.
    before: Option<Vec<u8>>,
    /// The position of the item at the location.
    own: Option<Vec<u8>>,
}

fn find<V: ReadView>(
    state: &mut Interface<V>,
    list: &Target,
    at: usize,
) -> Result<ItemLocation, StorageError> {
    let mut location = ItemLocation::default();
    items(state, list.id, |_, label| {
        if location.seen == at {
            location.own = Some(label.to_vec());
            return false;
        }
        location.seen += 1;
        if location.seen == at {
            location.before = Some(label.to_vec());
        }
        true
    })?;
    debug_assert!(location.seen <= at, "the walk stops at the item");
    debug_assert!(
        location.before.is_some() == (at > 0 && location.seen == at),
        "the item before `at` was passed"
    );
    Ok(location)
}

/// The target of a new item before the `at`-th. O(at).
pub(super) fn new_item<V: ReadView>(
    state: &mut Interface<V>,
    list: &Target,
    at: usize,
    stamp: Hlc,
) -> Result<Target, OperationError> {
    let ItemLocation { seen, before, own } = find(state, list, at)?;
    if seen < at {
        return Err(OperationError::OutOfList { list: list.id, at, len: seen });
    }
    // The closure cannot return an error, so the first error is stored here.
    let mut failure = None;
    let new = position::between(before.as_deref(), own.as_deref(), stamp, |position| {
        state.record(list.ordered_child(position).id).map_or_else(
            |error| {
                failure = Some(error);
                false
            },
            |record| record.is_some(),
        )
    });
    if let Some(error) = failure {
        return Err(error.into());
    }
    let new = new.ok_or(OperationError::DamagedList { list: list.id })?;
    Ok(list.ordered_child(&new))
}

/// The target of the `at`-th item. O(at).
pub(super) fn item<V: ReadView>(
    state: &mut Interface<V>,
    list: &Target,
    at: usize,
) -> Result<Target, OperationError> {
    let ItemLocation { seen, own, .. } = find(state, list, at)?;
    let label = own.ok_or(OperationError::OutOfList { list: list.id, at, len: seen })?;
    Ok(list.ordered_child(&label))
}
