//! Where the children of an entity part in the index.

use proptest::collection::btree_set;
use proptest::prelude::*;
use std::collections::BTreeSet;
use syncline_crdt::{Register, Value};
use syncline_storage::index::BUCKET;
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, Node, Prefix};
use syncline_store::{MemoryStore, Store};
use syncline_types::{EntityId, Hlc, Moment, ReplicaId, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000)));

fn fill(ids: &BTreeSet<EntityId>) -> MemoryStore {
    let mut store = MemoryStore::default();
    let mut state = Interface::open(store.view()).unwrap();
    for id in ids {
        let stamp = Hlc::new(1, 0, ReplicaId::from_u64(1));
        let metadata = Metadata { created_at: stamp, updated_at: stamp, label: Label::None };
        let value = Value::Lww(Register::new(stamp, vec![1]));
        state.apply_action(&Action::Add { id: *id, ancestors: vec![], value, metadata }, &CONTEXT).unwrap();
    }
    store.apply(state.finish().unwrap()).unwrap();
    store
}

/// The longest prefix of all these ids.
fn common(ids: &[EntityId]) -> Prefix {
    let mut prefix = Prefix::EMPTY;
    while let Some(first) = ids.first().filter(|_| prefix.len() < Prefix::MAX_LEN) {
        let next = prefix.child(prefix.next_nibble(*first) as u8);
        if !ids.iter().all(|id| next.contains(*id)) {
            break;
        }
        prefix = next;
    }
    prefix
}

/// Ids in a few groups, each with a long common beginning.
fn ids() -> impl Strategy<Value = BTreeSet<EntityId>> {
    let id = (0..3usize, 0..3u8, any::<[u8; 2]>()).prop_map(|(group, salt, [high, low])| {
        let mut id = [salt / 2; 32];
        let at = [1, 12, 29][group];
        id[at] = group as u8 + 1;
        id[at + 1..at + 3].copy_from_slice(&[high % 3, low]);
        EntityId(id)
    });
    btree_set(id, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The branch under any prefix is where the ids under it first differ, and no earlier.
    #[test]
    fn a_branch_is_where_ids_part(ids in ids(), lens in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..=64), 8)) {
        let store = fill(&ids);
        let all: Vec<EntityId> = ids.into_iter().collect();
        let mut state = Interface::open(store.view()).unwrap();
        for (which, len) in lens {
            let id = all[which.index(all.len())];
            let prefix = (0..len).fold(Prefix::EMPTY, |prefix, _| prefix.child(prefix.next_nibble(id) as u8));
            let below: Vec<EntityId> = all.iter().copied().filter(|id| prefix.contains(*id)).collect();
            let found = state.branch(EntityId::ROOT, prefix).unwrap();
            if below.len() > BUCKET {
                let (at, node) = found.unwrap();
                prop_assert_eq!(at, common(&below));
                prop_assert_eq!(node.count(), below.len() as u64);
                let Node::Inner { slots, .. } = node else { panic!("more children than fit a bucket") };
                prop_assert!(slots.iter().filter(|slot| !slot.is_zero()).count() > 1, "it is no path");
            } else if let Some((at, node)) = found {
                let entries = if let Node::Bucket(entries) = node { entries.len() } else { 0 };
                prop_assert_eq!((at, entries), (prefix, below.len()), "few children are in one bucket");
            }
        }
    }
}
