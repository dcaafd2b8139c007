//! Staged states, and walks over whole states.

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use syncline_crdt::{Register, Value};
use syncline_storage::{
    Action, ApplyContext, Cursor, Interface, Label, Merges, Metadata, Record, Slot, record_page, tree_page,
    verify,
};
use syncline_store::{Key, MemoryStore, ReadView, Store, WriteBatch};
use syncline_types::{Decode, Encode, EntityId, Hlc, Moment, ReplicaId, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000)));

fn write((id, path, ms, dead): (u64, Vec<u64>, u64, bool)) -> Action {
    let stamp = Hlc::new(ms, 0, ReplicaId::from_u64(1));
    let path: BTreeSet<u64> = path.into_iter().filter(|ancestor| *ancestor != id).collect();
    let ancestors = path.into_iter().map(EntityId::from_u64).collect();
    let id = EntityId::from_u64(id);
    if dead {
        return Action::DeleteRef { id, ancestors, deleted_at: stamp };
    }
    let label = Label::Ordered(vec![id.0[0], 0, 7].into());
    let metadata = Metadata { created_at: stamp, updated_at: stamp, label };
    Action::Add { id, ancestors, value: Value::Lww(Register::new(stamp, vec![3; 20])), metadata }
}

/// Writes into a tree a few levels deep, and into one wide collection.
fn action() -> impl Strategy<Value = Action> {
    let path = prop_oneof![2 => Just(vec![]), 2 => Just(vec![7]), 1 => vec(1u64..12, 1..5)];
    (1u64..400, path, 1u64..9, prop::bool::weighted(0.1)).prop_map(write)
}

/// Writes to entities, each of which has one position only.
fn placed() -> impl Strategy<Value = Action> {
    (10u64..300, 1u64..9, prop::bool::weighted(0.1)).prop_map(|(id, ms, dead)| {
        let path = [vec![], vec![1], vec![2], vec![2, 3]][id as usize % 4].clone();
        write((id, path, ms, dead))
    })
}

/// The byte limit at which a page ends with the last of these records.
fn bytes(records: &[(EntityId, Record)]) -> usize {
    records.iter().map(|(_, record)| 32 + record.to_bytes().len()).sum()
}

fn state(actions: &[Action]) -> MemoryStore {
    let mut store = MemoryStore::default();
    change(&mut store, actions);
    store
}

fn change(store: &mut MemoryStore, actions: &[Action]) {
    let mut state = Interface::open(store.view()).unwrap();
    for action in actions {
        state.apply_action(action, &CONTEXT).unwrap();
    }
    store.apply(state.finish().unwrap()).unwrap();
}

fn root(store: &MemoryStore) -> syncline_types::Digest {
    Interface::open(store.view()).unwrap().root_hash().unwrap()
}

/// All pages from `after` on, each of about `limit` bytes.
fn pages(store: &MemoryStore, mut after: Cursor, limit: usize) -> Vec<(EntityId, Record)> {
    let mut records = Vec::new();
    loop {
        let page = tree_page(store, &after, limit).unwrap();
        records.extend(page.records.iter().map(|(id, bytes)| (*id, Record::from_bytes(bytes).unwrap())));
        let Some(next) = page.next else { return records };
        assert!(next > after && !page.records.is_empty());
        assert_eq!(Cursor::from_bytes(&next.to_bytes()), Ok(next.clone()));
        after = next;
    }
}

/// Joins `records` into the staged state, `limit` at a time.
fn stage(store: &mut MemoryStore, records: &[(EntityId, Record)], limit: usize) {
    for records in records.chunks(limit) {
        let mut staged = Interface::open_staged(store.view(), Merges::default()).unwrap();
        for (id, record) in records {
            staged.merge_encoded(*id, record.clone(), record.to_bytes().into(), &CONTEXT).unwrap();
        }
        store.apply(staged.finish().unwrap()).unwrap();
    }
}

fn clear(store: &mut MemoryStore, slot: Slot) {
    let (first, end) = slot.bounds();
    let mut batch = WriteBatch::default();
    store.range(&first, &end, usize::MAX).unwrap().into_iter().for_each(|(key, _)| batch.delete(key));
    store.apply(batch).unwrap();
}

proptest! {
    #[test]
    fn pages_show_every_record_once(
        actions in vec(action(), 0..300),
        limit in 1usize..3_000,
    ) {
        let store = state(&actions);
        let walked = pages(&store, Cursor::default(), limit);
        let mut seen = BTreeSet::new();
        for (id, record) in &walked {
            prop_assert!(*id == EntityId::ROOT || seen.contains(&record.parent));
            prop_assert!(seen.insert(*id), "{} came twice", id);
        }
        let all = record_page(&store, None, usize::MAX).unwrap().records;
        prop_assert_eq!(seen, all.into_iter().map(|(id, _)| id).collect());
    }

    /// A walk that resumes over another state shows exactly the records beyond its cursor.
    #[test]
    fn walk_resumes_over_another_state(
        first in vec(placed(), 1..200),
        second in vec(placed(), 0..200),
        limit in 1usize..2_000,
    ) {
        let first = state(&first);
        let second = state(&second);
        let whole = pages(&second, Cursor::default(), usize::MAX);
        let mut after = Cursor::default();
        while let Some(next) = tree_page(&first, &after, limit).unwrap().next {
            after = next;
            let rest = pages(&second, after.clone(), limit);
            let passed = &whole[..whole.len() - rest.len()];
            prop_assert_eq!(&whole[passed.len()..], &rest);
            // The records before the cursor were passed: a page that ends with them has a smaller cursor.
            if let Some(end) = tree_page(&second, &Cursor::default(), bytes(passed)).unwrap().next {
                prop_assert!(passed.is_empty() || end <= after, "{:?} {:?}", end, after);
            }
        }
    }

    /// A state that was staged and published equals the join with what was written meanwhile, in either slot, and
    /// all its rows are sound.
    #[test]
    fn published_state_joins_both(
        theirs in vec(action(), 0..120),
        ours in vec(action(), 0..60),
        limit in 1usize..200,
    ) {
        let source = state(&theirs);
        let records = pages(&source, Cursor::default(), 1_000);
        let mut store = state(&ours);
        let expected = root(&state(&[theirs, ours].concat()));
        for _ in 0..3 {
            let before = root(&store);
            let slot = Slot::active(&store).unwrap();
            stage(&mut store, &records, limit);
            prop_assert_eq!(root(&store), before, "nothing shows yet");
            prop_assert!(verify(&store).unwrap().is_sound());
            let shown = Interface::open(store.view()).unwrap();
            let mut staged = Interface::open_staged(store.view(), Merges::default()).unwrap();
            prop_assert_eq!(staged.root_hash().unwrap(), root(&source));
            let generation = shown.clone().stats().unwrap().generation;
            let mut published = staged.publish(shown, Hlc::ZERO).unwrap();
            prop_assert!(published.stats().unwrap().generation > generation);
            store.apply(published.finish().unwrap()).unwrap();
            clear(&mut store, slot);
            prop_assert_eq!(Slot::active(&store).unwrap(), slot.other());
            prop_assert_eq!(root(&store), expected);
            let found = verify(&store).unwrap();
            prop_assert!(found.is_sound(), "{:?}", found);
        }
    }

    #[test]
    fn verify_covers_second_slot(
        actions in vec(action(), 1..60),
        which: prop::sample::Index,
        removed: bool,
    ) {
        let mut store = MemoryStore::default();
        stage(&mut store, &pages(&state(&actions), Cursor::default(), 9_999), 9_999);
        let shown = Interface::open(store.view()).unwrap();
        let staged = Interface::open_staged(store.view(), Merges::default()).unwrap();
        store.apply(staged.publish(shown, Hlc::ZERO).unwrap().finish().unwrap()).unwrap();
        let (first, end) = Slot::Second.bounds();
        let rows = store.range(&first, &end, usize::MAX).unwrap();
        let (key, value) = &rows[which.index(rows.len())];
        let mut batch = WriteBatch::default();
        if removed {
            batch.delete(key.clone());
        } else {
            batch.put(Key::of(&[key, &[0]]), value.clone());
        }
        store.apply(batch).unwrap();
        prop_assert!(!verify(&store).is_ok_and(|found| found.is_sound()), "{:?}", key);
    }
}

#[test]
fn reset_record_keeps_position_of_parent() {
    let mut store = state(&[write((7, vec![], 5, false)), write((8, vec![7], 5, false))]);
    let parent = EntityId::from_u64(7);
    let child = EntityId::from_u64(8);
    let mut state = Interface::open(store.view()).unwrap();
    state.reset_record(parent).unwrap();
    assert_eq!(*state.record(parent).unwrap().unwrap(), Record::placeholder(1, EntityId::ROOT));
    store.apply(state.finish().unwrap()).unwrap();
    assert!(verify(&store).unwrap().is_sound());
    let mut state = Interface::open(store.view()).unwrap();
    assert!(state.record(child).unwrap().is_some());
    state.reset_record(child).unwrap();
    state.reset_record(parent).unwrap();
    assert_eq!((state.record(child).unwrap(), state.record(parent).unwrap()), (None, None));
    store.apply(state.finish().unwrap()).unwrap();
    assert!(verify(&store).unwrap().is_sound());
}

#[test]
fn view_keeps_its_index() {
    let writes = |ids: std::ops::Range<u64>| ids.map(|id| write((id, vec![], 5, false))).collect::<Vec<_>>();
    let mut store = state(&writes(1..900));
    let everything = |view: &MemoryStore| view.range(&[0], &[0xff], usize::MAX).unwrap();
    let view = store.view();
    let rows = everything(&store);
    let root_before = root(&store);
    for ids in [850..1_000, 1_000..2_000] {
        change(&mut store, &writes(ids));
    }
    let mut state = Interface::open(store.view()).unwrap();
    (1..1_990).for_each(|id| state.reset_record(EntityId::from_u64(id)).unwrap());
    store.apply(state.finish().unwrap()).unwrap();
    assert!(verify(&store).unwrap().is_sound(), "a trie that has shrunk to one bucket");
    assert_eq!((everything(&view), root(&view)), (rows.clone(), root_before));
    assert!(verify(&view).unwrap().is_sound());
    // Read in pieces from any row on, a view shows the same rows.
    for (at, (key, _)) in rows.iter().enumerate().step_by(7) {
        assert_eq!(view.range(key, &[0xff], 5).unwrap(), rows[at..rows.len().min(at + 5)]);
        assert_eq!(view.read(key).unwrap().as_deref(), Some(&*rows[at].1));
    }
}

/// What was collected before the staging stays collected: the published state refuses an add from before the horizon.
#[test]
fn published_state_has_horizon_of_active_one() {
    let mut store =
        state(&[write((5, vec![], 1, false)), write((6, vec![], 2, false)), write((6, vec![], 3, true))]);
    let horizon = Hlc::new(4, 0, ReplicaId::from_u64(9));
    let mut active = Interface::open(store.view()).unwrap();
    assert_eq!(active.raise_horizon(horizon).unwrap(), 1);
    store.apply(active.finish().unwrap()).unwrap();
    let source = state(&[write((7, vec![], 5, false))]);
    stage(&mut store, &pages(&source, Cursor::default(), 10_000), 10);
    let staged = Interface::open_staged(store.view(), Merges::default()).unwrap();
    let published = staged.publish(Interface::open(store.view()).unwrap(), Hlc::ZERO).unwrap();
    assert_eq!(published.horizon(), horizon);
    store.apply(published.finish().unwrap()).unwrap();
    assert_eq!(Interface::open(store.view()).unwrap().horizon(), horizon, "the horizon is stored");
}
