//! Inserts into one flat collection.

use crate::bare_trie::BareTrie;
use crate::{best, row};
use std::time::Instant;
use syncline_crdt::{Register, Value};
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata};
use syncline_store::{MemoryStore, Store};
use syncline_types::{EntityId, Hlc, Moment, ReplicaId, SimTime};

fn insert(n: u64) -> Action {
    let stamp = Hlc::new(1, 0, ReplicaId::from_u64(1));
    Action::Add {
        id: EntityId::child_of(EntityId::ROOT, &n.to_le_bytes()),
        ancestors: Vec::new(),
        value: Value::Lww(Register::new(stamp, vec![n as u8; 100])),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: Label::None },
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

/// The same job for the yardstick: ids only.
fn bare() {
    println!("\nyardstick: a bare radix-16 SHA-256 trie of ids, root after each batch");
    let mut trie = BareTrie::default();
    let mut at = 0u64;
    let mut grow = |name: &str, count: u64, batch: u64| {
        let started = Instant::now();
        for from in (at..at + count).step_by(batch as usize) {
            for n in from..(from + batch).min(at + count) {
                trie.insert(EntityId::child_of(EntityId::ROOT, &n.to_le_bytes()).0);
            }
            std::hint::black_box(trie.root());
        }
        at += count;
        row(name, count, started.elapsed(), None);
    };
    grow("from nothing to 10000 ids, in bulk", 10_000, 10_000);
    grow("at 10000 ids, batches of 1000", 10_000, 1_000);
    grow("to 1000000 ids, in batches of 100000", 980_000, 100_000);
    grow("at 1000000 ids, batches of 1000", 50_000, 1_000);
    grow("at 1000000 ids, one at a time", 2_000, 1);
}

/// `apply_action` at sizes from a thousand to a million, root and commit after each batch. Each row
/// goes on growing the same store, as an application would.
pub(crate) fn apply_action() {
    bare();
    println!("\napply_action: inserts of 100 bytes under one parent, root and commit after each batch");
    for size in [1_000u64, 10_000, 100_000, 1_000_000] {
        let mut store = MemoryStore::default();
        let (mut at, started) = (0, Instant::now());
        grow(&mut store, 0, size, 100_000);
        row(&format!("from nothing to {size} entities, in bulk"), size, started.elapsed(), None);
        at += size;
        for (batch, count) in [(1_000, size.clamp(2_000, 50_000)), (1, 1_000)] {
            let started = Instant::now();
            grow(&mut store, at, at + count, batch);
            row(&format!("at {size} entities, batches of {batch}"), count, started.elapsed(), None);
            at += count;
        }
        let (took, _) = best(3, || std::hint::black_box(store.clone()).len());
        println!("  {:<58} {:>14.1?}", format!("clone of a store of {size} entities, and dropping it"), took);
    }
}
