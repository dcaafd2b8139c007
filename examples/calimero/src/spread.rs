//! How actions reach everybody, each once: whoever has one passes it on to those who say that they lack it.

use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeMap;
use sync_sim::custom::NodeId;

/// How many deltas one has of each writer, without a gap.
pub(crate) type Have = BTreeMap<u32, u64>;

/// An action on its way, and what its writer had applied before.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct Delta {
    writer: u32,
    number: u64,
    after: Have,
    pub(crate) action: Vec<u8>,
}

/// The deltas that a replica has.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    own: u32,
    causal: bool,
    applied: BTreeMap<(u32, u64), Delta>,
    waiting: BTreeMap<(u32, u64), Delta>,
}

impl Spread {
    pub(crate) fn new(own: NodeId, causal: bool) -> Self {
        Self { own: own.0, causal, applied: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Delta> {
        self.applied.values()
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    pub(crate) fn have(&self) -> Have {
        let mut have = Have::new();
        for &(writer, number) in self.applied.keys() {
            let count = have.entry(writer).or_default();
            *count += u64::from(*count == number);
        }
        have
    }

    /// A delta of one's own, which counts as applied.
    pub(crate) fn write(&mut self, action: Vec<u8>) -> Delta {
        let after = self.have();
        let number = after.get(&self.own).copied().unwrap_or_default();
        let delta = Delta { writer: self.own, number, after, action };
        self.applied.insert((self.own, number), delta.clone());
        delta
    }

    /// What another lacks.
    pub(crate) fn missing(&self, have: &Have) -> Vec<Delta> {
        let lacks = |delta: &&Delta| have.get(&delta.writer).is_none_or(|count| *count <= delta.number);
        self.applied.values().filter(lacks).cloned().collect()
    }

    /// Takes deltas in, and gives those that are to be applied now, in order.
    pub(crate) fn take(&mut self, deltas: Vec<Delta>) -> Vec<Delta> {
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
            let Some(delta) = self.waiting.remove(&key) else { return due };
            self.applied.insert(key, delta.clone());
            due.push(delta);
        }
    }
}
