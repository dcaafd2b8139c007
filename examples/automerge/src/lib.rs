//! The published `automerge` under faults: documents with concurrent edits, synchronized by automerge's own
//! messages.

mod replica;

pub use replica::Replica;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim::custom::*;

/// An edit by the application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Type a word into the text.
    Type {
        /// The position, modulo the length of the text plus one.
        at: u64,
        /// The word, which no other edit types.
        word: String,
    },
    /// Set a key of the map.
    Set {
        /// The key to set.
        key: String,
        /// The new value.
        value: u64,
    },
    /// Add to the counter.
    Add {
        /// The increment.
        by: u64,
    },
}

/// The visible content of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The content of the text.
    pub text: String,
    /// The entries of the map.
    pub map: BTreeMap<String, u64>,
    /// The value of the counter.
    pub count: u64,
}

/// The lifetime of sync sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sessions {
    /// One `sync::State` for each peer, from start to crash, as on a stream that never breaks.
    Endless,
    /// Each pair begins a new `sync::State` five times a second, on both sides.
    Renewed,
}

/// The system under test, with one lifetime of its sessions.
#[derive(Clone, Copy, Debug)]
pub struct Documents(pub Sessions);

impl Subject for Documents {
    type Op = Edit;
    type Node = Replica;

    fn node(&self, own: NodeId) -> Replica {
        Replica::new(own, self.0)
    }

    fn op(&self, _: NodeId, random: &mut dyn Entropy) -> Edit {
        match random.below(Choice::WriteKind, 3) {
            0 => {
                let word = format!("[{}]", random.below(Choice::WriteValue, 1 << 40));
                Edit::Type { at: random.below(Choice::WritePosition, 1_000), word }
            }
            1 => {
                let key = ["red", "blue"][random.below(Choice::WriteKey, 2) as usize].to_owned();
                Edit::Set { key, value: random.below(Choice::WriteValue, 1 << 40) }
            }
            _ => Edit::Add { by: 1 + random.below(Choice::WriteValue, 9) },
        }
    }

    fn kinds(&self) -> &[&str] {
        &["Sync"]
    }

    /// All documents show the same. The text holds every letter that was typed, the counter is the sum of the
    /// increments, and a key has the last value of one of its writers.
    fn judge(&self, done: &[Acknowledged<Edit>], nodes: &[&Replica]) -> Result<(), Violation> {
        let Some((first, rest)) = nodes.split_first() else { return Ok(()) };
        let shown = first.shown();
        if let Some(other) = rest.iter().map(|node| node.shown()).find(|other| *other != shown) {
            return Err(Violation::new("equal heads show different things", format!("{shown:?}, {other:?}")));
        }
        let mut sum = 0;
        let mut last = BTreeMap::new();
        for Acknowledged { node, op, .. } in done {
            match op {
                Edit::Add { by } => sum += by,
                Edit::Set { key, value } => drop(last.insert((key, node), *value)),
                // A word that is typed inside of another splits it, so letters are counted instead of words.
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

/// The number of occurrences of each letter.
fn letters<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for letter in texts.into_iter().flat_map(str::chars) {
        *counts.entry(letter).or_default() += 1;
    }
    counts
}
