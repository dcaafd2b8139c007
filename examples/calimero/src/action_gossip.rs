//! Anti-entropy gossip of actions: a replica that has an action sends it to those that announce that they lack it.
//! Each replica applies each action once.

use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeMap;
use sync_sim::custom::NodeId;

/// The number of actions that a replica has of each writer, up to the first gap: a version vector.
pub(crate) type Counts = BTreeMap<u32, u64>;

/// An action, and the version vector of its writer before it.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct GossipedAction {
    writer: u32,
    number: u64,
    after: Counts,
    pub(crate) action: Vec<u8>,
}

/// The actions that a replica has applied, and those that wait for their causal predecessors.
#[derive(Clone, Debug)]
pub(crate) struct ActionGossip {
    own: u32,
    causal: bool,
    applied: BTreeMap<(u32, u64), GossipedAction>,
    waiting: BTreeMap<(u32, u64), GossipedAction>,
}

impl ActionGossip {
    pub(crate) fn new(own: NodeId, causal: bool) -> Self {
        Self { own: own.0, causal, applied: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &GossipedAction> {
        self.applied.values()
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    pub(crate) fn have(&self) -> Counts {
        let mut have = Counts::new();
        for &(writer, number) in self.applied.keys() {
            let count = have.entry(writer).or_default();
            *count += u64::from(*count == number);
        }
        have
    }

    /// Records an action of this replica, which has applied it.
    pub(crate) fn write(&mut self, action: Vec<u8>) -> GossipedAction {
        let after = self.have();
        let number = after.get(&self.own).copied().unwrap_or_default();
        let delta = GossipedAction { writer: self.own, number, after, action };
        self.applied.insert((self.own, number), delta.clone());
        delta
    }

    /// The actions that a replica with this version vector lacks.
    pub(crate) fn missing(&self, have: &Counts) -> Vec<GossipedAction> {
        let lacks =
            |delta: &&GossipedAction| have.get(&delta.writer).is_none_or(|count| *count <= delta.number);
        self.applied.values().filter(lacks).cloned().collect()
    }

    /// Receives actions. Returns those that can be applied now, in an order that respects causality.
    pub(crate) fn take(&mut self, deltas: Vec<GossipedAction>) -> Vec<GossipedAction> {
        let mut due = Vec::new();
        for delta in deltas {
            let key = (delta.writer, delta.number);
            if self.applied.contains_key(&key) {
                continue;
            }
            if self.causal {
                self.waiting.insert(key, delta);
            } else {
                self.applied.insert(key, delta.clone());
                due.push(delta);
            }
        }
        loop {
            let have = self.have();
            let has = |(writer, count): (&u32, &u64)| have.get(writer).is_some_and(|have| have >= count);
            let ready = self.waiting.iter().find(|(_, delta)| delta.after.iter().all(has));
            let Some((&key, _)) = ready else { return due };
            let delta = self.waiting.remove(&key).expect("a ready action is waiting");
            self.applied.insert(key, delta.clone());
            due.push(delta);
        }
    }
}
