//! A few real replicas and hostile peers, in virtual time, over links that lose nothing: everything that
//! goes wrong is the work of hostile peers.

use std::collections::BTreeMap;
use syncline_replica::{
    Event, Notice, Operation, Refusal, Replica, ReplicaConfig, ReplicaError, SyncActions, Target, Timer,
    TimerOp,
};
use syncline_storage::{Interface, verify};
use syncline_store::{Bytes, MemoryStore, Store};
use syncline_sync::{Authority, Frame, Membership, Message, Outcome, SessionStats};
use syncline_types::{Choice, ContextId, Digest, Entropy, Moment, PeerId, ReplicaId, SimDuration, SimTime};

pub(crate) const CONTEXT: ContextId = ContextId([6; 32]);
/// The secret that members sign with.
pub(crate) const SECRET: [u8; 32] = [0x11; 32];

/// The name of the replica at `peer`.
pub(crate) fn replica_at(peer: u32) -> ReplicaId {
    ReplicaId::from_u64(u64::from(peer) + 1)
}

pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// SplitMix64 (Steele, Lea, Flood, 2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

impl Entropy for Seeded {
    fn below(&mut self, _: Choice, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A peer that sends what it likes.
pub(crate) trait Hostile {
    /// Takes in a message. Gives the messages that it sends back, each after a pause.
    fn on_message(&mut self, message: &Message, now: SimTime) -> Vec<(SimDuration, Message)>;

    /// Called twice a second. Gives the messages that it sends to everybody it can reach.
    fn on_tick(&mut self, now: SimTime) -> Vec<Message>;
}

/// A real replica, its timers, and the notices that it gave.
pub(crate) struct Honest {
    pub(crate) replica: Replica<MemoryStore>,
    pub(crate) store: MemoryStore,
    timers: BTreeMap<Timer, SimTime>,
    pub(crate) notices: Vec<Notice>,
    /// The reasons of refused frames, and their senders.
    pub(crate) refusals: Vec<(PeerId, Refusal)>,
    /// How far the wall clock is ahead of virtual time.
    pub(crate) ahead_ms: u64,
    /// The error with which the replica has stopped.
    pub(crate) error: Option<ReplicaError>,
    /// The largest number of rows that a step has read, and of rows that it has written.
    pub(crate) largest: (u64, u64),
}

enum Node {
    Honest(Box<Honest>),
    Hostile(Box<dyn Hostile>),
}

pub(crate) struct World {
    pub(crate) now: SimTime,
    nodes: Vec<Node>,
    links: Vec<(u32, u32)>,
    queue: BTreeMap<(SimTime, u64), (u32, u32, Bytes)>,
    sent: u64,
    next_tick: SimTime,
    entropy: Seeded,
    /// The bytes that honest nodes have sent, by sender and receiver.
    pub(crate) traffic: BTreeMap<(u32, u32), u64>,
}

const LATENCY: SimDuration = SimDuration::from_millis(5);
const TICK: SimDuration = SimDuration::from_millis(500);

pub(crate) fn set(name: &str, value: &str) -> Operation {
    Operation::Set { target: Target::named(name.as_bytes()), bytes: value.into() }
}

/// The settings of the member at `peer`; there are `members` in all.
pub(crate) fn config(peer: u32, members: u32) -> ReplicaConfig {
    ReplicaConfig {
        authority: Authority::keyed(SECRET),
        membership: Membership::named((0..members).map(replica_at)),
        ..ReplicaConfig::new(CONTEXT, replica_at(peer))
    }
}

impl World {
    /// A world without nodes.
    pub(crate) fn new() -> Self {
        Self::drawn_from(7)
    }

    /// A world without nodes, in which random numbers come from `seed`.
    pub(crate) fn drawn_from(seed: u64) -> Self {
        Self {
            now: SimTime::from_secs(1),
            nodes: Vec::new(),
            links: Vec::new(),
            queue: BTreeMap::new(),
            sent: 0,
            next_tick: SimTime::from_secs(1),
            entropy: Seeded(seed),
            traffic: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, config: ReplicaConfig) -> u32 {
        let mut store = MemoryStore::default();
        let (replica, actions) = Replica::recover(config, &store).unwrap();
        store.apply(actions.storage).unwrap();
        let (timers, notices, refusals) = Default::default();
        let honest =
            Honest { replica, store, timers, notices, refusals, ahead_ms: 0, error: None, largest: (0, 0) };
        self.nodes.push(Node::Honest(Box::new(honest)));
        self.nodes.len() as u32 - 1
    }

    /// Starts a node again from its store.
    pub(crate) fn restart(&mut self, node: u32) {
        let honest = self.honest(node);
        let config = honest.replica.config().clone();
        self.restart_as(node, config);
    }

    /// Brings a node that has stopped back under the id of node number `number`, which all others count as a member.
    pub(crate) fn bring_back(&mut self, node: u32, number: u32) {
        let config =
            ReplicaConfig { replica: replica_at(number), ..self.honest(node).replica.config().clone() };
        let mut store = MemoryStore::default();
        let former = self.honest(node).replica.config().replica;
        Replica::bring_back(config.clone(), former, &self.honest(node).store, &mut store).unwrap();
        self.honest(node).store = store;
        self.restart_as(node, config);
    }

    fn restart_as(&mut self, node: u32, config: ReplicaConfig) {
        let honest = self.honest(node);
        let (replica, actions) = Replica::recover(config, &honest.store).unwrap();
        honest.store.apply(actions.storage).unwrap();
        honest.replica = replica;
        honest.error = None;
        honest.timers.clear();
        let peers = self.peers(node);
        self.step(node, Event::Peers(peers.into_iter().map(PeerId).collect()));
        self.step(node, Event::Start);
    }

    pub(crate) fn add_hostile(&mut self, hostile: impl Hostile + 'static) -> u32 {
        self.nodes.push(Node::Hostile(Box::new(hostile)));
        self.nodes.len() as u32 - 1
    }

    /// Links two nodes and reports the link to the honest ones.
    pub(crate) fn link(&mut self, a: u32, b: u32) {
        self.links.push((a, b));
        for node in [a, b] {
            let peers = self.peers(node);
            self.step(node, Event::Peers(peers.into_iter().map(PeerId).collect()));
            self.step(node, Event::Start);
        }
    }

    /// Removes a link and reports that to the honest nodes.
    pub(crate) fn unlink(&mut self, a: u32, b: u32) {
        self.links.retain(|link| *link != (a, b) && *link != (b, a));
        for node in [a, b] {
            let peers = self.peers(node);
            self.step(node, Event::Peers(peers.into_iter().map(PeerId).collect()));
        }
    }

    fn peers(&self, node: u32) -> Vec<u32> {
        let other = |(a, b): &(u32, u32)| if *a == node { Some(*b) } else { (*b == node).then_some(*a) };
        self.links.iter().filter_map(other).collect()
    }

    pub(crate) fn honest(&mut self, node: u32) -> &mut Honest {
        match &mut self.nodes[node as usize] {
            Node::Honest(honest) => honest,
            Node::Hostile(_) => panic!("{node} is hostile"),
        }
    }

    pub(crate) fn write(&mut self, node: u32, operations: Vec<Operation>) {
        self.step(node, Event::Write(operations));
    }

    pub(crate) fn step(&mut self, node: u32, event: Event) {
        let Node::Honest(honest) = &mut self.nodes[node as usize] else { return };
        let from = if let Event::Frame { from, .. } = &event { Some(*from) } else { None };
        let moment = Moment { now: self.now, wall_ms: self.now.as_millis() + honest.ahead_ms };
        let stepped = honest.replica.step(honest.store.view(), event, moment, &mut self.entropy);
        let SyncActions { storage, messages, timers, refusal, notices, cost, .. } = match stepped {
            Ok(actions) => actions,
            Err(error @ ReplicaError::History(_)) => {
                honest.error = Some(error);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let (reads, writes) = honest.largest;
        honest.largest = (reads.max(cost.storage_reads), writes.max(cost.storage_writes));
        honest.store.apply(storage).unwrap();
        for op in timers {
            match op {
                TimerOp::Set { timer, at } => honest.timers.insert(timer, at),
                TimerOp::Cancel { timer } => honest.timers.remove(&timer),
            };
        }
        honest.notices.extend(notices);
        honest.refusals.extend(from.zip(refusal));
        for message in messages {
            *self.traffic.entry((node, message.to.0)).or_default() += message.bytes.len() as u64;
            self.send(node, message.to.0, message.bytes, LATENCY);
        }
    }

    fn send(&mut self, from: u32, to: u32, bytes: Bytes, after: SimDuration) {
        self.sent += 1;
        self.queue.insert((self.now + after, self.sent), (from, to, bytes));
    }

    fn send_hostile(&mut self, from: u32, to: u32, message: Message, after: SimDuration) {
        let bytes = Frame { incarnation: 1, message }.to_wire(CONTEXT).into();
        self.send(from, to, bytes, after);
    }

    /// Runs for a span of virtual time.
    pub(crate) fn run_for(&mut self, span: SimDuration) {
        let end = self.now + span;
        loop {
            let timer = self.nodes.iter().enumerate().filter_map(|(node, kind)| match kind {
                Node::Honest(honest) => {
                    honest.timers.iter().map(|(timer, at)| (*at, node as u32, *timer)).min()
                }
                Node::Hostile(_) => None,
            });
            let timer = timer.min();
            let frame = self.queue.first_key_value().map(|((at, _), _)| *at);
            let due = [timer.map(|(at, ..)| at), frame, Some(self.next_tick)].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            if frame == Some(due) {
                let Some((_, (from, to, bytes))) = self.queue.pop_first() else { break };
                if self.peers(from).contains(&to) {
                    self.deliver(from, to, bytes);
                }
            } else if let Some((at, node, timer)) = timer.filter(|(at, ..)| *at == due) {
                assert_eq!(at, due);
                self.honest(node).timers.remove(&timer);
                self.step(node, Event::Timer(timer));
            } else {
                self.next_tick += TICK;
                self.tick();
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, from: u32, to: u32, bytes: Bytes) {
        let now = self.now;
        if let Node::Hostile(hostile) = &mut self.nodes[to as usize] {
            let frame = Frame::from_wire(&bytes, CONTEXT).expect("replicas send frames");
            for (pause, message) in hostile.on_message(&frame.message, now) {
                self.send_hostile(to, from, message, pause + LATENCY);
            }
        } else {
            self.step(to, Event::Frame { from: PeerId(from), bytes });
        }
    }

    fn tick(&mut self) {
        for node in 0..self.nodes.len() as u32 {
            let now = self.now;
            let Node::Hostile(hostile) = &mut self.nodes[node as usize] else { continue };
            let said = hostile.on_tick(now);
            for message in said {
                for to in self.peers(node) {
                    self.send_hostile(node, to, message.clone(), LATENCY);
                }
            }
        }
    }
}

impl Honest {
    /// How the sessions with a peer ended.
    pub(crate) fn outcomes(&self, with: u32) -> Vec<(Outcome, SessionStats)> {
        let ended = self.notices.iter().filter_map(|notice| match notice {
            Notice::SessionEnded { peer, outcome, stats, .. } if peer.0 == with => {
                Some((outcome.clone(), *stats))
            }
            _ => None,
        });
        ended.collect()
    }

    /// The visible value under a name.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut state = Interface::open(self.store.view()).unwrap();
        let id = Target::named(name.as_bytes()).id;
        if !state.is_visible(id).unwrap() {
            return None;
        }
        match &state.record(id).unwrap()?.value {
            syncline_crdt::Value::Lww(register) => Some(register.bytes().to_vec()),
            other => panic!("{other:?}"),
        }
    }

    /// The root, after a check that all stored rows follow from the records.
    pub(crate) fn sound_root(&self) -> Digest {
        let found = verify(&self.store).unwrap();
        assert!(found.is_sound(), "{found:?}");
        assert_eq!(found.rebuilt_root, self.replica.digest());
        assert!(self.replica.is_buffer_balanced());
        found.rebuilt_root
    }
}
