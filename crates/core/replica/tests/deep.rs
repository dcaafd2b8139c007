//! What a write costs far below the root: bytes, rows and hashes, counted.

use std::sync::Arc;
use syncline_replica::{
    Collection, Event, Notice, Operation, Refusal, Replica, ReplicaConfig, StepCost, SyncActions, Target,
};
use syncline_storage::{Interface, verify};
use syncline_store::{Bytes, Key, MemoryStore, ReadView, Row, RowRun, Store, StoreError, WriteBatch};
use syncline_sync::{Delta, DeltaRefusal, Frame, Gossip, Message};
use syncline_types::{Choice, ContextId, Entropy, Moment, PeerId, ReplicaId, SimTime};

/// A view of a store that writes index nodes late, as the one on disk.
#[derive(Clone)]
struct LoggedView(MemoryStore);

impl ReadView for LoggedView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.read(key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.range(from, to, limit)
    }

    fn run(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.0.run(key)
    }

    fn wants_redo_entries(&self) -> bool {
        true
    }
}

struct Lowest;

impl Entropy for Lowest {
    fn below(&mut self, _: Choice, _: u64) -> u64 {
        0
    }
}

/// A replica with its store.
struct Host {
    replica: Replica<LoggedView>,
    store: MemoryStore,
    ms: u64,
}

/// What one step took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Taken {
    /// Bytes of the rows that a store writes at once: keys, values, and the redo log of the index.
    put: usize,
    /// Bytes of the frames.
    sent: usize,
    cost: StepCost,
}

fn put_by(batch: &WriteBatch) -> usize {
    let rows = batch.iter().map(|(key, value)| key.len() + value.map_or(0, |value| value.len()));
    let log = |(key, edit): (&Key, Option<&Arc<_>>)| {
        let entry =
            edit.and_then(|edit: &Arc<dyn syncline_store::Edit>| edit.redo_entry()).unwrap_or_default();
        if entry.is_empty() { 0 } else { key.len() + entry.len() }
    };
    rows.sum::<usize>() + batch.edits().map(log).sum::<usize>()
}

impl Host {
    fn new(number: u64, peer: u32) -> Self {
        let config = ReplicaConfig::new(ContextId([7; 32]), ReplicaId::from_u64(number));
        let store = MemoryStore::default();
        let (replica, actions) = Replica::recover(config, &LoggedView(store.clone())).unwrap();
        let mut host = Self { replica, store, ms: 1_000 };
        host.store.apply(actions.storage).unwrap();
        host.step(Event::Start);
        host.step(Event::Peers([PeerId(peer)].into()));
        host
    }

    fn step(&mut self, event: Event) -> SyncActions {
        self.ms += 1;
        let moment = Moment::at(SimTime::from_millis(self.ms));
        let view = LoggedView(self.store.clone());
        let actions = self.replica.step(view, event, moment, &mut Lowest).unwrap();
        assert!(!actions.notices.iter().any(|notice| matches!(notice, Notice::WriteRefused { .. })));
        self.store.apply(actions.storage.clone()).unwrap();
        actions
    }

    fn take(&mut self, event: Event) -> (Taken, SyncActions) {
        let actions = self.step(event);
        let sent = actions.messages.iter().map(|message| message.bytes.len()).sum();
        (Taken { put: put_by(&actions.storage), sent, cost: actions.cost }, actions)
    }

    fn root(&self) -> syncline_types::Digest {
        Interface::open(self.store.view()).unwrap().root_hash().unwrap()
    }
}

const DEEPEST: usize = 2_047;

/// Maps inside each other: the map at depth one, and so on.
fn chain() -> Vec<Target> {
    let mut chain = vec![Target::named(b"top")];
    for _ in 1..DEEPEST {
        let next = chain[chain.len() - 1].child(b"below");
        chain.push(next);
    }
    chain
}

/// Two hosts with a chain of maps, of which the first one wrote all and the second one applied each delta.
fn with_chain(chain: &[Target]) -> [Host; 2] {
    let mut hosts = [Host::new(1, 2), Host::new(2, 1)];
    for some in chain.chunks(250) {
        let create =
            |target: &Target| Operation::Create { target: target.clone(), collection: Collection::Map };
        let (_, actions) = hosts[0].take(Event::Write(some.iter().map(create).collect()));
        deliver(&mut hosts[1], &actions);
    }
    assert_eq!(hosts[0].root(), hosts[1].root());
    hosts
}

/// Delivers the frames of host one to host two.
fn deliver(host: &mut Host, actions: &SyncActions) -> Taken {
    let from = PeerId(1);
    let mut all = Taken { put: 0, sent: 0, cost: StepCost::default() };
    for message in &actions.messages {
        let (taken, actions) = host.take(Event::Frame { from, bytes: message.bytes.clone() });
        assert_eq!(actions.refusal, None);
        all.put += taken.put;
        all.cost += taken.cost;
    }
    all
}

/// A delta below an entity that is not here is not applied in part, and a sync with the sender is pending instead.
#[test]
fn missing_ancestor_is_followed_by_sync() {
    let mut hosts = [Host::new(1, 2), Host::new(2, 1)];
    let chain = chain();
    let create = |target: &Target| Operation::Create { target: target.clone(), collection: Collection::Map };
    // The other host misses the delta that makes the upper part, and believes that it has it.
    let (_, lost) = hosts[0].take(Event::Write(chain[..60].iter().map(create).collect()));
    let (_, actions) = hosts[0].take(Event::Write(vec![create(&chain[60])]));
    let deltas: Vec<Delta> = [&lost, &actions].map(delta_in).into();
    let forged = Delta { actions: vec![], ..deltas[0].clone() };
    let below = Delta { parents: vec![forged.reference()], ..deltas[1].clone() };
    let root = hosts[1].root();
    for (delta, refusal) in [(forged, None), (below, Some(Refusal::Delta(DeltaRefusal::MissingAncestor)))] {
        let message = Message::Gossip(Gossip::Delta(delta));
        let bytes = Frame { incarnation: 1, message }.to_wire(ContextId([7; 32])).into();
        let actions = hosts[1].step(Event::Frame { from: PeerId(1), bytes });
        assert_eq!(actions.refusal, refusal);
    }
    assert_eq!(hosts[1].root(), root);
    assert_eq!(hosts[1].replica.pending().pending_syncs, 1);
}

fn delta_in(actions: &SyncActions) -> Delta {
    let [message] = &actions.messages[..] else { panic!("one peer") };
    match Frame::from_wire(&message.bytes, ContextId([7; 32])).unwrap().message {
        Message::Gossip(Gossip::Delta(delta)) => delta,
        other => panic!("{other:?}"),
    }
}

/// The bytes that a write puts and sends do not depend on its depth. The hash of each ancestor covers its children, so
/// that a write takes one hash for each, and reads two rows: the record, which names the parent, and the node.
#[test]
fn write_costs_what_it_changes() {
    let chain = chain();
    let mut hosts = with_chain(&chain);
    let mut bytes = Vec::new();
    for depth in [1, 17, 100, DEEPEST] {
        let target = match depth {
            1 => Target::named(b"word"),
            _ => chain[depth - 2].child(b"word"),
        };
        for text in [&b"written"[..], b"changed"] {
            let set = Operation::Set { target: target.clone(), bytes: text.to_vec() };
            let (written, actions) = hosts[0].take(Event::Write(vec![set]));
            let applied = deliver(&mut hosts[1], &actions);
            for cost in [written.cost, applied.cost] {
                let depth = depth as u64;
                assert!(cost.hash_computations <= depth + 4, "depth {depth}: {cost:?}");
                assert!(cost.storage_reads <= 2 * depth + 12, "depth {depth}: {cost:?}");
            }
            bytes.push([written.put, written.sent, applied.put]);
        }
    }
    if std::env::var_os("SHOW_COSTS").is_some() {
        println!(
            "COST of depths 1, 17, 100, {DEEPEST}, new and changed: put, sent, put by the receiver: {bytes:?}"
        );
    }
    for found in &bytes {
        let [put, sent, applied] = *found;
        assert!(put <= 1_700 && sent <= 900 && applied <= 1_700, "{bytes:?}");
    }
    assert_eq!(hosts[0].root(), hosts[1].root());
    for host in &hosts {
        assert!(verify(&host.store).unwrap().is_sound());
    }
}
