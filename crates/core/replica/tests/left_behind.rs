//! Replicas that others have gone on without: left behind by a collection of tombstones, or ahead of time. Such a replica
//! says so once, rests, and starts afresh by one call that keeps what only it had.

use crate::hostile::world::{World, config, replica_at, set};
use syncline_replica::{Collection, Notice, Operation, Replica, ReplicaConfig, ReplicaError, Target};
use syncline_storage::Interface;
use syncline_store::Store;
use syncline_sync::{HistoryConflict, Membership};
use syncline_types::{Moment, SimDuration, SimTime};

const HOUR_MS: u64 = 3_600_000;
const MINUTE: SimDuration = SimDuration::from_secs(60);
/// The number of the node under whose id a replica is brought back.
const HEIR: u32 = 7;

fn seconds(count: u64) -> SimDuration {
    SimDuration::from_secs(count)
}

fn delete(name: &str) -> Operation {
    Operation::Delete { target: Target::named(name.as_bytes()) }
}

fn name_members(world: &mut World, nodes: &[u32], members: &[u32]) {
    for node in nodes {
        let membership = Membership::named(members.iter().map(|member| replica_at(*member)));
        world.honest(*node).replica.set_membership(membership);
    }
}

/// Three nodes of which the first two do not count the last one as a member, and do not reach it; the last one has
/// what they had at the beginning: "dead", "shared" and "gone". The others keep so many deltas of each author.
fn without_the_last(delta_retention: u64) -> World {
    let mut world = World::new();
    (0..3).for_each(|node| {
        let config = config(node, 3);
        let delta_retention = if node == 2 { config.delta_retention } else { delta_retention };
        world.add(ReplicaConfig { delta_retention, ..config });
    });
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.write(0, vec![set("dead", "x"), set("shared", "old"), set("gone", "x")]);
    world.write(1, vec![set("tick", "before")]);
    world.run_for(seconds(10));
    assert_eq!(read(&mut world, 2, "dead").as_deref(), Some("x"));
    world.unlink(0, 2);
    world.unlink(1, 2);
    name_members(&mut world, &[0, 1], &[0, 1]);
    world
}

/// The first two nodes delete "dead" and forget it.
fn forget(world: &mut World) {
    world.write(0, vec![delete("dead")]);
    for round in 0..20 {
        // Clocks advance with writes, and handshakes announce what a member covers.
        world.unlink(0, 1);
        let forgot = |notice: &Notice| matches!(notice, Notice::TombstonesCollected { records: 1.., .. });
        let have_forgotten = [0, 1].map(|node| world.honest(node).notices.iter().any(forgot));
        if !have_forgotten.contains(&true) {
            // No delta is made after a collection: who has not collected could not take it.
            world.write(round % 2, vec![set("tick", &round.to_string())]);
        }
        world.run_for(seconds(1));
        world.link(0, 1);
        world.run_for(seconds(5));
        if [0, 1].iter().all(|node| world.honest(*node).notices.iter().any(forgot)) {
            return;
        }
    }
    panic!("nothing is forgotten");
}

fn meet_the_last(world: &mut World) {
    name_members(world, &[0, 1], &[0, 1, 2]);
    world.link(0, 2);
    world.link(1, 2);
    world.run_for(MINUTE);
}

fn read(world: &mut World, node: u32, name: &str) -> Option<String> {
    world.honest(node).read(name).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// What all three nodes show.
fn shown(world: &mut World, name: &str) -> Option<String> {
    let all = [0, 1, 2].map(|node| read(world, node, name));
    assert!(all.iter().all(|one| *one == all[0]), "{name}: {all:?}");
    all[0].clone()
}

fn conflicts(world: &mut World, node: u32) -> Vec<HistoryConflict> {
    let of = |notice: &Notice| match notice {
        Notice::HistoryConflict { conflict } => Some(*conflict),
        _ => None,
    };
    world.honest(node).notices.iter().filter_map(of).collect()
}

/// The node has stopped, says why, and neither sends anything nor starts again on its store.
fn assert_rests(world: &mut World, node: u32) -> HistoryConflict {
    let Some(ReplicaError::History(conflict)) = world.honest(node).error.clone() else {
        panic!("{:?}", world.honest(node).error)
    };
    assert_eq!(conflicts(world, node), [conflict], "it says so once");
    let sent =
        |world: &World| world.traffic.iter().filter(|((from, _), _)| *from == node).map(|(_, all)| all).sum();
    let before: u64 = sent(world);
    world.write(node, vec![set("refused", "x")]);
    world.run_for(MINUTE.times(10));
    assert_eq!(sent(world), before);
    let store = world.honest(node).store.clone();
    let restarted = Replica::recover(world.honest(node).replica.config().clone(), &store);
    assert_eq!(restarted.err(), Some(conflict.into()));
    conflict
}

fn bring_back(world: &mut World, node: u32) {
    name_members(world, &[0, 1, 2], &[0, 1, 2, HEIR]);
    world.bring_back(node, HEIR);
    name_members(world, &[node], &[0, 1, 2, HEIR]);
    world.run_for(MINUTE.times(2));
    assert!(!world.honest(node).replica.is_recovering());
    let roots = [0, 1, 2].map(|node| world.honest(node).sound_root());
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
}

#[test]
fn who_lacks_what_is_forgotten_starts_afresh_with_its_writes() {
    let mut world = without_the_last(1);
    world.write(2, vec![set("own", "1")]);
    forget(&mut world);
    world.write(2, vec![delete("gone")]);
    // The order of its writes is kept, and what others wrote later than all of them wins.
    meet_the_last(&mut world);
    let conflict = assert_rests(&mut world, 2);
    assert!(matches!(conflict, HistoryConflict::LeftBehind { replica, .. } if replica == replica_at(2)));
    assert!(conflict.to_string().contains("is left behind"), "{conflict}");
    // Two others go on.
    world.write(0, vec![set("meanwhile", "1")]);
    world.run_for(seconds(5));
    assert_eq!(read(&mut world, 1, "meanwhile").as_deref(), Some("1"));
    bring_back(&mut world, 2);
    assert_eq!(shown(&mut world, "dead"), None, "what is deleted does not come back");
    assert_eq!(shown(&mut world, "gone"), None, "its own delete counts");
    assert_eq!(shown(&mut world, "shared").as_deref(), Some("old"));
    assert_eq!(shown(&mut world, "refused"), None);
    assert_eq!(conflicts(&mut world, 2).len(), 1, "it is in time now");
    world.write(2, vec![set("later", "1")]);
    world.run_for(seconds(5));
    assert_eq!(shown(&mut world, "later").as_deref(), Some("1"));
}

/// Its writes are from before the horizon, and are written again after it, in their order.
#[test]
fn writes_from_before_the_horizon_keep_their_order() {
    let mut world = without_the_last(1);
    world.write(2, vec![set("a", "1"), set("b", "1")]);
    world.write(2, vec![set("a", "2"), delete("gone")]);
    world.write(2, vec![delete("b"), set("c", "3")]);
    forget(&mut world);
    meet_the_last(&mut world);
    assert_rests(&mut world, 2);
    bring_back(&mut world, 2);
    for (name, value) in [("a", Some("2")), ("b", None), ("c", Some("3")), ("gone", None), ("dead", None)] {
        assert_eq!(shown(&mut world, name).as_deref(), value, "{name}");
    }
    let reissued = |notice: &Notice| matches!(notice, Notice::WriteReissued { .. });
    assert_eq!(world.honest(2).notices.iter().filter(|notice| reissued(notice)).count(), 3);
}

/// From a node that still stores the deltas that it lacks, it gets them, and needs no new id.
#[test]
fn who_lacks_stored_deltas_only_gets_them() {
    let mut world = without_the_last(10_000);
    world.write(2, vec![set("own", "1"), delete("gone")]);
    forget(&mut world);
    name_members(&mut world, &[0, 1], &[0, 1, 2]);
    // The author of the deltas stores them; the other node may have received their effect as state.
    world.link(0, 2);
    world.run_for(MINUTE);
    world.link(1, 2);
    world.run_for(MINUTE);
    assert_eq!(world.honest(2).error, None);
    let roots = [0, 1, 2].map(|node| world.honest(node).sound_root());
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
    for (name, value) in [("own", Some("1")), ("gone", None), ("dead", None)] {
        assert_eq!(shown(&mut world, name).as_deref(), value, "{name}");
    }
}

#[test]
fn fresh_replica_takes_a_snapshot() {
    let mut world = without_the_last(1);
    forget(&mut world);
    let fresh = world.add(ReplicaConfig { delta_retention: 1, ..config(HEIR, 3) });
    name_members(&mut world, &[0, 1, fresh], &[0, 1, HEIR]);
    world.link(0, fresh);
    world.link(1, fresh);
    world.run_for(MINUTE);
    assert_eq!(world.honest(fresh).error, None);
    let root = world.honest(0).sound_root();
    assert_eq!(world.honest(fresh).sound_root(), root);
}

/// Three members of which the first one wrote while its clock was an hour ahead, before it met the others.
fn with_history_ahead() -> World {
    let mut world = World::new();
    world.now = SimTime::from_secs(1_000_000);
    (0..3).for_each(|node| {
        world.add(config(node, 3));
    });
    world.write(0, vec![set("first", "in time")]);
    world.honest(0).ahead_ms = HOUR_MS;
    // The clock is set while the replica is down: it cannot see that the clock jumps.
    world.restart(0);
    world.write(0, vec![set("k", "1"), set("shared", "ahead")]);
    world.write(0, vec![Operation::SetOwn { storage: Target::named(b"own"), bytes: b"mine".to_vec() }]);
    world.honest(0).ahead_ms = 0;
    world.write(0, vec![set("k", "2")]);
    world.write(1, vec![set("x", "0")]);
    world
}

#[test]
fn history_ahead_is_written_again_in_time() {
    let mut world = with_history_ahead();
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.run_for(MINUTE);
    let HistoryConflict::Ahead { replica, latest_ms, others_ms } = assert_rests(&mut world, 0) else {
        panic!("{:?}", world.honest(0).error)
    };
    assert_eq!(replica, replica_at(0));
    assert!((latest_ms - others_ms).abs_diff(HOUR_MS) < 60_000, "{latest_ms} {others_ms}");
    bring_back(&mut world, 0);
    for (name, value) in [("first", "in time"), ("k", "2"), ("shared", "ahead"), ("x", "0")] {
        assert_eq!(shown(&mut world, name).as_deref(), Some(value), "{name}");
    }
    for node in 0..3 {
        let moment = Moment::at(world.now);
        assert_eq!(world.honest(node).replica.ahead_of_time(moment), []);
    }
    // Later writes of others win.
    world.write(1, vec![set("k", "3")]);
    world.run_for(seconds(5));
    assert_eq!(shown(&mut world, "k").as_deref(), Some("3"));
    assert_eq!(world.honest(0).error, None);
}

/// The clocks of the others show that its own clock is behind: its history is in time.
#[test]
fn history_of_a_slow_clock_is_not_ahead() {
    let mut world = with_history_ahead();
    (1..3).for_each(|node| world.honest(node).ahead_ms = HOUR_MS);
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.run_for(MINUTE);
    assert_eq!(world.honest(0).error, None);
    assert_eq!(conflicts(&mut world, 0), []);
    assert_eq!(read(&mut world, 1, "k").as_deref(), Some("2"));
}

/// Nobody else has a state: what is ahead is written again all the same.
#[test]
fn history_ahead_among_empty_peers_is_written_again() {
    let mut world = with_history_ahead();
    let fresh: Vec<u32> = [5, 6].map(|number| world.add(config(number, 7))).into();
    name_members(&mut world, &[0, fresh[0], fresh[1]], &[0, 5, 6, HEIR]);
    world.link(0, fresh[0]);
    world.link(0, fresh[1]);
    world.link(fresh[0], fresh[1]);
    world.run_for(MINUTE);
    assert!(matches!(world.honest(0).error, Some(ReplicaError::History(HistoryConflict::Ahead { .. }))));
    world.bring_back(0, HEIR);
    name_members(&mut world, &[0], &[0, 5, 6, HEIR]);
    world.run_for(MINUTE.times(2));
    assert_eq!(world.honest(0).error, None);
    for node in [0, fresh[0], fresh[1]] {
        assert_eq!(read(&mut world, node, "k").as_deref(), Some("2"), "{node}");
        assert_eq!(read(&mut world, node, "first").as_deref(), Some("in time"), "{node}");
    }
}

/// A restart in the middle of a recovery must not forget which times its first writes have taken: a later write refers to
/// them.
#[test]
fn restart_in_a_recovery_keeps_the_new_times() {
    for most_restarts in [0, 1] {
        recover_with_restarts(most_restarts);
    }
}

fn recover_with_restarts(most_restarts: u32) {
    let mut world = World::new();
    (0..3).for_each(|node| assert_eq!(world.add(config(node, 3)), node));
    let all = Target::named(b"set");
    let element = all.child(b"element");
    world.honest(0).ahead_ms = HOUR_MS;
    world.write(0, vec![Operation::Create { target: all, collection: Collection::Set }]);
    world.write(0, vec![Operation::AddElement { target: element.clone() }]);
    for n in 0..300 {
        world.write(0, vec![set("k", &n.to_string())]);
    }
    world.write(0, vec![Operation::RemoveElement { target: element.clone() }]);
    world.write(0, vec![set("last", "x")]);
    world.honest(0).ahead_ms = 0;
    world.write(1, vec![set("x", "0")]);
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.run_for(MINUTE.times(3));
    assert!(matches!(assert_rests(&mut world, 0), HistoryConflict::Ahead { .. }));
    name_members(&mut world, &[0, 1, 2], &[0, 1, 2, HEIR]);
    world.bring_back(0, HEIR);
    name_members(&mut world, &[0], &[0, 1, 2, HEIR]);
    let mut restarts = 0;
    for _ in 0..60_000 {
        world.run_for(SimDuration::from_millis(1));
        let written = world.honest(0).replica.log().covered().of(replica_at(HEIR));
        if restarts < most_restarts && (3..200).contains(&written) {
            restarts += 1;
            world.restart(0);
            name_members(&mut world, &[0], &[0, 1, 2, HEIR]);
        }
    }
    assert_eq!((restarts, world.honest(0).replica.is_recovering()), (most_restarts, false));
    assert_eq!(shown(&mut world, "last").as_deref(), Some("x"));
    assert_eq!(shown(&mut world, "k").as_deref(), Some("299"));
    for node in 0..3 {
        let mut state = Interface::open(world.honest(node).store.view()).unwrap();
        assert!(!state.is_visible(element.id).unwrap(), "node {node} shows what was removed");
    }
}
