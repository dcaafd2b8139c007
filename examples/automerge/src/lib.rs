//! The published `automerge` under faults: documents that are edited at once, and exchanged by automerge's
//! own sync messages.

mod replica;

pub use replica::Replica;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim::custom::*;

/// What an application asks of a replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Type a word into the text.
    Type {
        /// Where: this, modulo the text's length.
        at: u64,
        /// The word, which nobody else types.
        word: String,
    },
    /// Set a key of the map.
    Set {
        /// Which.
        key: String,
        /// To what.
        value: u64,
    },
    /// Add to the counter.
    Add {
        /// How much.
        by: u64,
    },
}

/// What a document shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The text.
    pub text: String,
    /// The map.
    pub map: BTreeMap<String, u64>,
    /// The counter.
    pub count: u64,
}

/// How replicas hold sync sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sessions {
    /// One `sync::State` for each peer, from start to crash, as on a stream that never breaks.
    Endless,
    /// A fresh one of each pair five times a second, on both sides.
    Renewed,
}

/// One experiment.
#[derive(Clone, Copy, Debug)]
pub struct Documents(pub Sessions);

impl Subject for Documents {
    type Op = Edit;
    type Node = Replica;

    fn node(&self, own: NodeId) -> Replica {
        Replica::new(own, self.0)
    }

    fn op(&self, _: NodeId, chance: &mut dyn Entropy) -> Edit {
        match chance.below(Choice::WriteKind, 3) {
            0 => {
                let word = format!("[{}]", chance.below(Choice::WriteValue, 1 << 40));
                Edit::Type { at: chance.below(Choice::WritePosition, 1_000), word }
            }
            1 => {
                let key = ["red", "blue"][chance.below(Choice::WriteKey, 2) as usize].to_owned();
                Edit::Set { key, value: chance.below(Choice::WriteValue, 1 << 40) }
            }
            _ => Edit::Add { by: 1 + chance.below(Choice::WriteValue, 9) },
        }
    }

    fn kinds(&self) -> &[&str] {
        &["Sync"]
    }

    /// All show the same; every word is there once, the counter is the sum, and a key has what somebody
    /// set it to last.
    fn judge(&self, done: &[Acknowledged<Edit>], nodes: &[&Replica]) -> Result<(), Violation> {
        let Some((first, rest)) = nodes.split_first() else { return Ok(()) };
        let shown = first.shown();
        if let Some(other) = rest.iter().map(|node| node.shown()).find(|other| *other != shown) {
            return Err(Violation::new("equal heads show different things", format!("{shown:?}, {other:?}")));
        }
        let (mut sum, mut last) = (0, BTreeMap::new());
        for Acknowledged { node, op, .. } in done {
            match op {
                Edit::Add { by } => sum += by,
                Edit::Set { key, value } => drop(last.insert((key, node), *value)),
                // A word that is typed into the middle of another takes it apart, not away.
                Edit::Type { .. } => {}
            }
        }
        let typed = done.iter().filter_map(|done| match &done.op {
            Edit::Type { word, .. } => Some(word.as_str()),
            _ => None,
        });
        if letters(typed) != letters([shown.text.as_str()]) {
            return Err(Violation::new("the text is not what was typed", shown.text));
        }
        if sum != shown.count {
            return Err(Violation::new("the counter is wrong", format!("{} for {sum}", shown.count)));
        }
        for (key, _) in last.keys() {
            let value = shown.map.get(*key);
            if !last.iter().any(|((other, _), set)| other == key && Some(set) == value) {
                return Err(Violation::new("a key is out of date", format!("{key}: {value:?}")));
            }
        }
        Ok(())
    }
}

/// How often each letter occurs.
fn letters<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for letter in texts.into_iter().flat_map(str::chars) {
        *counts.entry(letter).or_default() += 1;
    }
    counts
}
