//! One write, before its positions are fitted to a state.

use std::collections::BTreeMap;
use syncline_crdt::Value;
use syncline_replica::{Operation, Target};
use syncline_storage::{Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::EntityId;

/// Operations of one write. They become one delta, or the write is refused as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Write {
    /// The operations, in order.
    pub operations: Vec<Operation>,
    /// Whether positions wrap around at the end of a text or a list, and deletes stop at the end. Random writes need
    /// it, since the length at the time of the write is not known when they are drawn.
    pub wraps: bool,
    /// The context that is written, from 0.
    pub context: usize,
}

impl From<Vec<Operation>> for Write {
    /// A write of these operations to the first context, without wrapping positions.
    fn from(operations: Vec<Operation>) -> Self {
        Self { operations, wraps: false, context: 0 }
    }
}

impl Write {
    /// The same write to another context, from 0.
    pub const fn in_context(mut self, context: usize) -> Self {
        self.context = context;
        self
    }

    /// The operations with positions that exist in the state, and whether all edits lie within what is there: then none
    /// of them may be refused for its position. O(length of the texts and lists that are edited).
    pub(crate) fn fitted<V: ReadView>(
        &self,
        open: impl FnOnce() -> Result<Interface<V>, StorageError>,
    ) -> Result<(Vec<Operation>, bool), StorageError> {
        let mut operations = self.operations.clone();
        let edits = |operation: &Operation| {
            matches!(
                operation,
                Operation::InsertText { .. }
                    | Operation::DeleteText { .. }
                    | Operation::InsertItem { .. }
                    | Operation::DeleteItem { .. }
            )
        };
        if !self.wraps || !operations.iter().any(edits) {
            return Ok((operations, false));
        }
        let mut fits = true;
        let mut state = open()?;
        // The lengths of edited texts and lists after the operations so far.
        let mut lengths: BTreeMap<EntityId, usize> = BTreeMap::new();
        for operation in &mut operations {
            let (target, is_text) = match operation {
                Operation::InsertText { target, .. } | Operation::DeleteText { target, .. } => (target, true),
                Operation::InsertItem { list, .. } | Operation::DeleteItem { list, .. } => (list, false),
                Operation::Delete { target } => {
                    lengths.insert(target.id, 0);
                    continue;
                }
                _ => continue,
            };
            // Earlier operations of the same write have changed the length already.
            let length = match lengths.get(&target.id) {
                Some(length) => *length,
                None if is_text => text_length(&mut state, target)?,
                None => list_length(&mut state, target)?,
            };
            let id = target.id;
            lengths.insert(id, fit(operation, length));
            // Of nothing, nothing can be deleted.
            let deletes = matches!(operation, Operation::DeleteText { .. } | Operation::DeleteItem { .. });
            fits &= length > 0 || !deletes;
        }
        Ok((operations, fits))
    }
}

/// Fits one edit to a text or list of `length` items. Returns the length after the edit.
fn fit(operation: &mut Operation, length: usize) -> usize {
    match operation {
        Operation::InsertText { at, text, .. } => {
            *at %= length + 1;
            length + text.chars().count()
        }
        Operation::DeleteText { at, count, .. } => {
            *at %= length.max(1);
            *count = (*count).min(length - (*at).min(length)).max(1);
            length.saturating_sub(*count)
        }
        Operation::InsertItem { at, .. } => {
            *at %= length + 1;
            length + 1
        }
        Operation::DeleteItem { at, .. } => {
            *at %= length.max(1);
            length.saturating_sub(1)
        }
        _ => length,
    }
}

/// The number of characters of a text; 0 if it is not visible.
fn text_length<V: ReadView>(state: &mut Interface<V>, text: &Target) -> Result<usize, StorageError> {
    if !state.is_visible(text.id)? {
        return Ok(0);
    }
    Ok(state
        .record(text.id)?
        .map_or(0, |record| if let Value::Rga(text) = &record.value { text.len() } else { 0 }))
}

/// The number of visible items of a list.
fn list_length<V: ReadView>(state: &mut Interface<V>, list: &Target) -> Result<usize, StorageError> {
    let mut length = 0;
    for item in state.ordered_children(list.id, &[], None, usize::MAX)? {
        length += usize::from(state.is_visible(item)?);
    }
    Ok(length)
}
