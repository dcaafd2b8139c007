//! Large differences: filters both ways, and a table of what they hide.
//!
//! Each side puts all its records through the filter of the other. What does not pass, the other surely
//! lacks. What passes is shared, but for the share of the differences that the filter takes for its own;
//! those are read from a table of cells over what passed, as from a sketch. How many did not pass tells how
//! many were hidden, to within their square root, so that the table has the right size at once: then places
//! of the same chance for every cell (an invertible Bloom lookup table; Goodrich, Mitzenmacher, "Invertible
//! Bloom lookup tables", 2011) need fewer cells and far less work than a row without end.

use super::symbol::{Cell, SketchKey, Symbol, mix};
use super::{Names, Sketch, cells_for, each_symbol};
use syncline_storage::{Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

/// Bits of a filter for four records, and how many of a thousand others it takes for its own. One bit for
/// each record is as good as several up to three bits a record, and cheaper.
const SIZES: [(u64, u64); 9] =
    [(4, 632), (5, 551), (6, 487), (8, 393), (10, 330), (12, 283), (16, 221), (24, 154), (32, 118)];
/// Bytes of a name in a list, in quarters.
const NAME: u64 = 10;
/// Claims beyond any real state are cut, so that nothing overflows.
const MOST: u64 = 1 << 40;

/// A filter over records, of one bit each, salted so that two sessions do not hide the same differences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sieve {
    salt: u64,
    records: u64,
    words: Vec<u64>,
}

/// What came of putting a state through a filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sieved {
    /// Records that did not pass: the other side lacks them.
    pub absent: Names,
    /// Those that did.
    pub passed: Sieve,
    /// A table over those, the length a multiple of three; empty if it would be too long.
    pub cells: Vec<Cell>,
}

/// How large filters for a difference should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// Bits for four records.
    bits: u64,
    /// What both filters, the table and the names take.
    pub(crate) bytes: u64,
}

/// The cheapest filters for two states of so many records, if they are cheaper than the cells of a row.
pub(crate) fn plan(records: [u64; 2], difference: u64) -> Option<Plan> {
    let records = records.map(|count| count.min(MOST));
    let cells = cells_wanted(difference);
    let kept = Sketch::kept_of(records.into_iter().min().unwrap_or_default());
    if difference > MOST || are_enough(kept, difference) {
        return None;
    }
    let fits = |(bits, hidden): &(u64, u64)| {
        let room = |count: u64| count * bits / 32 <= limits::MAX_FILTER_BYTES as u64;
        records.into_iter().all(room)
            && table_len(difference * hidden / 1_000) <= limits::MAX_IBLT_CELLS as u64
            && difference <= limits::MAX_SHORT_IDS as u64
    };
    let plan = |(bits, hidden): (u64, u64)| {
        let filters: u64 = records.into_iter().map(|count| count * bits / 32).sum();
        let hidden = difference * hidden / 1_000;
        let names = (difference - hidden) / 2 * NAME / 4;
        Plan { bits, bytes: filters + Cell::BYTES as u64 * table_len(hidden) + names }
    };
    let best = SIZES.into_iter().filter(fits).map(plan).min_by_key(|plan| plan.bytes)?;
    Some(best).filter(|plan| plan.bytes <= cells * Cell::BYTES as u64 || cells > limits::MAX_CELLS as u64)
}

/// Cells of a row for a difference that was estimated. Where there are few, each byte counts; where there
/// are many, another round costs more than some cells in vain.
pub(crate) fn cells_wanted(estimate: u64) -> u64 {
    let spare = (estimate / 12 + 20).max((estimate / 3).saturating_sub(25));
    (estimate.saturating_mul(136) / 100).saturating_add(spare).max(cells_for(estimate.min(20)))
}

/// Whether so many cells may well tell a difference that was estimated.
pub(crate) const fn are_enough(cells: u64, estimate: u64) -> bool {
    estimate.saturating_mul(3) / 2 + 24 <= cells
}

/// Cells of a table that tells so many records: 1.222 each are needed in the limit.
fn table_len(records: u64) -> u64 {
    (records * 123 / 100 + 3 * records.isqrt() + 24).next_multiple_of(3)
}

impl Sieve {
    /// An empty filter of so many bits, for so many records.
    pub fn new(bits: u64, records: u64, salt: u64) -> Self {
        let words = bits.div_ceil(64).clamp(1, limits::MAX_FILTER_BYTES as u64 / 8);
        Self { salt, records, words: vec![0; words as usize] }
    }

    /// A filter over a whole state. O(n).
    pub(crate) fn of<V: ReadView>(
        plan: Plan,
        salt: u64,
        key: SketchKey,
        state: &mut Interface<V>,
    ) -> Result<Self, StorageError> {
        // The root's record is one of them.
        let records = state.stats()?.records + 1;
        let mut sieve = Self::new(records * plan.bits / 4, records, salt);
        each_symbol(key, state, |_, _, symbol| sieve.insert(symbol))?;
        Ok(sieve)
    }

    fn place(&self, symbol: Symbol) -> (usize, u64) {
        let bits = self.words.len() as u128 * 64;
        let bit = ((u128::from(mix(symbol.bits() ^ self.salt)) * bits) >> 64) as usize;
        (bit / 64, 1 << (bit % 64))
    }

    fn insert(&mut self, symbol: Symbol) {
        let (word, bit) = self.place(symbol);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether the record may be in it. Never wrong when it says no.
    pub(crate) fn passes(&self, symbol: Symbol) -> bool {
        let (word, bit) = self.place(symbol);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many of its bits are set, and how many there are.
    fn fill(&self) -> (u64, u64) {
        let ones = self.words.iter().map(|word| u64::from(word.count_ones())).sum();
        (ones, self.words.len() as u64 * 64)
    }

    pub(crate) const fn salt(&self) -> u64 {
        self.salt
    }
}

impl Sieved {
    /// What comes of putting `state` through `theirs`. One look at the state.
    pub(crate) fn of<V: ReadView>(
        theirs: &Sieve,
        key: SketchKey,
        state: &mut Interface<V>,
    ) -> Result<Self, StorageError> {
        let (mut absent, mut lacking) = (Vec::new(), 0u64);
        let mut passed = Vec::new();
        each_symbol(key, state, |_, _, symbol| {
            if theirs.passes(symbol) {
                passed.push(symbol);
            } else {
                lacking += 1;
                if absent.len() < limits::MAX_SHORT_IDS {
                    absent.push(symbol.beginning());
                }
            }
        })?;
        // Of what they lack, as much did not pass as the filter has holes left.
        let share = |of: u64, part: u64, whole: u64| {
            u64::try_from(u128::from(of) * u128::from(part) / u128::from(whole.max(1))).unwrap_or(MOST)
        };
        let (ones, bits) = theirs.fill();
        let they_lack = share(lacking, bits, bits - ones).min(passed.len() as u64 + lacking);
        let behind = they_lack - lacking.min(they_lack);
        let shared = (passed.len() as u64).saturating_sub(behind);
        let we_lack = theirs.records.min(MOST).saturating_sub(shared);
        let cost =
            |(bits, hidden): &(u64, u64)| passed.len() as u64 * bits / 32 + we_lack * hidden / 1_000 * 10;
        let (bits, _) = SIZES.into_iter().min_by_key(cost).unwrap_or((8, 393));
        let count = passed.len() as u64;
        let mut ours = Sieve::new(count * bits / 4, count, theirs.salt.rotate_left(32));
        passed.iter().for_each(|symbol| ours.insert(*symbol));
        let (ones, bits) = ours.fill();
        // Three standard deviations of that.
        let hidden = behind + share(we_lack, ones, bits) + 3 * (they_lack + we_lack).isqrt();
        let mut cells = Vec::new();
        if let Ok(len) = usize::try_from(table_len(hidden))
            && len <= limits::MAX_IBLT_CELLS
        {
            let mut table = Table::new(len, key, theirs.salt);
            passed.iter().for_each(|symbol| table.toggle(*symbol));
            cells = table.cells;
        }
        Ok(Self { absent: Names::of(absent), passed: ours, cells })
    }
}

/// Records that the other side surely lacks, by depth, and the symbols of what the filters hid from either.
pub(crate) type Sifted = (Vec<(u32, EntityId)>, Option<Vec<Symbol>>);

/// What the answer to a filter with this salt tells of the records of `state`. One look at the state.
pub(crate) fn sift<V: ReadView>(
    salt: u64,
    sieved: &Sieved,
    key: SketchKey,
    state: &mut Interface<V>,
) -> Result<Sifted, StorageError> {
    let mut table = Table::new(sieved.cells.len(), key, salt);
    let mut lacking = Vec::new();
    each_symbol(key, state, |depth, id, symbol| {
        if sieved.passed.passes(symbol) {
            table.toggle(symbol);
        } else if lacking.len() < limits::MAX_SHORT_IDS {
            lacking.push((depth, id));
        }
    })?;
    for (own, other) in table.cells.iter_mut().zip(&sieved.cells) {
        *own = own.with(*other);
    }
    Ok((lacking, table.peel()))
}

/// Cells of which each symbol is in three, one in each third.
struct Table {
    key: SketchKey,
    salt: u64,
    cells: Vec<Cell>,
}

impl Table {
    fn new(len: usize, key: SketchKey, salt: u64) -> Self {
        Self { key, salt, cells: vec![Cell::EMPTY; len] }
    }

    fn places(&self, symbol: Symbol) -> [usize; 3] {
        let third = self.cells.len() / 3;
        // Never what the symbol's check is made of: a cell of three would pass for one too easily.
        let first = mix(self.key.seed(symbol).wrapping_add(self.salt | 1));
        let within = |bits: u64| (((bits & 0xffff_ffff) * third as u64) >> 32) as usize;
        [within(first), third + within(first >> 32), 2 * third + within(mix(first))]
    }

    fn toggle(&mut self, symbol: Symbol) {
        let sum = self.key.cell(symbol);
        for at in self.places(symbol) {
            if let Some(cell) = self.cells.get_mut(at) {
                *cell = cell.with(sum);
            }
        }
    }

    /// Every symbol that is in it, if it tells. O(cells).
    fn peel(mut self) -> Option<Vec<Symbol>> {
        let mut found = Vec::new();
        let mut fresh: Vec<usize> = (0..self.cells.len()).collect();
        while let Some(at) = fresh.pop() {
            let Some(cell) = self.cells.get(at).filter(|cell| !cell.is_empty()) else { continue };
            let Some(symbol) = self.key.only(*cell) else { continue };
            let places = self.places(symbol);
            if !places.contains(&at) {
                continue;
            }
            if found.len() >= self.cells.len() {
                return None;
            }
            found.push(symbol);
            self.toggle(symbol);
            fresh.extend(places);
        }
        let told = !self.cells.is_empty() && self.cells.iter().all(|cell| cell.is_empty());
        told.then_some(found)
    }
}

impl Encode for Sieve {
    fn encode(&self, out: &mut Writer) {
        out.u64_le(self.salt);
        out.varint(self.records);
        out.varint(self.words.len() as u64);
        self.words.iter().for_each(|word| out.u64_le(*word));
    }
}

impl Decode for Sieve {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (salt, records) = (input.u64_le()?, input.varint()?);
        let len = input.length(limits::MAX_FILTER_BYTES / 8, "the words of a filter")?;
        if len == 0 {
            return Err(DecodeError::NotCanonical { what: "a filter" });
        }
        let words = (0..len).map(|_| input.u64_le()).collect::<Result<_, _>>()?;
        Ok(Self { salt, records, words })
    }
}

impl Encode for Sieved {
    fn encode(&self, out: &mut Writer) {
        self.absent.encode(out);
        self.passed.encode(out);
        Cell::encode_list(&self.cells, out);
    }
}

impl Decode for Sieved {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let absent = Names::decode_up_to(input, limits::MAX_SHORT_IDS)?;
        let passed = Sieve::decode(input)?;
        let cells = Cell::decode_list(input, limits::MAX_IBLT_CELLS)?;
        if cells.len() % 3 != 0 {
            return Err(DecodeError::NotCanonical { what: "a table of cells" });
        }
        Ok(Self { absent, passed, cells })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use syncline_types::{ContextId, Digest};

    fn symbols(key: SketchKey, from: u64, count: u64) -> Vec<Symbol> {
        let digest = |n: u64| Digest::of(9, &n.to_le_bytes());
        (from..from + count).map(|n| key.symbol(EntityId(digest(n).0), digest(n))).collect()
    }

    #[test]
    fn a_table_tells_what_it_was_made_for() {
        let key = SketchKey::of(ContextId::from_u64(7));
        for (count, runs) in [(10, 200), (100, 1_000), (1_000, 50), (20_000, 3)] {
            let mut failed = 0;
            for run in 0..runs {
                let mut expected = symbols(key, run * 100_000, count);
                let mut table = Table::new(table_len(count) as usize, key, run);
                expected.iter().for_each(|symbol| table.toggle(*symbol));
                let Some(mut found) = table.peel() else {
                    failed += 1;
                    continue;
                };
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected);
            }
            assert!(failed * 25 <= runs, "{failed} of {runs} with {count}");
        }
    }

    #[test]
    fn one_bit_a_record_hides_as_many_as_is_reckoned() {
        let key = SketchKey::of(ContextId::from_u64(7));
        for (bits, hidden) in SIZES {
            let mut sieve = Sieve::new(10_000 * bits / 4, 10_000, 5);
            symbols(key, 0, 10_000).into_iter().for_each(|symbol| sieve.insert(symbol));
            assert!(symbols(key, 0, 10_000).into_iter().all(|symbol| sieve.passes(symbol)));
            let wrong =
                symbols(key, 50_000, 10_000).into_iter().filter(|symbol| sieve.passes(*symbol)).count();
            assert!(
                wrong.abs_diff(hidden as usize * 10) < 300,
                "{wrong} of 10,000 with {bits} bits for four"
            );
        }
    }

    proptest! {
        #[test]
        fn cells_that_mean_nothing_end(cells: Vec<u64>) {
            let mut table = Table::new(cells.len() / 3 * 3, SketchKey::of(ContextId::from_u64(7)), 1);
            table.cells.iter_mut().zip(&cells).for_each(|(cell, given)| *cell = Cell(*given));
            let most = table.cells.len();
            prop_assert!(table.peel().is_none_or(|found| found.len() <= most));
        }

        #[test]
        fn no_claim_overflows_a_plan(records: [u64; 2], difference: u64) {
            if let Some(plan) = plan(records, difference) {
                prop_assert!(plan.bytes < 16 << 20);
            }
        }
    }
}
