//! Reading a difference from the cells of two states.

use super::symbol::{Cell, SketchKey, Symbol};
use syncline_storage::{Interface, Record, StorageError, own_hash};
use syncline_store::{Bytes, ReadView};
use syncline_types::{EntityId, canary};

/// What two states do not share. An entity that both have, but not the same record of, is in both lists: its
/// record needs to go one way only, since what is known beyond it comes back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Entities whose records are ours alone, parents before children.
    pub ours: Vec<EntityId>,
    /// The peer's records that we lack.
    pub theirs: Vec<Symbol>,
}

/// Entities whose ids may begin alike; with more, the difference is not told.
const MAX_NAMESAKES: usize = 8;
/// Looks at a cell, on average, before its row is given up.
const LOOKS: usize = 128;

/// Reads the difference between `state` and the state of `theirs` from the first cells of both. `None`
/// if there are too few cells for it, or if the two do not belong together. O(d log d) and O(log n) for
/// each difference.
///
/// Cells do not say on which side a symbol is: a symbol is ours if we have such a record.
pub(crate) fn decode<V: ReadView>(
    key: SketchKey,
    ours: &[Cell],
    theirs: &[Cell],
    state: &mut Interface<V>,
) -> Result<Option<Difference>, StorageError> {
    let Some(symbols) = peel(key, ours, theirs).filter(|_| !canary!(SketchNeverDecodes)) else {
        return Ok(None);
    };
    tell_apart(key, symbols, state)
}

/// Which side's each of these symbols is. `None` if that cannot be told. O(log n) each.
pub(crate) fn tell_apart<V: ReadView>(
    key: SketchKey,
    symbols: Vec<Symbol>,
    state: &mut Interface<V>,
) -> Result<Option<Difference>, StorageError> {
    let mut found = Difference::default();
    found.theirs.reserve(symbols.len());
    let mut own = Vec::with_capacity(symbols.len());
    let names: Vec<u32> = symbols.iter().map(|symbol| symbol.beginning()).collect();
    let namesakes = state.records_beginning_each(&names, MAX_NAMESAKES)?;
    for (symbol, namesakes) in symbols.into_iter().zip(namesakes) {
        match which(key, symbol, namesakes)? {
            Found::One(id, depth) => own.push((depth, id)),
            Found::Nothing => found.theirs.push(symbol),
            Found::TooMany => return Ok(None),
        }
    }
    own.sort_unstable();
    found.ours = own.into_iter().map(|(_, id)| id).collect();
    Ok(Some(found))
}

enum Found {
    Nothing,
    /// An entity, and the depth of its record.
    One(EntityId, u32),
    TooMany,
}

fn find<V: ReadView>(
    key: SketchKey,
    symbol: Symbol,
    state: &mut Interface<V>,
) -> Result<Found, StorageError> {
    which(key, symbol, state.records_beginning(symbol.beginning(), MAX_NAMESAKES)?)
}

/// Which of those whose ids begin as the symbol says has the record that it stands for.
fn which(key: SketchKey, symbol: Symbol, namesakes: Vec<(EntityId, Bytes)>) -> Result<Found, StorageError> {
    if namesakes.len() == MAX_NAMESAKES {
        return Ok(Found::TooMany);
    }
    // To hash a record costs less than to look for its hash in the index.
    let mut own = namesakes.iter().filter(|(id, bytes)| key.symbol(*id, own_hash(*id, bytes)) == symbol);
    let Some((id, bytes)) = own.next() else { return Ok(Found::Nothing) };
    let depth = Record::depth_of(bytes).map_err(|error| StorageError::Row { what: "a record", error })?;
    Ok(Found::One(*id, depth))
}

/// The entities that have this name, unless there are too many of them.
pub(crate) fn called<V: ReadView>(
    name: u32,
    state: &mut Interface<V>,
) -> Result<Vec<EntityId>, StorageError> {
    let mut namesakes = state.records_beginning(name, MAX_NAMESAKES)?;
    if namesakes.len() == MAX_NAMESAKES {
        namesakes.clear();
    }
    Ok(namesakes.into_iter().map(|(id, _)| id).collect())
}

/// The entity whose record `symbol` stands for, if the state has it.
pub(crate) fn entity<V: ReadView>(
    key: SketchKey,
    symbol: Symbol,
    state: &mut Interface<V>,
) -> Result<Option<EntityId>, StorageError> {
    Ok(match find(key, symbol, state)? {
        Found::One(id, _) => Some(id),
        Found::Nothing | Found::TooMany => None,
    })
}

/// Every symbol that is in one of the rows and not in the other. O(d log d).
fn peel(key: SketchKey, ours: &[Cell], theirs: &[Cell]) -> Option<Vec<Symbol>> {
    let mut row: Vec<(Cell, bool)> =
        ours.get(..theirs.len())?.iter().zip(theirs).map(|(own, other)| (own.with(*other), true)).collect();
    let (mut symbols, mut places) = (Vec::new(), Vec::new());
    // Cells far down the row hold the fewest symbols. One that holds many is only looked at when those
    // have told all they can: each look at it may take it for a cell with one.
    let mut first = row.len() / 2;
    let mut looks = LOOKS.saturating_mul(row.len());
    loop {
        let known = symbols.len();
        // Honest cells take a few dozen looks each; ones made up to take many more are given up.
        looks = looks.checked_sub(row.len() - first)?;
        for at in (first..row.len()).rev() {
            let (cell, fresh) = row.get_mut(at)?;
            if !std::mem::take(fresh) || cell.is_empty() {
                continue;
            }
            let Some(symbol) = key.only(*cell) else { continue };
            places.clear();
            places.extend(key.places(symbol).take_while(|place| *place < theirs.len()));
            // A symbol that does not belong into this cell only seems to be alone there.
            if !places.contains(&at) {
                continue;
            }
            if symbols.len() >= theirs.len() {
                // More symbols than cells: what seemed to be alone was not.
                return None;
            }
            symbols.push(symbol);
            let sum = key.cell(symbol);
            for place in &places {
                if let Some((cell, fresh)) = row.get_mut(*place) {
                    (*cell, *fresh) = (cell.with(sum), true);
                }
            }
        }
        if symbols.len() > known {
            first = (row.len() / 2).min(first * 2);
        } else if first > 0 {
            first /= 2;
        } else {
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
        fn what_is_peeled_is_exactly_what_differs(shared in 0u64..200, a in 0u64..60, b in 0u64..60, seed: u32) {
            let key = SketchKey::of(ContextId::from_u64(7));
            let from = u64::from(seed) * 1_000;
            let (both, ours) = (symbols(key, from, shared), symbols(key, from + 200, a));
            let theirs = symbols(key, from + 300, b);
            let len = 400;
            let left = row(key, &[both.clone(), ours.clone()].concat(), len);
            let right = row(key, &[both, theirs.clone()].concat(), len);
            let mut expected = [ours, theirs].concat();
            expected.sort_unstable();
            // Once in some thousand times the cells do not tell; see below.
            if let Some(mut found) = peel(key, &left, &right) {
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn cells_that_mean_nothing_are_refused(cells: Vec<u64>) {
            let key = SketchKey::of(ContextId::from_u64(7));
            let theirs: Vec<Cell> = cells.iter().map(|cell| Cell(*cell)).collect();
            let ours = vec![Cell::EMPTY; theirs.len()];
            if let Some(found) = peel(key, &ours, &theirs) {
                prop_assert!(found.len() <= theirs.len());
            }
        }
    }

    #[test]
    fn the_cells_reckoned_for_a_difference_suffice_98_times_in_a_hundred() {
        let key = SketchKey::of(ContextId::from_u64(7));
        for difference in [1, 3, 10, 30, 100, 400] {
            let len = cells_for(difference) as usize;
            let failed = (0..400u64)
                .filter(|run| {
                    let some = symbols(key, run * 100_000, difference);
                    peel(key, &vec![Cell::EMPTY; len], &row(key, &some, len)).is_none()
                })
                .count();
            assert!(failed <= 12, "{failed} of 400 with {len} cells for {difference}");
        }
    }
}
