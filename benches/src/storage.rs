//! Inserts into one flat collection.

use crate::{best, row};
use syncline_crdt::{Register, Value};
use syncline_storage::{Action, ApplyContext, Interface, Metadata};
use syncline_store::{MemoryStore, Store};
use syncline_types::{EntityId, Hlc, Moment, ReplicaId, SimTime};

fn insert(n: u64) -> Action {
    let stamp = Hlc::new(1, 0, ReplicaId::from_u64(1));
    Action::Add {
        id: EntityId::child_of(EntityId::ROOT, &n.to_le_bytes()),
        ancestors: Vec::new(),
        value: Value::Lww(Register::new(stamp, vec![n as u8; 100])),
        metadata: Metadata { created_at: stamp, updated_at: stamp },
    }
}

fn grow(store: &mut MemoryStore, from: u64, to: u64, batch: u64) {
    let context = ApplyContext::new(Moment::at(SimTime::from_millis(1)));
    let mut at = from;
    while at < to {
        let mut state = Interface::open(store.view()).expect("a state");
        for n in at..to.min(at + batch) {
            state.apply_action(&insert(n), &context).expect("an insert");
        }
        state.root_hash().expect("a root");
        store.apply(&state.finish().expect("a batch")).expect("a commit");
        at += batch;
    }
}

/// `apply_action` at sizes from a thousand to a million, root and commit after each batch.
pub(crate) fn apply_action() {
    println!("\napply_action: inserts of 100 bytes under one parent, root and commit after each batch");
    for size in [1_000u64, 10_000, 100_000, 1_000_000] {
        let mut base = MemoryStore::default();
        grow(&mut base, 0, size, 100_000);
        for batch in [1, 1_000, 100_000] {
            let count = if batch == 1 { 2_000 } else { batch.max(20_000).min(100_000) };
            let (took, _) = best(2, || grow(&mut base.clone(), size, size + count, batch));
            row(&format!("at {size} entities, batches of {batch}"), count, took, None);
        }
        let (took, _) = best(3, || std::hint::black_box(base.clone()).len());
        println!("  {:<58} {:>14.1?}", format!("clone of a store of {size} entities, and dropping it"), took);
    }
}
