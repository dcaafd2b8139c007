//! The call that brings a replica back copies its old store in small batches, and may be cut off after each of them.

use super::world::{replica_at, signing};
use syncline_replica::{Event, Operation, Replica, ReplicaError, Target};
use syncline_store::{MemoryStore, ReadView, Row, Store, StoreError, WriteBatch};
use syncline_types::{Choice, Entropy, Moment, SimTime};

struct Middle;

impl Entropy for Middle {
    fn below(&mut self, _: Choice, bound: u64) -> u64 {
        bound / 2
    }
}

/// A store that is cut off after some batches.
struct Limited {
    store: MemoryStore,
    left: usize,
    largest: u64,
    batches: usize,
}

impl Store for Limited {
    type View = MemoryStore;

    fn view(&self) -> MemoryStore {
        self.store.view()
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        self.largest = self.largest.max(batch.approximate_bytes());
        let no_space = || StoreError::NoSpace { operation: "write", reason: "the test says so".to_owned() };
        self.left = self.left.checked_sub(1).ok_or_else(no_space)?;
        self.batches += 1;
        self.store.apply(batch)
    }
}

/// A store with small and large writes, and with the legacy of an earlier id.
fn old_store() -> MemoryStore {
    let mut earlier = MemoryStore::default();
    write(&mut earlier, 5, 20, 400_000);
    let mut store = MemoryStore::default();
    let brought = Replica::bring_back(signing(0), replica_at(5), &earlier, &mut store);
    store.apply(brought.unwrap().1.storage).unwrap();
    write(&mut store, 0, 600, 2_000);
    write(&mut store, 0, 12, 900_000);
    store
}

fn write(store: &mut MemoryStore, node: u32, writes: usize, bytes: usize) {
    let (mut replica, actions) = Replica::recover(signing(node), store).unwrap();
    store.apply(actions.storage).unwrap();
    for n in 0..writes {
        let target = Target::named(format!("{node} {bytes} {n}").as_bytes());
        let event = Event::Write(vec![Operation::Set { target, bytes: vec![7; bytes] }]);
        let moment = Moment::at(SimTime::from_millis(1_000 + n as u64));
        let actions = replica.step(store.view(), event, moment, &mut Middle).unwrap();
        store.apply(actions.storage).unwrap();
    }
}

fn bring_back(old: &MemoryStore, store: &mut Limited) -> Result<(), ReplicaError> {
    Replica::bring_back(signing(7), replica_at(0), old, store).map(drop)
}

fn rows(store: &MemoryStore) -> Vec<Row> {
    store.range(&[0], &[0xff], usize::MAX).unwrap()
}

fn limited(left: usize) -> Limited {
    Limited { store: MemoryStore::default(), left, largest: 0, batches: 0 }
}

/// Promises: G1
#[test]
fn bringing_back_takes_small_batches_and_may_be_cut_off_anywhere() {
    let old = old_store();
    let size: usize = rows(&old).iter().map(|(_, row)| row.len()).sum();
    let mut whole = limited(usize::MAX);
    bring_back(&old, &mut whole).unwrap();
    assert!(whole.largest < 4 << 20 && size > 10 << 20, "{} of {size} bytes", whole.largest);
    let expected = rows(&whole.store);
    assert!(whole.batches > 10, "{} batches", whole.batches);
    for cut in 0..whole.batches {
        let mut store = limited(cut);
        assert!(matches!(bring_back(&old, &mut store), Err(ReplicaError::Storage(_))), "after {cut}");
        // A host that starts on what there is has a replica without a legacy, and loses nothing by it: the call is
        // repeated first.
        store.left = usize::MAX;
        bring_back(&old, &mut store).unwrap();
        assert!(rows(&store.store) == expected, "cut off after {cut} batches");
    }
}
