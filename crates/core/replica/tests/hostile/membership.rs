//! Changes of membership.

use super::adversary::register;
use super::deltas::Host;
use super::mutant::Holdings;
use super::world::{CONTEXT, World, config, replica_at, set};
use syncline_replica::{Event, Notice, Operation, OperationError, Refusal, ReplicaError, Target, Timer};
use syncline_store::MemoryStore;
use syncline_sync::*;
use syncline_types::{Hlc, Moment, PeerId, SimDuration, SimTime};

fn members(peers: &[u32]) -> Membership {
    Membership::named(peers.iter().map(|peer| replica_at(*peer)))
}

fn seconds(count: u64) -> SimDuration {
    SimDuration::from_secs(count)
}

/// Three members that know each other, each with a write of its own.
fn three(retention: u64, seed: u64) -> World {
    let mut world = World::drawn_from(seed);
    for node in 0..3 {
        let mut config = config(node, 3);
        config.delta_retention = retention;
        world.add(config);
        world.write(node, vec![set(&format!("of {node}"), "early")]);
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        world.link(a, b);
    }
    world.run_for(seconds(10));
    let root = world.honest(0).sound_root();
    assert!((1..3).all(|node| world.honest(node).sound_root() == root));
    world
}

#[test]
fn evicted_member_is_rejected_writes_stay() {
    let mut world = three(100, 7);
    for node in 0..2 {
        world.honest(node).replica.set_membership(members(&[0, 1]));
    }
    // The evicted member does not know.
    world.write(2, vec![set("late", "from outside")]);
    world.write(0, vec![set("inside", "news")]);
    world.run_for(seconds(60));
    let root = world.honest(0).sound_root();
    assert_eq!(world.honest(1).sound_root(), root, "the others are unaffected");
    for node in 0..2 {
        let honest = world.honest(node);
        assert!(honest.read("of 2").is_some() && honest.read("late").is_none());
        assert!(honest.refusals.contains(&(PeerId(2), Refusal::NotAMember)));
        assert_eq!(honest.replica.pending().pending_syncs, 0, "nothing is owed to it");
    }
    let evicted = world.honest(2);
    let rejected = Outcome::Failed(FailureReason::Rejected(Rejection::NotAMember));
    let outcomes: Vec<Outcome> = evicted.outcomes(0).into_iter().map(|(outcome, _)| outcome).collect();
    assert!(outcomes.contains(&rejected), "{outcomes:?}");
    assert!(outcomes.len() < 15, "it backs off: {}", outcomes.len());
}

#[test]
fn final_rejection_leaves_no_pending_sync() {
    let mut host = Host::new(0);
    host.write("mine");
    assert!(host.hear_of_a_difference().is_some());
    assert_eq!(host.replica.pending().pending_syncs, 1);
    host.now += 1_000;
    let actions = host.step(Event::Timer(Timer::PendingSync));
    let frame = Frame::from_wire(&actions.messages[0].bytes, CONTEXT).unwrap();
    let Message::Request { session, id, request: Request::Handshake(_) } = frame.message else {
        panic!("{frame:?}")
    };
    let response = Response::Rejected(Rejection::NotAMember);
    let actions = host.say(Message::Response { session, id, response });
    let failed = |notice: &Notice| {
        let rejected = Outcome::Failed(FailureReason::Rejected(Rejection::NotAMember));
        matches!(notice, Notice::SessionEnded { outcome, .. } if *outcome == rejected)
    };
    assert!(actions.notices.iter().any(failed));
    assert!(host.replica.pending().is_none(), "another try would end alike");
    // Unless it is heard of again, and then after a pause.
    assert!(host.hear_of_a_difference() >= Some(200));
}

#[test]
fn outsider_does_not_write() {
    let mut host = Host::new(0);
    host.write("before");
    let before = host.replica.digest();
    host.replica.set_membership(members(&[1, 2]));
    let operation = Operation::Set { target: Target::named(b"after"), bytes: b"x".to_vec() };
    let actions = host.step(Event::Write(vec![operation]));
    assert_eq!(actions.notices, [Notice::WriteRefused { error: OperationError::NotAMember }]);
    assert!(actions.messages.is_empty() && host.replica.digest() == before);
}

#[test]
fn new_member_is_admitted_once_named() {
    let mut world = World::new();
    for node in 0..2 {
        let mut config = config(node, 3);
        config.membership = members(&[0, 1]);
        world.add(config);
        world.write(node, vec![set(&format!("of {node}"), "early")]);
    }
    let mut joiner = config(2, 3);
    joiner.membership = members(&[0, 1, 2]);
    world.add(joiner);
    world.link(0, 1);
    world.link(0, 2);
    world.run_for(seconds(10));
    assert!(world.honest(2).replica.digest().is_zero(), "it is a stranger yet");
    for node in 0..2 {
        world.honest(node).replica.set_membership(members(&[0, 1, 2]));
    }
    world.run_for(seconds(60));
    world.write(2, vec![set("of 2", "late")]);
    world.run_for(seconds(10));
    let root = world.honest(2).sound_root();
    assert!((0..2).all(|node| world.honest(node).sound_root() == root));
    assert!(world.honest(1).read("of 2").is_some());
}

#[test]
fn disagreeing_members_still_converge() {
    let mut world = World::new();
    for (node, known) in [(0, &[0, 1][..]), (1, &[0, 1, 2]), (2, &[0, 1, 2])] {
        let mut config = config(node, 3);
        config.membership = members(known);
        // By the table they begin with deltas.
        config.selection = Selection::Table;
        world.add(config);
        world.write(node, vec![set(&format!("of {node}"), "early")]);
    }
    world.link(1, 2);
    world.run_for(seconds(5));
    world.write(2, vec![set("delta", "that node 0 refuses")]);
    world.link(0, 1);
    world.run_for(seconds(5));
    world.write(2, vec![set("another", "delta")]);
    world.run_for(seconds(60));
    let root = world.honest(1).sound_root();
    assert_eq!(world.honest(0).sound_root(), root, "the records came with a member's state");
    let node = world.honest(0);
    let refused = Notice::DeltaRefused { from: PeerId(1), refusal: DeltaRefusal::NotAMember };
    assert!(node.notices.contains(&refused), "and the deltas were refused");
    assert!(node.read("another").is_some());
}

#[test]
fn evicting_author_drops_buffered_deltas() {
    let mut host = Host::new(0);
    let mut author = Host::new(2);
    author.write("first");
    let second = author.write("second");
    assert_eq!(host.say(Message::Gossip(Gossip::Delta(second))).refusal, None);
    assert_eq!(host.replica.pending().buffered, 1);
    host.replica.set_membership(members(&[0, 1]));
    assert_eq!((host.replica.pending().buffered, host.replica.buffer_ledger().unauthorized), (0, 1));
    assert!(host.replica.is_buffer_balanced());
}

/// Whichever of two members begins the session that makes them equal, and whether or not the one left behind restarts.
#[test]
fn returning_member_brings_nothing_collected_back() {
    for seed in 0..24 {
        bring_back_collected(seed);
    }
}

fn bring_back_collected(seed: u64) {
    // With next to no deltas retained, what it missed can only come with states.
    let mut world = three(1, seed);
    world.write(2, vec![set("own", "written away")]);
    world.unlink(0, 2);
    world.unlink(1, 2);
    world.run_for(seconds(1));
    for node in 0..2 {
        world.honest(node).replica.set_membership(members(&[0, 1]));
    }
    world.write(0, vec![Operation::Delete { target: Target::named(b"of 2") }]);
    world.run_for(seconds(5));
    for round in 0..20 {
        // Clocks advance only with writes, and only handshakes announce what a member covers.
        world.unlink(0, 1);
        world.write(round % 2, vec![set("tick", &round.to_string())]);
        world.run_for(seconds(1));
        world.link(0, 1);
        world.run_for(seconds(10));
    }
    let forgot = |notice: &Notice| matches!(notice, Notice::TombstonesCollected { .. });
    assert!(world.honest(0).notices.iter().any(forgot), "the tombstone is gone");

    // It comes back with its old state, as a member again.
    if seed % 2 == 1 {
        world.restart(2);
    }
    for node in 0..2 {
        world.honest(node).replica.set_membership(members(&[0, 1, 2]));
    }
    world.link(0, 2);
    world.run_for(seconds(120));
    let root = world.honest(0).sound_root();
    assert_eq!(world.honest(1).sound_root(), root);
    assert!(world.honest(0).read("of 2").is_none(), "{seed}: what was deleted does not come back");
    let conflict = world.honest(2).error.clone();
    let is_left_behind =
        matches!(conflict, Some(ReplicaError::History(HistoryConflict::LeftBehind { own: Hlc::ZERO, .. })));
    assert!(is_left_behind, "{conflict:?}");

    // It starts afresh, with what only it had.
    for node in 0..3 {
        world.honest(node).replica.set_membership(members(&[0, 1, 2, 7]));
    }
    world.bring_back(2, 7);
    world.run_for(seconds(60));
    let root = world.honest(0).sound_root();
    for node in 0..3 {
        assert_eq!(world.honest(node).sound_root(), root);
        assert!(world.honest(node).read("of 2").is_none(), "{seed}: {node}");
        assert_eq!(world.honest(node).read("own").as_deref(), Some(&b"written away"[..]), "{seed}: {node}");
    }
}

#[test]
fn session_ends_when_peer_is_evicted() {
    let now = SimTime::from_secs(1);
    let mut host = StoreHost::open(MemoryStore::default(), CONTEXT, replica_at(0), Moment::at(now)).unwrap();
    host.membership = members(&[0, 1]);
    let mut peer = Holdings::new(1);
    let by = peer.replica;
    peer.write(vec![register("theirs", "held", by, 500)], SimTime::from_millis(600));
    let (mut session, first) = host.start_with(SyncProtocolKind::HashComparison).unwrap();
    let mut answer = |message: &Message| {
        let Message::Request { session, id, request } = message else { panic!("{message:?}") };
        Message::Response { session: *session, id: *id, response: peer.respond(request, now) }
    };
    let progress = host.on_message(&mut session, &answer(&first)).unwrap();
    let SessionProgress::Send(id, request) = progress else { panic!("{progress:?}") };
    host.membership = members(&[0, 2]);
    let next = Message::Request { session: session.id(), id, request };
    let progress = host.on_message(&mut session, &answer(&next)).unwrap();
    let failure = FailureReason::NotAMember { replica: replica_at(1) };
    assert_eq!(progress, SessionProgress::Done(Outcome::Failed(failure)));
    assert_eq!(session.stats().records_received, 0);
}
