//! The difference sketch: coded symbols from which two replicas read where they differ.
//!
//! A *rateless invertible Bloom lookup table* (Yang, Gilad, Alizadeh, "Practical rateless set
//! reconciliation", SIGCOMM 2024) is an endless row of cells. Every record of a state is in the first
//! cell and in ever rarer ones after it; a cell is the exclusive or of what is in it. The cells of two
//! states, combined by exclusive or, hold only what the states do not share, and about 1.4 cells for each
//! difference tell all of them. A prefix of the row is kept up to date by every write, so that a
//! difference is found at a cost that does not depend on how much is shared.
//!
//! The sketch is flat: it does not see how deep an entity lies. What it finds is a hint, as short forms
//! of hashes are; only the comparison of roots at the end of a session decides.

mod decode;
mod estimate;
mod located;
mod names;
mod sample;
mod sieve;
mod symbol;

pub use decode::Difference;
pub(crate) use decode::{called, decode, entity, tell_apart};
pub use located::Located;
pub(crate) use located::Sight;
pub use names::Names;
pub(crate) use sample::{alone, branches};
pub use sieve::{Sieve, Sieved};
pub(crate) use sieve::{are_enough, cells_wanted, plan, sift};
pub(crate) use symbol::mix;
pub use symbol::{Cell, SketchKey, Symbol};

use estimate::Counts;
use syncline_storage::{Change, Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer};

/// The first cells of a state's row, and how many records are in each.
#[derive(Clone, PartialEq, Debug)]
pub struct Sketch {
    key: SketchKey,
    cells: Vec<Cell>,
    counts: Vec<u32>,
}

impl Sketch {
    /// Cells that are kept of a large state: enough for about 1,400 differences.
    pub const CELLS: usize = 2_048;
    /// Cells that are kept of a small one.
    const FEWEST: usize = 128;
    /// Cells that a handshake carries: enough for ten differences in 99 cases of 100.
    pub const HEAD: usize = 32;

    /// The sketch of a state without records that may get about `records`.
    pub fn new(key: SketchKey, records: u64) -> Self {
        let cells = Self::kept_of(records) as usize;
        Self { key, cells: vec![Cell::EMPTY; cells], counts: vec![0; cells] }
    }

    /// How many cells are kept of a state of so many records, if its sketch is new.
    pub(crate) fn kept_of(records: u64) -> u64 {
        let [fewest, most] = [Self::FEWEST as u64, Self::CELLS as u64];
        records.saturating_mul(4).clamp(fewest, most).next_power_of_two()
    }

    /// Whether the state has outgrown it: it should be made anew.
    pub fn is_outgrown(&self) -> bool {
        self.cells.len() < Self::CELLS && self.records() > self.cells.len() as u64
    }

    /// Every record is in the first cell.
    fn records(&self) -> u64 {
        self.counts.first().map_or(0, |count| u64::from(*count))
    }

    /// The sketch of a state. O(n).
    pub fn of<V: ReadView>(key: SketchKey, state: &mut Interface<V>) -> Result<Self, StorageError> {
        let mut sketch = Self::new(key, state.stats()?.records);
        each_symbol(key, state, |_, _, symbol| sketch.toggle(symbol, 1))?;
        Ok(sketch)
    }

    /// What it is keyed with.
    pub const fn key(&self) -> SketchKey {
        self.key
    }

    /// Takes in what became of a record. About fourteen cells are touched for the record before and for
    /// the record after.
    pub fn take(&mut self, change: &Change) {
        if let Some(before) = change.before {
            self.toggle(self.key.symbol(change.id, before), u32::MAX);
        }
        if let Some(after) = change.after {
            self.toggle(self.key.symbol(change.id, after), 1);
        }
    }

    /// `one` is one, or minus one, in wrapping arithmetic.
    fn toggle(&mut self, symbol: Symbol, one: u32) {
        let cell = self.key.cell(symbol);
        for at in self.key.places(symbol) {
            let (Some(sum), Some(count)) = (self.cells.get_mut(at), self.counts.get_mut(at)) else { return };
            *sum = sum.with(cell);
            *count = count.wrapping_add(one);
        }
    }

    /// `count` cells from `from` on, if they are kept.
    pub fn cells(&self, from: usize, count: usize) -> Option<&[Cell]> {
        self.cells.get(from..from.checked_add(count)?)
    }

    /// The first `count` cells, or as many as are kept.
    pub(crate) fn first(&self, count: usize) -> &[Cell] {
        self.cells.get(..count.min(self.cells.len())).unwrap_or_default()
    }

    /// What a handshake says of it.
    pub fn head(&self) -> SketchHead {
        SketchHead {
            cells: self.cells.iter().take(Self::HEAD).copied().collect(),
            counts: Counts::of(&self.counts),
        }
    }

    /// About how many records are in one of the two states and not in the other. An updated record is
    /// two. `their_records` is how many they have in all. The standard error is an eighth of it, and a quarter from
    /// some ten thousand on.
    pub fn estimate(&self, theirs: &SketchHead, their_records: u64) -> u64 {
        let net = self.records().cast_signed().saturating_sub_unsigned(their_records);
        theirs.counts.difference(&self.counts, net)
    }
}

/// Cells of a row beyond those that are kept, made anew. O(n).
pub(crate) fn cells_of<V: ReadView>(
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

/// Calls `each` with the depth, the id and the symbol of every record, the root's among them.
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

/// How many cells tell `difference` records, in 99 cases of 100 (figures of the paper, and of
/// `decode`'s own tests).
pub(crate) fn cells_for(difference: u64) -> u64 {
    let tail = difference.saturating_mul(49).isqrt() / 2;
    (difference.saturating_mul(136) / 100).saturating_add(tail).saturating_add(4)
}

/// What a handshake says of a sketch: its first cells, and the last digits of how many records are in some,
/// from which the size of the difference is estimated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SketchHead {
    pub(crate) cells: Vec<Cell>,
    counts: Counts,
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
        Ok(Self { cells, counts: Counts::decode(input)? })
    }
}
