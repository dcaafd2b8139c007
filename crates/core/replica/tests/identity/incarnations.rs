//! A store that is some starts old: peers say that they have seen a later incarnation, and the replica moves on.

use super::world::{World, set, signing};
use syncline_sync::{FailureReason, Message, Outcome, Rejection, RequestId, Response, SessionId};
use syncline_types::SimDuration;

#[test]
fn store_from_six_starts_ago_moves_on() {
    let mut world = World::of([0, 1, 2].map(signing));
    world.write(0, vec![set("a", "1")]).unwrap();
    world.run_for_secs(5);
    let backup = world.nodes[0].store.clone();
    for _ in 0..6 {
        let store = world.nodes[0].store.clone();
        world.restart_with(0, store);
        world.run_for_secs(2);
    }
    let newest = world.nodes[0].replica.incarnation();
    world.restart_with(0, backup);
    assert!(world.nodes[0].replica.incarnation() < newest);
    world.write(0, vec![set("b", "2")]).unwrap();
    world.write(1, vec![set("c", "3")]).unwrap();
    world.run_for_secs(60);
    assert!(world.agree(&[0, 1, 2]));
    assert_eq!(world.nodes[1].read("b").as_deref(), Some("2"));
    assert_eq!(world.nodes[0].read("c").as_deref(), Some("3"));
    assert!(world.nodes[0].replica.incarnation() > newest);
    let told = |outcome: &&Outcome| {
        let Outcome::Failed(FailureReason::Rejected(rejection)) = outcome else { return false };
        matches!(rejection, Rejection::StaleIncarnation { .. })
    };
    assert!(world.nodes[0].outcomes().any(|outcome| told(&outcome)), "its peer says why");
    let timed_out = |outcome: &Outcome| *outcome == Outcome::Failed(FailureReason::Timeout);
    assert!(!world.nodes[0].outcomes().any(timed_out));
    // The new incarnation is stored.
    let incarnation = world.nodes[0].replica.incarnation();
    let store = world.nodes[0].store.clone();
    world.restart_with(0, store);
    assert_eq!(world.nodes[0].replica.incarnation(), incarnation + 1);
}

/// A peer that drops an answer says so, even if the replica with the old store never begins a session.
#[test]
fn old_store_that_only_answers_moves_on() {
    let mut world = World::of([0, 1].map(signing));
    world.write(0, vec![set("a", "1")]).unwrap();
    world.run_for_secs(5);
    let backup = world.nodes[0].store.clone();
    for _ in 0..3 {
        let store = world.nodes[0].store.clone();
        world.restart_with(0, store);
        world.run_for_secs(2);
    }
    let newest = world.nodes[0].replica.incarnation();
    world.restart_with(0, backup);
    let stale = world.nodes[0].replica.incarnation();
    assert!(stale < newest);
    // Node 1 asks, and node 0 answers.
    let response = Response::Rejected(Rejection::Yield);
    let session = SessionId(7);
    let id = RequestId(1);
    world.forge(0, 1, Message::Response { session, id, response });
    world.run_for(SimDuration::from_millis(100));
    assert!(world.nodes[0].replica.incarnation() > newest, "{}", world.nodes[0].replica.incarnation());
    // A late copy from before the restart changes nothing more.
    let now = world.nodes[0].replica.incarnation();
    let response = Response::Rejected(Rejection::StaleIncarnation { newest });
    world.forge(1, 0, Message::Response { session, id, response });
    world.run_for(SimDuration::from_millis(100));
    assert_eq!(world.nodes[0].replica.incarnation(), now);
}

/// A member that answers no session with later and later incarnations moves this replica once between two heartbeats.
#[test]
fn flood_of_stale_answers_moves_incarnation_once() {
    let mut world = World::of([0, 1].map(signing));
    world.run_for_secs(5);
    let before = world.nodes[0].replica.incarnation();
    let flood = |world: &mut World| {
        for number in 1..=1_000 {
            let response = Response::Rejected(Rejection::StaleIncarnation { newest: 1 << 40 });
            world.forge(1, 0, Message::Response { session: SessionId(number), id: RequestId(1), response });
        }
        world.run_for(SimDuration::from_millis(20));
    };
    flood(&mut world);
    let moved = world.nodes[0].replica.incarnation() - before;
    assert!((1..=2 * 1_025).contains(&moved), "moved by {moved}");
    world.run_for_secs(60);
    let before = world.nodes[0].replica.incarnation();
    flood(&mut world);
    assert!(world.nodes[0].replica.incarnation() > before, "the next one is heeded after a heartbeat");
    world.write(0, vec![set("a", "1")]).unwrap();
    world.run_for_secs(60);
    assert!(world.agree(&[0, 1]), "the replica goes on");
}
