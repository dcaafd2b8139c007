//! Inserts into one flat collection.

use crate::bare_trie::BareTrie;
use crate::calimero;
use crate::{best, noted, row};
use std::time::{Duration, Instant};
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

/// Grows a flat state in batches, and returns the cost: see [`grow_with`].
pub(crate) fn grow(store: &mut impl Store, from: u64, to: u64, batch: u64) -> InsertCost {
    grow_with(store, from, to, batch, insert)
}

pub(crate) fn grow_deep(store: &mut MemoryStore, from: u64, to: u64, batch: u64) -> InsertCost {
    grow_with(store, from, to, batch, insert_deep)
}

/// The number of actions whose records are prefetched together: as many as a sync page carries.
const PREFETCH: usize = 512;

/// The cost of inserts.
pub(crate) struct InsertCost {
    took: Duration,
    /// The number of inserted entities.
    count: u64,
    /// The number of SHA-256 computations for records, index nodes and roots. The hashes that make up entity ids
    /// do not count, since ids come with the actions.
    hashes: u64,
}

impl InsertCost {
    /// Prints the cost as a row.
    pub(crate) fn row(&self, name: &str) {
        let each = self.hashes as f64 / self.count as f64;
        noted(name, self.count, self.took, |_| format!("{each:8.2} hashes each"));
    }
}

/// Measures batches of actions: prefetch, `apply_action` of each, root hash, commit. Creating the actions is not
/// measured.
fn grow_with(
    store: &mut impl Store,
    from: u64,
    to: u64,
    batch: u64,
    insert: fn(u64) -> Action,
) -> InsertCost {
    let context = ApplyContext::new(Moment::at(SimTime::from_millis(1)));
    let mut grown = InsertCost { took: Duration::ZERO, count: to - from, hashes: 0 };
    let mut at = from;
    while at < to {
        let actions: Vec<_> = (at..to.min(at + batch)).map(insert).collect();
        let started = Instant::now();
        let mut state = Interface::open(store.view()).expect("a state");
        for some in actions.chunks(PREFETCH) {
            state.prefetch(some.iter().flat_map(Action::entities)).expect("rows");
            for action in some {
                state.apply_action(action, &context).expect("an insert");
            }
        }
        state.root_hash().expect("a root");
        grown.hashes += state.work().hash_computations;
        store.apply(state.finish().expect("a batch")).expect("a commit");
        grown.took += started.elapsed();
        at += batch;
    }
    grown
}

/// The `n`-th entity of a tree six deep: ten branches at each of five levels.
fn insert_deep(n: u64) -> Action {
    let mut ancestors = Vec::with_capacity(5);
    let mut parent = EntityId::ROOT;
    for level in 0..5 {
        parent = EntityId::child_of(parent, &[(n / 10u64.pow(level) % 10) as u8]);
        ancestors.push(parent);
    }
    match insert(n) {
        Action::Add { value, metadata, .. } => {
            Action::Add { id: EntityId::child_of(parent, &n.to_le_bytes()), ancestors, value, metadata }
        }
        other => other,
    }
}

/// The resident memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

/// The published crate `calimero-storage` with the same inserts.
pub(crate) fn peer() {
    println!(
        "\ncalimero-storage 0.11.0-rc.5, its Interface::apply_action on a map in memory, the last 200 inserts"
    );
    for (collections, shape) in [(1, "flat"), (100, "two levels")] {
        for to in [1_000, 10_000] {
            let took = calimero::insert(collections, to, 200);
            row(&format!("{shape}, at {to} entities"), 200, took, None);
        }
    }
}

/// The baseline with the same ids.
pub(crate) fn bare() {
    println!("\nyardstick: a bare radix-16 SHA-256 trie of ids, root after each batch");
    let mut trie = BareTrie::default();
    let mut at = 0u64;
    let mut grow = |name: &str, count: u64, batch: u64| {
        let mut took = Duration::ZERO;
        for from in (at..at + count).step_by(batch as usize) {
            let id = |n: u64| EntityId::child_of(EntityId::ROOT, &n.to_le_bytes()).0;
            let ids: Vec<_> = (from..(from + batch).min(at + count)).map(id).collect();
            let started = Instant::now();
            ids.into_iter().for_each(|id| trie.insert(id));
            std::hint::black_box(trie.root());
            took += started.elapsed();
        }
        at += count;
        row(name, count, took, None);
    };
    grow("from nothing to 10000 ids, in bulk", 10_000, 10_000);
    grow("at 10000 ids, batches of 1000", 10_000, 1_000);
    grow("to 1000000 ids, in batches of 100000", 980_000, 100_000);
    grow("at 1000000 ids, batches of 1000", 50_000, 1_000);
    grow("at 1000000 ids, one at a time", 2_000, 1);
}

/// Runs each part of a table in a process of its own, so that no part runs on the fragmented heap of another.
fn in_processes(parts: &[&str]) {
    for part in parts {
        let own = std::env::current_exe().expect("a path");
        std::process::Command::new(own).arg(part).status().expect("a process");
    }
}

/// Inserts at sizes from a thousand to a million, with the baseline and the published crate.
pub(crate) fn apply_action() {
    in_processes(&["storage-bare", "storage-peer", "storage-own"]);
}

/// `apply_action` at sizes from a thousand to a million, with root hash and commit after each batch. The rows of
/// one size grow the same store.
pub(crate) fn own() {
    println!("\napply_action: inserts of 100 bytes under one parent, root and commit after each batch");
    for size in [1_000u64, 10_000, 100_000, 1_000_000] {
        let mut store = MemoryStore::default();
        grow(&mut store, 0, size, 100_000).row(&format!("from nothing to {size} entities, in bulk"));
        let mut at = size;
        for (batch, count) in [(1_000, size.clamp(2_000, 50_000)), (1, 1_000)] {
            grow(&mut store, at, at + count, batch).row(&format!("at {size} entities, batches of {batch}"));
            at += count;
        }
        let (took, _) = best(3, || std::hint::black_box(store.clone()).is_empty());
        println!("  {:<58} {:>14.1?}", format!("clone of a store of {size} entities, and dropping it"), took);
    }
}

/// The memory per entity at a million entities.
pub(crate) fn memory() {
    println!("\nmemory: a million entities with 100 bytes each");
    in_processes(&["memory-flat", "memory-tree"]);
}

/// The memory per entity of one shape of tree.
pub(crate) fn memory_of(tree: bool) {
    const COUNT: u64 = 1_000_000;
    let (name, insert): (_, fn(u64) -> Action) =
        if tree { ("in a tree six deep", insert_deep) } else { ("under one parent", insert) };
    let before = resident_bytes();
    let mut store = MemoryStore::default();
    let grown = grow_with(&mut store, 0, COUNT, 1_000, insert);
    grown.row(&format!("{name}, inserted in batches of 1000"));
    let bytes = resident_bytes().saturating_sub(before) / COUNT;
    println!("  {:<58} {bytes:>14} bytes an entity", format!("{name}, record, index and what they are in"));
    assert_eq!(Interface::open(store.view()).expect("a state").entity_count(), COUNT);
}
