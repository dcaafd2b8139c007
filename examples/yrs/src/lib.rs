//! The published `yrs` under faults: documents that are edited at once, and exchanged by the messages of the
//! sync protocol that yrs has from Yjs.

mod document;
mod replica;

pub use document::{Removed, Shown};
pub use replica::Replica;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use sync_sim::custom::*;

/// What an application asks of a replica. A place counts modulo the places that there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Type a word into the text.
    Type {
        /// Where.
        at: u64,
        /// The word: letters that hardly anybody else types.
        word: String,
    },
    /// Rub a letter out.
    Rub {
        /// Where.
        at: u64,
    },
    /// Put an item into the list.
    Put {
        /// Where.
        at: u64,
        /// The item, which nobody else puts there.
        item: i64,
    },
    /// Take an item out of the list.
    Take {
        /// Where.
        at: u64,
    },
    /// Set a key of the map.
    Set {
        /// Which.
        key: String,
        /// To what.
        value: i64,
    },
    /// Remove a key of the map.
    Unset {
        /// Which.
        key: String,
    },
}

/// How an application uses yrs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Experiment {
    /// As its documentation says: a fresh client id at every start, and an answer to every state vector.
    AsTold,
    /// A client keeps its id through crashes.
    OneId,
    /// A state vector is answered only where its sender lacks an edit.
    Terse,
    /// Frames have no checksum.
    Bare,
    /// Nothing is kept through a crash, as in a tab of a browser that has no store.
    Tab,
}

/// The experiments, by name.
pub const EXPERIMENTS: [(&str, Experiment); 5] = [
    ("as-told", Experiment::AsTold),
    ("one-id", Experiment::OneId),
    ("terse", Experiment::Terse),
    ("bare", Experiment::Bare),
    ("tab", Experiment::Tab),
];

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub struct Documents(pub Experiment);

/// Letters of a word. All are of one UTF-16 unit, the unit that places are counted in.
const LETTERS: u64 = 3;

impl Subject for Documents {
    type Op = Edit;
    type Node = Replica;

    fn node(&self, own: NodeId) -> Replica {
        Replica::new(own, self.0)
    }

    fn op(&self, _: NodeId, chance: &mut dyn Entropy) -> Edit {
        let kind = chance.below(Choice::WriteKind, 9);
        let at = chance.below(Choice::WritePosition, 1_000);
        let key = ["red", "blue"][chance.below(Choice::WriteKey, 2) as usize].to_owned();
        let number = chance.below(Choice::WriteValue, 1 << 40) as i64;
        match kind {
            0..=2 => {
                // 20,000 ideographs: letters enough for each to be typed once.
                let mut letter = || 0x4e00 + chance.below(Choice::WriteValue, 20_000) as u32;
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
        let (shown, snapshot) = (first.shown(), first.snapshot());
        if let Some(other) = rest.iter().find(|node| node.shown() != shown || node.snapshot() != snapshot) {
            let detail = format!("{shown:?} of {snapshot:?}, {:?} of {:?}", other.shown(), other.snapshot());
            return Err(Violation::new("equal state vectors, but something else is deleted", detail));
        }
        if self.0 == Experiment::Tab {
            // What was acknowledged may have gone with its replica.
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

/// What was put in and not taken out is there, once; nothing else is. Of what a disk has lost, others may know or
/// not.
fn account<T: Clone + Ord + std::fmt::Debug>(
    thing: &'static str,
    done: &[Acknowledged<Edit>],
    put: impl Fn(&Acknowledged<Edit>) -> Vec<T>,
    taken: &BTreeSet<T>,
    shown: &[T],
) -> Result<(), Violation> {
    let (mut times, mut kept) = (BTreeMap::<T, usize>::new(), BTreeSet::new());
    for done in done {
        for new in put(done) {
            *times.entry(new.clone()).or_default() += 1;
            kept.extend((!done.lost).then_some(new));
        }
    }
    // One that happens to be put in twice may be taken out once.
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
    let forgot =
        |done: &Acknowledged<Edit>| done.lost && matches!(done.op, Edit::Rub { .. } | Edit::Take { .. });
    if done.iter().any(forgot) {
        return Ok(());
    }
    let is_gone = |which: &&T| is_one(which) && !taken.contains(which) && !shown.contains(which);
    kept.iter().find(is_gone).map_or(Ok(()), |which| named("an insertion is lost", which))
}

/// A key is as some replica left it last, or as an edit left it that a disk has lost.
fn is_up_to_date(done: &[Acknowledged<Edit>], map: &BTreeMap<String, String>) -> Result<(), Violation> {
    for key in ["red", "blue"] {
        let (mut last, mut lost) = (BTreeMap::new(), BTreeSet::new());
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
            // One that nobody touched for good is not there.
            lost.insert(None);
        }
        if !lost.contains(&shown) && last.values().all(|left| *left != shown) {
            return Err(Violation::new("a key is out of date", format!("{key}: {shown:?}")));
        }
    }
    Ok(())
}
