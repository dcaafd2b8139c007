//! What only the records of an old store still have comes back with it: what has no delta any more, and what all others
//! have lost. Nothing counts twice, and nothing that was collected meanwhile comes back.

use super::recovery::bring_back;
use super::world::{World, increment, member, replica_at, set, signing};
use syncline_replica::{Operation, ReplicaConfig, Target};
use syncline_store::MemoryStore;
use syncline_sync::Membership;
use syncline_types::SimDuration;

/// A log that keeps one delta of each author.
fn forgetful(number: u32) -> ReplicaConfig {
    ReplicaConfig { delta_retention: 1, ..signing(number) }
}

/// Replica 0 writes and counts alone. Then its id begins another life with an empty store among the others, in which it
/// counts two; and the first life meets them and stops.
fn with_another_life(config: fn(u32) -> ReplicaConfig, counted: &[u64]) -> World {
    let mut world = World::of([0, 1, 2].map(config));
    world.unlink(0, 1);
    world.unlink(0, 2);
    world.write(0, vec![set("k", "in records alone")]).unwrap();
    for by in counted {
        world.write(0, vec![increment(*by)]).unwrap();
    }
    let first_life = world.nodes[0].store.clone();
    world.run_for_secs(5);
    world.restart_with(0, MemoryStore::default());
    world.link(0, 1);
    world.link(0, 2);
    world.write(0, vec![increment(2)]).unwrap();
    world.run_for_secs(30);
    world.restart_with(0, first_life);
    world.run_for_secs(60);
    world
}

fn assert_all_show(world: &World, name: &str, value: Option<&str>, likes: u128) {
    let nodes: Vec<u32> = (0..world.nodes.len() as u32).collect();
    assert!(world.agree(&nodes));
    for node in &world.nodes {
        assert_eq!(node.error, None);
        assert!(!node.replica.is_recovering());
        assert_eq!((node.read(name).as_deref(), node.likes()), (value, likes));
    }
}

#[test]
fn records_without_deltas_come_back() {
    let mut world = with_another_life(forgetful, &[10, 5]);
    bring_back(&mut world, 0, 7);
    world.run_for_secs(60);
    // What the first life counted before its log begins cannot be told from what the other one counted: the greater
    // count of the two remains, and the last delta is relative to what others showed.
    for node in &world.nodes {
        assert_eq!(node.read("k").as_deref(), Some("in records alone"));
        assert!(node.likes() >= 15, "{}", node.likes());
    }
    assert!(world.agree(&[0, 1, 2]));
}

#[test]
fn whole_log_counts_exactly() {
    let mut world = with_another_life(signing, &[10, 5]);
    assert!(world.nodes[0].conflict().is_some());
    bring_back(&mut world, 0, 7);
    world.run_for_secs(60);
    assert_all_show(&world, "k", Some("in records alone"), 17);
}

/// Replica 1 writes, replica 0 alone receives it, and replica 1 loses it unnoticed.
#[test]
fn writes_of_others_come_back() {
    let mut world = World::of([0, 1, 2].map(signing));
    world.write(0, vec![increment(10)]).unwrap();
    world.run_for_secs(5);
    let backup = world.nodes[0].store.clone();
    let others = world.nodes[1].store.clone();
    world.unlink(1, 2);
    world.unlink(0, 2);
    world.write(1, vec![set("k", "lost by its author")]).unwrap();
    world.write(1, vec![increment(4)]).unwrap();
    world.run_for_secs(5);
    let first_life = world.nodes[0].store.clone();
    world.unlink(0, 1);
    world.restart_with(0, backup);
    world.restart_with(1, others);
    world.link(1, 2);
    world.link(0, 2);
    world.link(0, 1);
    world.write(0, vec![increment(1)]).unwrap();
    world.run_for_secs(30);
    assert_eq!(world.nodes[2].read("k"), None);
    // The first life of replica 0 writes once more, before it hears of the second.
    [1, 2].into_iter().for_each(|peer| world.unlink(0, peer));
    world.restart_with(0, first_life);
    world.write(0, vec![increment(100)]).unwrap();
    world.link(0, 1);
    world.link(0, 2);
    world.run_for_secs(60);
    assert!(world.nodes[0].conflict().is_some());
    bring_back(&mut world, 0, 7);
    world.run_for_secs(120);
    // If replica 1 has heard of its lost writes before the first life of replica 0 stopped, it has stopped, too. Else it
    // takes them back from replica 7.
    if world.nodes[1].conflict().is_some() {
        assert!(world.agree(&[0, 2]) && !world.nodes[0].replica.is_recovering());
        bring_back(&mut world, 1, 8);
    }
    world.run_for_secs(120);
    assert_all_show(&world, "k", Some("lost by its author"), 115);
}

/// The new replica loses what it has committed since it was brought back, and others have it. It has two lives, too.
#[test]
fn branch_that_is_written_twice_counts_once() {
    for lost_after in [5, 20, 60, 400, 1_200, 5_000] {
        let mut world = with_another_life(signing, &[10, 5]);
        bring_back(&mut world, 0, 7);
        world.run_for(SimDuration::from_millis(lost_after));
        let early = world.nodes[0].store.clone();
        world.run_for_secs(60);
        world.write(0, vec![increment(100)]).unwrap();
        world.run_for_secs(10);
        assert_all_show(&world, "k", Some("in records alone"), 117);
        world.restart_with(0, early);
        world.run_for_secs(60);
        if world.nodes[0].conflict().is_some() {
            bring_back(&mut world, 0, 8);
            world.run_for_secs(120);
        }
        assert_all_show(&world, "k", Some("in records alone"), 117);
    }
}

/// What was deleted and collected while the old store was away does not come back with it.
#[test]
fn collected_records_stay_away() {
    let mut world = World::of((0..3).map(|number| member(number, 3)));
    world.write(1, vec![set("k", "deleted later"), set("j", "kept")]).unwrap();
    world.run_for_secs(20);
    let old = world.nodes[0].store.clone();
    assert_eq!(world.nodes[0].read("k").as_deref(), Some("deleted later"));
    world.unlink(0, 1);
    world.unlink(0, 2);
    // Replica 0 is given up.
    let rename = |world: &mut World, members: &[u32]| {
        for node in [1, 2] {
            let members = Membership::named(members.iter().copied().map(replica_at));
            world.nodes[node].replica.set_membership(members);
        }
    };
    rename(&mut world, &[1, 2]);
    world.write(1, vec![Operation::Delete { target: Target::named(b"k") }]).unwrap();
    world.run_for_secs(120);
    let k = Target::named(b"k").id;
    assert!(!world.has_record(1, k) && !world.has_record(2, k), "collected");
    // Its id comes back under a new name.
    rename(&mut world, &[0, 1, 2, 7]);
    let membership = Membership::named([0, 1, 2, 7].map(replica_at));
    let config = ReplicaConfig { membership, ..signing(7) };
    let mut store = MemoryStore::default();
    let back = syncline_replica::Replica::bring_back(config.clone(), replica_at(0), &old, &mut store);
    assert!(back.is_ok());
    world.restart(0, config, store).unwrap();
    world.link(0, 1);
    world.link(0, 2);
    world.run_for_secs(120);
    assert!(world.agree(&[0, 1, 2]));
    assert!(!world.nodes[0].replica.is_recovering());
    assert!([0, 1, 2].iter().all(|node| !world.has_record(*node, k)), "it stays away");
    assert_eq!(world.nodes[0].read("j").as_deref(), Some("kept"));
}

/// However large a legacy is, no step does more than a page of it.
#[test]
fn large_legacy_is_recovered_in_pages() {
    const WRITES: u64 = 2_000;
    let many = |world: &mut World| {
        for number in 0..WRITES {
            world.write(0, vec![set(&format!("key {number}"), "v"), increment(1)]).unwrap();
        }
    };
    // Among others, and alone: then the other replica has no state either.
    for is_alone in [false, true] {
        let mut world = World::of([0, 1].map(signing));
        world.unlink(0, 1);
        many(&mut world);
        if !is_alone {
            world.write(1, vec![set("other", "state")]).unwrap();
        }
        bring_back(&mut world, 0, 7);
        world.link(0, 1);
        world.run_for_secs(200);
        assert_all_show(&world, "key 1999", Some("v"), u128::from(WRITES));
        let rows = world.nodes[0].largest_batch;
        assert!(rows < 2_500, "{rows} rows in one step, alone: {is_alone}");
    }
}
