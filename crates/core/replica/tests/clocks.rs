//! Wrong clocks: no stamp is made from one that cannot be right, and none holds up the others (**A3**).

use crate::hostile::world::{Hostile, World, config, replica_at, set};
use syncline_replica::{ClockEvidence, Event, Notice, Operation, OperationError, ReplicaConfig, Target};
use syncline_storage::Interface;
use syncline_store::Store;
use syncline_sync::{Gossip, Membership, Message};
use syncline_types::{Digest, Hlc, Moment, SimDuration, SimTime};

const HOUR_MS: u64 = 3_600_000;
const MINUTE: SimDuration = SimDuration::from_secs(60);

/// Members that agree, the first `linked` of which are linked with each other.
fn members(all: u32, linked: u32) -> World {
    members_who_wait(all, linked, 60_000)
}

/// Members that wait so long for their peers to take a history that is ahead of time.
fn members_who_wait(all: u32, linked: u32, max_wait_ms: u64) -> World {
    let mut world = World::new();
    world.now = SimTime::from_secs(1_000_000);
    (0..all).for_each(|node| {
        world.add(ReplicaConfig { max_wait_ms, ..config(node, all) });
    });
    for one in 0..linked {
        (one + 1..linked).for_each(|two| world.link(one, two));
    }
    world.write(1, vec![set("x", "0")]);
    world.run_for(SimDuration::from_secs(5));
    world
}

/// Why the last write of a node was refused, if it was.
fn refusal(world: &mut World, node: u32) -> Option<OperationError> {
    let of = |notice: &Notice| match notice {
        Notice::WriteRefused { error } => Some(Some(error.clone())),
        Notice::WriteAccepted { .. } => Some(None),
        _ => None,
    };
    world.honest(node).notices.iter().rev().find_map(of).flatten()
}

/// What shows that the clock of a node is wrong, and by how much.
fn evidence(world: &mut World, node: u32) -> Option<(ClockEvidence, u64)> {
    match refusal(world, node)? {
        OperationError::ImplausibleClock(fault) => Some((fault.evidence, fault.ahead_ms())),
        error => panic!("{error}"),
    }
}

fn read(world: &mut World, node: u32, name: &str) -> Option<Vec<u8>> {
    world.honest(node).read(name)
}

/// Promises: A3
#[test]
fn no_stamp_from_clock_that_jumped_ahead() {
    for ahead_ms in [HOUR_MS, 24 * HOUR_MS, 27 * 365 * 24 * HOUR_MS] {
        let mut world = members(3, 3);
        world.honest(0).ahead_ms = ahead_ms;
        world.write(0, vec![set("oops", "1")]);
        let (_, found_ms) = evidence(&mut world, 0).unwrap();
        assert!(found_ms.abs_diff(ahead_ms) < 1_000, "{found_ms}");
        world.run_for(SimDuration::from_secs(2));
        world.honest(0).ahead_ms = 0;
        for round in 0..10 {
            world.write(0, vec![set(&format!("ok {round}"), "1")]);
            world.write(1, vec![set(&format!("one {round}"), "1")]);
            world.run_for(SimDuration::from_secs(1));
        }
        assert_eq!(refusal(&mut world, 0), None);
        world.run_for(SimDuration::from_secs(5));
        for node in 0..3 {
            assert_eq!(read(&mut world, node, "oops"), None);
            for round in 0..10 {
                assert!(read(&mut world, node, &format!("ok {round}")).is_some(), "{node}: {round}");
                assert!(read(&mut world, node, &format!("one {round}")).is_some(), "{node}: {round}");
            }
        }
    }
}

#[test]
fn jump_is_seen_without_peers() {
    let mut world = members(2, 0);
    world.write(0, vec![set("before", "1")]);
    world.honest(0).ahead_ms = HOUR_MS;
    world.write(0, vec![set("oops", "1")]);
    assert_eq!(evidence(&mut world, 0), Some((ClockEvidence::Jump, HOUR_MS)));
    world.step(0, Event::TrustClock);
    world.write(0, vec![set("wanted", "1")]);
    assert_eq!(refusal(&mut world, 0), None);
    assert_eq!(read(&mut world, 0, "wanted").as_deref(), Some(&b"1"[..]));
    world.honest(0).ahead_ms = 2 * HOUR_MS;
    world.write(0, vec![set("oops", "1")]);
    assert_eq!(evidence(&mut world, 0), Some((ClockEvidence::Jump, HOUR_MS)), "it is trusted as it was");
}

#[test]
fn clock_that_starts_ahead_is_seen_by_what_peers_announce() {
    let mut world = members(3, 0);
    world.honest(2).ahead_ms = HOUR_MS;
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.run_for(MINUTE);
    world.write(2, vec![set("oops", "1")]);
    let (found, ahead_ms) = evidence(&mut world, 2).unwrap();
    assert_eq!(found, ClockEvidence::Peers { behind: 2, heard: 2 });
    assert!(ahead_ms.abs_diff(HOUR_MS) < 1_000, "{ahead_ms}");
    world.write(0, vec![set("fine", "1")]);
    world.run_for(SimDuration::from_secs(5));
    assert!(read(&mut world, 2, "fine").is_some(), "it takes what others write");
    // It was the others that were late: a correction is believed once they confirm it.
    (0..2).for_each(|node| world.honest(node).ahead_ms = HOUR_MS);
    world.run_for(MINUTE.times(2));
    for node in 0..3 {
        world.write(node, vec![set(&format!("by {node}"), "1")]);
        assert_eq!(refusal(&mut world, node), None, "{node}");
    }
}

#[test]
fn stopped_for_too_long_is_seen_by_store() {
    let mut world = members(2, 0);
    world.write(0, vec![set("before", "1")]);
    let year_ms = 365 * 24 * HOUR_MS;
    world.honest(0).ahead_ms = year_ms;
    world.restart(0);
    world.write(0, vec![set("a year later", "1")]);
    assert_eq!(refusal(&mut world, 0), None);
    world.honest(0).ahead_ms = 27 * year_ms;
    world.restart(0);
    world.write(0, vec![set("oops", "1")]);
    assert_eq!(evidence(&mut world, 0), Some((ClockEvidence::Absence, 26 * year_ms)));
}

/// A member that announces a wrong wall clock.
struct Liar(u64);

impl Hostile for Liar {
    fn on_message(&mut self, _: &Message, _: SimTime) -> Vec<(SimDuration, Message)> {
        vec![]
    }

    fn on_tick(&mut self, _: SimTime) -> Vec<Message> {
        let replica = replica_at(3);
        let root = Digest([7; 32]);
        vec![Message::Gossip(Gossip::Heartbeat {
            root,
            replica,
            seq: 0,
            clock: self.0 << 16,
            wall_ms: self.0,
        })]
    }
}

/// Promises: A3
#[test]
fn one_liar_stops_nobody() {
    for wall_ms in [0, 5, u64::MAX >> 16] {
        let mut world = members(4, 0);
        let liar = world.add_hostile(Liar(wall_ms));
        for node in [0, 1] {
            world.link(node, liar);
        }
        world.link(0, 1);
        world.run_for(MINUTE);
        for node in [0, 1] {
            world.write(node, vec![set(&format!("by {node}"), "1")]);
            assert_eq!(refusal(&mut world, node), None, "{node} with a liar at {wall_ms}");
        }
        world.run_for(SimDuration::from_secs(5));
        assert!(read(&mut world, 0, "by 1").is_some() && read(&mut world, 1, "by 0").is_some());
    }
}

/// Promises: A3
#[test]
fn history_ahead_holds_up_nobody_and_is_named() {
    let mut world = members_who_wait(4, 0, u64::MAX);
    world.honest(0).ahead_ms = HOUR_MS;
    world.write(0, vec![set("ahead", "1")]);
    world.honest(0).ahead_ms = 0;
    world.write(0, vec![set("late", "1")]);
    assert_eq!(refusal(&mut world, 0), None, "it is right again");
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.run_for(SimDuration::from_secs(20));
    for round in 0..10 {
        [1, 2].into_iter().for_each(|node| world.write(node, vec![set(&format!("{node} {round}"), "1")]));
        world.run_for(SimDuration::from_secs(1));
    }
    world.run_for(SimDuration::from_secs(5));
    for (node, other) in [(1, 2), (2, 1), (0, 1), (0, 2)] {
        for round in 0..10 {
            assert!(read(&mut world, node, &format!("{other} {round}")).is_some(), "{node}: {other} {round}");
        }
    }
    // Who knows only the replica that is ahead gets from it what is not.
    world.link(0, 3);
    world.run_for(MINUTE);
    assert!(read(&mut world, 3, "x").is_some() && read(&mut world, 3, "1 9").is_some());
    assert_eq!(read(&mut world, 3, "ahead"), None);

    let moment = Moment::at(world.now);
    let until_ms = SimTime::from_secs(1_000_000).as_millis() + HOUR_MS;
    for node in 0..3 {
        let ahead = world.honest(node).replica.ahead_of_time(moment);
        let [ahead] = ahead[..] else { panic!("{node}: {ahead:?}") };
        assert_eq!((ahead.replica, ahead.peer.is_none()), (replica_at(0), node == 0));
        assert!(ahead.until_ms.abs_diff(until_ms) < 30_000, "{ahead}");
        let noted =
            |notice: &Notice| matches!(notice, Notice::AheadOfTime(noted) if noted.replica == replica_at(0));
        assert!(world.honest(node).notices.iter().any(noted), "{node}");
    }
    world.run_for(MINUTE.times(60));
    for node in 0..4 {
        assert!(
            read(&mut world, node, "ahead").is_some() && read(&mut world, node, "late").is_some(),
            "{node}"
        );
        let moment = Moment::at(world.now);
        assert_eq!(world.honest(node).replica.ahead_of_time(moment), []);
    }
}

/// The others take what a replica writes whose clock has fallen back. It takes what they write once its clock is set.
///
/// Promises: A3
#[test]
fn clock_that_fell_back_holds_up_only_its_own_replica() {
    let mut world = members(3, 0);
    (0..3).for_each(|node| world.honest(node).ahead_ms = 365 * 24 * HOUR_MS);
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.write(2, vec![set("shared", "2")]);
    world.run_for(MINUTE);
    world.honest(0).ahead_ms = 0;
    world.write(0, vec![set("shared", "0, later")]);
    assert_eq!(refusal(&mut world, 0), None, "stamps ascend anyway");
    world.run_for(MINUTE);
    [1, 2].into_iter().for_each(|node| world.write(node, vec![set(&format!("of {node}"), "1")]));
    world.run_for(MINUTE);
    for node in [1, 2] {
        assert_eq!(read(&mut world, node, "shared").as_deref(), Some(&b"0, later"[..]));
        assert!(read(&mut world, node, "of 1").is_some() && read(&mut world, node, "of 2").is_some());
    }
    let said = |notice: &Notice| matches!(notice, Notice::AheadOfTime(_));
    assert!(world.honest(0).notices.iter().any(said), "its host gets the notice");
    world.honest(0).ahead_ms = 365 * 24 * HOUR_MS;
    world.run_for(MINUTE.times(10));
    let root = world.honest(0).sound_root();
    assert!([1, 2].into_iter().all(|node| world.honest(node).sound_root() == root));
    assert!(read(&mut world, 0, "of 1").is_some());
}

/// Two members have deleted, collected and forgotten an entity, with clocks ahead of that of a third one, which has
/// nothing yet and joins now. No record is left of what set the horizon.
fn newcomer_behind_horizon() -> World {
    let mut world = World::new();
    world.now = SimTime::from_secs(1_000_000);
    (0..3).for_each(|node| {
        world.add(config(node, 3));
    });
    for node in [0, 1] {
        world.honest(node).ahead_ms = 19_000;
        world.honest(node).replica.set_membership(Membership::named([0, 1].map(replica_at)));
    }
    world.link(0, 1);
    world.write(0, vec![set("stays", "1"), set("gone", "1")]);
    world.run_for(SimDuration::from_secs(5));
    world.write(0, vec![Operation::Delete { target: Target::named(b"gone") }]);
    for _ in 0..5 {
        // A handshake announces what each one covers.
        world.run_for(SimDuration::from_secs(1));
        world.unlink(0, 1);
        world.link(0, 1);
    }
    world.run_for(SimDuration::from_secs(5));
    for node in [0, 1] {
        let collected = |notice: &Notice| matches!(notice, Notice::TombstonesCollected { records: 1.., .. });
        assert!(world.honest(node).notices.iter().any(collected), "{node} has collected the tombstone");
        world.honest(node).replica.set_membership(Membership::named([0, 1, 2].map(replica_at)));
    }
    world.link(1, 2);
    world.run_for(SimDuration::from_secs(2));
    assert_eq!(read(&mut world, 2, "stays"), Some(b"1".to_vec()), "the newcomer has the state");
    world
}

fn horizon(world: &mut World, node: u32) -> Hlc {
    Interface::open(world.honest(node).store.view()).unwrap().horizon()
}

/// The time of the last write of a value.
fn stamp_of(world: &mut World, node: u32, name: &str) -> Hlc {
    let mut state = Interface::open(world.honest(node).store.view()).unwrap();
    state.record(Target::named(name.as_bytes()).id).unwrap().unwrap().latest_stamp()
}

/// The first write of a newcomer may be before a horizon that it has not heard of. The handshake in which it hears of the
/// horizon moves its clock.
#[test]
fn newcomer_writes_after_adopted_horizon() {
    let mut world = newcomer_behind_horizon();
    let theirs = horizon(&mut world, 1);
    world.write(2, vec![set("first", "1")]);
    assert!(stamp_of(&mut world, 2, "first") < theirs);
    world.run_for(SimDuration::from_secs(6));
    assert_eq!(horizon(&mut world, 2), theirs);
    assert!(theirs.physical_ms() > world.now.as_millis(), "the horizon is ahead of the clock");
    world.write(2, vec![set("second", "1")]);
    assert!(stamp_of(&mut world, 2, "second") > theirs);
    world.run_for(MINUTE);
    for node in 0..3 {
        for name in ["first", "second"] {
            assert_eq!(read(&mut world, node, name), Some(b"1".to_vec()), "{name} at {node}");
        }
    }
}
