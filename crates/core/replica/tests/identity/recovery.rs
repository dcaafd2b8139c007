//! A replica whose id has another life is brought back under a new id, and every acknowledged write counts once.

use super::world::{World, increment, replica_at, set, signing};
use syncline_replica::{Collection, Item, Notice, Operation, Replica, ReplicaError, Target};
use syncline_store::{MemoryStore, Store};

/// Brings a stopped node back under the id of node number `number`. Returns the new store.
pub(super) fn bring_back(world: &mut World, node: u32, number: u32) {
    let former = world.nodes[node as usize].replica.config().replica;
    let old = world.nodes[node as usize].store.clone();
    let mut store = MemoryStore::default();
    let copied = Replica::bring_back(signing(number), former, &old, &mut store);
    assert!(copied.is_ok(), "{:?}", copied.err());
    world.restart(node, signing(number), store).unwrap();
}

fn restore_alone(world: &mut World, backup: MemoryStore) {
    world.unlink(0, 1);
    world.unlink(0, 2);
    world.run_for_secs(60);
    world.restart_with(0, backup);
}

fn meet_again(world: &mut World) {
    world.link(0, 1);
    world.link(0, 2);
    world.run_for_secs(60);
}

fn counts(world: &World) -> Vec<u128> {
    world.nodes.iter().map(|node| node.likes()).collect()
}

/// Promises: A2
#[test]
fn restored_backup_loses_no_increment() {
    for writes in 1..6u64 {
        let mut world = World::of([0, 1, 2].map(signing));
        world.write(0, vec![increment(10)]).unwrap();
        world.run_for_secs(5);
        let backup = world.nodes[0].store.clone();
        world.write(0, vec![increment(5)]).unwrap();
        world.write(0, vec![set("k", "after the backup")]).unwrap();
        world.run_for_secs(5);
        restore_alone(&mut world, backup);
        for _ in 0..writes {
            world.write(0, vec![increment(7)]).unwrap();
        }
        world.write(0, vec![set("j", "written by the restored one")]).unwrap();
        world.write(1, vec![increment(100)]).unwrap();
        meet_again(&mut world);
        assert!(world.nodes[0].conflict().is_some());
        bring_back(&mut world, 0, 7);
        world.run_for_secs(60);
        assert!(world.agree(&[0, 1, 2]));
        assert_eq!(counts(&world), vec![u128::from(115 + 7 * writes); 3], "after {writes} writes");
        assert_eq!(world.nodes[1].read("j").as_deref(), Some("written by the restored one"));
        assert_eq!(world.nodes[0].read("k").as_deref(), Some("after the backup"));
        assert!(!world.nodes[0].replica.is_recovering());
        // It goes on as any other replica.
        world.write(0, vec![increment(1)]).unwrap();
        world.run_for_secs(10);
        assert_eq!(counts(&world), vec![u128::from(116 + 7 * writes); 3]);
    }
}

/// Promises: A2
#[test]
fn lost_store_loses_nothing_that_was_written_since() {
    let mut world = World::of([0, 1, 2].map(signing));
    world.write(0, vec![increment(10)]).unwrap();
    world.run_for_secs(5);
    restore_alone(&mut world, MemoryStore::default());
    world.write(0, vec![increment(7)]).unwrap();
    meet_again(&mut world);
    bring_back(&mut world, 0, 7);
    world.run_for_secs(60);
    assert!(world.agree(&[0, 1, 2]));
    assert_eq!(counts(&world), [17, 17, 17]);
}

/// Promises: A2
#[test]
fn copied_store_counts_both_lives() {
    let mut world = World::of([0, 1].map(signing));
    world.write(0, vec![increment(1)]).unwrap();
    world.write(0, vec![insert_text(0, "[]")]).unwrap();
    world.run_for_secs(5);
    let copy = world.nodes[0].store.clone();
    let twin = world.add(signing(0), copy);
    world.link(twin, 1);
    world.run_for_secs(5);
    let mut acknowledged = 0;
    for _ in 0..20 {
        for (node, char) in [(0, "a"), (twin, "b")] {
            acknowledged += u128::from(world.write(node, vec![increment(1)]).unwrap());
            world.write(node, vec![insert_text(1, char)]).unwrap();
        }
        world.run_for(syncline_types::SimDuration::from_millis(2));
    }
    world.run_for_secs(60);
    bring_back(&mut world, twin, 7);
    world.run_for_secs(60);
    assert!(world.agree(&[0, 1, twin]));
    assert!(acknowledged > 20, "both lives wrote");
    assert_eq!(counts(&world), vec![1 + acknowledged; 3]);
    let text = world.nodes[1].shown().remove(&Target::named(b"text").id).unwrap();
    assert_eq!(text.len() as u128, 2 + acknowledged, "{text}");
}

fn insert_text(at: usize, text: &str) -> Operation {
    Operation::InsertText { target: Target::named(b"text"), at, text: text.into() }
}

fn element(name: &[u8]) -> Target {
    Target::named(b"set").child(name)
}

/// Writes of each type, of which others have none.
fn of_every_type() -> Vec<Operation> {
    let target = |name: &[u8]| Target::named(name);
    vec![
        increment(3),
        Operation::Change { target: target(b"balance"), by: 9 },
        Operation::Change { target: target(b"balance"), by: -4 },
        set("register", "value"),
        Operation::SetOpaque { target: target(b"opaque"), bytes: b"bytes".to_vec() },
        Operation::Create { target: target(b"map"), collection: Collection::Map },
        Operation::AddElement { target: element(b"kept") },
        Operation::AddElement { target: element(b"dropped") },
        Operation::RemoveElement { target: element(b"dropped") },
        Operation::RemoveElement { target: element(b"early") },
        Operation::InsertItem { list: target(b"list"), at: 0, item: Item::Bytes(b"one".to_vec()) },
        Operation::InsertItem { list: target(b"list"), at: 1, item: Item::Bytes(b"two".to_vec()) },
        Operation::DeleteItem { list: target(b"list"), at: 0 },
        insert_text(0, "hello"),
        insert_text(3, "p "),
        Operation::DeleteText { target: target(b"text"), at: 0, count: 2 },
        Operation::Merge { target: target(b"merged"), name: "sum".into(), bytes: b"operand".to_vec() },
        Operation::Freeze { target: target(b"frozen"), bytes: b"for ever".to_vec() },
        Operation::SetOwn { storage: target(b"own"), bytes: b"mine".to_vec() },
        Operation::Delete { target: target(b"deleted") },
    ]
}

/// Promises: A2
#[test]
fn every_type_is_written_again() {
    let mut world = World::of([0, 1, 2].map(signing));
    world.write(0, vec![increment(10), set("deleted", "1")]).unwrap();
    world.write(0, vec![Operation::AddElement { target: element(b"early") }]).unwrap();
    world.run_for_secs(5);
    let backup = world.nodes[0].store.clone();
    world.write(0, vec![set("other", "life")]).unwrap();
    world.run_for_secs(5);
    restore_alone(&mut world, backup);
    for operation in of_every_type() {
        assert_eq!(world.write(0, vec![operation]), Ok(true));
    }
    // What the restored store shows is what all show in the end, but for the other life.
    let alone = world.nodes[0].shown();
    meet_again(&mut world);
    bring_back(&mut world, 0, 7);
    world.run_for_secs(60);
    assert!(world.agree(&[0, 1, 2]));
    let mut shown = world.nodes[1].shown();
    assert_eq!(shown.remove(&Target::named(b"other").id).as_deref(), Some("life"));
    assert_eq!(shown, alone);
    let written = |notice: &&Notice| matches!(notice, Notice::WriteReissued { .. });
    assert_eq!(world.nodes[0].notices.iter().filter(written).count(), of_every_type().len());
}

/// A crash after any step of the recovery repeats and loses nothing.
#[test]
fn recovery_is_idempotent_over_crashes() {
    let mut world = World::of([0, 1, 2].map(signing));
    world.write(0, vec![increment(10)]).unwrap();
    world.run_for_secs(5);
    let backup = world.nodes[0].store.clone();
    world.write(0, vec![increment(5)]).unwrap();
    world.run_for_secs(5);
    restore_alone(&mut world, backup);
    for _ in 0..200 {
        world.write(0, vec![increment(7)]).unwrap();
    }
    meet_again(&mut world);
    bring_back(&mut world, 0, 7);
    for _ in 0..60 {
        world.run_for(syncline_types::SimDuration::from_millis(7));
        let store = world.nodes[0].store.clone();
        world.restart(0, signing(7), store).unwrap();
    }
    world.run_for_secs(60);
    assert!(world.agree(&[0, 1, 2]));
    assert_eq!(counts(&world), [1_415; 3]);
}

/// The second life is lost, too, before its recovery was over.
#[test]
fn legacy_of_a_legacy_counts() {
    let mut world = World::of([0, 1, 2].map(signing));
    world.write(0, vec![increment(10)]).unwrap();
    world.run_for_secs(5);
    let backup = world.nodes[0].store.clone();
    world.write(0, vec![increment(5)]).unwrap();
    world.run_for_secs(5);
    restore_alone(&mut world, backup);
    world.write(0, vec![increment(7)]).unwrap();
    meet_again(&mut world);
    world.unlink(0, 1);
    world.unlink(0, 2);
    bring_back(&mut world, 0, 7);
    bring_back(&mut world, 0, 8);
    meet_again(&mut world);
    assert!(world.agree(&[0, 1, 2]));
    assert_eq!(counts(&world), [22; 3]);
    let store = world.nodes[0].store.clone();
    for number in [0, 7, 8] {
        let mut next = MemoryStore::default();
        let back = Replica::bring_back(signing(8), replica_at(number), &store.view(), &mut next);
        assert_eq!(back.is_err(), number == 8);
        if number == 8 {
            assert_eq!(back.err(), Some(ReplicaError::SameId { replica: replica_at(8) }));
        }
    }
}

/// Both lives of an id stop, and nobody else has a state: one of them restores what the id had written, and the other
/// finds from it what it alone had written.
#[test]
fn two_lives_without_anyone_else_count_once() {
    let mut world = World::of([0].map(signing));
    world.write(0, vec![increment(1)]).unwrap();
    let copy = world.nodes[0].store.clone();
    let twin = world.add(signing(0), copy);
    world.link(0, twin);
    world.write(0, vec![increment(10)]).unwrap();
    world.write(twin, vec![increment(100)]).unwrap();
    world.run_for_secs(5);
    assert!([0, twin].iter().all(|node| world.nodes[*node as usize].conflict().is_some()));
    bring_back(&mut world, 0, 7);
    bring_back(&mut world, twin, 8);
    world.run_for_secs(120);
    assert!(world.agree(&[0, twin]));
    assert_eq!(counts(&world), [111; 2]);
    assert!(world.nodes.iter().all(|node| !node.replica.is_recovering()));
}
