//! Many authors: what a write puts into the store, and what an idle handshake costs.

use super::{Node, author, bytes_of, delta, register, set};
use std::collections::BTreeMap;
use syncline_replica::{Event, FrameKind, Replica, Timer, TimerOp};
use syncline_store::{MemoryStore, ReadView, Store};
use syncline_sync::{DeltaLog, Dot, Frame, Gossip, Message};
use syncline_types::{Decode, PeerId, SimDuration, SimTime, limits};

/// Promises: G3
#[test]
fn a_write_costs_the_same_with_many_authors() {
    for authors in [10, 1_000, 10_000] {
        let mut node = Node::new(1);
        node.take_writes_of(authors);
        for n in 0..3 {
            let actions = node.step(Event::Write(vec![set("z")]));
            let bytes = bytes_of(&actions);
            assert!(bytes <= 1_024, "write {n} with {authors} authors puts {bytes} bytes");
        }
        let dot = Dot { author: author(0), seq: 2 };
        let actions = node.gossip(delta(dot, vec![], vec![register(author(0), "w", 903)]));
        assert_eq!(actions.refusal, None);
        let bytes = bytes_of(&actions);
        assert!(bytes <= 1_024, "a received delta with {authors} authors puts {bytes} bytes");
    }
}

#[test]
fn a_write_with_more_heads_than_parents_is_accepted() {
    let mut node = Node::new(1);
    node.take_writes_of(50);
    assert_eq!(node.replica.log().heads().len(), limits::MAX_PARENTS);
    node.step(Event::Write(vec![set("z")]));
    let own = Dot { author: node.replica.config().replica, seq: 1 };
    let written = DeltaLog::read(&node.store, own).unwrap().unwrap();
    let parents = syncline_sync::Delta::from_bytes(&written).unwrap().parents;
    assert_eq!(parents.len(), limits::MAX_PARENTS);
    assert!(parents.iter().any(|parent| parent.dot.author == author(49)), "the newest is named");
    assert_eq!(node.replica.log().heads().len(), 1, "the older ones are forgotten");
    node.step(Event::Write(vec![set("y")]));
    assert_eq!(node.replica.log().covered().len(), 51);
}

#[test]
fn the_log_is_what_was_written_after_a_restart() {
    let mut node = Node::new(1);
    node.take_writes_of(3_000);
    node.step(Event::Write(vec![set("z")]));
    let (again, _) = Replica::recover(node.replica.config().clone(), &node.store).unwrap();
    let ours = node.replica.log();
    let loaded = again.log();
    assert_eq!(
        (ours.covered(), ours.floor(), ours.stable()),
        (loaded.covered(), loaded.floor(), loaded.stable())
    );
    assert_eq!(ours.heads(), loaded.heads());
    // A lost row of one author is noticed.
    let mut damaged: MemoryStore = node.store.clone();
    let mut batch = syncline_store::WriteBatch::default();
    let rows = damaged.range(&[0x10, 4], &[0x10, 5], 2).unwrap();
    batch.delete(rows[1].0.clone());
    damaged.apply(batch).unwrap();
    assert!(DeltaLog::load(&damaged, 9).is_err());
}

/// Two replicas, the timers of both, and the sizes of the frames between them.
struct Pair {
    nodes: [Node; 2],
    timers: [BTreeMap<Timer, SimTime>; 2],
    sent: Vec<(FrameKind, usize)>,
}

impl Pair {
    fn new(nodes: [Node; 2]) -> Self {
        let mut pair = Self { nodes, timers: Default::default(), sent: vec![] };
        for at in [0, 1] {
            pair.nodes[at].now = SimTime::from_secs(100);
            pair.step(at, Event::Peers([PeerId(1 - at as u32)].into()));
            pair.step(at, Event::Start);
        }
        pair
    }

    /// Handles an event at one side, and all frames that follow from it.
    fn step(&mut self, at: usize, event: Event) {
        let mut queue = vec![(at, event)];
        while let Some((at, event)) = queue.pop() {
            let actions = self.nodes[at].step(event);
            for op in actions.timers {
                match op {
                    TimerOp::Set { timer, at: due } => self.timers[at].insert(timer, due),
                    TimerOp::Cancel { timer } => self.timers[at].remove(&timer),
                };
            }
            for message in actions.messages {
                self.sent.push((message.kind, message.bytes.len()));
                let from = PeerId(at as u32);
                queue.push((1 - at, Event::Frame { from, bytes: message.bytes }));
            }
        }
    }

    fn run_for(&mut self, span: SimDuration) {
        let end = self.nodes[0].now + span;
        loop {
            let timers =
                [0, 1].map(|at| self.timers[at].iter().map(move |(timer, due)| (*due, at, *timer)).min());
            let Some((due, at, timer)) = timers.into_iter().flatten().min().filter(|due| due.0 <= end) else {
                break;
            };
            self.timers[at].remove(&timer);
            for node in &mut self.nodes {
                node.now = node.now.max(due);
            }
            self.step(at, Event::Timer(timer));
        }
        self.nodes.iter_mut().for_each(|node| node.now = end);
    }

    fn agree(&self) -> bool {
        self.nodes[0].replica.digest() == self.nodes[1].replica.digest()
    }

    /// Whether both cover the same deltas, at the latest after a few more sessions. A heartbeat may settle one.
    fn covers_the_same(&mut self) -> bool {
        (0..5).any(|_| {
            self.sync();
            let [one, two] = &self.nodes;
            one.replica.log().covered() == two.replica.log().covered()
        })
    }

    /// Forces a session: one side hears of another root of its peer.
    fn sync(&mut self) -> Vec<(FrameKind, usize)> {
        self.sent.clear();
        let root = syncline_types::Digest([0xab; 32]);
        let replica = self.nodes[1].replica.config().replica;
        let heartbeat = Message::Gossip(Gossip::Heartbeat { root, replica, seq: 0, clock: 0, wall_ms: 0 });
        let incarnation = self.nodes[1].replica.incarnation();
        let bytes = Frame { incarnation, message: heartbeat }.to_wire(super::CONTEXT).into();
        self.step(0, Event::Frame { from: PeerId(1), bytes });
        self.run_for(SimDuration::from_secs(2));
        std::mem::take(&mut self.sent)
    }
}

/// Promises: G3
#[test]
fn idle_handshake_costs_the_same_with_many_authors() {
    for authors in [10, 1_000, 10_000] {
        let nodes = [1, 2].map(|n| {
            let mut node = Node::new(n);
            node.take_writes_of(authors);
            node
        });
        let mut pair = Pair::new(nodes);
        pair.run_for(SimDuration::from_secs(5));
        assert!(pair.agree());
        for round in 0..3 {
            let sent = pair.sync();
            let largest = sent.iter().map(|(_, bytes)| *bytes).max().unwrap();
            assert!(sent.iter().any(|(kind, _)| *kind == FrameKind::Handshake), "a session ran");
            assert!(largest <= 2_048, "round {round}, {authors} authors: {sent:?}");
        }
    }
}

/// What differs is what is sent, whichever protocol runs.
#[test]
fn a_session_costs_its_difference_with_many_authors() {
    let nodes = [1, 2].map(|n| {
        let mut node = Node::new(n);
        node.take_writes_of(10_000);
        node
    });
    let mut pair = Pair::new(nodes);
    pair.run_for(SimDuration::from_secs(5));
    pair.sync();
    for n in 0..5 {
        // A write that its gossip does not reach.
        pair.nodes[n % 2].step(Event::Write(vec![set(&format!("k{n}"))]));
        let sent = pair.sync();
        assert!(pair.agree(), "round {n}");
        let bytes: usize = sent.iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes <= 8 << 10, "round {n}: {bytes} bytes: {sent:?}");
        // A responder adopts what its peer covers with the next handshake.
        assert!(pair.covers_the_same(), "round {n}");
    }
}

/// A peer that has restarted does not know what was exchanged before.
#[test]
fn restarted_peer_gets_whole_vectors_if_it_needs_them() {
    let nodes = [1, 2].map(|n| {
        let mut node = Node::new(n);
        node.take_writes_of(2_000);
        node
    });
    let mut pair = Pair::new(nodes);
    pair.run_for(SimDuration::from_secs(5));
    pair.sync();
    for n in 0..4u64 {
        let (replica, actions) =
            Replica::recover(pair.nodes[1].replica.config().clone(), &pair.nodes[1].store).unwrap();
        pair.nodes[1].replica = replica;
        pair.nodes[1].store.apply(actions.storage).unwrap();
        pair.timers[1].clear();
        pair.step(1, Event::Peers([PeerId(0)].into()));
        pair.step(1, Event::Start);
        // A different state, so that the first attempt of a relative handshake fails.
        pair.nodes[0].step(Event::Write(vec![set(&format!("k{n}"))]));
        pair.nodes[0].step(Event::Write(vec![set(&format!("l{n}"))]));
        pair.run_for(SimDuration::from_secs(60));
        assert!(pair.agree(), "round {n}");
        assert!(pair.covers_the_same(), "round {n}");
    }
}
