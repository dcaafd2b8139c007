//! The cost of each kind of frame, for hostile inputs of one and of ten times the size.
//!
//! `docs/spec/limits.md` states the costs. A hostile peer chooses what waits in the buffer and how many authors there
//! are; neither may make another frame more expensive.

use super::{Node, author, delta};
use syncline_replica::{Event, Refusal, ReplicaConfig, StepCost, Timer};
use syncline_sync::{Delta, DeltaRef, Dot, Gossip, Message, Request, RequestId, SessionId, Signature};
use syncline_types::{DeltaId, Digest, Encode, PeerId, ReplicaId, limits};

const ENEMY: PeerId = PeerId(1);

/// As many parents as a delta may have, none of which exists.
fn unknown_parents(from: u64) -> Vec<DeltaRef> {
    let mut parents: Vec<DeltaRef> = (0..limits::MAX_PARENTS as u64)
        .map(|n| DeltaRef {
            dot: Dot { author: author(1 << 40 | (from + n)), seq: 1 << 40 },
            id: DeltaId([0; 32]),
        })
        .collect();
    parents.sort_unstable();
    parents
}

/// A replica with this number of waiting deltas, none of which can ever be applied.
fn besieged(waiting: u64) -> Node {
    let mut node = Node::new(1);
    node.take_writes_of(10);
    for n in 0..waiting {
        let dot = Dot { author: author(1 << 50 | n), seq: 2 + n };
        let refused = node.gossip(delta(dot, unknown_parents(n * 8), vec![])).refusal;
        assert_eq!(refused, None);
    }
    assert_eq!(node.replica.pending().buffered as u64, waiting);
    node
}

/// The frames that a peer may send without being asked.
fn hostile_frames() -> Vec<(&'static str, Message)> {
    let dots = |from: u64| (0..256).map(|n| Dot { author: author(from + n), seq: 7 }).collect::<Vec<_>>();
    let session = SessionId(1);
    let id = RequestId(2);
    let request = Request::Deltas { covered: Default::default(), pushes: vec![] };
    vec![
        ("empty reply", Message::Gossip(Gossip::DeltaReply { deltas: vec![], unavailable: vec![] })),
        ("reply", {
            let wanted = delta(Dot { author: author(1 << 50), seq: 1 }, vec![], vec![]);
            let deltas = vec![wanted.to_bytes().into(); 256];
            Message::Gossip(Gossip::DeltaReply { deltas, unavailable: dots(1 << 40) })
        }),
        ("request", Message::Gossip(Gossip::DeltaRequest { wanted: dots(5_000) })),
        ("heartbeat", {
            let replica = ReplicaId::from_u64(9);
            Message::Gossip(Gossip::Heartbeat {
                root: Digest([3; 32]),
                replica,
                seq: 1 << 40,
                clock: 9,
                wall_ms: 9,
            })
        }),
        ("waiting delta", {
            let dot = Dot { author: author(1 << 51), seq: 3 };
            Message::Gossip(Gossip::Delta(delta(dot, unknown_parents(99_000), vec![])))
        }),
        ("covered delta", {
            Message::Gossip(Gossip::Delta(delta(
                Dot { author: author(3), seq: 1 },
                unknown_parents(0),
                vec![],
            )))
        }),
        ("delta that is ready", {
            Message::Gossip(Gossip::Delta(delta(Dot { author: author(3), seq: 2 }, vec![], vec![])))
        }),
        ("delta exchange", Message::Request { session, id, request }),
    ]
}

/// Promises: G1
#[test]
fn no_frame_costs_more_because_deltas_wait() {
    for (name, message) in hostile_frames() {
        let cost = |waiting: u64| -> StepCost { besieged(waiting).hear(ENEMY, message.clone()).cost };
        assert_eq!(cost(100), cost(1_000), "{name}");
    }
}

/// Promises: G1
#[test]
fn no_frame_costs_more_because_of_many_authors() {
    for (name, message) in hostile_frames() {
        let cost = |authors: u64| -> StepCost {
            let mut node = Node::new(1);
            node.take_writes_of(authors);
            node.hear(ENEMY, message.clone()).cost
        };
        let few = cost(200);
        let many = cost(2_000);
        // A delta exchange brings what the peer lacks: a page, whatever is there.
        let most = StepCost { storage_reads: few.storage_reads * 10 + 10, ..few };
        let is_bounded =
            if name == "delta exchange" { many.storage_reads <= most.storage_reads } else { many == few };
        assert!(is_bounded, "{name}: {few:?}, {many:?}");
    }
}

/// The fetch timer asks for a bounded number of deltas, however many are missing.
#[test]
fn fetching_costs_the_same_however_much_is_missing() {
    let cost = |waiting: u64| {
        let mut node = besieged(waiting);
        node.step(Event::Peers([ENEMY].into()));
        node.step(Event::Timer(Timer::Fetch)).cost
    };
    assert_eq!(cost(100), cost(1_000));
}

#[test]
fn unrequested_reply_is_dropped_and_counted() {
    let mut node = besieged(3);
    for (name, message) in hostile_frames().into_iter().take(2) {
        let actions = node.hear(ENEMY, message);
        assert_eq!(actions.refusal, Some(Refusal::Duplicate), "{name}");
        assert_eq!(actions.cost.dag_lookups, 0, "{name}");
        assert!(actions.messages.is_empty() && actions.timers.is_empty(), "{name}");
    }
}

/// What was requested from one peer is accepted from this peer, once, and nothing besides.
#[test]
fn reply_brings_what_was_requested() {
    let mut node = Node::new(1);
    node.take_writes_of(10);
    node.step(Event::Peers([ENEMY, PeerId(2)].into()));
    let alice = ReplicaId::from_u64(7);
    let chain: Vec<Delta> = (1..=3).map(|seq| delta(Dot { author: alice, seq }, vec![], vec![])).collect();
    let actions = node.gossip(chain[2].clone());
    let asked = actions.messages.iter().map(|message| message.to).collect::<Vec<_>>();
    assert_eq!(asked, [ENEMY], "the sender is asked for what is missing");
    let reply = |deltas: &[&Delta]| {
        let deltas = deltas.iter().map(|delta| delta.to_bytes().into()).collect();
        Message::Gossip(Gossip::DeltaReply { deltas, unavailable: vec![] })
    };
    let other = node.hear(PeerId(2), reply(&[&chain[0]]));
    assert_eq!(other.refusal, Some(Refusal::Duplicate), "another peer was not asked");
    let stranger = delta(Dot { author: author(99), seq: 1 }, vec![], vec![]);
    let actions = node.hear(ENEMY, reply(&[&chain[0], &stranger, &chain[1]]));
    assert!(actions.refusal.is_some(), "something else is in it, so it answers no request");
    assert_eq!(node.replica.log().covered().of(alice), 0);
    node.hear(ENEMY, reply(&[&chain[0], &chain[1]]));
    assert_eq!(node.replica.log().covered().of(alice), 3, "the last one waited");
    assert_eq!(node.replica.log().covered().of(author(99)), 0);
}

/// Promises: G1
#[test]
fn buffer_is_bounded_in_bytes() {
    let config =
        ReplicaConfig { buffer_bytes: 1 << 20, ..ReplicaConfig::new(super::CONTEXT, ReplicaId::from_u64(1)) };
    let mut node = Node::with(config);
    node.take_writes_of(10);
    for n in 0..400 {
        let big = Delta {
            signature: Signature(vec![7; 128]),
            ..delta(Dot { author: author(n % 7), seq: 9 + n }, vec![], {
                (0..100).map(|k| super::register(author(n % 7), &format!("{n} {k}"), 905)).collect()
            })
        };
        node.gossip(big);
        assert!(node.replica.sizes().buffered_bytes <= 1 << 20, "{:?}", node.replica.sizes());
    }
    assert!(node.replica.is_buffer_balanced());
    assert!(node.replica.pending().buffered > 50);
    assert!(node.replica.buffer_ledger().evicted + node.replica.buffer_ledger().overflowed > 100);
}

/// What was evicted comes with a sync.
#[test]
fn evicted_deltas_are_not_lost() {
    use crate::hostile::{World, config};
    use syncline_types::SimDuration;
    let mut world = World::new();
    for node in 0..2 {
        world.add(ReplicaConfig { buffer_capacity: 4, buffer_author_capacity: 3, ..config(node, 2) });
    }
    world.write(0, vec![super::set("first")]);
    world.link(0, 1);
    world.run_for(SimDuration::from_secs(5));
    world.unlink(0, 1);
    world.write(0, vec![super::set("gap")]);
    world.link(0, 1);
    for n in 0..30 {
        world.write(0, vec![super::set(&format!("k{n}"))]);
    }
    world.run_for(SimDuration::from_secs(30));
    assert_eq!(world.honest(0).sound_root(), world.honest(1).sound_root());
}

#[test]
fn delta_with_too_many_parents_does_not_decode() {
    let parents: Vec<DeltaRef> = {
        let mut parents = unknown_parents(0);
        parents.extend(unknown_parents(1_000));
        parents.sort_unstable();
        parents
    };
    let mut node = Node::new(1);
    let refused = node.gossip(delta(Dot { author: author(1), seq: 1 }, parents, vec![])).refusal;
    assert!(matches!(refused, Some(Refusal::Frame(_))), "{refused:?}");
}
