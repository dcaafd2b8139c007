//! Checks of work that is left undone.
//!
//! A later session, or a heartbeat of somebody, usually makes up for it, so that a run converges all the same, only later.
//! These checks look at the moment at which a replica forgets its work.

use super::{CheckedStep, Noticed, Watched};
use crate::node::SimReplica;
use crate::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::{FrameKind, Notice, Replica, Timer};
use syncline_store::ReadView;
use syncline_sync::{Frame, Gossip, Message, SessionStats};
use syncline_types::{Digest, PeerId, SimDuration};

const HEARTBEAT: u8 = FrameKind::Heartbeat as u8;

/// Everything that a replica waits for has a timer, or something else under way that ends. O(sessions).
pub(super) fn work_has_timer(node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    if step.went_down || world.roles().is_hostile(node) {
        return None;
    }
    let mut replicas = world.actor(node)?.replicas();
    let (replica, detail) = replicas.find_map(|replica| Some((replica, without_timer(replica, world)?)))?;
    Some(Check::Neglected { node: world.name_in(replica.number(), node), detail })
}

fn without_timer(replica: &SimReplica, world: &dyn Watched) -> Option<String> {
    let own = replica.replica()?;
    let pending = own.pending();
    if pending.is_none() {
        return None;
    }
    let is_set = |timer| world.has_timer(replica, timer);
    if let Some(peer) = own.syncing_with().find(|peer| is_set(Timer::Session(*peer)) == Some(false)) {
        return Some(format!("the session with {} has no timer", world.name(peer.into())));
    }
    if pending.sessions > 0 {
        return None;
    }
    if pending.pending_syncs > 0 {
        // While tombstones are collected in several steps no session starts; the last of these steps starts those that
        // are due.
        let is_idle =
            [Timer::PendingSync, Timer::Collection].into_iter().all(|timer| is_set(timer) == Some(false));
        return is_idle.then(|| "a sync is pending and has no timer".to_owned());
    }
    // A replica without state waits for one, and one without peers for a peer. A peer that was refused may take the
    // sync that was to bring the deltas with it.
    let may_wait = own.digest().is_zero()
        || own.is_receiving_snapshot()
        || own.reachable().is_empty()
        || world.is_naming()
        || !world.roles().is_empty();
    let is_idle = pending.buffered > 0 && !may_wait && is_set(Timer::Fetch) == Some(false);
    is_idle.then(|| format!("{} deltas wait for others that nobody asks for", pending.buffered))
}

/// A delta that found the buffer full leaves a sync with its sender.
pub(super) fn overflow_leaves_sync(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::DeltaOverflowed { delta } = noticed.notice else { return None };
    let (from, _) = noticed.step.frame?;
    let detail = format!("{delta} had no place, and no sync with {} is pending", world.name(from));
    (!is_syncing(noticed, from, world)?)
        .then(|| Check::Neglected { node: world.name_in(noticed.context, noticed.node), detail })
}

/// Whether a replica syncs with a peer, or is about to; `None` where it need not.
fn is_syncing(noticed: &Noticed<'_>, from: NodeId, world: &dyn Watched) -> Option<bool> {
    if noticed.step.went_down || noticed.step.undone || world.roles().is_hostile(from) {
        return None;
    }
    let own = world.replica(noticed.context, noticed.node)?.replica()?;
    let peer = PeerId::from(from);
    if !own.reachable().contains(&peer) {
        return None;
    }
    Some(syncs_with(own, peer))
}

/// Whether a sync with a peer is under way or pending.
fn syncs_with<V: ReadView>(replica: &Replica<V>, peer: PeerId) -> bool {
    let is_pending = || replica.pending_syncs().any(|(pending, _)| pending == peer);
    replica.syncing_with().any(|syncing| syncing == peer) || is_pending()
}

/// A replica remembers the root that a peer has announced last, and syncs if it differs from its own. O(bytes of a
/// heartbeat).
pub(super) fn heeds_heartbeat(node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    let (from, kind) = step.frame?;
    if kind != HEARTBEAT || !step.accepted || step.went_down || step.corrupt {
        return None;
    }
    let actor = world.actor(node)?;
    // Frames of nodes with several contexts have a header in front.
    if actor.contexts() > 1 || [node, from].iter().any(|side| world.roles().is_hostile(*side)) {
        return None;
    }
    let root = announced(step.bytes?, actor.in_context(0))?;
    let own = actor.replica()?;
    let peer = PeerId::from(from);
    let name = || world.name(from);
    let detail = if own.announced_root(peer) != Some(root) {
        format!("it does not remember the root that {} has announced", name())
    } else {
        // A collection after the announcement may have changed the root once more.
        let has_collected =
            step.notices.iter().any(|noticed| matches!(noticed.notice, Notice::TombstonesCollected { .. }));
        let is_due = root != own.digest() && own.reachable().contains(&peer) && !has_collected;
        if !is_due || syncs_with(own, peer) {
            return None;
        }
        format!("the root of {} differs, and no sync with it is pending", name())
    };
    Some(Check::Neglected { node: world.name(node), detail })
}

/// The root that a frame announces, if it is a heartbeat.
fn announced(bytes: &[u8], replica: &SimReplica) -> Option<Digest> {
    let context = replica.replica()?.config().context;
    match Frame::from_wire(bytes, context).ok()?.message {
        Message::Gossip(Gossip::Heartbeat { root, .. }) => Some(root),
        _ => None,
    }
}

/// By how much each transfer extends a session: each record or delta, each KiB, and each round up to a maximum.
const PER_ITEM: SimDuration = SimDuration::from_millis(10);
const PER_KIB: SimDuration = SimDuration::from_millis(100);
const PER_ROUND: SimDuration = SimDuration::from_millis(100);

/// How many times the time for which it may stall a session may go on where nothing waits for its end.
const OVERTIME: u64 = 64;

/// The time that a session may take for what it has transferred, beyond that for which it may stall.
fn worth(stats: &SessionStats) -> SimDuration {
    let items = stats.records_received + stats.records_pushed + stats.deltas_received + stats.deltas_pushed;
    PER_ITEM.times(items) + PER_KIB.times(stats.bytes >> 10) + PER_ROUND.times(stats.round_trips)
}

/// A session that has used up its time holds up no delta, unless it brings the first state; one that has used up its overtime
/// sends no further request.
pub(super) fn session_in_time(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::SessionEnded { peer, started_at, stats, .. } = noticed.notice else { return None };
    let replica = world.replica(noticed.context, noticed.node)?;
    let deadline = replica.replica()?.config().session_deadline;
    let note = replica.ended_session(*peer)?;
    let lasted = note.asked.since(*started_at);
    let overtime = if note.holds_deltas { SimDuration::ZERO } else { deadline.times(OVERTIME) };
    let allowed = deadline + overtime + worth(stats);
    let peer = world.name((*peer).into());
    let detail = || format!("the session with {peer} went on after {lasted}, where {allowed} are allowed");
    (lasted > allowed)
        .then(|| Check::Neglected { node: world.name_in(noticed.context, noticed.node), detail: detail() })
}
