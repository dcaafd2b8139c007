//! Large differences: a filter in each direction, and an invertible Bloom lookup table of what they hide.
//!
//! Each side tests all its records against the filter of the other. A record that the filter rejects is
//! certainly missing on the other side. A record that it passes is shared, or is a false positive. The
//! false positives of both filters are decoded from a table of cells over the records that passed, like a
//! difference from a sketch.
//!
//! The number of rejected records gives the number of false positives to within about its square root, so
//! the table has the right size at once. For a known size, a table in which every cell is equally likely
//! (Goodrich and Mitzenmacher, "Invertible Bloom Lookup Tables", 2011) needs fewer cells than a rateless
//! sequence, and each symbol is in three cells instead of about fourteen.
//!
//! With `n` records, `d` differences and a false-positive rate `f`, the filters take about `n` bits times
//! the bits for each record, and the table about `1.23 f d` cells. [`plan_filters`] minimises the sum.

use super::symbol::{Cell, SketchKey, Symbol, mix};
use super::{ShortIds, Sketch, cells_for, each_symbol};
use syncline_storage::{Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

/// Sizes of filters: bits for four records, and the false-positive rate in thousandths, which is
/// `1 - exp(-4 / bits)`. Up to three bits for each record, one hash function is as good as several, and
/// cheaper.
const SIZES: [(u64, u64); 9] =
    [(4, 632), (5, 551), (6, 487), (8, 393), (10, 330), (12, 283), (16, 221), (24, 154), (32, 118)];
/// Quarters of a byte that a short id takes in a list.
const SHORT_ID_QUARTERS: u64 = 10;
/// Claims of a peer beyond this are clamped, so that nothing overflows.
const MAX_CLAIM: u64 = 1 << 40;

/// A Bloom filter over symbols with one hash function. Two sessions use different salts, so that they
/// hide different records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolFilter {
    salt: u64,
    /// How many records were inserted.
    records: u64,
    words: Vec<u64>,
}

/// The answer to a [`SymbolFilter`]: the rejected records, and a filter and a table over the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilteredIblt {
    /// Short ids of the responder's records that the filter rejected: the initiator lacks them.
    pub absent: ShortIds,
    /// A filter over the responder's records that passed.
    pub passed: SymbolFilter,
    /// An IBLT over the records that passed. The number of cells is a multiple of three; zero if the table
    /// would be too long.
    pub cells: Vec<Cell>,
}

/// The sizes of the filters for a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FilterPlan {
    /// Bits of the initiator's filter for four records.
    bits: u64,
    /// Bytes of both filters, the table and the short ids.
    pub(crate) bytes: u64,
}

/// The cheapest filters for two states with these numbers of records that differ in `difference` records.
/// `None` if the cells of the rateless sequence are cheaper.
pub(crate) fn plan_filters(records: [u64; 2], difference: u64) -> Option<FilterPlan> {
    let records = records.map(|count| count.min(MAX_CLAIM));
    let cells = cells_to_request(difference);
    let stored = Sketch::cells_for_size(records.into_iter().min().unwrap_or_default());
    if difference > MAX_CLAIM || likely_suffice(stored, difference) {
        return None;
    }
    let fits = |(bits, rate): &(u64, u64)| {
        let filter_fits = |count: u64| count * bits / 32 <= limits::MAX_FILTER_BYTES as u64;
        records.into_iter().all(filter_fits)
            && table_len(difference * rate / 1_000) <= limits::MAX_IBLT_CELLS as u64
            && difference <= limits::MAX_SHORT_IDS as u64
    };
    let plan = |(bits, rate): (u64, u64)| {
        let filters: u64 = records.into_iter().map(|count| count * bits / 32).sum();
        let hidden = difference * rate / 1_000;
        let short_ids = (difference - hidden) / 2 * SHORT_ID_QUARTERS / 4;
        FilterPlan { bits, bytes: filters + Cell::BYTES as u64 * table_len(hidden) + short_ids }
    };
    let best = SIZES.into_iter().filter(fits).map(plan).min_by_key(|plan| plan.bytes)?;
    Some(best).filter(|plan| plan.bytes <= cells * Cell::BYTES as u64 || cells > limits::MAX_CELLS as u64)
}

/// How many cells of the rateless sequence to request for an estimated difference. The margin covers the
/// error of the estimate. For small differences each byte counts; for large ones another round trip costs
/// more than some unneeded cells.
pub(crate) fn cells_to_request(estimate: u64) -> u64 {
    let spare = (estimate / 12 + 20).max((estimate / 3).saturating_sub(25));
    (estimate.saturating_mul(136) / 100).saturating_add(spare).max(cells_for(estimate.min(20)))
}

/// Whether `cells` cells are likely to decode an estimated difference.
pub(crate) const fn likely_suffice(cells: u64, estimate: u64) -> bool {
    estimate.saturating_mul(3) / 2 + 24 <= cells
}

/// The number of cells of a table that decodes `records` records. The threshold of three hash functions is
/// 1.222 cells for each record; the margin covers the error of the expected number.
fn table_len(records: u64) -> u64 {
    (records * 123 / 100 + 3 * records.isqrt() + 24).next_multiple_of(3)
}

impl SymbolFilter {
    /// An empty filter of `bits` bits for `records` records, rounded up to words and limited to
    /// [`limits::MAX_FILTER_BYTES`].
    pub fn new(bits: u64, records: u64, salt: u64) -> Self {
        let words = bits.div_ceil(64).clamp(1, limits::MAX_FILTER_BYTES as u64 / 8);
        Self { salt, records, words: vec![0; words as usize] }
    }

    /// A filter over a whole state. O(n).
    pub(crate) fn of<V: ReadView>(
        plan: FilterPlan,
        salt: u64,
        key: SketchKey,
        state: &mut Interface<V>,
    ) -> Result<Self, StorageError> {
        // The record of the root is one of them, and the statistics do not count it.
        let records = state.stats()?.records + 1;
        let mut filter = Self::new(records * plan.bits / 4, records, salt);
        each_symbol(key, state, |_, _, symbol| filter.insert(symbol))?;
        Ok(filter)
    }

    fn place(&self, symbol: Symbol) -> (usize, u64) {
        debug_assert!(!self.words.is_empty(), "a filter has at least one word");
        let bits = self.words.len() as u128 * 64;
        // Multiplying and shifting maps a hash to the range without the bias and the cost of a division.
        let bit = ((u128::from(mix(symbol.bits() ^ self.salt)) * bits) >> 64) as usize;
        (bit / 64, 1 << (bit % 64))
    }

    fn insert(&mut self, symbol: Symbol) {
        let (word, bit) = self.place(symbol);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
        debug_assert!(self.passes(symbol), "a filter has no false negatives");
    }

    /// Whether the record may have been inserted. `true` may be a false positive; `false` is certain.
    pub(crate) fn passes(&self, symbol: Symbol) -> bool {
        let (word, bit) = self.place(symbol);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many bits are set, and how many there are. The quotient is the false-positive rate.
    fn fill(&self) -> (u64, u64) {
        let ones = self.words.iter().map(|word| u64::from(word.count_ones())).sum();
        (ones, self.words.len() as u64 * 64)
    }

    pub(crate) const fn salt(&self) -> u64 {
        self.salt
    }
}

impl FilteredIblt {
    /// Answers the filter `theirs` from `state`. One scan of the state, O(n).
    pub(crate) fn of<V: ReadView>(
        theirs: &SymbolFilter,
        key: SketchKey,
        state: &mut Interface<V>,
    ) -> Result<Self, StorageError> {
        let mut absent = Vec::new();
        let mut rejected = 0u64;
        let mut passed = Vec::new();
        each_symbol(key, state, |_, _, symbol| {
            if theirs.passes(symbol) {
                passed.push(symbol);
            } else {
                rejected += 1;
                if absent.len() < limits::MAX_SHORT_IDS {
                    absent.push(symbol.short_id());
                }
            }
        })?;
        let count = passed.len() as u64;
        let Estimate { they_lack, we_lack, false_positives } = Estimate::of(theirs, rejected, count);
        // The size of our filter with the fewest bytes: its own, and those of the table for what it hides.
        let cost = |(bits, rate): &(u64, u64)| count * bits / 32 + we_lack * rate / 1_000 * 10;
        let (bits, _) = SIZES.into_iter().min_by_key(cost).unwrap_or((8, 393));
        let mut ours = SymbolFilter::new(count * bits / 4, count, theirs.salt.rotate_left(32));
        passed.iter().for_each(|symbol| ours.insert(*symbol));
        let (ones, bits) = ours.fill();
        // The table holds the false positives of both filters. The margin is three standard deviations of
        // their number.
        let hidden = false_positives + share(we_lack, ones, bits) + 3 * (they_lack + we_lack).isqrt();
        let mut cells = Vec::new();
        if let Ok(len) = usize::try_from(table_len(hidden))
            && len <= limits::MAX_IBLT_CELLS
        {
            debug_assert!(len.is_multiple_of(3), "a table has three parts of equal length");
            let mut table = SymbolTable::new(len, key, theirs.salt);
            passed.iter().for_each(|symbol| table.toggle(*symbol));
            cells = table.cells;
        }
        Ok(Self { absent: ShortIds::of(absent), passed: ours, cells })
    }
}

/// The sizes of a difference, estimated by a responder from the records that the initiator's filter
/// rejected.
struct Estimate {
    /// How many records the initiator lacks.
    they_lack: u64,
    /// How many records the responder lacks.
    we_lack: u64,
    /// How many of the responder's records are false positives of the filter.
    false_positives: u64,
}

impl Estimate {
    fn of(theirs: &SymbolFilter, rejected: u64, passed: u64) -> Self {
        // A record that the initiator lacks is rejected with the probability of a zero bit. So the rejected
        // ones are that share of all that it lacks.
        let (ones, bits) = theirs.fill();
        let they_lack = share(rejected, bits, bits - ones).min(passed + rejected);
        let false_positives = they_lack - rejected.min(they_lack);
        let shared = passed.saturating_sub(false_positives);
        let we_lack = theirs.records.min(MAX_CLAIM).saturating_sub(shared);
        debug_assert!(they_lack <= passed + rejected, "the initiator lacks at most all records");
        Self { they_lack, we_lack, false_positives }
    }
}

/// `of · part / whole`, without overflow.
fn share(of: u64, part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(part) / u128::from(whole.max(1))).unwrap_or(MAX_CLAIM)
}

/// Records that the other side certainly lacks, with their depths; and the symbols of the false positives
/// of both filters, if the table has decoded.
pub(crate) type Filtered = (Vec<(u32, EntityId)>, Option<Vec<Symbol>>);

/// Reads the answer to a filter with this salt against our own records in `state`. One scan, O(n).
pub(crate) fn decode_filtered<V: ReadView>(
    salt: u64,
    answer: &FilteredIblt,
    key: SketchKey,
    state: &mut Interface<V>,
) -> Result<Filtered, StorageError> {
    let mut table = SymbolTable::new(answer.cells.len(), key, salt);
    let mut lacking = Vec::new();
    each_symbol(key, state, |depth, id, symbol| {
        if answer.passed.passes(symbol) {
            table.toggle(symbol);
        } else if lacking.len() < limits::MAX_SHORT_IDS {
            lacking.push((depth, id));
        }
    })?;
    // Shared records are in both tables and cancel out.
    for (own, other) in table.cells.iter_mut().zip(&answer.cells) {
        *own = own.with(*other);
    }
    Ok((lacking, table.peel()))
}

/// An invertible Bloom lookup table: each symbol is in three cells, one in each third of the table.
struct SymbolTable {
    key: SketchKey,
    salt: u64,
    cells: Vec<Cell>,
}

impl SymbolTable {
    fn new(len: usize, key: SketchKey, salt: u64) -> Self {
        Self { key, salt, cells: vec![Cell::EMPTY; len] }
    }

    fn places(&self, symbol: Symbol) -> [usize; 3] {
        let third = self.cells.len() / 3;
        // The places must be independent of the check bits. Otherwise the sum of three symbols that share a
        // cell would pass the check too often.
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

    /// All symbols in the table. `None` if the table does not decode. O(cells).
    ///
    /// Loop invariant: the table contains the original symbols except those found. `unvisited` contains
    /// every cell that has changed since its last visit, so no pure cell is overlooked.
    fn peel(mut self) -> Option<Vec<Symbol>> {
        let mut found = Vec::new();
        let mut unvisited: Vec<usize> = (0..self.cells.len()).collect();
        while let Some(at) = unvisited.pop() {
            debug_assert!(at < self.cells.len(), "every place of a symbol lies in the table");
            let Some(cell) = self.cells.get(at).filter(|cell| !cell.is_empty()) else { continue };
            let Some(symbol) = self.key.pure_symbol(*cell) else { continue };
            let places = self.places(symbol);
            // A symbol that has no place in this cell is a false positive.
            if !places.contains(&at) {
                continue;
            }
            if found.len() >= self.cells.len() {
                // Every symbol empties at least one cell, unless false positives refill them.
                return None;
            }
            found.push(symbol);
            self.toggle(symbol);
            unvisited.extend(places);
        }
        let is_decoded = !self.cells.is_empty() && self.cells.iter().all(|cell| cell.is_empty());
        is_decoded.then_some(found)
    }
}

impl Encode for SymbolFilter {
    fn encode(&self, out: &mut Writer) {
        out.u64_le(self.salt);
        out.varint(self.records);
        out.varint(self.words.len() as u64);
        self.words.iter().for_each(|word| out.u64_le(*word));
    }
}

impl Decode for SymbolFilter {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let salt = input.u64_le()?;
        let records = input.varint()?;
        let len = input.length(limits::MAX_FILTER_BYTES / 8, "the words of a filter")?;
        if len == 0 {
            return Err(DecodeError::NotCanonical { what: "a filter" });
        }
        let words = (0..len).map(|_| input.u64_le()).collect::<Result<_, _>>()?;
        Ok(Self { salt, records, words })
    }
}

impl Encode for FilteredIblt {
    fn encode(&self, out: &mut Writer) {
        self.absent.encode(out);
        self.passed.encode(out);
        Cell::encode_list(&self.cells, out);
    }
}

impl Decode for FilteredIblt {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let absent = ShortIds::decode_up_to(input, limits::MAX_SHORT_IDS)?;
        let passed = SymbolFilter::decode(input)?;
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
    fn table_decodes_intended_size() {
        let key = SketchKey::of(ContextId::from_u64(7));
        for (count, runs) in [(10, 200), (100, 1_000), (1_000, 50), (20_000, 3)] {
            let mut failed = 0;
            for run in 0..runs {
                let mut expected = symbols(key, run * 100_000, count);
                let mut table = SymbolTable::new(table_len(count) as usize, key, run);
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
    fn false_positive_rates_match_sizes() {
        let key = SketchKey::of(ContextId::from_u64(7));
        for (bits, hidden) in SIZES {
            let mut filter = SymbolFilter::new(10_000 * bits / 4, 10_000, 5);
            symbols(key, 0, 10_000).into_iter().for_each(|symbol| filter.insert(symbol));
            assert!(symbols(key, 0, 10_000).into_iter().all(|symbol| filter.passes(symbol)));
            let wrong =
                symbols(key, 50_000, 10_000).into_iter().filter(|symbol| filter.passes(*symbol)).count();
            assert!(
                wrong.abs_diff(hidden as usize * 10) < 300,
                "{wrong} of 10,000 with {bits} bits for four"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_cells_terminate(cells: Vec<u64>) {
            let mut table = SymbolTable::new(cells.len() / 3 * 3, SketchKey::of(ContextId::from_u64(7)), 1);
            table.cells.iter_mut().zip(&cells).for_each(|(cell, given)| *cell = Cell(*given));
            let most = table.cells.len();
            prop_assert!(table.peel().is_none_or(|found| found.len() <= most));
        }

        #[test]
        fn claims_never_overflow_plan(records: [u64; 2], difference: u64) {
            if let Some(plan) = plan_filters(records, difference) {
                prop_assert!(plan.bytes < 16 << 20);
            }
        }
    }
}
