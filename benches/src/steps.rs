//! The work of single steps on a state of a million records: the largest step of each kind of event, counted and as
//! processor time of its thread.

use crate::pair::{Pair, StepObserver};
use crate::storage::grow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;
use syncline_replica::{Event, Operation, ReplicaConfig, StepCost, SyncActions, Target};
use syncline_store::{Bytes, Key, MemoryStore, ReadView, Row, RowRun, Store, StoreError, WriteBatch};
use syncline_sync::SyncProtocolKind;
use syncline_types::{EntityId, SimDuration, SimTime};

const RECORDS: u64 = 1_000_000;
/// Records that only one side has.
const DIFFERENCE: u64 = 1_000;

thread_local! {
    static READ: Cell<u64> = const { Cell::new(0) };
}

/// A store in memory whose views count the bytes that they read.
struct Metered(MemoryStore);

#[derive(Clone)]
struct MeteredView(MemoryStore);

fn count(rows: &[Row]) {
    let bytes: usize = rows.iter().map(|(key, row)| key.len() + row.len()).sum();
    READ.set(READ.get() + bytes as u64);
}

impl ReadView for MeteredView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let row = self.0.read(key)?;
        READ.set(READ.get() + (key.len() + row.as_ref().map_or(0, |row| row.len())) as u64);
        Ok(row)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.0.range(from, to, limit)?;
        count(&rows);
        Ok(rows)
    }

    fn prefetch(&self, keys: &[Key]) {
        self.0.prefetch(keys);
    }

    fn ranges(&self, bounds: &[(Key, Key)], limit: usize) -> Result<Vec<Vec<Row>>, StoreError> {
        let found = self.0.ranges(bounds, limit)?;
        found.iter().for_each(|rows| count(rows));
        Ok(found)
    }

    fn prefetch_runs(&self, keys: &[Key]) {
        self.0.prefetch_runs(keys);
    }

    fn run(&self, key: &[u8]) -> Option<&std::sync::Arc<dyn RowRun>> {
        self.0.run(key)
    }

    fn runs(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Key> {
        self.0.runs(from, to, limit)
    }
}

impl Store for Metered {
    type View = MeteredView;

    fn view(&self) -> MeteredView {
        MeteredView(self.0.clone())
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        self.0.apply(batch)
    }
}

/// The largest steps of one kind of event, each measure by itself.
#[derive(Clone, Copy, Default)]
struct Largest {
    steps: u64,
    cost: StepCost,
    bytes_read: u64,
    bytes_written: u64,
    bytes_sent: u64,
    cpu: Duration,
    /// Of all steps together.
    cpu_of_all: Duration,
}

impl Largest {
    fn take(&mut self, actions: &SyncActions, cpu: Duration) {
        let written = actions
            .storage
            .iter()
            .map(|(key, row)| key.len() + row.map_or(0, |row| row.len()))
            .sum::<usize>();
        let sent = actions.messages.iter().map(|message| message.bytes.len()).sum::<usize>();
        let (cost, own) = (&actions.cost, &mut self.cost);
        self.steps += 1;
        own.storage_reads = own.storage_reads.max(cost.storage_reads);
        own.storage_writes = own.storage_writes.max(cost.storage_writes);
        own.hash_computations = own.hash_computations.max(cost.hash_computations);
        self.bytes_read = self.bytes_read.max(READ.get());
        self.bytes_written = self.bytes_written.max(written as u64);
        self.bytes_sent = self.bytes_sent.max(sent as u64);
        self.cpu = self.cpu.max(cpu);
        self.cpu_of_all += cpu;
    }
}

/// The largest steps, by kind of event.
#[derive(Default)]
struct Table(BTreeMap<String, Largest>);

impl StepObserver for Table {
    fn begin(&mut self) {
        READ.set(0);
    }

    fn end(&mut self, what: &str, actions: &SyncActions, cpu: Duration) {
        self.0.entry(what.to_owned()).or_default().take(actions, cpu);
    }
}

const BEGIN: SimTime = SimTime::from_secs(1_000);

fn print(title: &str, table: &Table) {
    println!("\n  {title}");
    println!(
        "    {:<24} {:>7} {:>9} {:>9} {:>9} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "event",
        "steps",
        "hashes",
        "rows read",
        "written",
        "bytes read",
        "written",
        "sent",
        "CPU time",
        "mean"
    );
    for (what, largest) in &table.0 {
        println!(
            "    {what:<24} {:>7} {:>9} {:>9} {:>9} {:>12} {:>12} {:>12} {:>12.2?} {:>12.2?}",
            largest.steps,
            largest.cost.hash_computations,
            largest.cost.storage_reads,
            largest.cost.storage_writes,
            largest.bytes_read,
            largest.bytes_written,
            largest.bytes_sent,
            largest.cpu,
            largest.cpu_of_all / largest.steps as u32,
        );
    }
}

/// An entity of the flat state that [`grow`] makes.
fn target(n: u64) -> Target {
    Target::top(EntityId::child_of(EntityId::ROOT, &n.to_le_bytes()))
}

fn set(n: u64) -> Operation {
    Operation::Set { target: target(n), bytes: vec![n as u8; 100] }
}

/// Two equal replicas: the first writes, overwrites and deletes, and all of it becomes collectable.
fn ordinary_life(store: &MemoryStore) {
    let mut table = Table::default();
    let stores = [Metered(store.clone()), Metered(store.clone())];
    let mut pair = Pair::start(stores, BEGIN, |_| (), &mut table);
    pair.run_for(SimDuration::from_secs(60), &mut table);
    let mut write = |pair: &mut Pair<Metered>, what: &str, operations: Vec<Operation>| {
        pair.step(0, what, Event::Write(operations), &mut table);
        pair.run_for(SimDuration::from_millis(100), &mut table);
    };
    let delete = |n: u64| Operation::Delete { target: target(n) };
    for n in 0..20 {
        let old = n * 50_000;
        write(&mut pair, "write: 1 new value", vec![set(1 << 40 | n)]);
        write(&mut pair, "write: 1 old value", vec![set(old)]);
        write(&mut pair, "write: 1 delete", vec![delete(old + 1)]);
        write(&mut pair, "write: 256 new values", (0..256).map(|k| set(2 << 40 | n << 8 | k)).collect());
        write(&mut pair, "write: 256 deletes", (2..258).map(|k| delete(old + k)).collect());
    }
    pair.run_for(SimDuration::from_secs(600), &mut table);
    assert!(pair.agrees(), "gossip brings all writes");
    print("two equal replicas; one writes, and the tombstones are collected", &table);
}

/// Two replicas with a difference, and one protocol.
fn one_protocol(protocol: SyncProtocolKind, stores: [MemoryStore; 2]) {
    let mut table = Table::default();
    let request = |config: &mut ReplicaConfig| config.requested_protocol = Some(protocol);
    let mut pair = Pair::start(stores.map(Metered), BEGIN, request, &mut table);
    for _ in 0..60 {
        pair.run_for(SimDuration::from_secs(60), &mut table);
        if pair.agrees() {
            break;
        }
    }
    assert!(pair.agrees(), "{protocol:?} converges");
    print(&format!("{protocol:?}"), &table);
}

/// Prints the largest step of each kind of event.
pub(crate) fn on_a_million_records() {
    println!(
        "\nthe largest step of each kind of event, on a state of {RECORDS} records of 100 bytes, each measure by itself"
    );
    let mut store = MemoryStore::default();
    grow(&mut store, 0, RECORDS, 100_000);
    let mut other = store.clone();
    grow(&mut other, RECORDS, RECORDS + DIFFERENCE, 100_000);
    ordinary_life(&store);
    println!("\n  one replica has {DIFFERENCE} records more, without deltas; the sync runs one protocol:");
    for protocol in [
        SyncProtocolKind::HashComparison,
        SyncProtocolKind::RatelessIblt,
        SyncProtocolKind::BloomFilter,
        SyncProtocolKind::LevelWise,
        SyncProtocolKind::SubtreePrefetch,
    ] {
        one_protocol(protocol, [store.clone(), other.clone()]);
    }
    println!("\n  one replica is empty:");
    one_protocol(SyncProtocolKind::Snapshot, [MemoryStore::default(), store]);
}
