//! Items of lists: no two insertions share a position.

use crate::oracle::OracleWrite;
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_replica::Operation;
use syncline_storage::Action;
use syncline_types::{EntityId, Hlc};

/// An insertion of an item into a list.
struct Insertion<'a> {
    stamp: Hlc,
    /// The path to the item, from below the root down to the list.
    ancestors: &'a [EntityId],
    write: &'a OracleWrite,
}

/// Of two insertions that made the same item the later one. The two are one entity, which shows one of two values: both
/// writes are accounted for, and yet an item is lost.
///
/// A position is free again once its item was deleted and every replica has collected the tombstone. So a delete of the
/// item, or of something above it, must lie between two insertions. O(n log n) in the writes.
pub(super) fn shared_position(writes: &[Arc<OracleWrite>]) -> Option<&OracleWrite> {
    let mut deletes: BTreeMap<EntityId, Vec<Hlc>> = BTreeMap::new();
    let mut insertions: BTreeMap<EntityId, Vec<Insertion<'_>>> = BTreeMap::new();
    for write in writes {
        for (operation, action) in write.operations.iter().zip(&write.actions) {
            match action {
                Action::DeleteRef { id, deleted_at, .. } => deletes.entry(*id).or_default().push(*deleted_at),
                Action::Add { id, ancestors, metadata, .. }
                | Action::Update { id, ancestors, metadata, .. }
                    if matches!(operation, Operation::InsertItem { .. }) =>
                {
                    let stamp = metadata.updated_at;
                    insertions.entry(*id).or_default().push(Insertion { stamp, ancestors, write });
                }
                Action::Add { .. } | Action::Update { .. } => {}
            }
        }
    }
    insertions.into_iter().find_map(|(id, mut all)| {
        all.sort_by_key(|insertion| insertion.stamp);
        let is_deleted_between = |first: &Insertion<'_>, second: &Insertion<'_>| {
            let places = second.ancestors.iter().copied().chain([id, EntityId::ROOT]);
            let mut stamps = places.filter_map(|place| deletes.get(&place)).flatten();
            stamps.any(|stamp| first.stamp < *stamp && *stamp < second.stamp)
        };
        let mut pairs = all.windows(2).filter_map(|pair| match pair {
            [first, second] if !is_deleted_between(first, second) => Some(second.write),
            _ => None,
        });
        pairs.next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_sim_engine::node_id::NodeId;
    use syncline_crdt::Value;
    use syncline_replica::{Item, Target};
    use syncline_storage::{Label, Metadata};
    use syncline_sync::VersionVector;
    use syncline_types::{ReplicaId, SimTime};

    fn at(ms: u64) -> Hlc {
        Hlc::new(ms, 0, ReplicaId::default())
    }

    fn write(operation: Operation, action: Action) -> Arc<OracleWrite> {
        let (node, author) = (NodeId(0), ReplicaId::default());
        let operations = vec![operation];
        let actions = vec![action];
        Arc::new(OracleWrite {
            node,
            author,
            owner: author,
            at: SimTime::ZERO,
            life: 0,
            operations,
            actions,
            seen: VersionVector::default(),
        })
    }

    fn insertion(ms: u64) -> Arc<OracleWrite> {
        let list = Target::named(b"list");
        let item = list.ordered_child(b"position");
        let metadata = Metadata { created_at: at(ms), updated_at: at(ms), label: Label::None };
        let action = Action::Add { id: item.id, ancestors: item.ancestors, value: Value::Map, metadata };
        write(Operation::InsertItem { list, at: 0, item: Item::Bytes(vec![]) }, action)
    }

    #[test]
    fn position_is_free_only_after_a_delete() {
        let list = Target::named(b"list");
        let deleted = |target: &Target, ms| {
            let id = target.id;
            let ancestors = target.ancestors.clone();
            let action = Action::DeleteRef { id, ancestors, deleted_at: at(ms) };
            write(Operation::Delete { target: target.clone() }, action)
        };
        let item = list.ordered_child(b"position");
        assert!(shared_position(&[insertion(1)]).is_none());
        assert!(shared_position(&[insertion(1), insertion(5)]).is_some());
        assert!(shared_position(&[insertion(1), insertion(5), deleted(&item, 6)]).is_some());
        for target in [&item, &list] {
            assert!(shared_position(&[insertion(5), deleted(target, 3), insertion(1)]).is_none());
        }
    }
}
