//! Verification: compares every stored row of a state with the row that the records imply.

use crate::error::StorageError;
use crate::interface::Interface;
use crate::keys::{self, Slot};
use crate::record::Record;
use crate::stats::Stats;
use crate::traversal::record_page;
use std::fmt;
use syncline_crdt::Merges;
use syncline_store::{Key, MemoryStore, ReadView, Row, Store};
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

/// The row and its mismatch in words: `the order row of … below …: it should not be there`.
impl fmt::Display for MismatchedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", keys::words(&self.key), self.mismatch.as_str())
    }
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
    ImpliedRows::of(view)?.compare(view)
}

/// The rows that the records of one state imply. States with equal records have equal rows, so that one
/// rebuilt state serves to verify all of them.
#[derive(Clone, Debug)]
pub struct ImpliedRows {
    rows: MemoryStore,
    slot: Slot,
    root: Digest,
}

impl ImpliedRows {
    /// The rows that the records of the active state of `view` imply. They are held in memory. O(n).
    ///
    /// # Errors
    /// As [`verify`].
    pub fn of<V: ReadView>(view: &V) -> Result<Self, StorageError> {
        let mut fresh = rebuilt(view)?;
        let slot = fresh.slot();
        let root = fresh.root_hash()?;
        let mut rows = MemoryStore::default();
        rows.apply(fresh.finish()?)?;
        Ok(Self { rows, slot, root })
    }

    /// The root that the records imply.
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// Compares every row of the active state of `view` with these. The state may be in another slot. A record
    /// that differs from the one here is a mismatched row like any other. O(n).
    ///
    /// # Errors
    /// A row that cannot be read.
    pub fn compare<V: ReadView>(&self, view: &V) -> Result<Verification, StorageError> {
        const PAGE: usize = 4_096;
        let stored = Interface::open(view.clone())?.stats()?;
        let mut found = Verification {
            stored,
            rebuilt_root: self.root,
            rows: 0,
            mismatches: Vec::new(),
            mismatched_rows: 0,
        };
        let slot = Slot::active(view)?;
        let (first, end) = slot.bounds();
        let mut from = first;
        loop {
            let rows = view.range(&from, &end, PAGE)?;
            let upto = match rows.last() {
                Some((last, _)) if rows.len() == PAGE => Key::of(&[last, &[0]]),
                _ => end.clone(),
            };
            found.rows += rows.len() as u64;
            let wanted = self.range(&from, &upto, slot)?;
            found.compare_page(&rows, wanted, slot);
            if upto == end {
                debug_assert!(
                    found.mismatches.len() as u64 <= found.mismatched_rows,
                    "all shown rows are counted"
                );
                return Ok(found);
            }
            from = upto;
        }
    }

    /// The rows with `from <= key < to`, which are keys of `slot`, under their keys in that slot.
    fn range(&self, from: &Key, to: &Key, slot: Slot) -> Result<Vec<Row>, StorageError> {
        if slot == self.slot {
            return Ok(self.rows.range(from, to, usize::MAX)?);
        }
        let own = |key: &Key| keys::moved(key, slot, self.slot);
        let rows = self.rows.range(&own(from), &own(to), usize::MAX)?;
        Ok(rows.into_iter().map(|(key, value)| (keys::moved(&key, self.slot, slot), value)).collect())
    }
}

impl Verification {
    /// Compares the stored rows of a range of keys with those that the records imply in the same range.
    fn compare_page(&mut self, stored: &[Row], implied: Vec<Row>, slot: Slot) {
        let mut wanted = implied.into_iter().peekable();
        for (key, value) in stored {
            while let Some((missing, _)) = wanted.next_if(|(wanted, _)| wanted < key) {
                self.push(&missing, RowMismatch::Missing);
            }
            match wanted.next_if(|(wanted, _)| wanted == key) {
                Some((_, right)) if right == *value || same_counters(slot, key, &right, value) => {}
                Some(_) => self.push(key, RowMismatch::Different),
                // An empty state may have a row of counters, which say that it is empty.
                None if is_row_of_empty_state(slot, key, value) => {}
                None => self.push(key, RowMismatch::Superfluous),
            }
        }
        wanted.for_each(|(missing, _)| self.push(&missing, RowMismatch::Missing));
    }
}

/// Whether two rows of counters are equal but for the generation and the horizon, which do not follow from the
/// records.
fn same_counters(slot: Slot, key: &[u8], right: &[u8], stored: &[u8]) -> bool {
    let counters =
        |bytes| Stats::from_bytes(bytes).map(|stats| Stats { generation: 0, horizon: Hlc::ZERO, ..stats });
    *key == *keys::stats(slot) && counters(right).is_ok_and(|right| counters(stored) == Ok(right))
}

/// Whether this is a row of counters that says that a state is empty.
fn is_row_of_empty_state(slot: Slot, key: &[u8], stored: &[u8]) -> bool {
    let empty =
        Stats::from_bytes(stored).map(|Stats { short_ids, .. }| Stats { short_ids, ..Stats::default() });
    empty.is_ok_and(|empty| same_counters(slot, key, &empty.to_bytes(), stored))
}

/// A state made from the records of the active state and from nothing else, in the same slot.
fn rebuilt<V: ReadView>(view: &V) -> Result<Interface<MemoryStore>, StorageError> {
    let slot = Slot::active(view)?;
    let mut fresh = Interface::open_slot(MemoryStore::default(), slot, Merges::default())?
        .with_short_ids(Stats::read(view, slot)?.short_ids);
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
