//! Decoding the difference of two states from their cells.
//!
//! The cells of both states are combined by exclusive or. What both states contain cancels out, so each
//! combined cell holds the symbols of the difference only. *Peeling* then finds the cells with a single
//! symbol ("pure" cells), removes that symbol from all its cells, and so makes other cells pure, until
//! nothing is left (Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024;
//! the same decoder as that of Goodrich and Mitzenmacher, "Invertible Bloom Lookup Tables", 2011).
//!
//! The cells of the paper also count their symbols. These cells do not, which saves bytes: a cell is pure
//! if the check bits of its sum match its symbol bits. The price is a false positive for one in 2^12 of
//! the cells with several symbols. The decoder rejects most of them, because such a symbol must also have
//! this cell among its places, and the others leave cells that are not empty at the end.

use super::symbol::{Cell, SketchKey, Symbol};
use syncline_storage::{Interface, Record, StorageError, own_hash};
use syncline_store::{Bytes, ReadView};
use syncline_types::{EntityId, canary};

/// The difference of two states. An entity of which both states have different records is in both lists.
/// Its record needs to travel one way only: whatever ours contains beyond the peer's is pushed after that.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetDifference {
    /// Entities whose present records only we have, parents before children.
    pub ours: Vec<EntityId>,
    /// Symbols of the records that only the peer has.
    pub theirs: Vec<Symbol>,
}

/// The number of entities with one short id from which on the short id is ambiguous, and the decoder fails.
/// Honest ids never come near. A member of the context has the key and can search for such ids; that causes a walk
/// instead.
const MAX_SAME_SHORT_ID: usize = 8;
/// The average number of visits to a cell after which the decoder fails.
const MAX_VISITS: usize = 128;

/// Decodes the difference between `state` and the peer's state from the first cells of both. `None` if
/// there are too few cells for the difference, or if the cells are not those of two states with this key.
/// O(d log d), and one search of O(log n) for each of the d differences.
///
/// Cells do not show which state a symbol belongs to: it is ours if we have such a record.
pub(crate) fn decode<V: ReadView>(
    key: SketchKey,
    ours: &[Cell],
    theirs: &[Cell],
    state: &mut Interface<V>,
) -> Result<Option<SetDifference>, StorageError> {
    let Some(symbols) = peel(key, ours, theirs).filter(|_| !canary!(SketchNeverDecodes)) else {
        return Ok(None);
    };
    attribute(key, symbols, state)
}

/// Attributes each symbol to our state or to the peer's. `None` if a short id is ambiguous. One search of
/// O(log n) for each symbol.
pub(crate) fn attribute<V: ReadView>(
    key: SketchKey,
    symbols: Vec<Symbol>,
    state: &mut Interface<V>,
) -> Result<Option<SetDifference>, StorageError> {
    let mut found = SetDifference::default();
    found.theirs.reserve(symbols.len());
    let count = symbols.len();
    let mut own = Vec::with_capacity(count);
    let short_ids: Vec<u32> = symbols.iter().map(|symbol| symbol.short_id()).collect();
    // All searches in one call, so that their cache misses overlap.
    let candidates = state.records_with_short_ids(&short_ids, MAX_SAME_SHORT_ID)?;
    debug_assert_eq!(candidates.len(), count, "each symbol has its own candidates");
    for (symbol, candidates) in symbols.into_iter().zip(candidates) {
        match owner_of(key, symbol, candidates)? {
            SymbolOwner::Us(id, depth) => own.push((depth, id)),
            SymbolOwner::Peer => found.theirs.push(symbol),
            SymbolOwner::Ambiguous => return Ok(None),
        }
    }
    own.sort_unstable();
    found.ours = own.into_iter().map(|(_, id)| id).collect();
    debug_assert_eq!(found.ours.len() + found.theirs.len(), count, "each symbol belongs to one side");
    Ok(Some(found))
}

/// The state that contains the record of a symbol.
enum SymbolOwner {
    Peer,
    /// Our state; the entity, and the depth of its record.
    Us(EntityId, u32),
    Ambiguous,
}

/// Looks for the record of a symbol among all our records whose entities have its short id.
fn owner_of(
    key: SketchKey,
    symbol: Symbol,
    candidates: Vec<(EntityId, Bytes)>,
) -> Result<SymbolOwner, StorageError> {
    if candidates.len() == MAX_SAME_SHORT_ID {
        // There may be more candidates than were read.
        return Ok(SymbolOwner::Ambiguous);
    }
    // Hashing a record again costs less than a search for its hash in the index.
    let mut own = candidates.iter().filter(|(id, bytes)| key.symbol(*id, own_hash(*id, bytes)) == symbol);
    let Some((id, bytes)) = own.next() else { return Ok(SymbolOwner::Peer) };
    let depth = Record::depth_of(bytes).map_err(|error| StorageError::Row { what: "a record", error })?;
    Ok(SymbolOwner::Us(*id, depth))
}

/// The entities with this short id; none if there are too many of them.
pub(crate) fn with_short_id<V: ReadView>(
    short_id: u32,
    state: &mut Interface<V>,
) -> Result<Vec<EntityId>, StorageError> {
    let mut candidates = state.records_with_short_id(short_id, MAX_SAME_SHORT_ID)?;
    if candidates.len() == MAX_SAME_SHORT_ID {
        candidates.clear();
    }
    Ok(candidates.into_iter().map(|(id, _)| id).collect())
}

/// The entity whose present record has this symbol, if the state has it.
pub(crate) fn entity_of<V: ReadView>(
    key: SketchKey,
    symbol: Symbol,
    state: &mut Interface<V>,
) -> Result<Option<EntityId>, StorageError> {
    let candidates = state.records_with_short_id(symbol.short_id(), MAX_SAME_SHORT_ID)?;
    Ok(match owner_of(key, symbol, candidates)? {
        SymbolOwner::Us(id, _) => Some(id),
        SymbolOwner::Peer | SymbolOwner::Ambiguous => None,
    })
}

/// Every symbol that is in one of the two rows of cells and not in the other. `None` if the cells do not
/// decode. O(d log d).
///
/// Loop invariant: `row` is the sum of both rows and of all cells of the symbols found, so the symbols of
/// `row` together with those found are the difference. At the end the row must be empty.
fn peel(key: SketchKey, ours: &[Cell], theirs: &[Cell]) -> Option<Vec<Symbol>> {
    // Each cell with a mark: whether it has changed since it was last visited.
    let mut row: Vec<(Cell, bool)> =
        ours.get(..theirs.len())?.iter().zip(theirs).map(|(own, other)| (own.with(*other), true)).collect();
    let mut symbols = Vec::new();
    let mut places = Vec::new();
    // Cells further back hold fewer symbols, so peeling begins with the back half and takes in the cells
    // before it only when nothing more can be found. Each visit to a cell with many symbols is a chance of a
    // false positive; this order visits such cells least often.
    let mut first = row.len() / 2;
    // Honest cells take a few dozen visits each. The bound stops cells that were crafted to take many more.
    let mut visits = MAX_VISITS.saturating_mul(row.len());
    loop {
        let known = symbols.len();
        visits = visits.checked_sub(row.len() - first)?;
        for at in (first..row.len()).rev() {
            let (cell, changed) = row.get_mut(at)?;
            if !std::mem::take(changed) || cell.is_empty() {
                continue;
            }
            let Some(symbol) = key.pure_symbol(*cell) else { continue };
            places.clear();
            places.extend(key.places(symbol).take_while(|place| *place < theirs.len()));
            // A symbol that has no place in this cell is a false positive.
            if !places.contains(&at) {
                continue;
            }
            if symbols.len() >= theirs.len() {
                // Every symbol empties at least one cell, unless false positives refill them.
                return None;
            }
            symbols.push(symbol);
            let sum = key.cell(symbol);
            for place in &places {
                if let Some((cell, changed)) = row.get_mut(*place) {
                    *cell = cell.with(sum);
                    *changed = true;
                }
            }
            debug_assert!(
                row.get(at).is_some_and(|(cell, _)| cell.is_empty()),
                "removing the symbol of a pure cell empties it"
            );
        }
        if symbols.len() > known {
            first = (row.len() / 2).min(first * 2);
        } else if first > 0 {
            first /= 2;
        } else {
            debug_assert!(symbols.len() <= theirs.len(), "there are no more symbols than cells");
            return row.iter().all(|(cell, _)| cell.is_empty()).then_some(symbols);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::cells_for;
    use proptest::prelude::*;
    use syncline_types::{ContextId, Digest};

    fn symbols(key: SketchKey, from: u64, count: u64) -> Vec<Symbol> {
        let digest = |n: u64| Digest::of(9, &n.to_le_bytes());
        (from..from + count).map(|n| key.symbol(EntityId(digest(n).0), digest(n))).collect()
    }

    fn row(key: SketchKey, symbols: &[Symbol], len: usize) -> Vec<Cell> {
        let mut cells = vec![Cell::EMPTY; len];
        for symbol in symbols {
            for at in key.places(*symbol).take_while(|at| *at < len) {
                cells[at] = cells[at].with(key.cell(*symbol));
            }
        }
        cells
    }

    proptest! {
        #[test]
        fn peels_exact_difference(shared in 0u64..200, a in 0u64..60, b in 0u64..60, seed: u32) {
            let key = SketchKey::of(ContextId::from_u64(7));
            let from = u64::from(seed) * 1_000;
            let both = symbols(key, from, shared);
            let ours = symbols(key, from + 200, a);
            let theirs = symbols(key, from + 300, b);
            let len = 400;
            let left = row(key, &[both.clone(), ours.clone()].concat(), len);
            let right = row(key, &[both, theirs.clone()].concat(), len);
            let mut expected = [ours, theirs].concat();
            expected.sort_unstable();
            // Once in some thousand runs the cells do not decode; see below.
            if let Some(mut found) = peel(key, &left, &right) {
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn arbitrary_cells_decode_safely(cells: Vec<u64>) {
            let key = SketchKey::of(ContextId::from_u64(7));
            let theirs: Vec<Cell> = cells.iter().map(|cell| Cell(*cell)).collect();
            let ours = vec![Cell::EMPTY; theirs.len()];
            if let Some(found) = peel(key, &ours, &theirs) {
                prop_assert!(found.len() <= theirs.len());
            }
        }
    }

    #[test]
    fn estimated_cells_decode_mostly() {
        let key = SketchKey::of(ContextId::from_u64(7));
        for difference in [1, 3, 10, 30, 100, 400] {
            let len = cells_for(difference) as usize;
            let failed = (0..2_000u64)
                .filter(|run| {
                    let some = symbols(key, run * 100_000, difference);
                    peel(key, &vec![Cell::EMPTY; len], &row(key, &some, len)).is_none()
                })
                .count();
            assert!(failed <= 70, "{failed} of 2,000 with {len} cells for {difference}");
        }
    }
}
