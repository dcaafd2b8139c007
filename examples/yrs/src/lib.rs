//! The published `yrs` under faults: documents with concurrent edits, synchronized by the messages of the Yjs sync
//! protocol in yrs.

mod document;
mod replica;

pub use document::{Removed, Shown};
pub use replica::Replica;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use sync_sim::custom::*;

/// An edit by the application. Positions count modulo the number of valid positions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Type a word into the text.
    Type {
        /// The position in the text.
        at: u64,
        /// The word, of letters that other edits hardly ever type.
        word: String,
    },
    /// Delete a letter of the text.
    Rub {
        /// The position in the text.
        at: u64,
    },
    /// Insert an item into the list.
    Put {
        /// The position in the list.
        at: u64,
        /// The item, which no other edit inserts.
        item: i64,
    },
    /// Delete an item of the list.
    Take {
        /// The position in the list.
        at: u64,
    },
    /// Set a key of the map.
    Set {
        /// The key to set.
        key: String,
        /// The new value.
        value: i64,
    },
    /// Remove a key of the map.
    Unset {
        /// The key to remove.
        key: String,
    },
}

/// A way in which an application uses yrs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Experiment {
    /// As documented: a fresh client id at every start, and an answer to every state vector.
    Documented,
    /// A client has the same id after a crash.
    OneId,
    /// A state vector is answered only if its sender lacks an edit.
    Terse,
    /// Frames have no checksum.
    Bare,
    /// A crash loses the document, as in a browser tab without a store.
    Tab,
}

/// All experiments, by name.
pub const EXPERIMENTS: [(&str, Experiment); 5] = [
    ("as-told", Experiment::Documented),
    ("one-id", Experiment::OneId),
    ("terse", Experiment::Terse),
    ("bare", Experiment::Bare),
    ("tab", Experiment::Tab),
];

/// The system under test.
#[derive(Clone, Copy, Debug)]
pub struct Documents(pub Experiment);

/// The number of letters in a word. Each is one UTF-16 code unit, the unit in which yrs counts positions.
const LETTERS: u64 = 3;

impl Subject for Documents {
    type Op = Edit;
    type Node = Replica;

    fn node(&self, own: NodeId) -> Replica {
        Replica::new(own, self.0)
    }

    fn op(&self, _: NodeId, random: &mut dyn Entropy) -> Edit {
        let kind = random.below(Choice::WriteKind, 9);
        let at = random.below(Choice::WritePosition, 1_000);
        let key = ["red", "blue"][random.below(Choice::WriteKey, 2) as usize].to_owned();
        let number = random.below(Choice::WriteValue, 1 << 40) as i64;
        match kind {
            0..=2 => {
                // Among 20,000 ideographs, hardly any letter is typed twice.
                let mut letter = || 0x4e00 + random.below(Choice::WriteValue, 20_000) as u32;
                let word = (0..LETTERS).filter_map(|_| char::from_u32(letter())).collect();
                Edit::Type { at, word }
            }
            3 => Edit::Rub { at },
            4..=5 => Edit::Put { at, item: number },
            6 => Edit::Take { at },
            7 => Edit::Set { key, value: number },
            _ => Edit::Unset { key },
        }
    }

    fn kinds(&self) -> &[&str] {
        &["StateVector", "Missing", "Update"]
    }

    fn judge(&self, done: &[Acknowledged<Edit>], nodes: &[&Replica]) -> Result<(), Violation> {
        let Some((first, rest)) = nodes.split_first() else { return Ok(()) };
        let shown = first.shown();
        let snapshot = first.snapshot();
        if let Some(other) = rest.iter().find(|node| node.shown() != shown || node.snapshot() != snapshot) {
            let detail = format!("{shown:?} of {snapshot:?}, {:?} of {:?}", other.shown(), other.snapshot());
            return Err(Violation::new("equal state vectors, but something else is deleted", detail));
        }
        if self.0 == Experiment::Tab {
            // A crash may have lost acknowledged edits, by design of the experiment.
            return Ok(());
        }
        let letters: Vec<char> = shown.text.chars().collect();
        let typed = |done: &Acknowledged<Edit>| match &done.op {
            Edit::Type { word, .. } => word.chars().collect(),
            _ => Vec::new(),
        };
        let rubbed = nodes.iter().flat_map(|node| node.removed().letters.clone()).collect();
        account("letter", done, typed, &rubbed, &letters)?;
        let put = |done: &Acknowledged<Edit>| match &done.op {
            Edit::Put { item, .. } => vec![item.to_string()],
            _ => Vec::new(),
        };
        let taken = nodes.iter().flat_map(|node| node.removed().items.clone()).collect();
        account("item", done, put, &taken, &shown.list)?;
        is_up_to_date(done, &shown.map)
    }
}

/// Checks that everything that was inserted and not deleted is shown once, and nothing else is. An insertion that a
/// disk lost may be shown or not, since other replicas may have received it before.
fn account<T: Clone + Ord + std::fmt::Debug>(
    thing: &'static str,
    done: &[Acknowledged<Edit>],
    put: impl Fn(&Acknowledged<Edit>) -> Vec<T>,
    taken: &BTreeSet<T>,
    shown: &[T],
) -> Result<(), Violation> {
    let mut times = BTreeMap::<T, usize>::new();
    let mut durable = BTreeSet::new();
    for done in done {
        for new in put(done) {
            *times.entry(new.clone()).or_default() += 1;
            durable.extend((!done.lost).then_some(new));
        }
    }
    // A thing that was inserted twice by coincidence may be deleted once.
    let is_one = |thing: &T| times.get(thing) == Some(&1);
    let named =
        |what: &'static str, which: &T| Err(Violation::new(what, format!("{thing} {which:?} in {shown:?}")));
    for (at, which) in shown.iter().enumerate() {
        if !times.contains_key(which) {
            return named("something is there that nobody put there", which);
        }
        if is_one(which) && taken.contains(which) {
            return named("what was deleted is back", which);
        }
        if is_one(which) && shown.iter().skip(at + 1).any(|other| other == which) {
            return named("something is there twice", which);
        }
    }
    let lost_deletion =
        |done: &Acknowledged<Edit>| done.lost && matches!(done.op, Edit::Rub { .. } | Edit::Take { .. });
    // A deletion that a disk lost explains any missing thing: nobody knows any more what it deleted.
    if done.iter().any(lost_deletion) {
        return Ok(());
    }
    let is_gone = |which: &&T| is_one(which) && !taken.contains(which) && !shown.contains(which);
    durable.iter().find(is_gone).map_or(Ok(()), |which| named("an insertion is lost", which))
}

/// Checks that each key has the last value of one of its writers, or a value whose edit a disk lost.
fn is_up_to_date(done: &[Acknowledged<Edit>], map: &BTreeMap<String, String>) -> Result<(), Violation> {
    for key in ["red", "blue"] {
        let mut last = BTreeMap::new();
        let mut lost = BTreeSet::new();
        for done in done {
            let left = match &done.op {
                Edit::Set { key: other, value } if other == key => Some(value.to_string()),
                Edit::Unset { key: other } if other == key => None,
                _ => continue,
            };
            if done.lost {
                lost.insert(left);
            } else {
                last.insert(done.node, left);
            }
        }
        let shown = map.get(key).cloned();
        if last.is_empty() {
            // Without a durable edit, the key may be absent.
            lost.insert(None);
        }
        if !lost.contains(&shown) && last.values().all(|left| *left != shown) {
            return Err(Violation::new("a key is out of date", format!("{key}: {shown:?}")));
        }
    }
    Ok(())
}
