//! Lives of one id whose counts others have joined before anybody could tell the lives apart.

use super::recovery::bring_back;
use super::world::{World, increment, signing};
use syncline_store::MemoryStore;
use syncline_types::SimDuration;

/// Brings every node that has stopped back, under ids from 7 on.
fn bring_all_back(world: &mut World, nodes: u32) {
    let mut next = 7;
    for _ in 0..3 {
        world.run_for_secs(120);
        for node in 0..nodes {
            if world.nodes[node as usize].conflict().is_some() {
                bring_back(world, node, next);
                next += 1;
            }
        }
    }
    world.run_for_secs(120);
}

fn counts(world: &World) -> Vec<u128> {
    world.nodes.iter().map(|node| node.likes()).collect()
}

/// A copied store, before its id has written. Each of two peers has taken the write of one life, and joins the states
/// of both. Not true yet: neither life writes its own again. This test fails once it is; then the line of the panic goes.
#[test]
#[should_panic(expected = "left: [1, 1, 1, 1]")]
fn lives_that_different_peers_have_taken_count_both() {
    let mut world = World::of([0, 1, 2].map(signing));
    let copy = world.nodes[0].store.clone();
    let twin = world.add(signing(0), copy);
    world.unlink(0, 2);
    world.link(1, twin);
    world.link(2, twin);
    world.unlink(1, twin);
    world.unlink(1, 2);
    for (node, by) in [(twin, 1), (0, 1)] {
        world.write(node, vec![increment(by)]).unwrap();
        world.run_for(SimDuration::from_millis(1));
    }
    world.link(1, 2);
    world.run_for_secs(1);
    for (one, two) in [(0, 2), (0, twin), (1, twin)] {
        world.link(one, two);
    }
    bring_all_back(&mut world, 4);
    assert!(world.agree(&[0, 1, 2, twin]));
    assert_eq!(counts(&world), [2; 4]);
}

/// A lost store that wrote again, and whose first peer has the former write only as a state: it cannot tell the lives
/// apart. Another peer can. Not true yet: the write of the second life counts as taken, since its stamp is in the joined
/// state. This test fails once it is; then the line of the panic goes.
#[test]
#[should_panic(expected = "left: [1, 1, 1]")]
fn lost_store_counts_beside_a_peer_without_its_deltas() {
    let mut world = World::of([0, 1, 2].map(signing));
    world.unlink(0, 1);
    world.unlink(0, 2);
    world.write(1, vec![increment(1)]).unwrap();
    world.run_for_secs(5);
    // Node 0 takes a snapshot from node 2, and no deltas.
    world.link(0, 2);
    world.run_for_secs(5);
    world.unlink(1, 2);
    world.restart_with(1, MemoryStore::default());
    world.write(1, vec![increment(1)]).unwrap();
    world.link(0, 1);
    world.run_for_secs(5);
    world.link(1, 2);
    bring_all_back(&mut world, 3);
    assert!(world.agree(&[0, 1, 2]));
    assert_eq!(counts(&world), [2; 3]);
}
