//! The inputs that are worst for a recursion, on a thread with little stack: keys that begin each other, a deep tree, a
//! list, many records and many deltas. Nothing in the core recurses to a depth that data choose.

use std::fs;
use std::path::PathBuf;
use syncline_disk::DiskStore;
use syncline_replica::model::{List, Map, Register, SortedMap};
use syncline_replica::{Event, Notice, Operation, Replica, ReplicaConfig, Target};
use syncline_storage::{Interface, verify};
use syncline_store::{MemoryStore, ReadView, Store};
use syncline_types::{Choice, ContextId, Entropy, Moment, ReplicaId, SimTime};

const STACK_BYTES: usize = 256 << 10;
/// How many records there are in all; a test without optimization takes fewer, since it is as deep with them.
const RECORDS: u64 = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
/// How many keys begin each other. Their bytes grow with the square of this number.
const NESTED: usize = if cfg!(debug_assertions) { 1_000 } else { 4_000 };
const ITEMS: u64 = 100;
/// One less than the most ancestors that a record may have.
const DEPTH: usize = 2_047;

/// Entropy for a replica that only writes, which makes no draw that matters.
struct Lowest;

impl Entropy for Lowest {
    fn below(&mut self, _: Choice, _: u64) -> u64 {
        0
    }
}

/// A replica that writes to a store.
struct Writer<'a, S: Store> {
    replica: Replica<S::View>,
    store: &'a mut S,
    now_ms: u64,
}

impl<'a, S: Store> Writer<'a, S> {
    fn start(store: &'a mut S) -> Self {
        let config = ReplicaConfig::new(ContextId([0x60; 32]), ReplicaId::from_u64(0x60));
        let (replica, actions) = Replica::recover(config, &store.view()).unwrap();
        store.apply(actions.storage).unwrap();
        Self { replica, store, now_ms: 1_000 }
    }

    fn write(&mut self, operations: Vec<Operation>) {
        self.now_ms += 1;
        let moment = Moment::at(SimTime::from_millis(self.now_ms));
        let event = Event::Write(operations);
        let actions = self.replica.step(self.store.view(), event, moment, &mut Lowest).unwrap();
        let refused = actions.notices.iter().find(|notice| matches!(notice, Notice::WriteRefused { .. }));
        assert!(refused.is_none(), "{refused:?}");
        self.store.apply(actions.storage).unwrap();
    }
}

fn nested() -> SortedMap<Vec<u8>, Register<u64>> {
    SortedMap::named("nested")
}

fn flat() -> Map<u64, Register<u64>> {
    Map::named("flat")
}

fn list() -> List<Register<u64>> {
    List::named("list")
}

/// The record below `DEPTH` others.
fn deepest() -> Target {
    (0..DEPTH).fold(Target::named(b"deep"), |above, _| above.child(b""))
}

/// Writes everything, deletes half of it, and reads all rows.
fn fill<S: Store>(store: &mut S) {
    let mut writer = Writer::start(store);
    for first in (0..NESTED).step_by(100) {
        let lengths = first..first + 100;
        writer.write(lengths.map(|len| nested().entry(&vec![b'a'; len]).set(&(len as u64))).collect());
    }
    for first in (0..RECORDS).step_by(500) {
        writer.write((first..first + 500).map(|n| flat().entry(&n).set(&n)).collect());
    }
    for n in 0..ITEMS {
        // In turn at the front and behind the first: positions grow fastest where neighbors are close.
        writer.write(vec![list().insert(usize::from(n % 2 == 1), n)]);
    }
    writer.write(vec![Operation::Set { target: deepest(), bytes: vec![7] }]);
    for first in (0..NESTED).step_by(200) {
        writer.write((first..first + 100).map(|len| nested().remove(&vec![b'a'; len])).collect());
    }
    writer.write(vec![Operation::Delete { target: Target::named(b"deep") }]);
}

/// Checks what is stored against what was written.
fn check(view: &impl ReadView) {
    assert!(verify(view).unwrap().is_sound());
    let mut state = Interface::open(view.clone()).unwrap();
    let lengths: Vec<usize> =
        nested().keys(&mut state, None, usize::MAX).unwrap().iter().map(Vec::len).collect();
    let left: Vec<usize> = (0..NESTED).filter(|len| len % 200 >= 100).collect();
    assert_eq!(lengths, left);
    assert_eq!(flat().keys(&mut state).unwrap().len() as u64, RECORDS);
    assert_eq!(list().len(&mut state).unwrap() as u64, ITEMS);
}

fn on_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap();
}

#[test]
fn memory_needs_little_stack() {
    on_small_stack(|| {
        let mut store = MemoryStore::default();
        fill(&mut store);
        check(&store.view());
        let copy = store.clone();
        let rows = |store: &MemoryStore| store.view().range(&[], &[0xff; 64], usize::MAX).unwrap();
        assert!(rows(&copy) == rows(&store), "a copy has the same rows");
        drop(store);
        check(&copy.view());
    });
}

#[test]
fn disk_needs_little_stack() {
    on_small_stack(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("small-stack");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let mut store = DiskStore::open(&path).unwrap();
        fill(&mut store);
        drop(store);
        check(&DiskStore::open(&path).unwrap().view());
        fs::remove_dir_all(&path).unwrap();
    });
}
