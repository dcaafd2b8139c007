//! A collection of tombstones in pages: each costs a bounded amount, and together they remove what one pass would.

use crate::laws;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use syncline_crdt::{Element, Presence, Register, Value};
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, TombstonePass, verify};
use syncline_store::{MemoryStore, Store};
use syncline_types::{Digest, EntityId, Hlc, Moment, ReplicaId, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000_000)));

fn stamp(ms: u64) -> Hlc {
    Hlc::new(ms, 0, ReplicaId::from_u64(1))
}

fn entity(n: u64) -> EntityId {
    EntityId::from_u64(n)
}

fn write(path: &[u64], ms: u64) -> Action {
    let (id, ancestors) = path.split_last().unwrap();
    Action::Update {
        id: entity(*id),
        ancestors: ancestors.iter().map(|id| entity(*id)).collect(),
        value: Value::Lww(Register::new(stamp(ms), vec![7])),
        metadata: Metadata { created_at: stamp(ms), updated_at: stamp(ms), label: Label::None },
    }
}

fn delete(path: &[u64], ms: u64) -> Action {
    let (id, ancestors) = path.split_last().unwrap();
    let ancestors = ancestors.iter().map(|id| entity(*id)).collect();
    Action::DeleteRef { id: entity(*id), ancestors, deleted_at: stamp(ms) }
}

fn apply(store: &mut MemoryStore, actions: impl IntoIterator<Item = Action>) {
    let mut state = Interface::open(store.view()).unwrap();
    for action in actions {
        state.apply_action(&action, &CONTEXT).unwrap();
    }
    store.apply(state.finish().unwrap()).unwrap();
}

/// What the pages of a collection cost.
#[derive(Debug, Default)]
struct Pages {
    count: u64,
    removed: u64,
    most_reads: u64,
    most_hashes: u64,
    most_rows: usize,
}

/// Collects everything up to `horizon` in pages of up to `most` records, each in a batch of its own. `between` may change
/// the store after each page.
fn collect(
    store: &mut MemoryStore,
    horizon: Hlc,
    most: usize,
    mut between: impl FnMut(u64, &mut TombstonePass, &mut MemoryStore),
) -> Pages {
    let mut state = Interface::open(store.view()).unwrap();
    assert!(state.raise_horizon_only(horizon));
    store.apply(state.finish().unwrap()).unwrap();
    let mut pass = TombstonePass::default();
    let mut pages = Pages::default();
    while !pass.is_done() {
        let mut state = Interface::open(store.view()).unwrap();
        pages.removed += state.collect_page(&mut pass, &BTreeSet::new(), most).unwrap();
        state.root_hash().unwrap();
        pages.most_reads = pages.most_reads.max(state.work().storage_reads);
        pages.most_hashes = pages.most_hashes.max(state.work().hash_computations);
        let batch = state.finish().unwrap();
        pages.most_rows = pages.most_rows.max(batch.len());
        store.apply(batch).unwrap();
        pages.count += 1;
        assert!(pages.count < 200_000, "the pass makes progress");
        between(pages.count, &mut pass, store);
    }
    assert!(verify(store).unwrap().is_sound());
    pages
}

fn root(store: &MemoryStore) -> Digest {
    Interface::open(store.view()).unwrap().root_hash().unwrap()
}

/// A collection with `children` children, all hidden by its delete.
fn deleted_collection(children: u64) -> MemoryStore {
    let mut store = MemoryStore::default();
    apply(&mut store, [write(&[1], 10)]);
    apply(&mut store, (0..children).map(|n| write(&[1, 10 + n], 20 + n % 50)));
    apply(&mut store, [delete(&[1], 100), write(&[2], 50)]);
    store
}

/// Promises: G1, G3
#[test]
fn page_costs_the_same_however_much_there_is_to_collect() {
    let cost = |children: u64| {
        let mut store = deleted_collection(children);
        let pages = collect(&mut store, stamp(500), 100, |_, _, _| {});
        assert_eq!(pages.removed, children + 1);
        let mut expected = MemoryStore::default();
        apply(&mut expected, [write(&[2], 50)]);
        assert_eq!(root(&store), root(&expected));
        pages
    };
    let few = cost(2_000);
    let many = cost(20_000);
    assert!(many.count >= 9 * few.count && many.count < 2_500, "{few:?} {many:?}");
    for (one, ten) in [(few.most_reads, many.most_reads), (few.most_hashes, many.most_hashes)] {
        // Tries are a level deeper.
        assert!(ten <= one * 3 / 2 + 10, "{few:?} {many:?}");
    }
    assert!(many.most_reads < 1_000 && many.most_rows < 1_000, "{many:?}");
}

/// What hides a tombstone, and the hashes that change with it, are on the way up to the root.
///
/// Promises: G1, G3
#[test]
fn page_costs_the_same_at_any_depth() {
    let mut store = MemoryStore::default();
    for chain in 0..50 {
        let path: Vec<u64> = (0..100).map(|depth| 1_000 * (chain + 1) + depth).collect();
        apply(&mut store, [write(&path, 10), delete(&path, 20 + chain)]);
    }
    let pages = collect(&mut store, stamp(500), 100, |_, _, _| {});
    assert_eq!(pages.removed, 50);
    assert!(pages.count >= 50 && pages.most_reads < 1_000 && pages.most_hashes < 1_000, "{pages:?}");
}

/// A delete after the horizon hides nothing yet: another member may collect before it sees the delete.
#[test]
fn later_delete_between_pages_hides_nothing() {
    let mut expected = MemoryStore::default();
    let mut actions = vec![write(&[1], 5), delete(&[1], 10)];
    actions.extend((0..40).map(|n| write(&[1, 2, 10 + n], 6)));
    // Visible, since it is later than the delete.
    actions.push(write(&[1, 2, 60], 20));
    apply(&mut expected, actions);
    let mut paged = expected.clone();
    collect(&mut expected, stamp(30), usize::MAX, |_, _, _| {});
    apply(&mut expected, [delete(&[1, 2], 50)]);
    collect(&mut paged, stamp(30), 20, |page, _, store| {
        if page == 1 {
            apply(store, [delete(&[1, 2], 50)]);
        }
    });
    assert_eq!(root(&paged), root(&expected));
}

/// Promises: G1, G3
#[test]
fn page_costs_the_same_however_much_is_still_needed() {
    // Deleted collections that cannot be collected, each because of one visible child among many.
    let mut store = MemoryStore::default();
    for n in 0..300u64 {
        let top = 1_000 * (n + 1);
        apply(&mut store, [write(&[top], 10)]);
        apply(&mut store, (1..40).map(|child| write(&[top, top + child], 20)));
        apply(&mut store, [delete(&[top], 100), write(&[top, top + 40], 200)]);
    }
    let before = root(&store);
    let pages = collect(&mut store, stamp(500), 50, |_, _, _| {});
    assert_eq!((pages.removed, root(&store)), (0, before));
    assert!(pages.most_reads < 500, "{pages:?}");
}

#[test]
fn collection_begins_again_after_a_crash() {
    let mut store = deleted_collection(500);
    // Crashes forget where the pass stood, not what it has removed.
    let pages = collect(&mut store, stamp(500), 40, |page, pass, _| {
        if [5, 18, 20, 30].contains(&page) && !pass.is_done() {
            *pass = TombstonePass::default();
        }
    });
    assert!(pages.count > 13, "{pages:?}");
    assert_eq!(pages.removed, 501);
}

#[test]
fn later_write_stops_the_removal_of_what_it_needs() {
    for page in 1..30 {
        let mut store = deleted_collection(400);
        let pages = collect(&mut store, stamp(500), 32, |now, _, store| {
            if now == page {
                apply(store, [write(&[1, 10], 600)]);
            }
        });
        let mut state = Interface::open(store.view()).unwrap();
        assert!(state.is_visible(entity(10)).unwrap(), "after page {page}");
        assert!(state.record(entity(1)).unwrap().is_some(), "after page {page}: {pages:?}");
        let shown = (11..410).filter(|n| state.is_visible(entity(*n)).unwrap()).count();
        assert_eq!(shown, 0, "nothing that was deleted is shown after page {page}");
    }
}

fn action() -> impl Strategy<Value = Action> {
    (vec(1u64..9, 1..4), 1u64..9, any::<bool>()).prop_map(|(mut path, ms, deletes)| {
        path.dedup();
        let mut seen = BTreeSet::new();
        path.retain(|id| seen.insert(*id));
        if deletes { delete(&path, ms) } else { write(&path, ms) }
    })
}

proptest! {
    /// Promises: G1, L4
    #[test]
    fn pages_collect_what_one_pass_collects(
        actions in vec(action(), 1..60),
        horizon in 1u64..10,
        most in 1usize..7,
    ) {
        let mut store = MemoryStore::default();
        apply(&mut store, actions);
        let mut whole = Interface::open(store.view()).unwrap();
        let removed = whole.raise_horizon(stamp(horizon)).unwrap();
        let pages = collect(&mut store, stamp(horizon), most, |_, _, _| {});
        prop_assert_eq!(pages.removed, removed);
        prop_assert_eq!(root(&store), whole.root_hash().unwrap());
    }
}

/// What comes between two pages of a collection.
#[derive(Clone, Debug)]
enum Between {
    Nothing,
    Write(Action),
    /// A crash forgets where the pass stood.
    Crash,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        3 => Just(Between::Nothing),
        3 => laws::action().prop_filter("a later stamp", is_after_all).prop_map(Between::Write),
        2 => any_removed_element().prop_map(Between::Write),
        1 => Just(Between::Crash),
    ]
}

/// A remove of an element from a set: the element has no stamp of its own.
fn removed_element(id: u64, ancestors: &[u64], seen: u64) -> Action {
    let presence = Presence { added: seen, removed: seen };
    Action::Update {
        id: entity(id),
        ancestors: ancestors.iter().map(|id| entity(*id)).collect(),
        value: Value::Element(Element::from_entries([(ReplicaId::from_u64(1), presence)])),
        metadata: Metadata { created_at: Hlc::MAX, updated_at: Hlc::ZERO, label: Label::None },
    }
}

fn any_removed_element() -> impl Strategy<Value = Action> {
    (1u64..6, vec(1u64..6, 1..3), 1u64..9)
        .prop_map(|(id, ancestors, seen)| removed_element(id, &ancestors, seen))
}

/// How many records another collection up to the horizon would remove.
fn left_to_collect(store: &MemoryStore) -> u64 {
    let mut state = Interface::open(store.view()).unwrap();
    state.collect_page(&mut TombstonePass::default(), &BTreeSet::new(), usize::MAX).unwrap()
}

#[test]
fn what_comes_without_a_stamp_of_its_own_is_collected_too() {
    for (page, id) in (1..30).flat_map(|page| [3, 200_000, u64::MAX].map(|id| (page, id))) {
        let mut store = deleted_collection(400);
        collect(&mut store, stamp(500), 32, |now, _, store| {
            if now == page {
                apply(store, [removed_element(id, &[1], 1)]);
            }
        });
        assert_eq!(left_to_collect(&store), 0, "after page {page}");
    }
}

/// The last millisecond up to which tombstones are collected here.
const LAST_HORIZON: u64 = 4;

/// A change after every horizon; nobody makes another one.
fn is_after_all(action: &Action) -> bool {
    let horizon = Hlc::last_at(LAST_HORIZON);
    action.to_record().is_ok_and(|record| record.latest_stamp() > horizon && record.created_at > horizon)
}

proptest! {
    /// A collection in pages of any size, with writes and crashes between them, shows what one in a single step shows,
    /// leaves nothing that another pass would collect, and the records of both join to the same state in both directions.
    ///
    /// Promises: G1, I4, L3, L4
    #[test]
    fn writes_and_crashes_between_pages_change_nothing(
        actions in vec(laws::action(), 1..80),
        later in vec(between(), 0..40),
        horizon in (1..=LAST_HORIZON).prop_map(Hlc::last_at),
        most in 1usize..5,
    ) {
        let mut paged = laws::apply(&actions, 100);
        let mut whole = paged.clone();
        let mut state = Interface::open(whole.view()).unwrap();
        state.raise_horizon(horizon).unwrap();
        whole.apply(state.finish().unwrap()).unwrap();
        let mut next = later.iter();
        let mut step = |pass: &mut TombstonePass, store: &mut MemoryStore| match next.next() {
            Some(Between::Write(action)) => {
                let mut state = Interface::open(store.view()).unwrap();
                // A refused one changes nothing.
                let _ = state.apply_action(action, &CONTEXT);
                store.apply(state.finish().unwrap()).unwrap();
                true
            }
            Some(Between::Crash) => {
                if !pass.is_done() {
                    *pass = TombstonePass::default();
                }
                true
            }
            Some(Between::Nothing) => true,
            None => false,
        };
        collect(&mut paged, horizon, most, |_, pass, store| {
            step(pass, store);
        });
        let mut done = TombstonePass::default();
        while step(&mut done, &mut paged) {}
        for between in &later {
            if let Between::Write(action) = between {
                let mut state = Interface::open(whole.view()).unwrap();
                let _ = state.apply_action(action, &CONTEXT);
                whole.apply(state.finish().unwrap()).unwrap();
            }
        }
        let shown = |store: &MemoryStore| Interface::open(store.view()).unwrap().visible().unwrap();
        prop_assert_eq!(shown(&paged), shown(&whole));
        prop_assert_eq!(left_to_collect(&paged), 0);
        let mut one = paged.clone();
        let mut two = whole.clone();
        laws::sync(&whole, &mut one);
        laws::sync(&paged, &mut two);
        prop_assert_eq!(laws::records(&one), laws::records(&two));
        prop_assert_eq!(shown(&one), shown(&whole));
        laws::assert_sound(&one);
    }
}
