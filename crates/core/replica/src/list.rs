//! Items of a list by their number.

use crate::operation::OperationError;
use crate::target::Target;
use syncline_crdt::position;
use syncline_storage::{Interface, Label, StorageError};
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc};

/// Children of `parent` in the order of their labels that an application sees, `each` of which says
/// whether it wants more. O(n) in those it wants.
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
            let Some(record) = state.record(id)? else { continue };
            // An id that does not follow from its label was made up by somebody.
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

/// The items of a list in order: children whose labels are positions.
pub(crate) fn items<V: ReadView>(
    state: &mut Interface<V>,
    list: EntityId,
    mut each: impl FnMut(EntityId, &[u8]) -> bool,
) -> Result<(), StorageError> {
    walk(state, list, &[], |id, label| !position::is_position(label) || each(id, label))
}

/// Where the `at`-th item of a list is, or would be.
#[derive(Default)]
struct Place {
    /// How many items come before it, at most `at`.
    seen: usize,
    /// The position of the one just before it.
    before: Option<Vec<u8>>,
    /// The position of the item itself.
    own: Option<Vec<u8>>,
}

fn find<V: ReadView>(state: &mut Interface<V>, list: &Target, at: usize) -> Result<Place, StorageError> {
    let mut place = Place::default();
    items(state, list.id, |_, label| {
        if place.seen == at {
            place.own = Some(label.to_vec());
            return false;
        }
        place.seen += 1;
        if place.seen == at {
            place.before = Some(label.to_vec());
        }
        true
    })?;
    Ok(place)
}

/// A new place before the `at`-th item. O(at).
pub(crate) fn place<V: ReadView>(
    state: &mut Interface<V>,
    list: &Target,
    at: usize,
    stamp: Hlc,
) -> Result<Target, OperationError> {
    let Place { seen, before, own } = find(state, list, at)?;
    if seen < at {
        return Err(OperationError::OutOfList { list: list.id, at, len: seen });
    }
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

/// The `at`-th item. O(at).
pub(crate) fn item<V: ReadView>(
    state: &mut Interface<V>,
    list: &Target,
    at: usize,
) -> Result<Target, OperationError> {
    let Place { seen, own, .. } = find(state, list, at)?;
    let label = own.ok_or(OperationError::OutOfList { list: list.id, at, len: seen })?;
    Ok(list.ordered_child(&label))
}
