//! The laws of the state: L1 (order, duplication and grouping do not matter), L3 (equal roots if
//! and only if equal records), L4 (rebuilding the index gives the same root), L5 (a rejected input
//! changes nothing).

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use syncline_crdt::{
    CharId, Custom, Element, GCounter, OwnedRegister, PnCounter, Presence, Register, RunId, Side, Text,
    TextRun, Value,
};
use syncline_storage::{
    Action, ApplyContext, ApplyError, Interface, Label, Metadata, Record, record_page, verify,
};
use syncline_store::{MemoryStore, ReadView, Store};
use syncline_types::{Decode, Digest, Encode, EntityId, Hlc, Moment, ReplicaId, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(100)));

fn stamp() -> impl Strategy<Value = Hlc> {
    // Few distinct stamps, so that clock ties are common.
    (1u64..5, 0u16..2, 0u64..3).prop_map(|(ms, counter, r)| Hlc::new(ms, counter, ReplicaId::from_u64(r)))
}

fn replica() -> impl Strategy<Value = ReplicaId> {
    (0u64..3).prop_map(ReplicaId::from_u64)
}

/// A value that a write at `stamp` may carry.
fn value(stamp: Hlc) -> impl Strategy<Value = Value> {
    let presence = (0u64..9, 0u64..9).prop_map(|(added, removed)| Presence { added, removed });
    prop_oneof![
        4 => vec(0u8..3, 0..3).prop_map(move |bytes| Value::Lww(Register::new(stamp, bytes))),
        2 => (replica(), 0u64..9).prop_map(|(r, n)| Value::GCounter(GCounter::of(r, n))),
        2 => (replica(), 0u64..9, 0u64..9).prop_map(|(r, p, n)| Value::PnCounter(PnCounter::of(r, p, n))),
        2 => (replica(), presence).prop_map(|entry| Value::Element(Element::from_entries([entry]))),
        1 => prop::sample::select(vec![
            Value::Map, Value::Set, Value::SortedMap, Value::SortedSet, Value::Vector, Value::UserStorage,
            Value::FrozenStorage,
        ]),
        2 => text(stamp),
        1 => vec(0u8..3, 0..3).prop_map(move |bytes| {
            Value::User(OwnedRegister { owner: stamp.replica(), register: Register::new(stamp, bytes) })
        }),
        1 => vec(0u8..3, 0..3).prop_map(move |bytes| Value::Frozen(Register::new(stamp, bytes))),
        1 => vec(0u8..3, 0..3).prop_map(move |bytes| Value::Opaque(Register::new(stamp, bytes))),
        1 => (earlier(stamp), vec(0u8..3, 0..3)).prop_map(move |(seen, bytes)| {
            Value::Custom(match seen {
                Some(seen) => Custom::written("own", seen, []).replacing(stamp, bytes),
                None => Custom::written("own", stamp, bytes),
            })
        }),
    ]
}

/// A stamp of a write that the author of a write at `stamp` has seen, if any.
fn earlier(than: Hlc) -> impl Strategy<Value = Option<Hlc>> {
    prop::option::of(stamp()).prop_map(move |stamp| stamp.filter(|stamp| *stamp < than))
}

/// One edit of a text, whether or not it fits what else is known of it.
fn text(stamp: Hlc) -> impl Strategy<Value = Value> {
    let id = move |number| RunId { stamp, number };
    let anchor = prop::option::of((0u32..2, 0u32..3).prop_map(move |(n, at)| CharId { run: id(n), at }));
    let side = prop_oneof![Just(Side::Left), Just(Side::Right)];
    let run = (0u32..2, "[ab]{1,3}", anchor, side)
        .prop_map(move |(n, chars, anchor, side)| (id(n), TextRun { chars: chars.into(), anchor, side }));
    let deleted = (0u32..2, 0u32..4, 1u32..4).prop_map(move |(n, at, len)| (id(n), vec![(at, at + len)]));
    (vec(run, 0..2), vec(deleted, 0..2))
        .prop_map(|(runs, deleted)| Value::Rga(Text::from_parts(runs, deleted)))
}

fn label() -> impl Strategy<Value = Label> {
    let bytes = || vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..3).prop_map(std::sync::Arc::from);
    prop_oneof![Just(Label::None), bytes().prop_map(Label::Named), bytes().prop_map(Label::Ordered)]
}

pub(crate) fn open(store: MemoryStore) -> State {
    State::open(store).unwrap()
}

/// Ids of two kinds: spread, and equal in all but their last bits, so that tries grow deep.
fn id() -> impl Strategy<Value = EntityId> {
    prop_oneof![
        (1u64..60).prop_map(EntityId::from_u64),
        (1u8..50).prop_map(|n| {
            let mut bytes = [7; 32];
            bytes[31] = n;
            EntityId(bytes)
        }),
    ]
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    // Mostly flat, with a few short paths through ids that other actions place elsewhere.
    let path = prop_oneof![3 => Just(vec![]), 2 => vec((1u64..6).prop_map(EntityId::from_u64), 0..4)];
    (id(), path, stamp(), 0u8..5, label()).prop_flat_map(|(id, ancestors, stamp, kind, label)| {
        value(stamp).prop_map(move |value| {
            let (ancestors, metadata) =
                (ancestors.clone(), Metadata { created_at: stamp, updated_at: stamp, label: label.clone() });
            match kind {
                0 => Action::DeleteRef { id, ancestors, deleted_at: stamp },
                1 | 2 => {
                    let metadata = Metadata { created_at: Hlc::MAX, ..metadata };
                    Action::Update { id, ancestors, value, metadata }
                }
                _ => Action::Add { id, ancestors, value, metadata },
            }
        })
    })
}

type State = Interface<MemoryStore>;

pub(crate) fn records(store: &MemoryStore) -> Vec<(EntityId, Vec<u8>)> {
    let page = record_page(store, None, usize::MAX).unwrap();
    page.records.into_iter().map(|(id, bytes)| (id, bytes.to_vec())).collect()
}

/// Applies actions in batches of `batch`, checking after each that a refused one changed nothing.
pub(crate) fn apply(actions: &[Action], batch: usize) -> MemoryStore {
    let mut store = MemoryStore::default();
    for chunk in actions.chunks(batch.max(1)) {
        let mut state = open(store.view());
        for action in chunk {
            if action.to_record().is_err() {
                let before = (state.root_hash().unwrap(), state.stats().unwrap());
                assert!(matches!(state.apply_action(action, &CONTEXT), Err(ApplyError::Malformed(_))));
                assert_eq!((state.root_hash().unwrap(), state.stats().unwrap()), before, "L5");
            } else {
                state.apply_action(action, &CONTEXT).unwrap();
            }
        }
        store.apply(state.finish().unwrap()).unwrap();
    }
    store
}

/// Joins all records of `from` into `into`, parents first, as a state sync does.
pub(crate) fn sync(from: &MemoryStore, into: &mut MemoryStore) {
    let mut all: Vec<(EntityId, Record)> =
        records(from).into_iter().map(|(id, bytes)| (id, Record::from_bytes(&bytes).unwrap())).collect();
    all.sort_by_key(|(id, record)| (record.depth, *id));
    let mut state = open(into.view());
    for (id, record) in &all {
        state.merge_record(*id, record, &CONTEXT).unwrap();
    }
    into.apply(state.finish().unwrap()).unwrap();
}

pub(crate) fn root(store: &MemoryStore) -> Digest {
    open(store.view()).root_hash().unwrap()
}

pub(crate) fn assert_sound(store: &MemoryStore) {
    let mut state = open(store.view());
    assert_ordered(&mut state, &records(store));
    let stored = state.root_hash().unwrap();
    assert_eq!(state.rebuilt_root().unwrap(), stored, "L4");
    let verification = verify(store).unwrap();
    assert!(verification.is_sound(), "every derived row is what the records say: {verification:?}");
    let all = records(store);
    let stats = state.stats().unwrap();
    assert_eq!(stats.records, all.iter().filter(|(id, _)| *id != EntityId::ROOT).count() as u64);
    for (id, bytes) in &all {
        let record = Record::from_bytes(bytes).unwrap();
        assert_eq!(&record.to_bytes(), bytes);
        if *id != EntityId::ROOT {
            let parent = state.record(record.parent).unwrap().expect("no orphan");
            assert!(parent.depth < record.depth, "a parent sits above its child");
            let listed = state.children(record.parent, None, usize::MAX).unwrap();
            assert!(listed.iter().any(|entry| entry.id == *id), "a child is listed under its parent");
        }
    }
}

/// Live children with ordering labels are read in the order of their labels, from any place on, in
/// pages of any size.
fn assert_ordered(state: &mut State, all: &[(EntityId, Vec<u8>)]) {
    let mut children: BTreeMap<EntityId, Vec<(Vec<u8>, EntityId)>> = BTreeMap::new();
    for (id, bytes) in all {
        let record = Record::from_bytes(bytes).unwrap();
        if let Label::Ordered(label) = &record.label
            && record.is_live()
        {
            children.entry(record.parent).or_default().push((label.to_vec(), *id));
        }
    }
    for (parent, mut expected) in children {
        expected.sort();
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|(label, id): &(Vec<u8>, EntityId)| (label.as_slice(), *id));
            let page = state.ordered_children(parent, &[], after, 2).unwrap();
            if page.is_empty() {
                break;
            }
            for id in page {
                let record = state.record(id).unwrap().unwrap();
                found.push((record.label.bytes().unwrap().to_vec(), id));
            }
        }
        assert_eq!(found, expected);
        let from: Vec<_> =
            expected.iter().filter(|(label, _)| label.as_slice() >= &[1][..]).map(|(_, id)| *id).collect();
        assert_eq!(state.ordered_children(parent, &[1], None, 999).unwrap(), from);
    }
}

/// Fewer without optimization; `.ci/run release-tests` runs them all.
const CASES: u32 = if cfg!(debug_assertions) { 1_500 } else { 10_000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Promises: L1, L3, L4, L5
    #[test]
    fn any_order_ends_in_same_state(
        actions in vec(action(), 1..140),
        seed: u64,
        batches in (1usize..20, 1usize..20),
    ) {
        let mut shuffled: Vec<Action> = actions.iter().chain(actions.iter().step_by(3)).cloned().collect();
        let len = shuffled.len() as u64;
        for at in 0..shuffled.len() {
            let to = (seed.wrapping_mul(at as u64 + 1).wrapping_add(at as u64) % len) as usize;
            shuffled.swap(at, to);
        }
        let one = apply(&actions, batches.0);
        let two = apply(&shuffled, batches.1);
        prop_assert_eq!(records(&one), records(&two), "L1");
        prop_assert_eq!(root(&one), root(&two), "L3");
        assert_sound(&one);
        assert_sound(&two);
    }

    /// Promises: L1, L4
    #[test]
    fn synced_replicas_end_in_same_state(
        actions in vec(action(), 1..140),
        owners in vec(0usize..3, 140),
    ) {
        let mut parts: [Vec<Action>; 3] = Default::default();
        for (action, owner) in actions.iter().zip(&owners) {
            parts[*owner].push(action.clone());
        }
        let mut stores = parts.map(|part| apply(&part, 8));
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
            let source = stores[from].clone();
            sync(&source, &mut stores[to]);
        }
        let whole = apply(&actions, 100);
        for store in &stores {
            prop_assert_eq!(records(store), records(&whole), "L1");
            prop_assert_eq!(root(store), root(&whole));
            assert_sound(store);
        }
    }

    /// Promises: L3
    #[test]
    fn different_records_have_different_roots(one in vec(action(), 1..12), two in vec(action(), 1..12)) {
        let one = apply(&one, 3);
        let two = apply(&two, 3);
        prop_assert_eq!(records(&one) == records(&two), root(&one) == root(&two), "L3");
    }

    /// Collecting the tombstones before a horizon changes nothing that an application sees, ends in one state for
    /// all orders of arrival, and is not undone by deletes that arrive again.
    #[test]
    fn tombstone_collection_is_invisible_and_deterministic(
        actions in vec(action(), 1..100),
        horizon in (1u64..7).prop_map(|ms| Hlc::new(ms, 0, ReplicaId([0xff; 16]))),
        batch in 1usize..20,
    ) {
        let whole = apply(&actions, 100);
        let backwards: Vec<Action> = actions.iter().rev().cloned().collect();
        let mut roots = Vec::new();
        for mut store in [whole, apply(&backwards, batch)] {
            let mut state = open(store.view());
            let seen = state.visible().unwrap();
            let before = state.stats().unwrap().records;
            let removed = state.raise_horizon(horizon).unwrap();
            prop_assert_eq!(state.visible().unwrap(), seen);
            prop_assert_eq!(state.stats().unwrap().records, before - removed);
            store.apply(state.finish().unwrap()).unwrap();
            assert_sound(&store);
            let mut state = open(store.view());
            prop_assert!(!state.has_tombstones(horizon).unwrap() || state.raise_horizon(horizon).unwrap() == 0);
            let root = state.root_hash().unwrap();
            for action in &actions {
                let past = action.to_record().is_ok_and(|r| r.tombstone_stamp().is_some_and(|stamp| stamp <= horizon));
                if past && state.record(action.id()).unwrap().is_none() {
                    state.apply_action(action, &CONTEXT).unwrap();
                }
            }
            prop_assert_eq!(state.root_hash().unwrap(), root, "what was collected stays collected");
            roots.push(root);
        }
        prop_assert_eq!(roots[0], roots[1]);
    }

    /// A write after a horizon may hold up a tombstone that a state without the write collects. Joining the
    /// records of two states with equal horizons converges nevertheless, in both directions.
    ///
    /// Promises: I4, L3
    #[test]
    fn states_of_equal_horizon_converge(
        actions in vec(action(), 1..100),
        later in vec(action(), 1..20),
        horizon in (1u64..4).prop_map(|ms| Hlc::new(ms, 0, ReplicaId([0xff; 16]))),
    ) {
        let after = |action: &&Action| action.to_record().is_ok_and(|record| record.updated_at > horizon);
        let later: Vec<Action> = later.iter().filter(after).cloned().collect();
        let collected = |before: &[Action]| {
            let mut store = apply(before, 100);
            let mut state = open(store.view());
            state.raise_horizon(horizon).unwrap();
            store.apply(state.finish().unwrap()).unwrap();
            store
        };
        let without = collected(&actions);
        let with = collected(&[actions, later].concat());
        let mut one = without.clone();
        let mut two = with.clone();
        sync(&with, &mut one);
        sync(&without, &mut two);
        prop_assert_eq!(records(&one), records(&two));
        prop_assert_eq!(root(&one), root(&two));
        assert_sound(&one);
    }

    /// A verification notices every changed, removed or added row.
    ///
    /// Promises: L4
    #[test]
    fn verify_notices_any_changed_row(
        actions in vec(action(), 1..60),
        which: prop::sample::Index,
        byte: prop::sample::Index,
        how in 0u8..3,
    ) {
        let mut store = apply(&actions, 7);
        let rows = store.range(&[1], &[0x10], usize::MAX).unwrap();
        prop_assume!(!rows.is_empty());
        let (key, value) = &rows[which.index(rows.len())];
        let mut batch = syncline_store::WriteBatch::default();
        match how {
            0 => batch.delete(key.clone()),
            1 => batch.put(syncline_store::Key::of(&[key, &[0]]), value.clone()),
            _ => {
                let mut bytes = value.to_vec();
                bytes.push(0);
                let at = byte.index(bytes.len());
                bytes[at] ^= 0x10;
                batch.put(key.clone(), bytes);
            }
        }
        store.apply(batch).unwrap();
        let sound = verify(&store).is_ok_and(|verification| verification.is_sound());
        // An empty state may have a row of counters, or none.
        prop_assert!(!sound || rows.len() == 1, "{key:?}");
    }

    #[test]
    fn actions_and_records_round_trip(action in action()) {
        prop_assert_eq!(Action::from_bytes(&action.to_bytes()), Ok(action.clone()));
        if let Ok(record) = action.to_record() {
            prop_assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
        }
    }

    #[test]
    fn damaged_bytes_decode_canonically_or_fail(action in action(), at: usize, byte: u8, cut: usize) {
        let mut bytes = action.to_bytes();
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(len - cut % 4);
        if let Ok(action) = Action::from_bytes(&bytes) {
            prop_assert_eq!(action.to_bytes(), bytes);
        }
    }
}

/// Promises: L5
#[test]
fn refuses_stamp_from_the_future() {
    let stamp = Hlc::new(5_101, 0, ReplicaId::from_u64(1));
    let metadata = Metadata { created_at: stamp, updated_at: stamp, label: Label::None };
    let action = Action::Add {
        id: EntityId::from_u64(1),
        ancestors: vec![EntityId::from_u64(2)],
        value: Value::Map,
        metadata,
    };
    let mut state = State::open(MemoryStore::default()).unwrap();
    assert!(matches!(state.apply_action(&action, &CONTEXT), Err(ApplyError::Drift(_))));
    assert!(!state.is_changed());
    assert!(state.root_hash().unwrap().is_zero());
}

/// Promises: L5
#[test]
fn refuses_record_without_parent() {
    let mut state = State::open(MemoryStore::default()).unwrap();
    let parent = EntityId::from_u64(1);
    let child = EntityId::from_u64(2);
    let record = Record::placeholder(2, parent);
    assert!(matches!(state.merge_record(child, &record, &CONTEXT), Err(ApplyError::MissingParent { .. })));
    state.merge_record(parent, &Record::placeholder(1, EntityId::ROOT), &CONTEXT).unwrap();
    state.merge_record(child, &record, &CONTEXT).unwrap();
}

#[test]
fn delete_hides_only_earlier_writes() {
    let stamp = |ms| Hlc::new(ms, 0, ReplicaId::from_u64(1));
    let list = EntityId::from_u64(1);
    let old = EntityId::from_u64(2);
    let new = EntityId::from_u64(3);
    let add = |id, ancestors: &[EntityId], ms, value| Action::Add {
        id,
        ancestors: ancestors.to_vec(),
        value,
        metadata: Metadata { created_at: stamp(ms), updated_at: stamp(ms), label: Label::None },
    };
    let register = |ms| Value::Lww(Register::new(stamp(ms), vec![1]));
    let actions = [
        add(list, &[], 1, Value::Map),
        add(old, &[list], 2, register(2)),
        Action::DeleteRef { id: list, ancestors: vec![], deleted_at: stamp(3) },
        add(new, &[list], 4, register(4)),
    ];
    let mut state = State::open(apply(&actions, 9)).unwrap();
    let seen: Vec<EntityId> = state.visible().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(seen, [new]);
}
