//! Where in the tree a difference lies, from a sample of its records.

use super::symbol::{Cell, SketchKey, Symbol};
use std::collections::BTreeSet;
use syncline_storage::{Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::EntityId;

/// The most branches that are prefetched as whole subtrees.
const MAX_BRANCHES: usize = 5;

/// The symbols of the pure cells, where `ours` and `theirs` are cells from index `from` on. Each symbol
/// is checked to have a place in its cell, as in `decode`.
pub(crate) fn pure_symbols(key: SketchKey, from: usize, ours: &[Cell], theirs: &[Cell]) -> Vec<Symbol> {
    let mut found = BTreeSet::new();
    for (at, (own, other)) in (from..).zip(ours.iter().zip(theirs)) {
        let cell = own.with(*other);
        if !cell.is_empty()
            && let Some(symbol) = key.pure_symbol(cell)
            && key.places(symbol).take_while(|place| *place <= at).any(|place| place == at)
        {
            found.insert(symbol);
        }
    }
    found.into_iter().collect()
}

/// The deepest entities whose subtrees contain all of these `parents` and are few. Each is the last
/// entity of a path from below the root. Empty if the parents are spread too widely. O(depth) for each
/// parent.
///
/// The paths are cut at one depth after another, as long as the cut paths are few and most of them are
/// shared: a branch with a single sample may be a coincidence and shows nothing about the rest.
pub(crate) fn branches<V: ReadView>(
    parents: &[EntityId],
    state: &mut Interface<V>,
) -> Result<Vec<Vec<EntityId>>, StorageError> {
    let mut paths = Vec::new();
    for parent in parents {
        let mut path = Vec::new();
        let mut at = *parent;
        // A record lies deeper than its parent, so the path ends at the root, or at an unknown entity.
        while at != EntityId::ROOT {
            path.push(at);
            at = state.record(at)?.map_or(EntityId::ROOT, |record| record.parent);
        }
        path.reverse();
        paths.push(path);
    }
    let mut found = BTreeSet::new();
    for depth in 1.. {
        let heads = paths.iter().map(|path| path.get(..depth));
        let Some(heads) = heads.collect::<Option<BTreeSet<_>>>().filter(|heads| !heads.is_empty()) else {
            break;
        };
        if heads.len() > MAX_BRANCHES || 2 * heads.len() > paths.len() + 1 {
            break;
        }
        found = heads;
    }
    Ok(found.into_iter().map(<[_]>::to_vec).collect())
}
