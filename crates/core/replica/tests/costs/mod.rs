//! What frames and writes cost: counted, never timed. The costs of a frame must not depend on what waits, or on how
//! many authors there are, but on its length and on the difference that it brings.

mod authors;
mod causality;
mod collection;
mod frames;
mod log;
mod spec;
mod views;

use crate::hostile::Seeded;
use syncline_crdt::{Register, Value};
use syncline_replica::{Event, Operation, Replica, ReplicaConfig, SyncActions, Target, TimerOp};
use syncline_storage::{Action, Label, Metadata};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{Delta, DeltaRef, Dot, Frame, Gossip, Message};
use syncline_types::{ContextId, Hlc, Moment, PeerId, ReplicaId, SimDuration, SimTime};

const CONTEXT: ContextId = ContextId([6; 32]);

/// The `n`-th of many authors, whose ids are spread.
fn author(n: u64) -> ReplicaId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n + 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    ReplicaId(id)
}

fn set(name: &str) -> Operation {
    Operation::Set { target: Target::named(name.as_bytes()), bytes: vec![1] }
}

/// A write of a register by `author`, at `ms`.
fn register(author: ReplicaId, name: &str, ms: u64) -> Action {
    let stamp = Hlc::new(ms, 0, author);
    Action::Update {
        id: Target::named(name.as_bytes()).id,
        ancestors: vec![],
        value: Value::Lww(Register::new(stamp, &b"x"[..])),
        metadata: Metadata {
            created_at: Hlc::MAX,
            updated_at: stamp,
            label: Label::Named(name.as_bytes().into()),
        },
    }
}

fn delta(dot: Dot, parents: Vec<DeltaRef>, actions: Vec<Action>) -> Delta {
    Delta::new(dot, parents, Hlc::new(900 + dot.seq, 0, dot.author), actions)
}

/// One replica of an open context, which handles what the test gives it.
struct Node {
    replica: Replica<MemoryStore>,
    store: MemoryStore,
    now: SimTime,
    entropy: Seeded,
    timers: Vec<TimerOp>,
}

impl Node {
    fn new(n: u64) -> Self {
        Self::with(ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(n)))
    }

    fn with(config: ReplicaConfig) -> Self {
        let mut store = MemoryStore::default();
        let (replica, actions) = Replica::recover(config, &store).unwrap();
        store.apply(actions.storage).unwrap();
        Self { replica, store, now: SimTime::from_secs(1), entropy: Seeded(3), timers: Vec::new() }
    }

    fn step(&mut self, event: Event) -> SyncActions {
        self.now += SimDuration::from_millis(1);
        let stepped = self.replica.step(self.store.view(), event, Moment::at(self.now), &mut self.entropy);
        let actions = stepped.unwrap();
        self.store.apply(actions.storage.clone()).unwrap();
        self.timers.extend(&actions.timers);
        actions
    }

    fn hear(&mut self, from: PeerId, message: Message) -> SyncActions {
        let bytes = Frame { incarnation: 1, message }.to_wire(CONTEXT).into();
        self.step(Event::Frame { from, bytes })
    }

    fn gossip(&mut self, delta: Delta) -> SyncActions {
        self.hear(PeerId(1), Message::Gossip(Gossip::Delta(delta)))
    }

    /// Takes one write of each of `count` authors, beside each other.
    fn take_writes_of(&mut self, count: u64) {
        for n in 0..count {
            let dot = Dot { author: author(n), seq: 1 };
            let refused = self.gossip(delta(dot, vec![], vec![register(author(n), "shared", 901)])).refusal;
            assert_eq!(refused, None);
        }
    }
}

/// The bytes of the rows that a batch writes.
fn bytes_of(actions: &SyncActions) -> usize {
    let rows = actions.storage.as_rows();
    rows.iter().map(|(key, value)| key.len() + value.map_or(0, |value| value.len())).sum()
}
