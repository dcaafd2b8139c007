//! A collection of tombstones takes several steps, if there is much to collect, and nothing else is lost or comes back.

use crate::hostile::world::{World, config, set};
use syncline_replica::{Collection, Notice, Operation, ReplicaConfig, Target};
use syncline_storage::Interface;
use syncline_store::Store;
use syncline_types::{Limit, Limits, SimDuration};

const MEMBERS: u32 = 3;
const ENTRIES: u32 = 400;
/// How many records a step may visit in order to collect them.
const PAGE: usize = 16;

fn map() -> Target {
    Target::named(b"map")
}

fn seconds(count: u64) -> SimDuration {
    SimDuration::from_secs(count)
}

/// Members with a large map.
fn with_map() -> World {
    let mut world = World::new();
    let limits = Limits::default().with(Limit::CollectedRecords, PAGE).unwrap();
    for node in 0..MEMBERS {
        world.add(ReplicaConfig { limits, ..config(node, MEMBERS) });
    }
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, two)| world.link(one, two));
    world.write(0, vec![Operation::Create { target: map(), collection: Collection::Map }]);
    for entry in 0..ENTRIES {
        let target = map().child(&entry.to_be_bytes());
        world.write(entry % MEMBERS, vec![Operation::Set { target, bytes: vec![1] }]);
        world.run_for(SimDuration::from_millis(20));
    }
    world.run_for(seconds(5));
    world
}

fn delete_map(world: &mut World) {
    (0..MEMBERS).for_each(|node| world.honest(node).largest = (0, 0));
    world.write(1, vec![Operation::Delete { target: map() }]);
}

fn collected(world: &mut World, node: u32) -> bool {
    let is_end = |notice: &Notice| matches!(notice, Notice::TombstonesCollected { .. });
    world.honest(node).notices.iter().any(is_end)
}

fn records(world: &mut World, node: u32) -> u64 {
    Interface::open(world.honest(node).store.view()).unwrap().stats().unwrap().records
}

/// Writes now and then, so that clocks advance, until all have collected.
fn run_until_collected(world: &mut World, mut each_round: impl FnMut(&mut World, u32)) {
    for round in 0..200 {
        world.write(round % MEMBERS, vec![set("tick", &round.to_string())]);
        world.run_for(seconds(1));
        each_round(world, round);
        if (0..MEMBERS).all(|node| records(world, node) < 50) {
            world.run_for(seconds(60));
            return;
        }
    }
    let left = [0, 1, 2].map(|node| records(world, node));
    panic!("{left:?} records are left");
}

fn assert_agree(world: &mut World) {
    let roots = [0, 1, 2].map(|node| world.honest(node).sound_root());
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
    for node in 0..MEMBERS {
        let left = records(world, node);
        assert!(left < 10, "node {node} has {left} records");
        let pending = world.honest(node).replica.pending();
        assert!(pending.is_none(), "node {node}: {pending:?}");
    }
}

/// Promises: G1, C6
#[test]
fn steps_of_a_large_collection_are_bounded() {
    let mut world = with_map();
    delete_map(&mut world);
    run_until_collected(&mut world, |_, _| {});
    assert_agree(&mut world);
    for node in 0..MEMBERS {
        assert!(collected(&mut world, node));
        let (reads, writes) = world.honest(node).largest;
        // A page of 16 records, in a trie of 400.
        assert!(reads < 300 && writes < 200, "node {node}: {reads} rows read, {writes} written");
    }
}

/// Promises: G1, C6
#[test]
fn large_collection_goes_on_after_restarts() {
    let mut world = with_map();
    delete_map(&mut world);
    let mut restarts = 0;
    for step in 0..6_000u32 {
        if step % 200 == 0 {
            world.write(step / 200 % MEMBERS, vec![set("tick", &step.to_string())]);
        }
        world.run_for(SimDuration::from_millis(5));
        for node in 0..MEMBERS {
            let left = records(&mut world, node);
            let is_half_way = left > 10 && left < u64::from(ENTRIES);
            if is_half_way && restarts < 6 {
                restarts += 1;
                world.restart(node);
            }
        }
    }
    run_until_collected(&mut world, |_, _| {});
    assert_agree(&mut world);
    assert!(restarts > 0);
}

/// Promises: I6, C6
#[test]
fn writes_and_deltas_go_on_while_a_large_collection_is_under_way() {
    let mut world = with_map();
    delete_map(&mut world);
    let mut written = Vec::new();
    let mut count = 0u32;
    run_until_collected(&mut world, |world, round| {
        for part in 0..20 {
            let name = format!("during {round} {part}");
            world.write(part % MEMBERS, vec![set(&name, "kept")]);
            world.run_for(SimDuration::from_millis(7));
            written.push(name);
            count += 1;
        }
        // What is below the deleted map and is written now is shown.
        for name in std::mem::take(&mut written) {
            world.run_for(SimDuration::from_millis(1));
            let read = (0..MEMBERS).filter(|node| world.honest(*node).read(&name).is_some()).count();
            assert!(read > 0, "{name}");
            world.write(0, vec![Operation::Delete { target: Target::named(name.as_bytes()) }]);
        }
    });
    assert!(count > 0);
    let roots = [0, 1, 2].map(|node| world.honest(node).sound_root());
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
}
