//! Operations on entities with ids of their own, which applications move: cards on a board that several people sort into
//! columns.
//!
//! The id of a card does not follow from its path. Whoever writes a card names the place where he has it, so that writers
//! of one card may put it at different places of different depth, before or after it has comments of its own. Only
//! a rival of a write deletes a card: who has collected a card does not know its former place.

use crate::workload::Workload;
use sync_sim_engine::random::{Choices, Stream};
use syncline_replica::{Collection, Operation, Target};
use syncline_storage::Label;
use syncline_types::{Choice, EntityId};

const CARDS: u64 = 8;
const PLACES: u64 = 6;

impl Workload {
    /// Draws an operation on a card, one of its comments or a column.
    pub(super) fn moved(choices: &mut Choices) -> Operation {
        let mut below = |choice, bound| choices.below(Stream::Workload, choice, bound);
        let kind = below(Choice::WriteKind, 8);
        let number = below(Choice::WriteKey, CARDS);
        let place = column(below(Choice::WritePosition, PLACES));
        let value = below(Choice::WriteValue, 1_000);
        let bytes = format!("card {value}").into_bytes();
        let card = card(number, &place);
        match kind {
            0 => Operation::Create { target: place, collection: Collection::SortedMap },
            1..=4 => Operation::Set { target: card, bytes },
            5 | 6 => Operation::Set { target: card.child(&(value % 3).to_le_bytes()), bytes },
            _ => Operation::Change { target: card.ordered_child(b"votes"), by: value as i64 - 500 },
        }
    }
}

/// Whether an entity is a column, a card or something on a card.
pub(super) fn is_on_board(target: &Target) -> bool {
    let top = *target.ancestors.first().unwrap_or(&target.id);
    (0..PLACES).map(column).any(|place| *place.ancestors.first().unwrap_or(&place.id) == top)
}

/// A column; the deeper ones are on boards, and in projects.
fn column(number: u64) -> Target {
    let name = format!("column {}", number % 2);
    match number / 2 {
        0 => Target::named(name.as_bytes()),
        1 => Target::named(b"board").child(name.as_bytes()),
        _ => Target::named(b"project").child(b"board").child(name.as_bytes()),
    }
}

/// A card in a column.
fn card(number: u64, column: &Target) -> Target {
    let ancestors = [column.ancestors.as_slice(), &[column.id]].concat();
    let id = EntityId::child_of(EntityId::LAST, &number.to_be_bytes());
    Target { id, ancestors, label: Label::Ordered(number.to_be_bytes().into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use sync_sim_engine::faults::Rate;

    #[test]
    fn cards_are_at_several_places() {
        let mut choices = Choices::seeded(1);
        let workload = Workload { moves: Rate::ppm(1_000_000), ..Workload::default() };
        let mut depths: BTreeMap<EntityId, BTreeSet<usize>> = BTreeMap::new();
        for _ in 0..300 {
            let operation = workload.operation(&mut choices);
            let target = operation.named_target();
            assert!(is_on_board(target));
            depths.entry(target.id).or_default().insert(target.ancestors.len());
        }
        assert!(depths.values().filter(|depths| depths.len() == 3).count() >= CARDS as usize);
    }
}
