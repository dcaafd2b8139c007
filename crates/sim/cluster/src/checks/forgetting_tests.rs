//! The checks of collections, horizons and own writes report what they are there for.

use super::tests::{A, B, Pair, node, without_log};
use super::*;
use crate::disk_view::CheckedDiskView;
use crate::node::{SimNode, replica_id};
use crate::oracle::ReferenceState;
use syncline_replica::{Notice, Operation, Target};
use syncline_storage::{ApplyContext, Interface};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    DeltaLog, Dot, Outcome, RetryReason, SessionStats, SyncProtocolKind, Transaction, VersionVector,
};
use syncline_types::{Hlc, Moment, ReplicaId, SimTime};

/// A horizon beyond every stamp of these tests.
fn late() -> Hlc {
    Hlc::new(50_000, 0, ReplicaId([0xff; 16]))
}

fn set(name: &str) -> Operation {
    Operation::Set { target: Target::named(name.as_bytes()), bytes: b"value".to_vec() }
}

fn delete(name: &str) -> Operation {
    Operation::Delete { target: Target::named(name.as_bytes()) }
}

/// The disk of a node whose state was changed.
fn changed(disk: &MemoryStore, change: impl FnOnce(&mut Interface<CheckedDiskView>)) -> MemoryStore {
    let mut state = Interface::open(CheckedDiskView::from(disk)).expect("memory is readable");
    change(&mut state);
    let mut disk = disk.clone();
    disk.apply(state.finish().expect("the state is sound")).expect("memory takes any batch");
    disk
}

fn with_horizon(disk: &MemoryStore) -> MemoryStore {
    changed(disk, |state| {
        state.raise_horizon(late()).expect("memory is readable");
    })
}

/// A disk whose log covers nothing and has this delta as one that every member covered.
fn with_stable(disk: &MemoryStore, stable: Dot) -> MemoryStore {
    let mut vector = VersionVector::default();
    vector.cover(stable);
    let mut disk = disk.clone();
    disk.apply(without_log(&disk)).expect("memory takes any batch");
    let context = ApplyContext::new(Moment::at(SimTime::ZERO));
    let mut work = Transaction::begin(disk.view(), DeltaLog::default(), context).expect("memory is readable");
    work.log.note_stable(&vector);
    disk.apply(work.finish().expect("memory is readable").0).expect("memory takes any batch");
    disk
}

fn collected() -> Notice {
    Notice::TombstonesCollected { horizon: late(), records: 1 }
}

/// A node that has written and deleted a value, and its disk after a collection.
fn deleted() -> (Pair, MemoryStore) {
    let mut pair = Pair::new();
    pair.write(A);
    pair.accept(A, set("gone"));
    pair.accept(A, delete("gone"));
    let after = with_horizon(pair.replica(A).disk());
    (pair, after)
}

#[test]
fn collected_entity_must_not_return() {
    let (mut pair, after) = deleted();
    let before = pair.replica(A).disk().clone();
    let give_ups = GiveUps::default();
    let judge = |pair: &Pair| of_states(&ContextView { has_collected: true, ..pair.view(&give_ups) });
    pair.nodes[0] = node(A, after.clone());
    assert_eq!(judge(&pair), None);
    // The tombstone comes back from a state that has not collected it.
    let id = Target::named(b"gone").id;
    let tombstone = Interface::open(CheckedDiskView::from(&before)).and_then(|mut state| state.record(id));
    let tombstone = tombstone.expect("memory is readable").expect("it is there");
    let returned = changed(&after, |state| {
        let context = ApplyContext::new(Moment::at(SimTime::from_secs(9)));
        state.merge_record(id, &tombstone, &context).expect("it can be joined");
    });
    pair.nodes[0] = node(A, returned);
    let found = judge(&pair).expect("a finding");
    assert!(matches!(found, Check::CollectionWrong { .. }), "{found}");
}

/// The first seed that showed it is 46,007: only the disk that was lost had a delete, a frame in flight saved the delete,
/// and all members collected the tombstone.
#[test]
fn delete_that_only_lost_disk_had_may_be_collected() {
    let mut pair = Pair::new();
    let give_ups = GiveUps::default();
    pair.acknowledge(A, set("gone"));
    let certain = ReferenceState::new(pair.replica(A).disk().clone());
    let without_delete = pair.oracle.clone();
    pair.acknowledge(A, delete("gone"));
    let judge = |pair: &Pair| {
        let view = pair.view(&give_ups);
        contexts::values(&ContextView { certain: Some(&certain), has_collected: true, ..view })
    };
    assert_eq!(judge(&pair), None, "the tombstone tells that the value was deleted");
    pair.nodes[0] = node(A, with_horizon(pair.replica(A).disk()));
    assert_eq!(judge(&pair), None, "a delete was acknowledged");
    pair.oracle = without_delete;
    let found = judge(&pair).expect("a finding");
    assert!(matches!(found, Check::NotDurable { .. }), "{found}");
    let lost = Target::named(b"gone").id.to_string();
    assert!(found.to_string().contains(&lost), "{found} names {lost}");
}

#[test]
fn horizon_over_missing_deltas_is_found() {
    let pair = Pair::new();
    let mut memory = CheckMemory::default();
    let dot = Dot { author: replica_id(B), seq: 1 };
    let mut lacking = Pair::new();
    lacking.nodes[0] = node(A, with_stable(pair.replica(A).disk(), dot));
    let found = lacking.step(&mut memory, A, &[collected()]).expect("a finding");
    assert!(matches!(found, Check::HorizonWrong { .. }), "{found}");
    assert_eq!(pair.step(&mut memory, A, &[Notice::SessionStarted { peer: B.into() }]), None);
}

/// A notice without a meaning for horizons.
fn seen() -> Notice {
    Notice::SessionStarted { peer: A.into() }
}

#[test]
fn horizon_stays_and_keeps_deltas_out() {
    let mut pair = Pair::new();
    pair.write(A);
    let written = pair.replica(A).disk().clone();
    let mut memory = CheckMemory::default();
    pair.nodes[1] = node(B, with_horizon(&MemoryStore::default()));
    assert_eq!(pair.step(&mut memory, B, &[collected()]), None);
    assert_eq!(pair.step(&mut memory, B, &[seen()]), None);
    let mut gone = memory.clone();
    pair.nodes[1] = node(B, written.clone());
    let found = pair.step(&mut gone, B, &[seen()]).expect("a finding");
    assert!(
        matches!(found, Check::HorizonWrong { .. }) && found.to_string().contains("went back"),
        "{found}"
    );
    pair.nodes[1] = node(B, with_horizon(&written));
    let found = pair.step(&mut memory, B, &[seen()]).expect("a finding");
    assert!(found.to_string().contains("was applied"), "{found}");
}

#[test]
fn own_writes_are_stored_and_latest() {
    let mut pair = Pair::new();
    let (operations, actions) = pair.accept(A, set("mine"));
    let accepted = Notice::WriteAccepted { operations, actions };
    let mut memory = CheckMemory::default();
    assert_eq!(pair.step(&mut memory, A, std::slice::from_ref(&accepted)), None);
    let found = pair.step(&mut memory, B, std::slice::from_ref(&accepted)).expect("a finding");
    assert!(matches!(found, Check::NotDurable { .. }), "{found}");
    pair.nodes[0] = node(A, with_horizon(pair.replica(A).disk()));
    let found = pair.step(&mut memory, A, std::slice::from_ref(&accepted)).expect("a finding");
    assert!(matches!(found, Check::StampWrong { .. }), "{found}");
}

#[test]
fn side_that_is_left_behind_is_noticed() {
    let mut pair = Pair::new();
    let dot = Dot { author: replica_id(A), seq: 1 };
    let ahead: SimNode = node(A, with_stable(&with_horizon(&MemoryStore::default()), dot));
    pair.nodes[0] = ahead;
    let mut memory = CheckMemory::default();
    assert_eq!(pair.step(&mut memory, A, &[Notice::SessionStarted { peer: B.into() }]), None);
    let ended = Notice::SessionEnded {
        peer: B.into(),
        started_at: SimTime::from_millis(5),
        outcome: Outcome::SyncPending(RetryReason::NewerWrites),
        protocol: Some(SyncProtocolKind::HashComparison),
        stats: SessionStats::default(),
    };
    let found = pair.step(&mut memory, A, &[ended]).expect("a finding");
    assert!(matches!(found, Check::ImpossibleOutcome { .. }), "{found}");
}

#[test]
fn names_of_checks_are_distinct() {
    let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CHECKS.len());
    assert!(CHECKS.iter().all(|check| !check.promise.is_empty() && !check.reports.is_empty()));
}
