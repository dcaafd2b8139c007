//! The difference sketch: coded symbols from which two replicas decode where they differ.
//!
//! A *rateless invertible Bloom lookup table* (Yang, Gilad, Alizadeh, "Practical Rateless Set
//! Reconciliation", SIGCOMM 2024) is an infinite sequence of cells (the paper's coded symbols). Every
//! record of a state is in the first cell and in ever fewer cells after it; a cell is the exclusive or of
//! its symbols. The exclusive or of the cells of two states contains only the records that the states do
//! not share, and about 1.4 cells for each difference decode all of them. Every write updates a prefix of
//! the sequence, so a difference is found at a cost that does not depend on the size of the states.
//!
//! The sketch is flat: it ignores how deep an entity lies. It uses short hashes, so a decoded difference is
//! a hint. Only the comparison of whole roots at the end of a session decides whether two states are equal.

mod decode;
mod estimate;
mod filtered_iblt;
mod located;
mod sample;
mod short_ids;
mod symbol;

pub use decode::SetDifference;
pub(crate) use decode::{attribute, decode, entity_of, with_short_id};
pub use filtered_iblt::{FilteredIblt, SymbolFilter};
pub(crate) use filtered_iblt::{cells_to_request, decode_filtered, likely_suffice, plan_filters};
pub use located::LocatedDifference;
pub(crate) use located::SketchComparison;
pub(crate) use sample::{branches, pure_symbols};
pub use short_ids::ShortIds;
pub(crate) use symbol::mix;
pub use symbol::{Cell, SketchKey, Symbol};

use estimate::CellCounts;
use syncline_storage::{Change, Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer};

/// The first cells of a state, and the number of records in each of them.
#[derive(Clone, PartialEq, Debug)]
pub struct Sketch {
    key: SketchKey,
    cells: Vec<Cell>,
    counts: Vec<u32>,
}

impl Sketch {
    /// The number of cells for a large state: enough for about 1,400 differences.
    pub const CELLS: usize = 2_048;
    /// The number of cells for a small state.
    const MIN_CELLS: usize = 128;
    /// The number of cells in a handshake: enough for ten differences in 99 cases of 100.
    pub const HEAD: usize = 32;

    /// The sketch of an empty state that is expected to grow to about `records` records.
    pub fn new(key: SketchKey, records: u64) -> Self {
        let cells = Self::cells_for_size(records) as usize;
        debug_assert!(cells >= Self::HEAD, "a sketch has the cells of a handshake");
        Self { key, cells: vec![Cell::EMPTY; cells], counts: vec![0; cells] }
    }

    /// The number of cells in a new sketch of a state with `records` records.
    pub(crate) fn cells_for_size(records: u64) -> u64 {
        records.saturating_mul(4).clamp(Self::MIN_CELLS as u64, Self::CELLS as u64).next_power_of_two()
    }

    /// The size of the cells in bytes.
    pub const fn bytes(&self) -> usize {
        self.cells.len() * size_of::<Cell>() + self.counts.len() * size_of::<u32>()
    }

    /// Whether the state has outgrown the sketch, which should then be computed again with more cells.
    pub fn is_outgrown(&self) -> bool {
        self.cells.len() < Self::CELLS && self.records() > self.cells.len() as u64
    }

    /// The number of records in the state: every record is in the first cell.
    fn records(&self) -> u64 {
        self.counts.first().map_or(0, |count| u64::from(*count))
    }

    /// Computes the sketch of a state. O(n).
    pub fn of<V: ReadView>(key: SketchKey, state: &mut Interface<V>) -> Result<Self, StorageError> {
        let mut sketch = Self::new(key, state.stats()?.records);
        each_symbol(key, state, |_, _, symbol| sketch.toggle(symbol, 1))?;
        Ok(sketch)
    }

    /// The key of the sketch.
    pub const fn key(&self) -> SketchKey {
        self.key
    }

    /// Updates the sketch by the change of one record. The record before and the record after the change
    /// are in about fourteen cells each.
    pub fn apply(&mut self, change: &Change) {
        if let Some(before) = change.before {
            // The exclusive or removes a symbol just as it adds one; only the count needs a sign.
            self.toggle(self.key.symbol(change.id, before), MINUS_ONE);
        }
        if let Some(after) = change.after {
            self.toggle(self.key.symbol(change.id, after), 1);
        }
    }

    /// Adds or removes a symbol. `one` is 1 or [`MINUS_ONE`].
    fn toggle(&mut self, symbol: Symbol, one: u32) {
        debug_assert!(one == 1 || one == MINUS_ONE, "a symbol is in a state once or not at all");
        debug_assert_eq!(self.cells.len(), self.counts.len(), "each cell has a count");
        let cell = self.key.cell(symbol);
        for at in self.key.places(symbol) {
            // The places ascend without end; those behind the stored prefix are skipped.
            let (Some(sum), Some(count)) = (self.cells.get_mut(at), self.counts.get_mut(at)) else { return };
            *sum = sum.with(cell);
            *count = count.wrapping_add(one);
        }
    }

    /// `count` cells from index `from` on, if the sketch stores them.
    pub fn cells(&self, from: usize, count: usize) -> Option<&[Cell]> {
        self.cells.get(from..from.checked_add(count)?)
    }

    /// The first `count` cells, or as many as the sketch stores.
    pub(crate) fn first(&self, count: usize) -> &[Cell] {
        self.cells.get(..count.min(self.cells.len())).unwrap_or_default()
    }

    /// The part of the sketch that a handshake contains.
    pub fn head(&self) -> SketchHead {
        SketchHead {
            cells: self.cells.iter().take(Self::HEAD).copied().collect(),
            counts: CellCounts::of(&self.counts),
        }
    }

    /// The estimated number of records that are in one of the two states and not in the other. An updated
    /// record counts twice. `their_records` is the peer's number of records. The standard error is an eighth
    /// of the estimate, and a quarter from about ten thousand on.
    pub fn estimate(&self, theirs: &SketchHead, their_records: u64) -> u64 {
        let net = self.records().cast_signed().saturating_sub_unsigned(their_records);
        theirs.counts.difference(&self.counts, net)
    }
}

/// Minus one in wrapping arithmetic.
const MINUS_ONE: u32 = u32::MAX;

/// Computes `count` cells of a state from index `from` on, which the sketch does not store. O(n).
pub(crate) fn compute_cells<V: ReadView>(
    key: SketchKey,
    (from, count): (usize, usize),
    state: &mut Interface<V>,
) -> Result<Vec<Cell>, StorageError> {
    let mut cells = vec![Cell::EMPTY; count];
    each_symbol(key, state, |_, _, symbol| {
        let sum = key.cell(symbol);
        for at in key.places(symbol).skip_while(|at| *at < from).take_while(|at| *at < from + count) {
            if let Some(cell) = cells.get_mut(at - from) {
                *cell = cell.with(sum);
            }
        }
    })?;
    Ok(cells)
}

/// Calls `each` with the depth, the id and the symbol of every record, that of the root included. O(n).
fn each_symbol<V: ReadView>(
    key: SketchKey,
    state: &mut Interface<V>,
    mut each: impl FnMut(u32, EntityId, Symbol),
) -> Result<(), StorageError> {
    if let Some(root) = state.entry(EntityId::ROOT)? {
        each(0, EntityId::ROOT, key.symbol(EntityId::ROOT, root.own));
    }
    state.each_entry(|depth, entry| each(depth, entry.id, key.symbol(entry.id, entry.own)))
}

/// The number of cells that decode `difference` records in 99 cases of 100. The figures are those of the
/// paper and of the tests of `decode`: 1.36 cells for each record, and a margin of 3.5 √d for small
/// differences.
pub(crate) fn cells_for(difference: u64) -> u64 {
    let tail = difference.saturating_mul(49).isqrt() / 2;
    (difference.saturating_mul(136) / 100).saturating_add(tail).saturating_add(4)
}

/// The part of a sketch in a handshake: its first cells, and the low bits of some cells' counts, from which
/// the peer estimates the size of the difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SketchHead {
    pub(crate) cells: Vec<Cell>,
    counts: CellCounts,
}

impl Encode for SketchHead {
    fn encode(&self, out: &mut Writer) {
        Cell::encode_list(&self.cells, out);
        self.counts.encode(out);
    }
}

impl Decode for SketchHead {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cells = Cell::decode_list(input, Sketch::HEAD)?;
        if cells.len() != Sketch::HEAD {
            return Err(DecodeError::NotCanonical { what: "the first cells of a sketch" });
        }
        Ok(Self { cells, counts: CellCounts::decode(input)? })
    }
}
