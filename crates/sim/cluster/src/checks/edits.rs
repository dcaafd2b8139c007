//! The check of edits: an edit shows where the application made it.
//!
//! Where an edit belongs relative to concurrent ones follows from the positions in its action, which the oracle takes
//! as they are. A position that is wrong from the beginning is wrong on all replicas alike, and only the writer knows
//! what the application saw: so this check compares what the writer shows right after the edit.

use super::{Noticed, Watched};
use crate::node::CheckedDiskView;
use crate::verdict::Check;
use syncline_crdt::{Value, position};
use syncline_replica::{Notice, Operation};
use syncline_storage::{Action, Interface, StorageError};
use syncline_types::EntityId;

/// **C6**. Of a write with several operations only the last is checked: it sees what the others have done. O(n) in
/// the text or the list.
pub(super) fn edit_in_place(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::WriteAccepted { operations, actions } = noticed.notice else { return None };
    let operation = operations.last()?;
    // Most operations have no position, and need no reading of the state.
    let has_position = matches!(operation, Operation::InsertText { .. } | Operation::InsertItem { .. });
    // A crash within the step may have lost the write again.
    if !has_position || noticed.step.went_down || noticed.step.undone {
        return None;
    }
    let replica = world.replica(noticed.context, noticed.node)?;
    // A row that the simulated disk has corrupted is found when the replica reads it.
    let mut state = replica.state().ok().filter(|_| !replica.is_corrupt())?;
    let detail = misplaced(operation, actions.last()?, &mut state).ok()??;
    Some(Check::EditMisplaced { node: world.name_in(noticed.context, noticed.node), detail })
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
