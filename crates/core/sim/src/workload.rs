//! What applications write while replicas sync.

use crate::notation;
use crate::runtime::{Choices, Stream};
use crate::types::NodeId;
use serde::{Deserialize, Serialize};
use syncline_replica::{Collection, Item, Operation, Target};
use syncline_types::{Choice, EntityId, SimDuration, SimTime};

/// Writes to be issued during a run: registers, counters, map entries, set elements and deletes,
/// on few enough entities that nodes often write the same one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// How many writes.
    pub writes: usize,
    /// Over what time they are spread.
    #[serde(with = "notation::time")]
    pub over: SimDuration,
    /// On how many entities of each kind.
    pub keys: u64,
    /// How often, in a million, two nodes write the same entity at the same instant.
    pub clash_ppm: u32,
}

/// One write: when, where, what.
pub type Write = (SimTime, NodeId, Vec<Operation>);

impl Default for Workload {
    /// No writes.
    fn default() -> Self {
        Self::new(0, SimDuration::from_secs(3))
    }
}

impl Workload {
    /// `writes` writes over `over`, on eight entities of each kind, a quarter of them clashing.
    pub const fn new(writes: usize, over: SimDuration) -> Self {
        Self { writes, over, keys: 8, clash_ppm: 250_000 }
    }

    /// Draws the writes for `nodes` nodes, to begin at `start`.
    pub fn draw(&self, nodes: usize, start: SimTime, choices: &mut Choices) -> Vec<Write> {
        let mut writes = Vec::with_capacity(self.writes);
        while nodes > 0 && writes.len() < self.writes {
            let offset = choices.below(Stream::Workload, Choice::WriteTime, self.over.as_micros());
            let at = start + SimDuration::from_micros(offset);
            let node = choices.below(Stream::Workload, Choice::WriteNode, nodes as u64);
            let operation = self.operation(choices);
            if choices.chance(Stream::Workload, Choice::WriteClash, self.clash_ppm)
                && writes.len() + 1 < self.writes
            {
                let other = choices.below(Stream::Workload, Choice::WriteNode, nodes as u64);
                let rival = self.rival(&operation, choices);
                writes.push((at, NodeId(other as u32), vec![rival]));
            }
            writes.push((at, NodeId(node as u32), vec![operation]));
        }
        writes
    }

    /// Draws one write.
    pub fn operation(&self, choices: &mut Choices) -> Operation {
        let kind = choices.below(Stream::Workload, Choice::WriteKind, 22);
        let key = choices.below(Stream::Workload, Choice::WriteKey, self.keys);
        let value = choices.below(Stream::Workload, Choice::WriteValue, 1_000);
        let named =
            |what: &str| Target::top(EntityId::child_of(EntityId::ROOT, format!("{what}/{key}").as_bytes()));
        let shared = |what: &str| Target::top(EntityId::child_of(EntityId::ROOT, what.as_bytes()));
        let entry = |what: &str| shared(what).child(&key.to_le_bytes());
        let bytes = format!("value {value}").into_bytes();
        match kind {
            0..=3 => Operation::Set { target: named("register"), bytes },
            4..=5 => Operation::Increment { target: named("likes"), by: value },
            6..=7 => Operation::Change { target: named("stock"), by: value as i64 - 500 },
            8..=9 => Operation::Set { target: entry("map"), bytes },
            10 => Operation::Create { target: shared("map"), collection: Collection::Map },
            11..=12 => Operation::AddElement { target: entry("set") },
            13 => Operation::RemoveElement { target: entry("set") },
            14 => Operation::Delete { target: named("register") },
            15 => Operation::InsertText { target: shared("text"), at: 0, text: format!("{value} ") },
            16 => Operation::DeleteText { target: shared("text"), at: 0, count: 1 },
            17 => Operation::InsertItem { list: shared("list"), at: 0, item: Item::Bytes(bytes) },
            18 => Operation::DeleteItem { list: shared("list"), at: 0 },
            19 => Operation::Set { target: shared("sorted").ordered_child(&key.to_le_bytes()), bytes },
            20 => Operation::SetOwn { storage: shared("own"), bytes },
            _ => Operation::Delete { target: shared("map") },
        }
    }

    /// Another write to the same entity, as another node would make it.
    fn rival(&self, operation: &Operation, choices: &mut Choices) -> Operation {
        let value = choices.below(Stream::Workload, Choice::WriteValue, 1_000);
        match operation.clone() {
            Operation::Set { target, .. } => {
                Operation::Set { target, bytes: format!("rival {value}").into_bytes() }
            }
            Operation::Delete { target } if target.ancestors.is_empty() && value.is_multiple_of(2) => {
                Operation::Delete { target }
            }
            Operation::AddElement { target } => Operation::RemoveElement { target },
            Operation::RemoveElement { target } => Operation::AddElement { target },
            other => other,
        }
    }
}
