//! Where a difference lies, from some of its records.

use super::symbol::{Cell, SketchKey, Symbol};
use std::collections::BTreeSet;
use syncline_storage::{Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::EntityId;

/// Branches that are asked for whole.
const FEW: usize = 5;

/// The symbols that are alone in their cells, where `ours` and `theirs` are cells from `from` on.
pub(crate) fn alone(key: SketchKey, from: usize, ours: &[Cell], theirs: &[Cell]) -> Vec<Symbol> {
    let mut found = BTreeSet::new();
    for (at, (own, other)) in (from..).zip(ours.iter().zip(theirs)) {
        let cell = own.with(*other);
        if !cell.is_empty()
            && let Some(symbol) = key.only(cell)
            && key.places(symbol).take_while(|place| *place <= at).any(|place| place == at)
        {
            found.insert(symbol);
        }
    }
    found.into_iter().collect()
}

/// The deepest few entities at or above these `parents`, each with its ancestors, as far as the state knows
/// them; nothing if they are spread too widely for that. O(depth) each.
pub(crate) fn branches<V: ReadView>(
    parents: &[EntityId],
    state: &mut Interface<V>,
) -> Result<Vec<Vec<EntityId>>, StorageError> {
    let mut paths = Vec::new();
    for parent in parents {
        let (mut path, mut at) = (Vec::new(), *parent);
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
        // One that no second one lies beside says nothing about where the rest is.
        if heads.len() > FEW || 2 * heads.len() > paths.len() + 1 {
            break;
        }
        found = heads;
    }
    Ok(found.into_iter().map(<[_]>::to_vec).collect())
}
