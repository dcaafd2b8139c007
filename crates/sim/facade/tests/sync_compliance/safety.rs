//! S1 to S3: false snapshots, and snapshots that meet existing state.

use super::buffering::{SEVERAL_PAGES, takes_a_snapshot};
use super::hostile::{Arena, HONEST, Lies};
use super::{Net, Verdict, holds, run_until};
use sync_sim::prelude::*;
use syncline_crdt::{Register, Value};
use syncline_replica::model::GrowCounter;
use syncline_storage::Record;
use syncline_sync::{FailureReason, LocalSyncState, Message, Outcome, Request, Response, SnapshotPage};
use syncline_types::{Decode, Encode};

/// The snapshot page in a message, if it has one.
pub(crate) fn page_of(message: &mut Message) -> Option<&mut SnapshotPage> {
    match message {
        Message::Response { response: Response::SnapshotPage(page), .. } => Some(page),
        _ => None,
    }
}

/// Replaces the middle record of a page by other bytes that decode and break no rule.
pub(crate) fn forge(page: &mut SnapshotPage) -> bool {
    let Ok(mut records) = page.unpack() else { return false };
    let middle = records.len() / 2;
    let Some((_, bytes)) = records.get_mut(middle) else { return false };
    let Ok(mut record) = Record::from_bytes(bytes) else { return false };
    record.value = Value::Lww(Register::new(record.updated_at, b"forged".to_vec()));
    *bytes = record.to_bytes().into();
    (page.packed, page.unpacked_len) = SnapshotPage::pack(&records, page.unpacked_len > 0);
    true
}

/// A fresh node whose only peer lies: it must detect each lie, report it, and stay as it was.
fn refuses(net: &Net, lies: Lies, is_expected: impl Fn(&Outcome) -> bool) -> Verdict {
    let fresh = NodeId(1);
    let mut arena = Arena::new(net, Scenario::fresh_joiner(2, 300), &[(lies, |_| {}), HONEST]);
    arena.run(SimTime::from_secs(30), |world| {
        ensure!(world.digest(fresh).is_zero(), "the state changed");
        Ok(())
    })?;
    let node = &arena.peer(fresh).node;
    ensure!(node.state()?.stats()?.records == 0, "records were left");
    for session in arena.ended.iter().filter(|session| session.node == fresh) {
        let converged = matches!(session.outcome, Outcome::Converged { .. });
        ensure!(!converged, "a session with a liar converged: {session:?}");
    }
    let found = arena.ended.iter().any(|session| session.node == fresh && is_expected(&session.outcome));
    ensure!(found, "the lie was not found out: {:?}", arena.ended);
    Ok(())
}

pub(crate) fn a_forged_entity(net: &Net) -> Verdict {
    let lies = Lies::always(|_, message| page_of(message).is_some_and(forge));
    refuses(
        net,
        lies,
        |outcome| matches!(outcome, Outcome::Failed(FailureReason::SnapshotMismatch { promised, computed }) if promised != computed),
    )
}

#[test]
fn s1_tampered_snapshot_changes_nothing() {
    holds(a_forged_entity);
}

const CLAIMED: Digest = Digest([0xfa; 32]);

/// Claims a false root wherever a message has one, and serves its real state under it.
const FALSE_CLAIM: Lies = Lies {
    said: |_, message| {
        match message {
            Message::Request { request: Request::Handshake(ours), .. }
            | Message::Response { response: Response::SnapshotGone(ours), .. } => ours.root_hash = CLAIMED,
            Message::Response { response: Response::Handshake(reply), .. } => {
                reply.theirs.root_hash = CLAIMED;
            }
            Message::Response { response: Response::SnapshotPage(page), .. } => {
                (page.boundary, page.root) = (CLAIMED, CLAIMED);
            }
            _ => return false,
        }
        true
    },
    heard: |node, message| match message {
        Message::Request { request: Request::SnapshotPage { boundary, .. }, .. } if *boundary == CLAIMED => {
            *boundary = node.root_hash();
            true
        }
        _ => false,
    },
    left: u64::MAX,
};

pub(crate) fn a_claimed_root(net: &Net) -> Verdict {
    refuses(
        net,
        FALSE_CLAIM,
        |outcome| matches!(outcome, Outcome::Failed(FailureReason::SnapshotMismatch { promised, .. }) if *promised == CLAIMED),
    )
}

#[test]
fn s2_false_snapshot_root_changes_nothing() {
    holds(a_claimed_root);
}

/// The application writes during a snapshot: to an entity of its own, to one in the snapshot, and to a
/// counter that both sides have changed.
pub(crate) fn on_an_initialised_node(net: &Net) -> Verdict {
    let likes = GrowCounter::named("likes");
    let mut scenario = Scenario::fresh_joiner(2, SEVERAL_PAGES);
    scenario.nodes[0].writes = vec![likes.add(5)];
    let (mut rt, [full, fresh]) = net.start(scenario);
    run_until(&mut rt, "a snapshot under way", |rt| takes_a_snapshot(rt, fresh))?;
    let shared = Target::top(EntityId::child_of(EntityId::ROOT, b"shared/7"));
    let own = Target::top(EntityId::from_u64(1));
    let write = |target: &Target| Operation::Set { target: target.clone(), bytes: b"meanwhile".to_vec() };
    // A node that is down or crashes within the step refuses the write; then it is repeated.
    while !rt.has_entity(fresh, own.id) {
        let tried = |rt: &SimRuntime| {
            let written = rt.metrics().protocol;
            written.writes_accepted + written.writes_refused
        };
        let before = tried(&rt);
        let soon = rt.now() + SimDuration::from_millis(5);
        rt.write_at(soon, fresh, vec![write(&own), write(&shared), likes.add(3)]);
        run_until(&mut rt, "the write", |rt| tried(rt) > before)?;
    }
    let mut lost = false;
    let is_kept = |rt: &SimRuntime, target: &Target| {
        let record = rt.node(fresh).record(target.id).ok().flatten();
        record.is_some_and(|record| matches!(&record.value, Value::Lww(set) if set.bytes() == b"meanwhile"))
    };
    let stop = rt.run_until(|rt| {
        lost |= !is_kept(rt, &own) || !is_kept(rt, &shared);
        lost
    });
    ensure!(!lost, "what was written here was overwritten");
    ensure!(stop == StopCondition::Converged, "{stop}\n{}", rt.explain());
    for node in [full, fresh] {
        let total = likes.get(&mut rt.node(node).state()?)?;
        ensure!(total == 8, "the counter is {total} on {}", rt.name(node));
        ensure!(rt.entity_count(node) == SEVERAL_PAGES + 2, "{} entities", rt.entity_count(node));
        ensure!(is_kept(&rt, &shared), "the newer write lost");
    }
    Ok(())
}

#[test]
fn s3_snapshot_merges_into_existing_state() {
    holds(on_an_initialised_node);
}
