//! Actions whose paths begin at an anchor: they have the effect of the whole path wherever the state has what the
//! author's state had, and no effect where the anchor is missing.

use proptest::collection::vec;
use proptest::prelude::*;
use syncline_crdt::{Register, Value};
use syncline_storage::{
    Action, ApplyContext, ApplyError, Interface, Label, Malformed, Metadata, RelativeAction, verify,
};
use syncline_store::{MemoryStore, Store};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Hlc, Moment, ReplicaId, SimTime, limits};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000_000)));
const NAMED: usize = RelativeAction::NAMED;

fn entity(n: usize) -> EntityId {
    EntityId::from_u64(n as u64 + 1)
}

fn stamp(ms: usize) -> Hlc {
    Hlc::new(ms as u64, 0, ReplicaId::from_u64(1))
}

fn set(id: EntityId, ancestors: Vec<EntityId>, ms: usize) -> Action {
    let metadata = Metadata { created_at: stamp(ms), updated_at: stamp(ms), label: Label::None };
    Action::Add { id, ancestors, value: Value::Lww(Register::new(stamp(ms), vec![7])), metadata }
}

/// A write to the entity `n` of a chain, below all before it.
fn in_chain(n: usize, ms: usize) -> Action {
    set(entity(n), (0..n).map(entity).collect(), ms)
}

/// The state of `store` with these actions, each as its author would send it.
fn written(store: &MemoryStore, actions: &[Action]) -> (MemoryStore, Vec<RelativeAction>) {
    let mut state = Interface::open(store.view()).unwrap();
    let mut sent = Vec::new();
    for action in actions {
        sent.push(state.relative(action.clone()).unwrap());
        state.apply_action(action, &CONTEXT).unwrap();
    }
    let mut after = store.clone();
    after.apply(state.finish().unwrap()).unwrap();
    (after, sent)
}

/// The state of `store` with what was sent.
fn received(store: &MemoryStore, sent: &[RelativeAction]) -> MemoryStore {
    let mut state = Interface::open(store.view()).unwrap();
    assert!(state.has_anchors(sent).unwrap());
    for relative in sent {
        state.apply_relative(relative, Hlc::ZERO, &CONTEXT).unwrap();
    }
    let mut after = store.clone();
    after.apply(state.finish().unwrap()).unwrap();
    after
}

fn rows(store: &MemoryStore) -> Vec<syncline_store::Row> {
    syncline_store::ReadView::range(store, &[0], &[0xff], usize::MAX).unwrap()
}

#[test]
fn short_paths_are_whole() {
    let (store, _) = written(&MemoryStore::default(), &[in_chain(60, 1)]);
    let (_, sent) = written(&store, &[in_chain(NAMED, 2), in_chain(NAMED + 1, 2), in_chain(60, 2)]);
    let named = |relative: &RelativeAction| (relative.above as usize, relative.action.ancestors().len());
    assert_eq!(sent.iter().map(named).collect::<Vec<_>>(), [(0, NAMED), (1, NAMED), (60 - NAMED, NAMED)]);
}

#[test]
fn new_ancestors_are_named() {
    let (store, _) = written(&MemoryStore::default(), &[in_chain(20, 1)]);
    let (_, sent) = written(&store, &[in_chain(60, 2), in_chain(61, 2)]);
    assert_eq!(sent[0].above, 20, "the entity at depth 21 is the anchor");
    assert_eq!(sent[1].above as usize, 61 - NAMED, "the action before has added the rest");
}

/// L5: without the anchor, or with the anchor further down, nothing changes.
#[test]
fn missing_anchor_is_refused() {
    let (long, _) = written(&MemoryStore::default(), &[in_chain(60, 1)]);
    let (_, sent) = written(&long, &[in_chain(61, 2), in_chain(62, 3)]);
    let anchor = entity(61 - NAMED);
    let (short, _) = written(&MemoryStore::default(), &[in_chain(61 - NAMED - 1, 1)]);
    let deeper = [set(entity(900), vec![], 1), set(anchor, (900..950).map(entity).collect(), 1)];
    let (deeper, _) = written(&MemoryStore::default(), &deeper);
    for store in [MemoryStore::default(), short, deeper] {
        let mut state = Interface::open(store.view()).unwrap();
        assert!(!state.has_anchors(&sent).unwrap());
        assert!(!state.has_anchors(&sent[1..]).unwrap());
        let error = state.apply_relative(&sent[0], Hlc::ZERO, &CONTEXT).unwrap_err();
        assert_eq!(error, ApplyError::MissingParent { id: entity(61), parent: anchor });
        assert!(!state.is_changed());
    }
    let (enough, _) = written(&MemoryStore::default(), &[in_chain(61 - NAMED, 1)]);
    let (whole, _) = written(&enough, &[in_chain(61, 2), in_chain(62, 3)]);
    assert_eq!(rows(&received(&enough, &sent)), rows(&whole));
}

/// A tombstone that was collected adds nothing, so that nothing can follow below it.
#[test]
fn collected_entity_is_no_anchor() {
    let (store, _) = written(&MemoryStore::default(), &[in_chain(20, 1)]);
    let mut state = Interface::open(store.view()).unwrap();
    state.raise_horizon(stamp(50)).unwrap();
    let delete =
        Action::DeleteRef { id: entity(40), ancestors: (0..40).map(entity).collect(), deleted_at: stamp(9) };
    let below = RelativeAction { above: 40, action: set(entity(41), vec![entity(40)], 60) };
    let live = RelativeAction::from(in_chain(40, 60));
    assert!(!state.has_anchors(&[delete.into(), below.clone()]).unwrap());
    assert!(state.has_anchors(&[live.clone(), below.clone()]).unwrap());
    for relative in [live, below] {
        state.apply_relative(&relative, Hlc::ZERO, &CONTEXT).unwrap();
    }
}

#[test]
fn rules_hold_for_the_whole_path() {
    let of = |above, action| RelativeAction { above, action };
    let depth = limits::MAX_ANCESTORS as u32;
    assert!(of(depth - 2, in_chain(1, 1)).to_record().is_ok());
    let id = entity(1);
    let too_deep = Malformed::TooDeep { id, depth: u64::from(depth) + 1 };
    assert_eq!(of(depth - 1, in_chain(1, 1)).to_record(), Err(too_deep));
    assert_eq!(of(1, in_chain(0, 1)).to_record(), Err(Malformed::Path { id: entity(0) }));
    assert_eq!(
        of(1, set(EntityId::ROOT, vec![], 1)).to_record(),
        Err(Malformed::Path { id: EntityId::ROOT })
    );
    let relative = of(depth, in_chain(1, 1));
    assert_eq!(RelativeAction::from_bytes(&relative.to_bytes()), Ok(relative));
    let what = "the ancestors above an anchor";
    let limit = u64::from(depth);
    let found = limit + 1;
    let beyond = of(depth + 1, in_chain(1, 1)).to_bytes();
    assert_eq!(RelativeAction::from_bytes(&beyond), Err(DecodeError::TooLarge { what, found, limit }));
}

/// A path through a few of many entities: writers disagree on where entities are.
fn path() -> impl Strategy<Value = Vec<usize>> {
    (0usize..30, 0usize..50, 1usize..4)
        .prop_map(|(from, len, step)| (from..from + len * step).step_by(step).collect())
}

proptest! {
    /// Law L1 for anchors: a state that has what the author had, and more, ends as with whole paths.
    ///
    /// Promises: L1
    #[test]
    fn anchors_are_the_whole_path(
        before in vec(path(), 0..4),
        more in vec(path(), 0..4),
        after in vec(path(), 1..6),
    ) {
        let actions = |paths: &[Vec<usize>], ms: usize| -> Vec<Action> {
            let leaf = |(n, path): (usize, &Vec<usize>)| {
                let ancestors = path.iter().map(|n| entity(*n)).collect();
                set(entity(1_000 + n % 3 + path.last().unwrap_or(&0)), ancestors, ms + n)
            };
            paths.iter().enumerate().map(leaf).collect()
        };
        let (shared, _) = written(&MemoryStore::default(), &actions(&before, 1));
        let (own, sent) = written(&shared, &actions(&after, 100));
        prop_assert_eq!(rows(&received(&shared, &sent)), rows(&own));
        let (other, _) = written(&shared, &actions(&more, 200));
        let (whole, _) = written(&other, &actions(&after, 100));
        prop_assert_eq!(rows(&received(&other, &sent)), rows(&whole));
        prop_assert!(verify(&whole).unwrap().is_sound());
    }
}
