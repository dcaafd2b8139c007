//! The published `calimero-storage` under faults: its `Index` and `Interface::apply_action`, with `RuntimeEnv`
//! callbacks over a map in memory. Replicas exchange their actions by gossip, which retransmits until every
//! replica has every action.

mod action_gossip;
mod replica;

pub use replica::{Ask, Replica};

use calimero_storage::collections::crdt_meta::CrdtType;
use std::collections::BTreeMap;
use sync_sim::custom::*;

/// The type of all entities of an experiment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No CRDT type.
    Plain,
    /// `CrdtType::LwwRegister`.
    Register,
    /// `CrdtType::Custom`.
    Custom,
    /// `CrdtType::UnorderedMap`: the entity of the collection itself.
    Map,
    /// `CrdtType::Vector`: the entity of the collection itself.
    Vector,
    /// `CrdtType::UserStorage`: the entity of the collection itself.
    UserStorage,
    /// `CrdtType::FrozenStorage`: the entity of the collection itself.
    FrozenStorage,
    /// No CRDT type, in `StorageType::Frozen`.
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

/// The newest timestamp of an entity, and the data of the actions that have it; `None` is a deletion.
type Newest = (u64, Vec<Option<Vec<u8>>>);

/// One experiment: the system under test with its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    /// The type of all entities.
    pub kind: Kind,
    /// How many of ten operations are deletions, on average.
    pub deletes: u64,
    /// Whether actions are applied in causal order: after all that their writers had applied.
    pub causal: bool,
    /// The resolution of the clocks, with which two replicas may assign equal timestamps. With `None`, all
    /// timestamps are distinct. A causally later write has a greater timestamp in both cases.
    pub tick: Option<SimDuration>,
}

impl Storage {
    /// Actions in causal order, with distinct timestamps.
    pub const fn of(kind: Kind) -> Self {
        Self { kind, deletes: 0, causal: true, tick: None }
    }

    /// The same, where this many of ten operations are deletions.
    pub const fn deleting(self, deletes: u64) -> Self {
        Self { deletes, ..self }
    }

    /// The same, where actions are applied in the order of arrival.
    pub const fn as_they_come(self) -> Self {
        Self { causal: false, ..self }
    }

    /// The same, with clocks of this resolution, so that writes of two replicas have equal timestamps.
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

/// The lab of an experiment, by the name of the experiment.
pub fn experiment(name: &str) -> Option<Lab<Storage>> {
    EXPERIMENTS.iter().find(|(other, _)| *other == name).map(|(_, storage)| Lab::new(*storage))
}

impl Subject for Storage {
    type Op = Ask;
    type Node = Replica;

    fn node(&self, own: NodeId) -> Replica {
        Replica::new(own, *self)
    }

    fn op(&self, _: NodeId, random: &mut dyn Entropy) -> Ask {
        let entity = random.below(Choice::WriteKey, 2);
        if random.below(Choice::WriteKind, 10) < self.deletes {
            return Ask::Delete { entity };
        }
        Ask::Put { entity, text: format!("text {}", random.below(Choice::WriteValue, 1_000)) }
    }

    fn kinds(&self) -> &[&str] {
        &["Actions", "Have"]
    }

    /// In causal order, no replica refuses an action that another one applied.
    fn invariant(&self, node: &Replica) -> Result<(), Violation> {
        match node.refused().filter(|_| self.causal) {
            Some(error) => Err(Violation::new("an action is refused", error)),
            None => Ok(()),
        }
    }

    /// Equal root hashes imply equal entries, and each entity shows its newest write or deletion.
    fn judge(&self, _: &[Acknowledged<Ask>], nodes: &[&Replica]) -> Result<(), Violation> {
        let Some((first, rest)) = nodes.split_first() else { return Ok(()) };
        let shown = first.entries();
        if let Some(other) = rest.iter().find(|node| node.entries() != shown) {
            let detail = format!("{shown:?} and {:?}", other.entries());
            return Err(Violation::new("equal roots of unequal states", detail));
        }
        // Of frozen entities any write may win; of all others, the newest timestamp wins.
        let frozen = matches!(self.kind, Kind::Frozen | Kind::FrozenStorage);
        let mut newest = BTreeMap::<u64, Newest>::new();
        for written in first.written() {
            let (stamp, results) = newest.entry(written.entity).or_default();
            if written.stamp > *stamp && !frozen {
                *stamp = written.stamp;
                results.clear();
            }
            if written.stamp == *stamp || frozen {
                results.push(written.data);
            }
        }
        for (entity, (stamp, results)) in newest {
            let shown = shown.get(&entity).cloned();
            // Of several newest writes any may win; a deletion wins over all of them.
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
