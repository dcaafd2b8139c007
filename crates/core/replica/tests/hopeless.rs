//! What cannot be repaired now costs less and less (**G4**): after ten minutes, no node sends a peer more than a
//! kilobyte a minute, whatever keeps the two from becoming equal.

use crate::hostile::adversary::{ADVERSARY, case, differing};
use crate::hostile::world::{Hostile, World, config, replica_at, set};
use syncline_replica::{Operation, ReplicaConfig, Target};
use syncline_sync::{
    Delta, DeltaRef, Dot, Gate, Gossip, Membership, Message, Request, Response, SyncProtocolKind,
};
use syncline_types::{DeltaId, Digest, Hlc, Limit, Limits, SimDuration, SimTime};

const MINUTE: SimDuration = SimDuration::from_secs(60);
/// The most bytes that a node may send a peer in a minute.
const MOST_A_MINUTE: u64 = 1_000;

/// Runs for ten minutes, and then for two times ten minutes in which no node may send too much.
fn assert_cheap(world: &mut World) {
    world.run_for(MINUTE.times(10));
    for from in [10, 20] {
        let before = world.traffic.clone();
        world.run_for(MINUTE.times(10));
        for (pair, bytes) in &world.traffic {
            let sent = bytes - before.get(pair).copied().unwrap_or_default();
            assert!(sent <= 10 * MOST_A_MINUTE, "{pair:?} from minute {from}: {sent} bytes in ten minutes");
        }
    }
}

/// Three linked members that agree.
fn three() -> World {
    let mut world = World::new();
    (0..3).for_each(|node| {
        world.add(config(node, 3));
    });
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.write(1, vec![set("x", "0")]);
    world.run_for(SimDuration::from_secs(5));
    world
}

/// A member whose only write was made while its clock was an hour ahead, before it met the others.
fn with_history_ahead(values: usize) -> World {
    let mut world = World::new();
    (0..3).for_each(|node| {
        // It is told to wait for that hour, whatever its peers' clocks show.
        world.add(ReplicaConfig { max_wait_ms: u64::MAX, ..config(node, 3) });
    });
    world.honest(0).ahead_ms = 3_600_000;
    for value in 0..values {
        world.write(0, vec![set(&format!("ahead {value}"), &"v".repeat(1_000))]);
    }
    world.honest(0).ahead_ms = 0;
    world.write(1, vec![set("x", "0")]);
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world
}

#[test]
fn history_ahead_of_time_is_cheap() {
    for values in [1, 300] {
        let mut world = with_history_ahead(values);
        assert_cheap(&mut world);
        world.run_for(MINUTE.times(30));
        let roots = [0, 1, 2].map(|node| world.honest(node).sound_root());
        assert!(roots.iter().all(|root| *root == roots[0]), "the hour is over: {roots:?}");
    }
}

/// What a hostile peer answers to a message, and what it announces by itself.
struct Peer<A, B> {
    answer: A,
    announce: B,
}

impl<A: FnMut(&Message) -> Option<Message>, B: FnMut(SimTime) -> Option<Message>> Hostile for Peer<A, B> {
    fn on_message(&mut self, message: &Message, _: SimTime) -> Vec<(SimDuration, Message)> {
        (self.answer)(message).map(|answer| (SimDuration::ZERO, answer)).into_iter().collect()
    }

    fn on_tick(&mut self, now: SimTime) -> Vec<Message> {
        (self.announce)(now).into_iter().collect()
    }
}

/// A heartbeat of the third member, whose root is nobody else's.
fn heartbeat(root: u8) -> Message {
    let replica = replica_at(2);
    Message::Gossip(Gossip::Heartbeat { root: Digest([root; 32]), replica, seq: 0, clock: 0, wall_ms: 0 })
}

/// Two members that agree, and a hostile third one.
fn with_hostile(
    answer: impl FnMut(&Message) -> Option<Message> + 'static,
    announce: impl FnMut(SimTime) -> Option<Message> + 'static,
) -> World {
    let mut world = World::new();
    world.add(config(0, 3));
    world.add(config(1, 3));
    world.add_hostile(Peer { answer, announce });
    world.write(0, vec![set("x", "0")]);
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world
}

/// Promises: G4
#[test]
fn peer_that_answers_nothing_is_cheap() {
    assert_cheap(&mut with_hostile(|_| None, |_| None));
    assert_cheap(&mut with_hostile(|_| None, |_| Some(heartbeat(7))));
    // A root of its own in each heartbeat.
    assert_cheap(&mut with_hostile(|_| None, |now| Some(heartbeat(now.as_millis() as u8))));
}

#[test]
fn peer_that_answers_garbage_is_cheap() {
    let garbage = |message: &Message| match message {
        Message::Request { session, id, .. } => {
            let response = Response::Rejected(syncline_sync::Rejection::Implausible);
            Some(Message::Response { session: *session, id: *id, response })
        }
        _ => None,
    };
    assert_cheap(&mut with_hostile(garbage, |now| Some(heartbeat(now.as_millis() as u8))));
    let yields = |message: &Message| match message {
        Message::Request { session, id, request: Request::Handshake(_) } => {
            let response = Response::Rejected(syncline_sync::Rejection::Yield);
            Some(Message::Response { session: *session, id: *id, response })
        }
        _ => None,
    };
    assert_cheap(&mut with_hostile(yields, |_| Some(heartbeat(7))));
}

/// Promises: G4
#[test]
fn peer_whose_state_always_differs_is_cheap() {
    let mut world = case("differing", SyncProtocolKind::HashComparison, |_| true, differing).harmless().run();
    world.unlink(0, ADVERSARY);
    world.link(0, ADVERSARY);
    assert_cheap(&mut world);
}

#[test]
fn membership_without_the_peer_is_cheap() {
    let mut world = World::new();
    world.add(config(0, 3));
    world.add(ReplicaConfig { membership: Membership::named([replica_at(1)]), ..config(1, 3) });
    world.add(config(2, 3));
    world.write(0, vec![set("x", "0")]);
    world.write(1, vec![set("y", "0")]);
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    assert_cheap(&mut world);
}

#[test]
fn peers_without_common_protocol_are_cheap() {
    let mut world = World::new();
    world.add(ReplicaConfig {
        protocols: vec![SyncProtocolKind::DeltaSync],
        delta_retention: 1,
        ..config(0, 2)
    });
    world.add(ReplicaConfig { protocols: vec![SyncProtocolKind::LevelWise], ..config(1, 2) });
    for node in [0, 1] {
        (0..5).for_each(|n| world.write(node, vec![set(&format!("{node} {n}"), "v")]));
    }
    world.link(0, 1);
    assert_cheap(&mut world);
}

#[test]
fn value_that_is_too_large_for_a_peer_is_cheap() {
    // What a frame has to have room for is a share of the frame.
    let sizes = [
        Limit::PageBytes,
        Limit::SnapshotPageBytes,
        Limit::ChildrenPerAnswer,
        Limit::MissingPerAnswer,
        Limit::CellsPerFrame,
        Limit::ValueBytes,
        Limit::LabelBytes,
        Limit::DeltaBytes,
        Limit::FrameBytes,
    ];
    let small = sizes
        .into_iter()
        .fold(Limits::default(), |limits, size| limits.with(size, size.most() >> 6).unwrap());
    let mut world = World::new();
    world.add(config(0, 2));
    world.add(ReplicaConfig { limits: small, ..config(1, 2) });
    let target = Target::named(b"large");
    world.write(0, vec![Operation::Set { target, bytes: vec![7; 500 << 10] }]);
    world.write(1, vec![set("y", "0")]);
    world.link(0, 1);
    assert_cheap(&mut world);
}

/// Deltas whose parents nobody has, signed by a member, and a peer that never says that it lacks them, too.
#[test]
fn deltas_that_nobody_can_complete_are_dropped() {
    let author = replica_at(2);
    let orphan = move |seq: u64| {
        let parent = DeltaRef { dot: Dot { author, seq: seq - 1 }, id: DeltaId::default() };
        let gate = Gate {
            authority: config(2, 3).authority,
            membership: Membership::Open,
            context: config(2, 3).context,
        };
        Delta::new(Dot { author, seq }, vec![parent], Hlc::new(1_000, 0, author), vec![]).signed(&gate)
    };
    let mut said = false;
    let announce = move |_| {
        let first = !std::mem::replace(&mut said, true);
        first.then(|| Message::Gossip(Gossip::Delta(orphan(9))))
    };
    let mut world = with_hostile(|_| None, announce);
    world.run_for(SimDuration::from_secs(1));
    assert_eq!(world.honest(0).replica.pending().buffered, 1);
    assert_cheap(&mut world);
    for node in [0, 1] {
        assert_eq!(world.honest(node).replica.pending().buffered, 0);
    }
}

/// Promises: G4
#[test]
fn members_that_agree_are_cheap() {
    assert_cheap(&mut three());
}
