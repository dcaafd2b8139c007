//! Operations on names whose type applications disagree on: versions of one program, or two programs, that use one name
//! for different things. Replicas refuse to change a type that they know of, so what counts is who writes a new name
//! before it has heard of the others.

use crate::workload::Workload;
use crate::workload::mix::FLAGS;
use sync_sim_engine::random::{Choices, Stream};
use syncline_replica::{Collection, Operation, Target};
use syncline_types::Choice;

/// Enough that some are new until the end of a run.
const NAMES: u64 = 48;
/// The first bytes of all names.
const PREFIX: &str = "disputed ";

/// The types that a name may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Set,
    SetOpaque,
    Increment,
    Change,
    Create(Collection),
    Add,
    Insert,
    Freeze,
    Merge,
    /// An entry, which leaves the type of the name open.
    Entry,
}

const KINDS: [Kind; 13] = [
    Kind::Set,
    Kind::SetOpaque,
    Kind::Increment,
    Kind::Change,
    Kind::Create(Collection::Map),
    Kind::Create(Collection::SortedSet),
    Kind::Create(Collection::List),
    Kind::Add,
    Kind::Insert,
    Kind::Freeze,
    Kind::Merge,
    Kind::Entry,
    Kind::Set,
];

impl Workload {
    /// Draws an operation on a name that others may write with another type.
    pub(super) fn disputed(choices: &mut Choices) -> Operation {
        let name = choices.below(Stream::Workload, Choice::WriteKey, NAMES);
        of_some_kind(Target::named(format!("{PREFIX}{name}").as_bytes()), choices)
    }

    /// An operation on the same disputed name that may give it another type; `None` if the name is not disputed.
    pub(super) fn rival_of_disputed(operation: &Operation, choices: &mut Choices) -> Option<Operation> {
        let target = operation.named_target();
        let is_disputed = target.label.bytes().is_some_and(|label| label.starts_with(PREFIX.as_bytes()));
        is_disputed.then(|| of_some_kind(target.clone(), choices))
    }
}

fn of_some_kind(target: Target, choices: &mut Choices) -> Operation {
    let mut below = |choice, bound| choices.below(Stream::Workload, choice, bound);
    let kind = KINDS[below(Choice::WriteKind, KINDS.len() as u64) as usize];
    let value = below(Choice::WriteValue, 1_000);
    let bytes = format!("value {value}").into_bytes();
    match kind {
        Kind::Set => Operation::Set { target, bytes },
        Kind::SetOpaque => Operation::SetOpaque { target, bytes },
        Kind::Increment => Operation::Increment { target, by: value },
        Kind::Change => Operation::Change { target, by: value as i64 - 500 },
        Kind::Create(collection) => Operation::Create { target, collection },
        Kind::Add => Operation::AddElement { target },
        Kind::Insert => Operation::InsertText { target, at: 0, text: format!("{value} ") },
        Kind::Freeze => Operation::Freeze { target, bytes },
        Kind::Merge => {
            let bytes = (1u16 << (value % 16)).to_le_bytes().to_vec();
            Operation::Merge { target, name: FLAGS.to_owned(), bytes }
        }
        Kind::Entry => Operation::Set { target: target.child(&(value % 2).to_le_bytes()), bytes },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::mem::discriminant;
    use sync_sim_engine::faults::Rate;

    #[test]
    fn names_get_several_types() {
        let mut choices = Choices::seeded(1);
        let workload = Workload { disputed: Rate::ppm(1_000_000), ..Workload::default() };
        let mut first = BTreeMap::new();
        let mut differing = 0;
        for _ in 0..500 {
            let operation = workload.operation(&mut choices);
            let kind = discriminant(&operation);
            let known = *first.entry(operation.named_target().id).or_insert(kind);
            differing += usize::from(known != kind);
            let rival = Workload::rival_of_disputed(&operation, &mut choices);
            assert!(rival.is_some() || operation.named_target().ancestors.len() == 1);
        }
        assert!(differing > 250, "{differing} of 500");
    }
}
