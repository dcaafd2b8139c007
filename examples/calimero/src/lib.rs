//! The published `calimero-storage` under faults: its `Index` and `Interface::apply_action`, on
//! `RuntimeEnv` callbacks over a map in memory. Replicas exchange the actions that they apply by gossip
//! that loses none in the end.

mod replica;
mod spread;

pub use replica::{Ask, Replica};

use calimero_storage::collections::crdt_meta::CrdtType;
use std::collections::BTreeMap;
use sync_sim::custom::*;

/// What entities are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of no type.
    Plain,
    /// `CrdtType::LwwRegister`.
    Register,
    /// `CrdtType::Custom`.
    Custom,
    /// `CrdtType::UnorderedMap`, that is, the entity of such a collection itself.
    Map,
    /// `CrdtType::Vector`, likewise.
    Vector,
    /// `CrdtType::UserStorage`, likewise.
    UserStorage,
    /// `CrdtType::FrozenStorage`, likewise.
    FrozenStorage,
    /// Of no type, and in `StorageType::Frozen`.
    Frozen,
}

impl Kind {
    fn crdt_type(self) -> Option<CrdtType> {
        let text = || "String".to_owned();
        match self {
            Self::Plain | Self::Frozen => None,
            Self::Register => Some(CrdtType::LwwRegister { inner_type: text() }),
            Self::Custom => Some(CrdtType::Custom(text())),
            Self::Map => Some(CrdtType::UnorderedMap { key_type: text(), value_type: text() }),
            Self::Vector => Some(CrdtType::Vector { element_type: text() }),
            Self::UserStorage => Some(CrdtType::UserStorage),
            Self::FrozenStorage => Some(CrdtType::FrozenStorage),
        }
    }
}

/// The newest stamp of an entity, and what its writers left it with; `None` if deleted.
type Newest = (u64, Vec<Option<Vec<u8>>>);

/// One experiment.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    /// What entities are.
    pub kind: Kind,
    /// How many of ten operations delete.
    pub deletes: u64,
    /// Whether an action is applied only after all that its writer had applied.
    pub causal: bool,
    /// How far clocks count at a time, where two replicas may give equal stamps; never do they otherwise.
    /// Stamps of causally later writes are greater in any case.
    pub tick: Option<SimDuration>,
}

impl Storage {
    /// Actions in causal order, with stamps of which no two are equal.
    pub const fn of(kind: Kind) -> Self {
        Self { kind, deletes: 0, causal: true, tick: None }
    }

    /// So many of ten operations delete.
    pub const fn deleting(self, deletes: u64) -> Self {
        Self { deletes, ..self }
    }

    /// Actions are applied as they come.
    pub const fn as_they_come(self) -> Self {
        Self { causal: false, ..self }
    }

    /// Clocks that count so many milliseconds at a time, so that writes of two replicas have equal stamps.
    pub const fn with_tick_ms(self, tick_ms: u64) -> Self {
        Self { tick: Some(SimDuration::from_millis(tick_ms)), ..self }
    }
}

/// All experiments, by name.
pub const EXPERIMENTS: [(&str, Storage); 14] = [
    ("registers", Storage::of(Kind::Register)),
    ("registers-tied", Storage::of(Kind::Register).with_tick_ms(200)),
    ("registers-deleted", Storage::of(Kind::Register).deleting(4)),
    ("registers-deleted-tied", Storage::of(Kind::Register).deleting(4).with_tick_ms(200)),
    ("registers-any-order", Storage::of(Kind::Register).as_they_come()),
    ("registers-deleted-any-order", Storage::of(Kind::Register).deleting(4).as_they_come()),
    ("plain-tied", Storage::of(Kind::Plain).with_tick_ms(200)),
    ("custom-tied", Storage::of(Kind::Custom).with_tick_ms(200)),
    ("maps", Storage::of(Kind::Map)),
    ("maps-tied", Storage::of(Kind::Map).with_tick_ms(200)),
    ("vectors-tied", Storage::of(Kind::Vector).with_tick_ms(200)),
    ("user-storage-tied", Storage::of(Kind::UserStorage).with_tick_ms(200)),
    ("frozen-storage", Storage::of(Kind::FrozenStorage)),
    ("frozen", Storage::of(Kind::Frozen)),
];

/// An experiment by its name.
pub fn experiment(name: &str) -> Option<Lab<Storage>> {
    EXPERIMENTS.iter().find(|(other, _)| *other == name).map(|(_, storage)| Lab::new(*storage))
}

impl Subject for Storage {
    type Op = Ask;
    type Node = Replica;

    fn node(&self, own: NodeId) -> Replica {
        Replica::new(own, *self)
    }

    fn op(&self, _: NodeId, chance: &mut dyn Entropy) -> Ask {
        let entity = chance.below(Choice::WriteKey, 2);
        if chance.below(Choice::WriteKind, 10) < self.deletes {
            return Ask::Delete { entity };
        }
        Ask::Put { entity, text: format!("text {}", chance.below(Choice::WriteValue, 1_000)) }
    }

    fn kinds(&self) -> &[&str] {
        &["Actions", "Have"]
    }

    /// In causal order, no action that one replica took is refused by another.
    fn invariant(&self, node: &Replica) -> Result<(), Violation> {
        match node.refused().filter(|_| self.causal) {
            Some(error) => Err(Violation::new("an action is refused", error)),
            None => Ok(()),
        }
    }

    /// Equal roots must mean equal entries, and entities show what was last written or deleted.
    fn judge(&self, _: &[Acknowledged<Ask>], nodes: &[&Replica]) -> Result<(), Violation> {
        let Some((first, rest)) = nodes.split_first() else { return Ok(()) };
        let shown = first.entries();
        if let Some(other) = rest.iter().find(|node| node.entries() != shown) {
            let detail = format!("{shown:?} and {:?}", other.entries());
            return Err(Violation::new("equal roots of unequal states", detail));
        }
        // What is frozen may be the first that came; of all else, the newest stamp wins.
        let frozen = matches!(self.kind, Kind::Frozen | Kind::FrozenStorage);
        let mut newest = BTreeMap::<u64, Newest>::new();
        for written in first.written() {
            let (stamp, results) = newest.entry(written.entity).or_default();
            if written.stamp > *stamp && !frozen {
                (*stamp, *results) = (written.stamp, Vec::new());
            }
            if written.stamp == *stamp || frozen {
                results.push(written.data);
            }
        }
        for (entity, (stamp, results)) in newest {
            let shown = shown.get(&entity).cloned();
            // Of writes that are the newest together, any may win, and a delete wins over all.
            let is_deleted = results.contains(&None);
            if is_deleted && shown.is_some() {
                return Err(Violation::new(
                    "what was deleted is back",
                    format!("entity {entity}, stamp {stamp}"),
                ));
            }
            if !is_deleted && !results.contains(&shown) {
                return Err(Violation::new(
                    "the newest write is gone",
                    format!("entity {entity}, stamp {stamp}"),
                ));
            }
        }
        Ok(())
    }
}
