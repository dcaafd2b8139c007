//! Operations on names that are deleted and written again.
//!
//! Four names and four counters, each deleted about as often as it is written. A name is a register, an opaque value, a
//! collection or a set, whatever it is made next; its children are entries and elements. Replicas refuse to give a name
//! another type until they have collected its tombstone, so most changes of type happen just after a collection.

use crate::workload::Workload;
use sync_sim_engine::random::{Choices, Stream};
use syncline_replica::{Collection, Operation, Target};
use syncline_types::Choice;

const NAMES: u64 = 2;
const CHILDREN: u64 = 2;

/// What is done to a name.
#[derive(Clone, Copy)]
enum Reuse {
    Delete,
    Set,
    SetOpaque,
    Create,
    AddElement,
    RemoveElement,
    SetEntry,
    SetOpaqueEntry,
    DeleteEntry,
    Count,
    CountEntry,
    DeleteCount,
    DeleteCountEntry,
}

/// The operations with their weights.
const WEIGHTS: [(Reuse, u64); 13] = [
    (Reuse::Delete, 24),
    (Reuse::Set, 10),
    (Reuse::SetOpaque, 10),
    (Reuse::Create, 8),
    (Reuse::AddElement, 14),
    (Reuse::RemoveElement, 12),
    (Reuse::SetEntry, 8),
    (Reuse::SetOpaqueEntry, 6),
    (Reuse::DeleteEntry, 4),
    (Reuse::Count, 6),
    (Reuse::CountEntry, 4),
    (Reuse::DeleteCount, 3),
    (Reuse::DeleteCountEntry, 3),
];

impl Workload {
    /// Draws an operation on a name that others delete and write again.
    pub(crate) fn reused(choices: &mut Choices) -> Operation {
        let mut below = |choice, bound| choices.below(Stream::Workload, choice, bound);
        let kind = by_weight(below(Choice::WriteKind, WEIGHTS.iter().map(|(_, weight)| weight).sum()));
        let name = below(Choice::WriteKey, NAMES);
        let child = below(Choice::WriteKey, CHILDREN).to_le_bytes();
        let value = below(Choice::WriteValue, 1_000);
        let target = Target::named(format!("name {name}").as_bytes());
        let tally = Target::named(format!("tally {name}").as_bytes());
        let stock = Target::named(b"stocks").child(&child);
        let bytes = format!("value {value}").into_bytes();
        match kind {
            Reuse::Delete => Operation::Delete { target },
            Reuse::Set => Operation::Set { target, bytes },
            Reuse::SetOpaque => Operation::SetOpaque { target, bytes },
            Reuse::Create => {
                let collections = [Collection::Map, Collection::Set, Collection::SortedMap, Collection::List];
                Operation::Create { target, collection: collections[(value % 4) as usize] }
            }
            Reuse::AddElement => Operation::AddElement { target: target.child(&child) },
            Reuse::RemoveElement => Operation::RemoveElement { target: target.child(&child) },
            Reuse::SetEntry => Operation::Set { target: target.child(&child), bytes },
            Reuse::SetOpaqueEntry => Operation::SetOpaque { target: target.child(&child), bytes },
            Reuse::DeleteEntry => Operation::Delete { target: target.child(&child) },
            // One tally only grows, the other goes both ways.
            Reuse::Count if name == 0 => Operation::Increment { target: tally, by: value % 10 + 1 },
            Reuse::Count => Operation::Change { target: tally, by: value as i64 % 20 - 7 },
            Reuse::CountEntry => Operation::Change { target: stock, by: value as i64 % 10 + 1 },
            Reuse::DeleteCount => Operation::Delete { target: tally },
            Reuse::DeleteCountEntry if value.is_multiple_of(4) => {
                Operation::Delete { target: Target::named(b"stocks") }
            }
            Reuse::DeleteCountEntry => Operation::Delete { target: stock },
        }
    }
}

/// The kind of operation at this place of the weights.
fn by_weight(mut drawn: u64) -> Reuse {
    for (kind, weight) in WEIGHTS {
        match drawn.checked_sub(weight) {
            Some(rest) => drawn = rest,
            None => return kind,
        }
    }
    unreachable!("a draw is below the sum of the weights")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_sim_engine::faults::{FaultConfig, Rate};
    use syncline_types::{SimDuration, SimTime};

    #[test]
    fn reuses_few_names() {
        let mut choices = Choices::seeded(1);
        let workload = Workload { reuse: Rate::ppm(1_000_000), ..Workload::default() };
        let drawn: Vec<Operation> = (0..500).map(|_| workload.operation(&mut choices)).collect();
        let deletes = drawn.iter().filter(|operation| matches!(operation, Operation::Delete { .. })).count();
        assert!((100..250).contains(&deletes), "{deletes}");
        assert!(drawn.iter().any(|operation| matches!(operation, Operation::Increment { .. })));
    }

    #[test]
    fn breaks_divide_the_writes() {
        let over = SimDuration::from_secs(30);
        let break_for = SimDuration::from_secs(1_000);
        let workload = Workload { breaks: 2, break_for, burst: Rate::ZERO, ..Workload::new(300, over) };
        assert_eq!(
            workload.break_times().map(SimDuration::as_millis).collect::<Vec<_>>(),
            [10_000, 1_020_000]
        );
        let planned = workload.draw(300, 2, SimTime::ZERO, &FaultConfig::none(), &mut Choices::seeded(1));
        let during = planned.iter().map(|write| write.at.as_millis());
        let parts = during.fold([0; 4], |mut parts, at| {
            let part = match at {
                ..10_000 => 0,
                1_010_000..1_020_000 => 1,
                2_020_000..2_030_000 => 2,
                _ => 3,
            };
            parts[part] += 1;
            parts
        });
        assert!(parts[..3].iter().all(|count| *count > 50) && parts[3] == 0, "{parts:?}");
    }
}
