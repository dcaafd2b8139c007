//! **I8** where not all heads are named: a delta may arrive before deltas that its author had seen. What it has removed
//! or overwritten must be so on every replica, in whichever order the deltas arrive, and what it has not seen must
//! survive.

use super::Node;
use crate::hostile::Seeded;
use syncline_replica::{Collection, Event, Operation, Target};
use syncline_storage::Interface;
use syncline_store::Store;
use syncline_sync::{Delta, DeltaLog, Dot};
use syncline_types::{Decode, limits};

/// More authors than a delta names, twice over.
const AUTHORS: u64 = 3 * limits::MAX_PARENTS as u64;

fn element(n: u64) -> Target {
    Target::named(b"set").child(format!("e{n}").as_bytes())
}

fn entry(n: u64) -> Target {
    Target::named(b"map").child(format!("k{n}").as_bytes())
}

fn register(n: u64) -> Target {
    Target::named(format!("r{n}").as_bytes())
}

fn write(node: &mut Node, operations: Vec<Operation>) -> Delta {
    node.step(Event::Write(operations));
    let author = node.replica.config().replica;
    let dot = Dot { author, seq: node.replica.log().covered().of(author) };
    Delta::from_bytes(&DeltaLog::read(&node.store, dot).unwrap().unwrap()).unwrap()
}

fn visible(node: &Node, target: &Target) -> bool {
    Interface::open(node.store.view()).unwrap().is_visible(target.id).unwrap()
}

/// What `author` writes at first. Several authors share an element, an entry and a register.
fn first_write(n: u64) -> Vec<Operation> {
    let create = |name: &[u8], collection| Operation::Create { target: Target::named(name), collection };
    vec![
        create(b"set", Collection::Set),
        create(b"map", Collection::Map),
        Operation::AddElement { target: element(n % 5) },
        Operation::Set { target: entry(n % 5), bytes: vec![n as u8] },
        Operation::Set { target: register(n % 5), bytes: vec![n as u8] },
    ]
}

/// Promises: I8
#[test]
fn unnamed_heads_are_removed_and_overwritten_in_every_order() {
    let mut origin = Node::new(1);
    let mut deltas = Vec::new();
    for n in 0..AUTHORS {
        let delta = write(&mut Node::new(100 + n), first_write(n));
        assert_eq!(origin.gossip(delta.clone()).refusal, None);
        deltas.push(delta);
    }
    // The origin has seen all of them, and names a third.
    for n in 0..5 {
        assert!(visible(&origin, &element(n)) && visible(&origin, &entry(n)));
    }
    deltas
        .push(write(&mut origin, (0..4).map(|n| Operation::RemoveElement { target: element(n) }).collect()));
    deltas.push(write(&mut origin, (0..4).map(|n| Operation::Delete { target: entry(n) }).collect()));
    let overwrite = |n| Operation::Set { target: register(n), bytes: b"last".to_vec() };
    deltas.push(write(&mut origin, (0..4).map(overwrite).collect()));
    assert_eq!(deltas[AUTHORS as usize].parents.len(), limits::MAX_PARENTS);
    // Two authors that have not seen the removal add an element, and an entry, beside it.
    let mut unaware = Node::new(900);
    unaware.now += syncline_types::SimDuration::from_secs(5);
    deltas.push(write(
        &mut unaware,
        vec![
            Operation::AddElement { target: element(0) },
            Operation::Set { target: entry(0), bytes: b"beside".to_vec() },
        ],
    ));
    assert_eq!(origin.gossip(deltas.last().unwrap().clone()).refusal, None);

    let mut early = 0;
    for seed in 0..60 {
        let mut random = Seeded(seed);
        let mut order = deltas.clone();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at + 1));
        }
        let mut node = Node::new(2);
        node.now = origin.now;
        for delta in order {
            node.gossip(delta);
            let covered = node.replica.log().covered();
            early += u32::from(
                covered.of(origin.replica.config().replica) > 0 && covered.len() < AUTHORS as usize,
            );
        }
        assert_eq!(node.replica.pending().buffered, 0, "seed {seed}");
        assert_eq!(node.replica.digest(), origin.replica.digest(), "seed {seed}");
        for n in 1..4 {
            assert!(!visible(&node, &element(n)) && !visible(&node, &entry(n)), "seed {seed}: {n} is back");
        }
        for n in [0, 4] {
            assert!(visible(&node, &element(n)) && visible(&node, &entry(n)), "seed {seed}: {n} is lost");
        }
    }
    assert!(early > 0, "a delta was applied before some that its author had seen");
}

/// The writes of one author apply in their order, named or not: counters depend on it.
#[test]
fn writes_of_one_author_stay_in_order() {
    let mut origin = Node::new(1);
    let count = |by| vec![Operation::Increment { target: Target::named(b"n"), by }];
    let mut deltas: Vec<Delta> = (1..=5).map(|by| write(&mut origin, count(by))).collect();
    deltas.reverse();
    let mut node = Node::new(2);
    for delta in deltas {
        node.gossip(delta);
    }
    assert_eq!(node.replica.digest(), origin.replica.digest());
}
