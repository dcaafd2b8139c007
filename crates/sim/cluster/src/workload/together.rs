//! Writes whose operations are all about one thing: a word that is replaced, items that are inserted beside each other, a
//! value that is set, deleted and set again. They become one batch, whose parts must see each other.

use crate::workload::Workload;
use crate::workload::mix::FLAGS;
use crate::workload::moves::is_on_board;
use sync_sim_engine::random::{Choices, Stream};
use syncline_replica::{Item, Operation, Target};
use syncline_storage::Label;
use syncline_types::Choice;

impl Workload {
    /// Draws at least two operations about one thing.
    pub(super) fn about_one_thing(&self, count: u64, choices: &mut Choices) -> Vec<Operation> {
        // What follows a delete is about what was deleted, so the operation before it decides the kind.
        let mut about = self.operation(choices);
        let mut operations = vec![about.clone()];
        for _ in 0..count.max(1) {
            let next = self.next_about(&about, choices);
            if !matches!(next, Operation::Delete { .. }) {
                about = next.clone();
            }
            operations.push(next);
        }
        operations
    }

    /// Draws another operation about the entity of `last`, or a delete of it or of what it is in.
    fn next_about(&self, last: &Operation, choices: &mut Choices) -> Operation {
        let mut below = |choice, bound| choices.below(Stream::Workload, choice, bound);
        let kind = below(Choice::WriteKind, 12);
        let value = below(Choice::WriteValue, 1_000);
        let bytes = || format!("next {value}").into_bytes();
        let target = last.named_target().clone();
        match kind {
            0..=2 if is_on_board(&target) => {}
            0 | 1 => return Operation::Delete { target },
            2 => {
                if let Some(parent) = parent(&target) {
                    return Operation::Delete { target: parent };
                }
            }
            _ => {}
        }
        let near = |at: usize, choices: &mut Choices| {
            at + choices.below(Stream::Workload, Choice::WritePosition, 3) as usize
        };
        match last.clone() {
            Operation::Set { target, .. } => Operation::Set { target, bytes: bytes() },
            Operation::SetOpaque { target, .. } => Operation::SetOpaque { target, bytes: bytes() },
            Operation::Increment { target, .. } => Operation::Increment { target, by: value },
            Operation::Change { target, .. } => Operation::Change { target, by: value as i64 - 500 },
            Operation::AddElement { target } | Operation::RemoveElement { target } if kind % 2 == 0 => {
                Operation::AddElement { target }
            }
            Operation::AddElement { target } | Operation::RemoveElement { target } => {
                Operation::RemoveElement { target }
            }
            Operation::InsertItem { list, at, .. } | Operation::DeleteItem { list, at } if kind > 8 => {
                Operation::DeleteItem { list, at: near(at, choices) }
            }
            Operation::InsertItem { list, at, .. } | Operation::DeleteItem { list, at } => {
                Operation::InsertItem { list, at: near(at, choices), item: Item::Bytes(bytes()) }
            }
            Operation::InsertText { target, at, .. } | Operation::DeleteText { target, at, .. }
                if kind > 8 =>
            {
                Operation::DeleteText { target, at: near(at, choices), count: 1 + value as usize % 4 }
            }
            Operation::InsertText { target, at, .. } | Operation::DeleteText { target, at, .. } => {
                Operation::InsertText { target, at: near(at, choices), text: format!("next {value} ") }
            }
            Operation::SetOwn { storage, .. } => Operation::SetOwn { storage, bytes: bytes() },
            Operation::Merge { target, .. } => {
                let bytes = (1u16 << (value % 16)).to_le_bytes().to_vec();
                Operation::Merge { target, name: FLAGS.to_owned(), bytes }
            }
            // A frozen value cannot be written again, and a collection is changed by its children.
            Operation::Freeze { .. } | Operation::Create { .. } | Operation::Delete { .. } => {
                self.operation(choices)
            }
        }
    }
}

/// The entity that contains this one; `None` for a child of the root.
fn parent(target: &Target) -> Option<Target> {
    let (id, above) = target.ancestors.split_last()?;
    // A delete has no label.
    Some(Target { id: *id, ancestors: above.to_vec(), label: Label::None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use sync_sim_engine::faults::Rate;

    #[test]
    fn operations_of_a_write_are_about_one_thing() {
        let mut choices = Choices::seeded(3);
        let workload = Workload { together: Rate::ppm(1_000_000), ..Workload::default() };
        let mut about_one = 0;
        for _ in 0..500 {
            let write = workload.write(&mut choices);
            assert!(write.operations.len() > 1 && write.wraps);
            let roots: BTreeSet<_> = write
                .operations
                .iter()
                .map(|operation| {
                    let target = operation.named_target();
                    *target.ancestors.first().unwrap_or(&target.id)
                })
                .collect();
            about_one += usize::from(roots.len() == 1);
        }
        assert!(about_one > 400, "{about_one} of 500");
    }
}
