//! The operations of a workload and their weights.

use crate::workload::Workload;
use crate::workload::merge_faults::union;
use serde::{Deserialize, Serialize};
use sync_sim_engine::faults::Rate;
use sync_sim_engine::random::{Choices, Stream};
use syncline_crdt::Merges;
use syncline_replica::{Collection, Item, Operation, Target};
use syncline_types::Choice;

macro_rules! mix {
    ($($(#[$doc:meta])* $kind:ident, $field:ident, [$($weight:literal),*];)*) => {
        /// The weight of each operation: an operation of weight 4 is twice as frequent as one of weight 2.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Mix {
            $($(#[$doc])* pub $field: u32,)*
        }

        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum OperationKind {
            $($kind,)*
        }

        impl Mix {
            /// The presets: balanced, text-heavy, counters, deletes.
            const TABLES: [Self; 4] = {
                let mut tables = [Self { $($field: 0,)* }; 4];
                let mut at = 0;
                while at < 4 {
                    tables[at] = Self { $($field: [$($weight),*][at],)* };
                    at += 1;
                }
                tables
            };

            /// All weights are zero.
            pub const NOTHING: Self = Self { $($field: 0,)* };

            fn each(&mut self, mut change: impl FnMut(&mut u32)) {
                $(change(&mut self.$field);)*
            }

            const fn weights(&self) -> [(OperationKind, u32); [$(stringify!($kind)),*].len()] {
                [$((OperationKind::$kind, self.$field),)*]
            }
        }
    };
}

mix! {
    /// Sets the value of a register.
    Set, set, [8, 4, 2, 8];
    /// Adds to a grow-only counter.
    Increment, increment, [4, 1, 16, 2];
    /// Changes a counter either way.
    Change, change, [4, 1, 16, 2];
    /// Sets an entry of a map.
    Entry, entry, [4, 2, 2, 6];
    /// Sets an entry of a map in a map.
    Nested, nested, [3, 1, 1, 6];
    /// Creates a collection.
    Create, create, [2, 0, 0, 2];
    /// Adds an element to a set or to a sorted set.
    Add, add, [5, 1, 1, 6];
    /// Removes an element from a set or a sorted set.
    Remove, remove, [3, 1, 1, 5];
    /// Inserts characters into a text.
    InsertText, insert_text, [4, 24, 1, 3];
    /// Deletes characters of a text.
    DeleteText, delete_text, [2, 8, 0, 3];
    /// Inserts an item into a list.
    InsertItem, insert_item, [4, 3, 1, 4];
    /// Deletes an item of a list.
    DeleteItem, delete_item, [2, 1, 0, 4];
    /// Sets an entry of a sorted map.
    Sorted, sorted, [3, 0, 1, 3];
    /// Sets the value of the node in a user storage.
    Own, own, [2, 0, 0, 1];
    /// Writes a frozen value.
    Freeze, freeze, [2, 0, 0, 1];
    /// Merges into a value of the application's own type, see [`merges`].
    Merge, merge, [2, 0, 0, 1];
    /// Sets a value without a type.
    SetOpaque, opaque, [2, 0, 0, 1];
    /// Deletes a value of any kind.
    Delete, delete, [4, 2, 3, 10];
    /// Deletes a collection with all that is in it.
    DeleteCollection, delete_collection, [2, 1, 1, 8];
}

/// The name of the application type that workloads merge: a set of bits that only grows.
pub(super) const FLAGS: &str = "workload.flags";

/// The merge function of the application type of workloads: the union of the bits.
pub fn merges() -> Merges {
    let merges = Merges::default().with(FLAGS, &[&[1], &[2, 4]], union);
    merges.expect("a union is a join")
}

impl Default for Mix {
    fn default() -> Self {
        Self::BALANCED
    }
}

impl Mix {
    /// Operations of every kind.
    pub const BALANCED: Self = Self::TABLES[0];
    /// Mostly edits of a text.
    pub const TEXT_HEAVY: Self = Self::TABLES[1];
    /// Mostly counters.
    pub const COUNTERS: Self = Self::TABLES[2];
    /// Many deletes of all kinds.
    pub const DELETES: Self = Self::TABLES[3];

    /// A mix whose weights are drawn by `weight`, in the order of the fields.
    pub fn drawn(weight: &mut dyn FnMut() -> u32) -> Self {
        let mut mix = Self::NOTHING;
        mix.each(|field| *field = weight());
        mix
    }

    /// Draws a kind of operation by weight.
    fn kind(&self, choices: &mut Choices) -> OperationKind {
        let weights = self.weights();
        let all: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut drawn = choices.below(Stream::Workload, Choice::WriteKind, all);
        for (kind, weight) in weights {
            // Weighted choice: walk along the weights until the draw falls into one.
            match drawn.checked_sub(u64::from(weight)) {
                Some(rest) => drawn = rest,
                None => return kind,
            }
        }
        // Reached only if all weights are zero: then the draw is 0 and no weight exceeds it.
        assert!(all == 0, "a draw is below the sum of the weights");
        OperationKind::Set
    }
}

/// The collections that workloads write in.
pub(crate) const COLLECTIONS: [&str; 8] =
    ["map", "set", "sorted", "sorted set", "list", "folders", "own", "frozen"];

fn named(what: &str) -> Target {
    Target::named(what.as_bytes())
}

/// The collection with this number, for deletes of whole collections.
fn collection(number: u64, key: u64) -> Target {
    match number % 8 {
        0 | 1 => named("map"),
        2 => named("set"),
        3 => named("sorted"),
        4 => named("list"),
        5 => named("folders"),
        6 => named("folders").child(&key.to_le_bytes()),
        _ => named(["own", "frozen", "sorted set"][(number / 8 % 3) as usize]),
    }
}

/// Creates the collection with this number.
fn create(number: u64) -> Operation {
    let (what, collection) = match number % 8 {
        0 => ("set", Collection::Set),
        1 => ("sorted set", Collection::SortedSet),
        2 => ("sorted", Collection::SortedMap),
        3 => ("list", Collection::List),
        4 => ("own", Collection::UserStorage),
        5 => ("frozen", Collection::FrozenStorage),
        6 => ("folders", Collection::Map),
        _ => ("map", Collection::Map),
    };
    Operation::Create { target: named(what), collection }
}

impl Workload {
    /// Draws a key; each unit of skew draws again below the key that came.
    fn key(&self, choices: &mut Choices) -> u64 {
        let mut key = choices.below(Stream::Workload, Choice::WriteKey, self.keys);
        for _ in 0..self.skew {
            key = choices.below(Stream::Workload, Choice::WriteKey, key + 1);
        }
        key
    }

    /// Draws a position in a text or a list.
    fn position(&self, choices: &mut Choices) -> usize {
        let bound = if self.anywhere { 1 << 20 } else { 0 };
        choices.below(Stream::Workload, Choice::WritePosition, bound) as usize
    }

    /// Draws an operation that is none of the mix, if one is due.
    fn outside_the_mix(&self, choices: &mut Choices) -> Option<Operation> {
        type DrawOperation = fn(&mut Choices) -> Operation;
        let kinds: [(Rate, DrawOperation); 4] = [
            (self.reuse, Self::reused),
            (self.disputed, Self::disputed),
            (self.moves, Self::moved),
            (self.odd_keys, Self::of_odd_key),
        ];
        // What is off draws nothing, so that other workloads keep their traces.
        let mut is_due = |rate: Rate| choices.chance(Stream::Workload, Choice::WriteReuse, rate.as_ppm());
        let (_, draw) = kinds.into_iter().find(|(rate, _)| is_due(*rate))?;
        Some(draw(choices))
    }

    /// Draws one operation on a random entity.
    pub fn operation(&self, choices: &mut Choices) -> Operation {
        if let Some(operation) = self.outside_the_mix(choices) {
            return operation;
        }
        let kind = self.mix.kind(choices);
        let key = self.key(choices);
        let value = choices.below(Stream::Workload, Choice::WriteValue, 1_000);
        let label = key.to_le_bytes();
        let one = |what: &str| named(&format!("{what} {key}"));
        let element = || {
            if value.is_multiple_of(3) {
                named("sorted set").ordered_child(&key.to_be_bytes())
            } else {
                named("set").child(&label)
            }
        };
        let bytes = format!("value {value}").into_bytes();
        match kind {
            OperationKind::Set => Operation::Set { target: one("register"), bytes },
            OperationKind::Increment => Operation::Increment { target: one("likes"), by: value },
            OperationKind::Change => Operation::Change { target: one("stock"), by: value as i64 - 500 },
            OperationKind::Entry => Operation::Set { target: named("map").child(&label), bytes },
            OperationKind::Nested => {
                let folder = named("folders").child(&label);
                Operation::Set { target: folder.child(&(value % 4).to_le_bytes()), bytes }
            }
            OperationKind::Create => create(value),
            OperationKind::Add => Operation::AddElement { target: element() },
            OperationKind::Remove => Operation::RemoveElement { target: element() },
            OperationKind::InsertText => {
                let at = self.position(choices);
                Operation::InsertText { target: named("text"), at, text: format!("{value} ") }
            }
            OperationKind::DeleteText => {
                let at = self.position(choices);
                let count = 1 + value as usize % 6;
                Operation::DeleteText { target: named("text"), at, count }
            }
            OperationKind::InsertItem => {
                let item = if value.is_multiple_of(16) {
                    Item::Collection(Collection::Map)
                } else {
                    Item::Bytes(bytes)
                };
                Operation::InsertItem { list: named("list"), at: self.position(choices), item }
            }
            OperationKind::DeleteItem => {
                Operation::DeleteItem { list: named("list"), at: self.position(choices) }
            }
            OperationKind::Sorted => {
                Operation::Set { target: named("sorted").ordered_child(&key.to_be_bytes()), bytes }
            }
            OperationKind::Own => Operation::SetOwn { storage: named("own"), bytes },
            OperationKind::Freeze => Operation::Freeze { target: named("frozen").child(&label), bytes },
            OperationKind::Merge => {
                let bytes = (1u16 << (value % 16)).to_le_bytes().to_vec();
                Operation::Merge { target: one("flags"), name: FLAGS.to_owned(), bytes }
            }
            OperationKind::SetOpaque => Operation::SetOpaque { target: one("opaque"), bytes },
            OperationKind::Delete => Operation::Delete {
                target: match value % 8 {
                    0..=2 => one("register"),
                    3 | 4 => named("map").child(&label),
                    5 => one(["likes", "stock", "opaque"][(value / 8 % 3) as usize]),
                    6 => [named("text"), element(), one("flags")][(value / 8 % 3) as usize].clone(),
                    _ => named("folders").child(&label).child(&(value / 8 % 4).to_le_bytes()),
                },
            },
            OperationKind::DeleteCollection => Operation::Delete { target: collection(value, key) },
        }
    }

    /// A conflicting operation of another node on the same entity.
    pub(super) fn rival(&self, operation: &Operation, choices: &mut Choices) -> Operation {
        if let Some(rival) = Self::rival_of_disputed(operation, choices) {
            return rival;
        }
        let value = choices.below(Stream::Workload, Choice::WriteValue, 1_000);
        let rival = || format!("rival {value}").into_bytes();
        match operation.clone() {
            Operation::Set { target, .. } if value.is_multiple_of(8) => Operation::Delete { target },
            Operation::Set { target, .. } => Operation::Set { target, bytes: rival() },
            Operation::Freeze { target, .. } => Operation::Freeze { target, bytes: rival() },
            Operation::SetOpaque { target, .. } => Operation::SetOpaque { target, bytes: rival() },
            Operation::AddElement { target } => Operation::RemoveElement { target },
            Operation::RemoveElement { target } => Operation::AddElement { target },
            Operation::InsertText { target, at, .. } => {
                Operation::InsertText { target, at, text: format!("rival {value} ") }
            }
            other => other,
        }
    }
}
