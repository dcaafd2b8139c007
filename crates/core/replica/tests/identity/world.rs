//! A few real replicas in virtual time, over links that lose nothing. Their stores can be replaced, and a replica
//! that has stopped stays down until the test brings it back.

use std::collections::BTreeMap;
use syncline_crdt::Value;
use syncline_replica::{
    Event, Notice, Operation, OperationError, Replica, ReplicaConfig, ReplicaError, SyncActions, Target,
    Timer, TimerOp,
};
use syncline_storage::Interface;
use syncline_store::{Bytes, MemoryStore, Store};
use syncline_sync::{Authority, Frame, HistoryConflict, Membership, Message, Outcome};
use syncline_types::{Choice, ContextId, EntityId, Entropy, Moment, PeerId, ReplicaId, SimDuration, SimTime};

pub(crate) const CONTEXT: ContextId = ContextId([6; 32]);
const LATENCY: SimDuration = SimDuration::from_millis(5);

pub(crate) fn replica_at(peer: u32) -> ReplicaId {
    ReplicaId::from_u64(u64::from(peer) + 1)
}

/// The settings of replica `number`, which signs with a key that all members share.
pub(crate) fn signing(number: u32) -> ReplicaConfig {
    let authority = Authority::keyed([0x11; 32]);
    ReplicaConfig { authority, ..ReplicaConfig::new(CONTEXT, replica_at(number)) }
}

/// The settings of replica `number` of `members`, which are known to each other.
pub(crate) fn member(number: u32, members: u32) -> ReplicaConfig {
    let membership = Membership::named((0..members).map(replica_at));
    ReplicaConfig { membership, ..signing(number) }
}

pub(crate) fn increment(by: u64) -> Operation {
    Operation::Increment { target: Target::named(b"likes"), by }
}

pub(crate) fn set(name: &str, value: &str) -> Operation {
    Operation::Set { target: Target::named(name.as_bytes()), bytes: value.into() }
}

struct Mixer(u64);

impl Entropy for Mixer {
    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn below(&mut self, _: Choice, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

pub(crate) struct Node {
    pub(crate) replica: Replica<MemoryStore>,
    pub(crate) store: MemoryStore,
    pub(crate) notices: Vec<Notice>,
    /// The error with which the replica stopped.
    pub(crate) error: Option<ReplicaError>,
    /// The most rows that one of its steps has written since it was started.
    pub(crate) largest_batch: usize,
    timers: BTreeMap<Timer, SimTime>,
}

impl Node {
    /// The conflict with which the replica stopped, as the host heard of it.
    pub(crate) fn conflict(&self) -> Option<HistoryConflict> {
        self.notices.iter().find_map(|notice| match notice {
            Notice::HistoryConflict { conflict } => Some(*conflict),
            _ => None,
        })
    }

    /// How its sessions ended.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.notices.iter().filter_map(|notice| match notice {
            Notice::SessionEnded { outcome, .. } => Some(outcome),
            _ => None,
        })
    }

    fn value(&self, target: &Target) -> Option<Value> {
        let merges = self.replica.config().merges.clone();
        let mut state = Interface::open_with(self.store.view(), merges).unwrap();
        if !state.is_visible(target.id).unwrap() {
            return None;
        }
        state.record(target.id).unwrap().map(|record| record.value.clone())
    }

    /// What every visible entity shows.
    pub(crate) fn shown(&self) -> BTreeMap<EntityId, String> {
        let mut state = Interface::open(self.store.view()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut all = BTreeMap::new();
        for (id, record) in state.visible().unwrap() {
            let shown = match &record.value {
                Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => {
                    text(register.bytes())
                }
                Value::User(owned) => format!("{} of {}", text(owned.register.bytes()), owned.owner),
                Value::GCounter(counter) => counter.total().to_string(),
                Value::PnCounter(counter) => counter.total().to_string(),
                Value::Element(element) => element.is_present_after(record.deleted_at).to_string(),
                Value::Rga(written) => written.to_string(),
                Value::Custom(custom) => {
                    custom.operands().into_iter().map(|(_, bytes)| text(bytes) + ";").collect()
                }
                collection => collection.crdt_type().to_string(),
            };
            all.insert(id, shown);
        }
        all
    }

    /// What the counter shows.
    pub(crate) fn likes(&self) -> u128 {
        match self.value(&Target::named(b"likes")) {
            Some(Value::GCounter(counter)) => counter.total(),
            None => 0,
            other => panic!("{other:?}"),
        }
    }

    /// What a register shows.
    pub(crate) fn read(&self, name: &str) -> Option<String> {
        match self.value(&Target::named(name.as_bytes()))? {
            Value::Lww(register) => Some(String::from_utf8(register.bytes().to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) struct World {
    pub(crate) now: SimTime,
    pub(crate) nodes: Vec<Node>,
    links: Vec<(u32, u32)>,
    queue: BTreeMap<(SimTime, u64), (u32, u32, Bytes)>,
    sent: u64,
    entropy: Mixer,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = SimTime::from_secs(100_000);
        Self { now, nodes: vec![], links: vec![], queue: BTreeMap::new(), sent: 0, entropy: Mixer(7) }
    }

    /// A world in which nodes with these settings are linked, each with each.
    pub(crate) fn of(configs: impl IntoIterator<Item = ReplicaConfig>) -> Self {
        let mut world = Self::new();
        for config in configs {
            let node = world.add(config, MemoryStore::default());
            (0..node).for_each(|other| world.link(other, node));
        }
        world
    }

    /// Adds a node with this store.
    pub(crate) fn add(&mut self, config: ReplicaConfig, mut store: MemoryStore) -> u32 {
        let (replica, actions) = Replica::recover(config, &store).unwrap();
        store.apply(actions.storage).unwrap();
        self.nodes.push(Node {
            replica,
            store,
            notices: vec![],
            error: None,
            largest_batch: 0,
            timers: BTreeMap::new(),
        });
        self.nodes.len() as u32 - 1
    }

    /// Starts a node anew, with these settings and this store.
    pub(crate) fn restart(
        &mut self,
        node: u32,
        config: ReplicaConfig,
        mut store: MemoryStore,
    ) -> Result<(), ReplicaError> {
        let (replica, actions) = Replica::recover(config, &store)?;
        store.apply(actions.storage).unwrap();
        let restarted = &mut self.nodes[node as usize];
        restarted.replica = replica;
        restarted.store = store;
        restarted.error = None;
        restarted.notices.clear();
        restarted.largest_batch = 0;
        restarted.timers.clear();
        self.announce_peers(node);
        Ok(())
    }

    /// Starts a node anew under its settings, with this store.
    pub(crate) fn restart_with(&mut self, node: u32, store: MemoryStore) {
        let config = self.nodes[node as usize].replica.config().clone();
        self.restart(node, config, store).unwrap();
    }

    fn announce_peers(&mut self, node: u32) {
        let peers = self.peers(node).into_iter().map(PeerId).collect();
        self.step(node, Event::Peers(peers));
        self.step(node, Event::Start);
    }

    pub(crate) fn link(&mut self, a: u32, b: u32) {
        self.links.push((a, b));
        self.announce_peers(a);
        self.announce_peers(b);
    }

    pub(crate) fn unlink(&mut self, a: u32, b: u32) {
        self.links.retain(|link| *link != (a, b) && *link != (b, a));
        self.announce_peers(a);
        self.announce_peers(b);
    }

    fn peers(&self, node: u32) -> Vec<u32> {
        let other = |(a, b): &(u32, u32)| if *a == node { Some(*b) } else { (*b == node).then_some(*a) };
        self.links.iter().filter_map(other).collect()
    }

    /// Writes, unless the replica has stopped. Returns whether the write was acknowledged.
    pub(crate) fn write(&mut self, node: u32, operations: Vec<Operation>) -> Result<bool, OperationError> {
        let before = self.nodes[node as usize].notices.len();
        self.step(node, Event::Write(operations));
        let said = &self.nodes[node as usize].notices[before..];
        let refused = said.iter().find_map(|notice| match notice {
            Notice::WriteRefused { error } => Some(error.clone()),
            _ => None,
        });
        let accepted = said.iter().any(|notice| matches!(notice, Notice::WriteAccepted { .. }));
        refused.map_or(Ok(accepted), Err)
    }

    /// Takes one step; a node that has stopped takes none.
    pub(crate) fn step(&mut self, node: u32, event: Event) {
        let now = self.now;
        let stepping = &mut self.nodes[node as usize];
        if stepping.error.is_some() {
            return;
        }
        let view = stepping.store.view();
        let stepped = stepping.replica.step(view, event, Moment::at(now), &mut self.entropy);
        let SyncActions { storage, messages, timers, notices, .. } = match stepped {
            Ok(actions) => actions,
            Err(error) => {
                stepping.error = Some(error);
                return;
            }
        };
        stepping.largest_batch = stepping.largest_batch.max(storage.len());
        stepping.store.apply(storage).unwrap();
        for op in timers {
            match op {
                TimerOp::Set { timer, at } => stepping.timers.insert(timer, at),
                TimerOp::Cancel { timer } => stepping.timers.remove(&timer),
            };
        }
        stepping.notices.extend(notices);
        for message in messages {
            self.send(node, message.to.0, message.bytes);
        }
    }

    /// Sends a message that no replica has made.
    pub(crate) fn forge(&mut self, from: u32, to: u32, message: Message) {
        let bytes = Frame { incarnation: 1, message }.to_wire(CONTEXT).into();
        self.send(from, to, bytes);
    }

    fn send(&mut self, from: u32, to: u32, bytes: Bytes) {
        self.sent += 1;
        self.queue.insert((self.now + LATENCY, self.sent), (from, to, bytes));
    }

    pub(crate) fn run_for(&mut self, span: SimDuration) {
        let end = self.now + span;
        loop {
            let up = self.nodes.iter().enumerate().filter(|(_, node)| node.error.is_none());
            let timers = up
                .flat_map(|(at, node)| node.timers.iter().map(move |(timer, due)| (*due, at as u32, *timer)));
            let timer = timers.min();
            let frame = self.queue.first_key_value().map(|((at, _), _)| *at);
            let due = [timer.map(|(due, ..)| due), frame].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            if frame == Some(due) {
                let Some((_, (from, to, bytes))) = self.queue.pop_first() else { break };
                if self.peers(from).contains(&to) {
                    self.step(to, Event::Frame { from: PeerId(from), bytes });
                }
            } else if let Some((_, node, timer)) = timer {
                self.nodes[node as usize].timers.remove(&timer);
                self.step(node, Event::Timer(timer));
            }
        }
        self.now = end;
    }

    pub(crate) fn run_for_secs(&mut self, secs: u64) {
        self.run_for(SimDuration::from_secs(secs));
    }

    /// Whether the store of a node has a record of this entity, visible or not.
    pub(crate) fn has_record(&self, node: u32, id: EntityId) -> bool {
        let mut state = Interface::open(self.nodes[node as usize].store.view()).unwrap();
        state.record(id).unwrap().is_some()
    }

    /// Whether the nodes have equal states.
    pub(crate) fn agree(&self, nodes: &[u32]) -> bool {
        let roots: Vec<_> = nodes.iter().map(|node| self.nodes[*node as usize].replica.digest()).collect();
        roots.windows(2).all(|pair| pair[0] == pair[1])
    }
}
