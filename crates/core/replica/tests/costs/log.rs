//! The bounds of the delta log: in bytes, and of what one step prunes.

use super::{CONTEXT, Node, author, register};
use std::cell::Cell;
use std::rc::Rc;
use syncline_replica::{Event, ReplicaConfig, Timer};
use syncline_storage::{ApplyContext, Interface};
use syncline_store::{Bytes, MemoryStore, ReadView, Row, RowRun, Store, StoreError, WriteBatch};
use syncline_sync::{
    Delta, DeltaLog, Dot, MissingDeltas, SyncHandshake, Transaction, VersionVector, build_handshake,
};
use syncline_types::{Hlc, Limits, Moment, ReplicaId, SimTime};

/// A view that counts reads.
#[derive(Clone)]
struct CountedView {
    view: MemoryStore,
    reads: Rc<Cell<usize>>,
}

impl ReadView for CountedView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        self.view.read(key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        self.view.range(from, to, limit)
    }

    fn run(&self, key: &[u8]) -> Option<&std::sync::Arc<dyn RowRun>> {
        self.view.run(key)
    }
}

/// A peer that covers nothing, and announces a horizon after everything, makes no step read the whole log.
///
/// Promises: G1
#[test]
fn horizon_of_a_peer_that_covers_nothing_costs_a_bounded_amount() {
    let reads = |deltas: u64| {
        let mut store = MemoryStore::default();
        let mut log = DeltaLog::default();
        append(&mut log, &mut store, author(1), deltas, 10);
        let view = CountedView { view: store, reads: Rc::default() };
        let moment = Moment::at(SimTime::from_secs(100));
        let mut work = Transaction::begin(view.clone(), log, ApplyContext::new(moment)).unwrap();
        // A state that is not empty.
        let write = register(author(2), "x", 900);
        work.state.apply_action(&write, &ApplyContext::new(moment)).unwrap();
        let state = work.describe(CONTEXT, author(2), &[]).unwrap();
        let theirs = SyncHandshake {
            replica: author(3),
            covered: VersionVector::default(),
            stable: VersionVector::default(),
            horizon: Hlc::last_at(90_000 << 16),
            ..build_handshake(&state)
        };
        view.reads.set(0);
        work.adopt_horizon(&theirs).unwrap();
        assert_eq!(work.state.horizon(), theirs.horizon);
        view.reads.get()
    };
    let many = reads(3_000);
    assert!(many < 300 && many <= reads(400) + 10, "{many} reads");
}

/// The bytes of the deltas that a store has.
fn stored_bytes(store: &MemoryStore) -> u64 {
    let rows = store.range(&[0x11], &[0x12], usize::MAX).unwrap();
    rows.iter().map(|(_, row)| row.len() as u64).sum()
}

/// Appends deltas of `author`, each in a step of its own, with payloads of `bytes`.
fn append(log: &mut DeltaLog, store: &mut MemoryStore, author: ReplicaId, count: u64, bytes: usize) -> usize {
    let mut most_rows = 0;
    for _ in 0..count {
        let seq = log.covered().of(author) + 1;
        let name = "n".repeat(bytes);
        let action = register(author, &name, 1_000 + seq);
        let delta = Delta::new(Dot { author, seq }, vec![], Hlc::new(1_000 + seq, 0, author), vec![action]);
        let moment = Moment::at(SimTime::from_secs(10));
        let begun = Transaction::begin(store.view(), std::mem::take(log), ApplyContext::new(moment));
        let mut work = begun.unwrap();
        work.log.append(&delta, &store.view(), &mut work.metadata_batch).unwrap();
        let (batch, after, _) = work.finish().unwrap();
        most_rows = most_rows.max(batch.len());
        *log = after;
        store.apply(batch).unwrap();
    }
    most_rows
}

/// Promises: G1
#[test]
fn log_stays_within_its_bytes() {
    const CAPACITY: u64 = 50_000;
    let mut store = MemoryStore::default();
    let mut log = DeltaLog::default().with_capacity(CAPACITY);
    // Many small deltas of one author, then large ones of others, and of the same again.
    for (n, count, bytes) in [(1, 500, 10), (2, 30, 5_000), (3, 200, 100), (1, 20, 9_000), (4, 1, 100)] {
        let most_rows = append(&mut log, &mut store, author(n), count, bytes);
        assert!(most_rows < 300, "{most_rows} rows in one step");
        assert!(log.bytes() <= CAPACITY, "{} bytes", log.bytes());
        assert_eq!(log.bytes(), stored_bytes(&store));
    }
    let loaded = DeltaLog::load(&store, DeltaLog::DEFAULT_RETENTION).unwrap();
    assert_eq!(loaded.bytes(), log.bytes());
    // A peer without the pruned deltas is told so: it receives their effect as state.
    let limits = Limits::default();
    let missing = log.since(&store, &WriteBatch::default(), &VersionVector::default(), &limits);
    assert_eq!(missing.unwrap(), MissingDeltas::BelowFloor);
    // Whoever has all but the last ones receives those.
    let nearly: VersionVector = log.covered().entries().filter(|dot| dot.author != author(4)).collect();
    let missing = log.since(&store, &WriteBatch::default(), &nearly, &limits).unwrap();
    assert!(matches!(missing, MissingDeltas::Deltas { deltas, complete: true } if deltas.len() == 1));
}

#[test]
fn deltas_that_every_member_covers_are_pruned_first() {
    let mut store = MemoryStore::default();
    let mut log = DeltaLog::default().with_capacity(20_000);
    append(&mut log, &mut store, author(1), 50, 100);
    append(&mut log, &mut store, author(2), 20, 100);
    assert!(log.floor().is_empty() || log.floor().entries().all(|dot| dot.seq == 0));
    let mut stable = VersionVector::default();
    stable.cover(Dot { author: author(2), seq: 20 });
    log.note_stable(&stable);
    append(&mut log, &mut store, author(3), 30, 100);
    assert!(log.floor().of(author(2)) > 0 && log.floor().of(author(1)) == 0, "{:?}", log.floor());
    assert_eq!(log.bytes(), stored_bytes(&store));
}

#[test]
fn sizes_of_a_store_of_an_earlier_version_are_counted() {
    let mut store = MemoryStore::default();
    let mut log = DeltaLog::default();
    append(&mut log, &mut store, author(1), 20, 100);
    let key = [&[0x10, 4], &author(1).0[..]].concat();
    let row = store.read(&key).unwrap().unwrap();
    let mut batch = WriteBatch::default();
    // 20, 0, 0: without the bytes.
    batch.put(key.as_slice().into(), row[..3].to_vec());
    store.apply(batch).unwrap();
    let loaded = DeltaLog::load(&store, DeltaLog::DEFAULT_RETENTION).unwrap();
    assert_eq!((loaded.bytes(), loaded.bytes_of(author(1))), (log.bytes(), stored_bytes(&store)));
}

/// Whoever covers a whole log without having received it deletes it piece by piece.
///
/// Promises: G1
#[test]
fn covering_a_whole_log_deletes_it_piece_by_piece() {
    let mut store = MemoryStore::default();
    let mut log = DeltaLog::default();
    for n in 1..4 {
        append(&mut log, &mut store, author(n), 2_000, 10);
    }
    let claimed: VersionVector = (1..4).map(|n| Dot { author: author(n), seq: 1 << 40 }).collect();
    let moment = Moment::at(SimTime::from_secs(10));
    let mut work = Transaction::begin(store.view(), log, ApplyContext::new(moment)).unwrap();
    work.log.adopt(&claimed, &[], &mut work.metadata_batch);
    assert_eq!(work.log.bytes(), 0);
    let (batch, log, _) = work.finish().unwrap();
    assert!(batch.len() < 1_100, "{} rows", batch.len());
    store.apply(batch).unwrap();
    assert!(stored_bytes(&store) > 0);
    let loaded = DeltaLog::load(&store, DeltaLog::DEFAULT_RETENTION).unwrap();
    assert_eq!((loaded.covered(), loaded.floor(), loaded.bytes()), (log.covered(), log.floor(), 0));
    // The heartbeats of a replica delete the rest, also after a restart.
    let config = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(1));
    let mut node = Node::with(config);
    node.store = store;
    for _ in 0..2 {
        let again = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(1));
        let (replica, actions) = syncline_replica::Replica::recover(again, &node.store).unwrap();
        node.store.apply(actions.storage).unwrap();
        node.replica = replica;
        let stepped = node.step(Event::Timer(Timer::Heartbeat));
        assert!(stepped.storage.len() < Limits::default().sweep_rows() + 10);
    }
    (0..3).for_each(|_| drop(node.step(Event::Timer(Timer::Heartbeat))));
    assert_eq!(stored_bytes(&node.store), 0);
    assert!(node.step(Event::Timer(Timer::Heartbeat)).storage.is_empty(), "nothing is left to delete");
    // The log takes new deltas of these authors.
    let next = Dot { author: author(1), seq: (1 << 40) + 1 };
    let next = Delta::new(next, vec![], Hlc::new(1_005, 0, next.author), vec![]);
    assert_eq!(node.gossip(next).refusal, None);
    assert!(Interface::open(node.store.view()).is_ok() && stored_bytes(&node.store) > 0);
}
