//! Verification: compares every stored row of a state with the row that the records imply.

use crate::error::StorageError;
use crate::interface::Interface;
use crate::keys::{self, Slot};
use crate::record::Record;
use crate::stats::Stats;
use crate::traversal::record_page;
use syncline_crdt::Merges;
use syncline_store::{Key, MemoryStore, ReadView, Store};
use syncline_types::{Decode, Digest, Encode, Hlc};

/// The result of a verification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// The stored counters, root included.
    pub stored: Stats,
    /// The root that the records imply.
    pub rebuilt_root: Digest,
    /// The number of stored rows: records, index nodes, derived rows and counters.
    pub rows: u64,
    /// The first mismatched rows, by key.
    pub mismatches: Vec<MismatchedRow>,
    /// The number of mismatched rows in all.
    pub mismatched_rows: u64,
}

/// A row that differs from what the records imply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MismatchedRow {
    /// The key of the row.
    pub key: Vec<u8>,
    /// How the row differs.
    pub mismatch: RowMismatch,
}

/// How a row differs from what the records imply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowMismatch {
    /// The records imply a row that is not stored.
    Missing,
    /// The stored value is another one.
    Different,
    /// The records do not imply the stored row.
    Superfluous,
}

impl RowMismatch {
    /// The mismatch as a clause about the row. Tools print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "it is missing",
            Self::Different => "it differs",
            Self::Superfluous => "the records do not imply it",
        }
    }
}

impl Verification {
    /// Whether every row is what the records imply, and no row is missing or superfluous.
    pub fn is_sound(&self) -> bool {
        self.mismatched_rows == 0 && self.stored.root == self.rebuilt_root
    }

    fn push(&mut self, key: &[u8], mismatch: RowMismatch) {
        const MOST_SHOWN: usize = 20;
        self.mismatched_rows += 1;
        if self.mismatches.len() < MOST_SHOWN {
            self.mismatches.push(MismatchedRow { key: key.to_vec(), mismatch });
        }
    }
}

/// Rebuilds the active state from its records alone, in memory, and compares every row with the stored one.
/// O(n).
///
/// # Errors
/// A record that cannot be decoded, breaks a rule or has no parent: then there is nothing to compare with.
pub fn verify<V: ReadView>(view: &V) -> Result<Verification, StorageError> {
    const PAGE: usize = 4_096;
    let stored = Interface::open(view.clone())?.stats()?;
    let mut fresh = rebuilt(view)?;
    let rebuilt_root = fresh.root_hash()?;
    let mut expected = MemoryStore::default();
    expected.apply(fresh.finish()?)?;
    let mut found =
        Verification { stored, rebuilt_root, rows: 0, mismatches: Vec::new(), mismatched_rows: 0 };
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
                found.push(&missing, RowMismatch::Missing);
            }
            match wanted.next_if(|(wanted, _)| wanted == key) {
                Some((_, right)) if right == *value || same_counters(slot, key, &right, value) => {}
                Some(_) => found.push(key, RowMismatch::Different),
                // An empty state may have a row of counters, which say that it is empty.
                None if same_counters(slot, key, &Stats::default().to_bytes(), value) => {}
                None => found.push(key, RowMismatch::Superfluous),
            }
        }
        wanted.for_each(|(missing, _)| found.push(&missing, RowMismatch::Missing));
        if upto == *end {
            debug_assert!(
                found.mismatches.len() as u64 <= found.mismatched_rows,
                "all shown rows are counted"
            );
            return Ok(found);
        }
        from = upto;
    }
}

/// Whether the roots of these tries (keys made by [`keys::trie`]) are those that their parents record. A
/// store calls this after it has applied redo logs after a crash: the result shows that the tries and the
/// records are of the same batch. It does not show that the tries are sound. O(tries · log n).
///
/// # Errors
/// [`StorageError`] if a row that is needed cannot be read.
pub fn trie_roots_match<'k, V: ReadView>(
    view: &V,
    tries: impl IntoIterator<Item = &'k Key>,
) -> Result<bool, StorageError> {
    let open = |slot| Interface::open_slot(view.clone(), slot, Merges::default());
    let mut first = open(Slot::First)?;
    let mut second = open(Slot::Second)?;
    for key in tries {
        let (slot, entity) = keys::trie_of(key).ok_or(StorageError::Index { what: "the key of a trie" })?;
        let state = if slot == Slot::First { &mut first } else { &mut second };
        if !state.trie_root_matches(entity)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two rows of counters are equal but for the generation and the horizon, which do not follow from the
/// records.
fn same_counters(slot: Slot, key: &[u8], right: &[u8], stored: &[u8]) -> bool {
    let counters =
        |bytes| Stats::from_bytes(bytes).map(|stats| Stats { generation: 0, horizon: Hlc::ZERO, ..stats });
    *key == *keys::stats(slot) && counters(right).is_ok_and(|right| counters(stored) == Ok(right))
}

/// A state made from the records of the active state and from nothing else, in the same slot.
fn rebuilt<V: ReadView>(view: &V) -> Result<Interface<MemoryStore>, StorageError> {
    let slot = Slot::active(view)?;
    let mut fresh = Interface::open_slot(MemoryStore::default(), slot, Merges::default())?;
    let mut by_depth = Vec::new();
    let mut after = None;
    loop {
        let page = record_page(view, after, 1 << 20)?;
        for (id, bytes) in &page.records {
            let record = Record::from_bytes(bytes).map_err(StorageError::row("a record"))?;
            by_depth.push((record.depth, *id, record));
            after = Some(*id);
        }
        if page.is_last {
            break;
        }
    }
    // Parents before children, which the join of a record requires.
    by_depth.sort_by_key(|(depth, id, _)| (*depth, *id));
    for (depth, id, record) in by_depth {
        record.check(id).map_err(|_| StorageError::Index { what: "a record that keeps the rules" })?;
        if depth > 1 && fresh.record(record.parent)?.is_none_or(|parent| parent.depth >= depth) {
            return Err(StorageError::Index { what: "the parent of a record" });
        }
        fresh.join(id, record)?;
    }
    Ok(fresh)
}

impl<V: ReadView> Interface<V> {
    /// The root of a state rebuilt from the records of the active state in the view: it must equal the stored
    /// root (**L4**). The state is rebuilt in memory. O(n) time and memory.
    pub fn rebuilt_root(&self) -> Result<Digest, StorageError> {
        rebuilt(self.view())?.root_hash()
    }
}
