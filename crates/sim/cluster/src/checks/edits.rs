//! The check of edits: an edit shows where the application made it.
//!
//! Where an edit belongs relative to concurrent ones follows from the positions in its action, which the oracle takes
//! as they are. A position that is wrong from the beginning is wrong on all replicas alike, and only the writer knows
//! what the application saw: so this check compares what the writer shows right after the edit.

use super::{Noticed, Watched};
use crate::node::CheckedDiskView;
use crate::oracle::{has_deleted_range, is_behind_deleted};
use crate::verdict::Check;
use syncline_crdt::{Value, position};
use syncline_replica::{Notice, Operation, OperationError};
use syncline_storage::{Action, Interface, StorageError};
use syncline_types::EntityId;

/// **C6**. Of a write with several operations only the last is checked: it sees what the others have done. Where an
/// edit lies is looked up in half of the states. O(n) in the text or the list.
pub(super) fn edit_in_place(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let (operations, actions) = match noticed.notice {
        Notice::WriteAccepted { operations, actions } => (operations, actions),
        Notice::WriteRefused { error } => return refused(noticed, error, world),
        _ => return None,
    };
    let mut all = operations.iter().zip(actions);
    if let Some(detail) = all.find_map(|(operation, action)| elsewhere(operation, action)) {
        return Some(Check::EditMisplaced { node: world.name_in(noticed.context, noticed.node), detail });
    }
    let operation = operations.last()?;
    // Most operations have no position, and need no reading of the state.
    let has_position = matches!(
        operation,
        Operation::InsertText { .. }
            | Operation::DeleteText { .. }
            | Operation::InsertItem { .. }
            | Operation::DeleteItem { .. }
    );
    // A crash within the step may have lost the write again.
    if !has_position || noticed.step.went_down || noticed.step.undone {
        return None;
    }
    if !world.is_sampled(noticed.context, noticed.node, 2) {
        return None;
    }
    let replica = world.replica(noticed.context, noticed.node)?;
    // A row that the simulated disk has corrupted is found when the replica reads it.
    let mut state = replica.state().ok().filter(|_| !replica.is_corrupt())?;
    let action = actions.last()?;
    let mut detail = misplaced(operation, action, &mut state).ok()?;
    // A hostile node may have forged characters that belong to no edit.
    if detail.is_none() && world.roles().is_empty() {
        detail = misplaced_beside_deleted(operation, action, &mut state).ok()?;
    }
    let detail = detail?;
    Some(Check::EditMisplaced { node: world.name_in(noticed.context, noticed.node), detail })
}

/// A replica may not refuse an edit because it lies beyond the end if its positions were fitted to what the replica
/// shows.
fn refused(noticed: &Noticed<'_>, error: &OperationError, world: &dyn Watched) -> Option<Check> {
    let is_beyond = matches!(error, OperationError::OutOfText(_) | OperationError::OutOfList { .. });
    // Items that a hostile node has forged count for the workload and not for the replica.
    if !is_beyond || !world.roles().is_empty() {
        return None;
    }
    let replica = world.replica(noticed.context, noticed.node)?;
    let detail = || format!("an edit within what is shown was refused: {error}");
    replica.was_last_write_fitted().then(|| Check::EditMisplaced {
        node: world.name_in(noticed.context, noticed.node),
        detail: detail(),
    })
}

/// What is wrong with an edit among deleted characters, in words. An insertion directly follows the visible character
/// before it: if deleted characters stood between, concurrent insertions beside them would come between the two. A
/// deletion deletes what was visible at its place. O(characters · depth), for short texts only.
fn misplaced_beside_deleted(
    operation: &Operation,
    action: &Action,
    state: &mut Interface<CheckedDiskView>,
) -> Result<Option<String>, StorageError> {
    let Some(Value::Rga(edit)) = value(action) else { return Ok(None) };
    let record = state.record(action.id())?;
    let Some(Value::Rga(shown)) = record.as_ref().map(|record| &record.value) else { return Ok(None) };
    Ok(match operation {
        Operation::InsertText { .. } => (is_behind_deleted(shown, edit) == Some(true)).then(|| {
            "an inserted text stands behind deleted characters, which its author did not see".to_owned()
        }),
        Operation::DeleteText { at, count, .. } => (has_deleted_range(shown, edit, *at, *count)
            == Some(false))
        .then(|| format!("a deletion of {count} characters at {at} has deleted others")),
        _ => None,
    })
}

/// Where an operation has changed another entity than the one that it names, in words.
fn elsewhere(operation: &Operation, action: &Action) -> Option<String> {
    // The entities of these follow from the state and from the author.
    if matches!(
        operation,
        Operation::InsertItem { .. } | Operation::DeleteItem { .. } | Operation::SetOwn { .. }
    ) {
        return None;
    }
    let target = operation.named_target();
    let is_there = action.id() == target.id && action.ancestors() == target.ancestors;
    (!is_there).then(|| format!("an operation on {} has changed {}", target.id, action.id()))
}

/// Where an edit shows that the state contains, in words; `None` if that is where it was made.
fn misplaced(
    operation: &Operation,
    action: &Action,
    state: &mut Interface<CheckedDiskView>,
) -> Result<Option<String>, StorageError> {
    match operation {
        Operation::InsertText { at, text, .. } => {
            let shown = match state.record(action.id())?.map(|record| record.value.clone()) {
                Some(Value::Rga(shown)) => shown.to_string(),
                _ => String::new(),
            };
            // An edit of a deleted text removes all that was there.
            let renews = matches!(value(action), Some(Value::Rga(edit)) if edit.deleted().len() > 0);
            if renews && shown != *text {
                return Ok(Some(format!(
                    "{text:?}, the first edit of a deleted text, is not all of {shown:?}"
                )));
            }
            let is_there = shown.chars().skip(*at).take(text.chars().count()).eq(text.chars());
            let words = || format!("{text:?}, inserted at {at}, is not there in {shown:?}");
            Ok((!is_there).then(words))
        }
        Operation::InsertItem { list, at, .. } => {
            if matches!(action, Action::Update { .. }) {
                return Ok(Some(format!("an item, inserted at {at}, has the position of an earlier item")));
            }
            let shown = items(list.id, state)?;
            let found = shown.iter().position(|id| *id == action.id());
            let words = || match found {
                Some(found) => format!("an item, inserted at {at} of {}, is at {found}", shown.len()),
                None => format!("an item, inserted at {at}, is not among {} items", shown.len()),
            };
            Ok((found != Some(*at)).then(words))
        }
        Operation::DeleteItem { list, at } => {
            let label = state.record(action.id())?.map(|record| record.label.clone());
            let mut before = 0;
            for id in items(list.id, state)? {
                before += usize::from(state.record(id)?.map(|record| record.label.clone()) < label);
            }
            let words = || format!("of the item to delete at {at}, the one at {before} was deleted");
            Ok((before != *at).then(words))
        }
        _ => Ok(None),
    }
}

const fn value(action: &Action) -> Option<&Value> {
    match action {
        Action::Add { value, .. } | Action::Update { value, .. } => Some(value),
        Action::DeleteRef { .. } => None,
    }
}

/// The visible items of a list, in their order.
fn items(list: EntityId, state: &mut Interface<CheckedDiskView>) -> Result<Vec<EntityId>, StorageError> {
    let mut shown = Vec::new();
    for id in state.ordered_children(list, &[], None, usize::MAX)? {
        let Some(record) = state.record(id)? else { continue };
        // The id of an honest item follows from its position; any other id is forged.
        let label = record.label.bytes().filter(|label| position::is_position(label));
        if label.is_some_and(|label| id == EntityId::child_of(list, label)) && state.is_visible(id)? {
            shown.push(id);
        }
    }
    Ok(shown)
}
