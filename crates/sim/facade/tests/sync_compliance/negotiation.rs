//! N1 to N4: the protocol that two replicas agree on.

use super::hostile::{Arena, HONEST, Lies};
use super::{Net, Verdict, chosen, converge, holds, start};
use SyncProtocolKind as Kind;
use sync_sim::prelude::*;
use syncline_replica::FrameKind;
use syncline_sync::{
    FailureReason, Gossip, Message, Outcome, Rejection, Request, Response, RetryReason, SYNC_PROTOCOL_VERSION,
};

/// The first protocol is that of the table. No crashes: a crash would lose a session that had transferred
/// data already, and the next session would compare other states.
pub(crate) fn the_table_decides(net: &Net) -> Verdict {
    let rows: [(fn() -> Scenario, Kind); 6] = [
        (Scenario::force_snapshot, Kind::Snapshot),
        (Scenario::force_delta_sync, Kind::DeltaSync),
        (Scenario::force_hash_high_divergence, Kind::HashComparison),
        (Scenario::force_subtree_prefetch, Kind::SubtreePrefetch),
        (Scenario::force_bloom_filter, Kind::BloomFilter),
        (Scenario::force_levelwise, Kind::LevelWise),
    ];
    for (scenario, expected) in rows {
        let (mut rt, _) = start::<2>(net.config_without_crashes(), scenario());
        converge(&mut rt)?;
        let first = chosen(&rt).first().copied();
        ensure!(first == Some(expected), "{first:?} was chosen where the table says {expected}");
    }
    Ok(())
}

#[test]
fn n1_table_decides_the_protocol() {
    holds(the_table_decides);
}

/// Whichever side lacks snapshots, the fresh side is brought up to date without one.
pub(crate) fn falls_back(net: &Net) -> Verdict {
    for lacking in [0, 1] {
        let (mut rt, nodes) = net.start::<2>(Scenario::force_snapshot());
        rt.configure(nodes[lacking], |config| config.protocols.retain(|kind| *kind != Kind::Snapshot));
        converge(&mut rt)?;
        let ran = chosen(&rt);
        // A first session that a crash ended may have left some state, which a sketch can compare.
        let some = [Kind::DeltaSync, Kind::HashComparison, Kind::RatelessIblt];
        let fallback = ran.first().is_some_and(|first| some.contains(first));
        ensure!(fallback && !ran.contains(&Kind::Snapshot), "these ran: {ran:?}");
        for node in nodes {
            ensure!(rt.entity_count(node) == 100, "{} entities on {node}", rt.entity_count(node));
        }
    }
    Ok(())
}

#[test]
fn n2_fresh_replica_falls_back_without_snapshot() {
    holds(falls_back);
}

const OTHER_VERSION: u32 = SYNC_PROTOCOL_VERSION + 1;

/// Makes a replica of this version appear as one of another version: the two version numbers are swapped
/// in all messages that it sends and receives.
fn swap_versions(message: &mut Message) -> bool {
    let version = match message {
        Message::Request { request: Request::Handshake(theirs), .. } => &mut theirs.version,
        Message::Response { response: Response::Handshake(reply), .. } => &mut reply.theirs.version,
        Message::Response { response: Response::Rejected(Rejection::Version { theirs }), .. } => theirs,
        _ => return false,
    };
    *version = if *version == SYNC_PROTOCOL_VERSION { OTHER_VERSION } else { SYNC_PROTOCOL_VERSION };
    true
}

pub(crate) fn versions_differ(net: &Net) -> Verdict {
    let foreign = Lies {
        said: |_, message| swap_versions(message),
        heard: |_, message| swap_versions(message),
        left: u64::MAX,
    };
    let [a, b, c] = [0, 1, 2].map(NodeId);
    let mut arena = Arena::new(net, Scenario::overlap(3, 5, 10), &[HONEST, HONEST, (foreign, |_| {})]);
    let before = arena.world.digest(c);
    arena.run(SimTime::from_secs(60), |world| {
        ensure!(world.digest(c) == before, "the replica of another version was written to");
        Ok(())
    })?;
    ensure!(arena.world.digest(a) == arena.world.digest(b), "replicas of one version do not agree");
    ensure!(arena.peer(a).node.visible_entities()? == 25, "something came from another version");
    let said_why = Outcome::Failed(FailureReason::Rejected(Rejection::Version { theirs: OTHER_VERSION }));
    let with_c: Vec<_> =
        arena.ended.iter().filter(|session| session.node != c && session.peer == c).collect();
    for session in &with_c {
        let refused = session.outcome == said_why
            || session.outcome == Outcome::SyncPending(RetryReason::Yielded)
            || session.outcome == Outcome::Failed(FailureReason::Timeout);
        ensure!(refused && session.moved == 0, "{session:?}");
    }
    ensure!(
        with_c.iter().any(|session| session.outcome == said_why),
        "no session ended with the reason: {with_c:?}"
    );
    // The backoff doubles with each rejection: half a minute has room for about seven, and a crash resets
    // the count.
    ensure!(with_c.len() < 100, "{} sessions with a peer of another version in a minute", with_c.len());
    Ok(())
}

#[test]
fn n3_other_versions_are_refused() {
    holds(versions_differ);
}

/// A node that announces a false root, so that sessions start although states are equal.
pub(crate) const FALSE_ALARM: Lies = Lies::always(|_, message| match message {
    Message::Gossip(Gossip::Heartbeat { root, .. }) => {
        *root = Digest([0xfa; 32]);
        true
    }
    _ => false,
});

pub(crate) fn equal_roots(net: &Net) -> Verdict {
    let mut arena = Arena::new(net, Scenario::n_nodes_synced(2, 60), &[HONEST, (FALSE_ALARM, |_| {})]);
    let root = arena.world.digest(NodeId(0));
    arena.run(SimTime::from_secs(30), |world| {
        ensure!([0, 1].iter().all(|node| world.digest(NodeId(*node)) == root), "a state changed");
        Ok(())
    })?;
    for session in &arena.ended {
        let none = session.protocol == Some(Kind::None) && session.outcome == Outcome::Converged { root };
        let unanswered =
            session.protocol.is_none() && session.outcome == Outcome::Failed(FailureReason::Timeout);
        ensure!((none || unanswered) && session.moved == 0, "{session:?}");
    }
    ensure!(
        arena.ended.iter().any(|session| session.protocol == Some(Kind::None)),
        "no session was acknowledged"
    );
    for node in [0, 1] {
        for kind in [FrameKind::Delta, FrameKind::DeltaSync, FrameKind::Exchange, FrameKind::Snapshot] {
            let sent = arena.peer(NodeId(node)).sent(kind);
            ensure!(sent == 0, "{sent} frames of {kind:?} between equal states");
        }
    }
    Ok(())
}

#[test]
fn n4_equal_roots_transfer_nothing() {
    holds(equal_roots);
}
