//! Is what is stored what the records say?

use crate::error::StorageError;
use crate::interface::Interface;
use crate::keys::{self, Slot};
use crate::scan::rebuilt;
use crate::stats::Stats;
use syncline_crdt::Merges;
use syncline_store::{Key, MemoryStore, ReadView, Store};
use syncline_types::{Decode, Digest, Encode, Hlc};

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// The figures that are stored, root included.
    pub stored: Stats,
    /// The root that the records have.
    pub rebuilt_root: Digest,
    /// Rows of the state: records, index, order and figures.
    pub rows: u64,
    /// Rows that are not what the records say they should be, missing ones and superfluous ones
    /// included; the first few by key.
    pub wrong: Vec<WrongRow>,
    /// How many there are in all.
    pub wrong_rows: u64,
}

/// A row that is not what the records say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongRow {
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Verification {
    /// Whether all is as it should be.
    pub fn is_sound(&self) -> bool {
        self.wrong_rows == 0 && self.stored.root == self.rebuilt_root
    }
}

/// Makes the state anew from its records and compares every row with what is stored. The new state is
/// held in memory. O(n).
///
/// # Errors
/// A record that cannot be read, breaks a rule or has no parent: then there is nothing to compare with.
pub fn verify<V: ReadView>(view: &V) -> Result<Verification, StorageError> {
    const SHOWN: usize = 20;
    const PAGE: usize = 4_096;
    let stored = Interface::open(view.clone())?.stats()?;
    let mut fresh = rebuilt(view)?;
    let rebuilt_root = fresh.root_hash()?;
    let mut expected = MemoryStore::default();
    expected.apply(fresh.finish()?)?;
    let mut found = Verification { stored, rebuilt_root, rows: 0, wrong: Vec::new(), wrong_rows: 0 };
    let mut note = |key: &[u8], what| {
        found.wrong_rows += 1;
        if found.wrong.len() < SHOWN {
            found.wrong.push(WrongRow { key: key.to_vec(), what });
        }
    };
    let slot = Slot::active(view)?;
    let (first, end) = slot.bounds();
    let mut from = first.to_vec();
    loop {
        let rows = view.range(&from, &end, PAGE)?;
        let upto = match rows.last() {
            Some((last, _)) if rows.len() == PAGE => [last, &[0][..]].concat(),
            _ => end.to_vec(),
        };
        found.rows += rows.len() as u64;
        let mut wanted = expected.range(&from, &upto, usize::MAX)?.into_iter().peekable();
        for (key, value) in &rows {
            while let Some((missing, _)) = wanted.next_if(|(wanted, _)| wanted < key) {
                note(&missing, "it is missing");
            }
            match wanted.next_if(|(wanted, _)| wanted == key) {
                Some((_, right)) if right == *value || same_figures(slot, key, &right, value) => {}
                Some(_) => note(key, "it differs"),
                // An empty state may have figures, which say that it is empty.
                None if same_figures(slot, key, &Stats::default().to_bytes(), value) => {}
                None => note(key, "it should not be there"),
            }
        }
        wanted.for_each(|(missing, _)| note(&missing, "it is missing"));
        if upto == *end {
            return Ok(found);
        }
        from = upto;
    }
}

/// Whether the topmost nodes of these tries ([`keys::trie`]) have the hashes that are told of them above: that
/// they are of the same moment, and not that they are sound. O(tries · log n).
///
/// # Errors
/// [`StorageError`] if what it looks at cannot be read.
pub fn tries_are_told<'k, V: ReadView>(
    view: &V,
    tries: impl IntoIterator<Item = &'k Key>,
) -> Result<bool, StorageError> {
    let open = |slot| Interface::open_slot(view.clone(), slot, Merges::default());
    let (mut first, mut second) = (open(Slot::First)?, open(Slot::Second)?);
    for key in tries {
        let (slot, entity) = keys::trie_of(key).ok_or(StorageError::Index { what: "the key of a trie" })?;
        let state = if slot == Slot::First { &mut first } else { &mut second };
        if !state.is_told(entity)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Figures are equal but for how often the state has changed and its horizon, which the records do not
/// say.
fn same_figures(slot: Slot, key: &[u8], right: &[u8], stored: &[u8]) -> bool {
    let figures =
        |bytes| Stats::from_bytes(bytes).map(|stats| Stats { generation: 0, horizon: Hlc::ZERO, ..stats });
    *key == *keys::stats(slot) && figures(right).is_ok_and(|right| figures(stored) == Ok(right))
}
