//! Checks of progress: livelocks, storms, and sessions that claim success without it.

use super::{CheckedStep, Watched};
use crate::budgets::IdleTraffic;
use crate::liveness::{LivenessMonitor, SessionEnding, Storm};
use crate::node::ContextNotice;
use crate::verdict::Check;
use std::collections::BTreeMap;
use sync_sim_engine::actor::Actor;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::ProgressCount;
use syncline_replica::{FrameKind, Notice};
use syncline_sync::{Outcome, RetryReason};
use syncline_types::SimTime;

const HEARTBEAT: u8 = FrameKind::Heartbeat as u8;
const SNAPSHOT: u8 = FrameKind::Snapshot as u8;
const CHATTER: [u8; 3] = [FrameKind::Delta as u8, FrameKind::DeltaFetch as u8, FrameKind::Handshake as u8];

/// Sessions of one pair that may end with another sync pending, with none in between that ends otherwise, while no
/// write and no fault happens. Two replicas that yield to each other, and gossip that is still under way, explain a
/// few: 3,000 drawn runs had at most 8. Yielding many times to one session of the peer counts once.
const MOST_PENDING: u32 = 32;

/// A context, an initiator and a responder.
type PairKey = (u8, NodeId, NodeId);

/// What the checks of progress remember.
#[derive(Clone, Debug, Default)]
pub struct ProgressWatch {
    monitor: LivenessMonitor,
    traffic: IdleTraffic,
    /// Whether the present event made progress.
    has_moved: bool,
    /// The events from outside when `pending` was last cleared.
    outside: u64,
    /// Sessions that ended with another sync pending, in a row.
    pending: BTreeMap<PairKey, PendingRow>,
    /// The number of each session under way, in the order of their starts.
    under_way: BTreeMap<PairKey, u64>,
    /// The number of the next session.
    next_session: u64,
}

/// The sessions of one pair that ended with another sync pending, in a row.
#[derive(Clone, Copy, Debug, Default)]
struct PendingRow {
    times: u32,
    /// The session of the peer that the last one yielded to.
    yielded_to: Option<u64>,
}

/// The end of a session between honest nodes.
struct EndedPair<'a> {
    lane: u8,
    sides: (NodeId, NodeId),
    started_at: SimTime,
    outcome: &'a Outcome,
}

impl ProgressWatch {
    /// Counts as progress what happened since the last event.
    pub fn restart(&mut self, progress: ProgressCount, now: SimTime, arrived_by: SimTime) {
        self.monitor.on_move(progress, now, arrived_by);
    }

    /// Whether the nodes have work to do and do nothing about it.
    pub const fn is_idle(&self, replicas: u64) -> bool {
        self.monitor.is_idle(replicas)
    }

    /// The bytes that were sent since the last progress.
    pub(super) const fn traffic(&self) -> &IdleTraffic {
        &self.traffic
    }

    /// Takes in whether an event made progress. O(1).
    pub(super) fn begin_event(&mut self, step: &CheckedStep<'_>, world: &dyn Watched) {
        let progress = world.progress();
        // A page of a snapshot is staged without a change of the digest, and is progress nevertheless.
        let page = step.accepted && step.frame.is_some_and(|(_, kind)| kind == SNAPSHOT);
        self.has_moved = progress != self.monitor.moves() || page;
        if self.has_moved {
            self.monitor.on_move(progress, world.now(), world.last_arrival());
            self.traffic.on_progress(world.now(), world.bytes_sent().unwrap_or(0));
        }
        if progress.outside != self.outside {
            self.outside = progress.outside;
            self.pending.clear();
        }
        self.note_sessions(step);
    }

    fn note_sessions(&mut self, step: &CheckedStep<'_>) {
        let Some(node) = step.node else { return };
        for ContextNotice { context, notice } in step.notices {
            match notice {
                Notice::SessionStarted { peer } => {
                    self.under_way.insert((*context, node, (*peer).into()), self.next_session);
                    self.next_session += 1;
                }
                Notice::SessionEnded { peer, .. } => {
                    self.under_way.remove(&(*context, node, (*peer).into()));
                }
                _ => {}
            }
        }
        if step.went_down {
            // A crash ends the sessions that the node had begun, without a notice.
            self.under_way.retain(|(_, initiator, _), _| *initiator != node);
        }
    }

    /// The session of `peer` that explains why it asked `node` to yield: the one with `node`, or the latest one,
    /// as a replica that receives a snapshot from somebody takes nothing else meanwhile.
    fn reason_to_yield(&self, lane: u8, node: NodeId, peer: NodeId) -> Option<u64> {
        let own = || self.under_way.range((lane, peer, NodeId(0))..=(lane, peer, NodeId(u32::MAX)));
        self.under_way.get(&(lane, peer, node)).copied().or_else(|| own().map(|(_, number)| *number).max())
    }

    pub(super) fn end_event(&mut self, world: &dyn Watched) {
        self.monitor.on_over(world.is_quiet());
    }

    /// Whether only the nodes themselves keep the run from converging: all are up and linked, no write is to
    /// come, and all frames that were in flight at the last progress have arrived.
    fn is_calm(&self, world: &dyn Watched) -> bool {
        self.monitor.is_settled(world.now()) && world.is_undisturbed()
    }
}

/// The sessions between honest nodes that ended in a step, with the notices after each.
fn ended<'a>(
    step: &'a CheckedStep<'_>,
    world: &dyn Watched,
) -> impl Iterator<Item = EndedPair<'a>> + use<'a> {
    let roles = world.roles();
    // A crash within the step may have lost the root from disk after the session had reported it.
    let node = step.node.filter(|node| !step.undone && !step.notices.is_empty() && !roles.is_hostile(*node));
    let hostile: Vec<NodeId> = if node.is_some() { roles.hostile().collect() } else { Vec::new() };
    step.notices.iter().filter_map(move |ContextNotice { context, notice }| {
        let Notice::SessionEnded { peer, started_at, outcome, .. } = notice else { return None };
        let peer = NodeId::from(*peer);
        let sides = (node?, peer);
        let honest = !hostile.contains(&peer);
        honest.then_some(EndedPair { lane: *context, sides, started_at: *started_at, outcome })
    })
}

pub(super) fn storm(watch: &mut ProgressWatch, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    let now = world.now();
    let monitor = &mut watch.monitor;
    let mut found = None;
    let changes = monitor.changes();
    // Powers of two keep the cost of counting records amortized O(1) for each change.
    if watch.has_moved && changes >= 1_024 && changes.is_power_of_two() {
        found = monitor.changes_without_end(now, world.honest_replicas(), world.records());
    }
    let roles = world.roles();
    let honest = step.node.filter(|node| !roles.is_hostile(*node));
    if let (Some(node), Some((from, kind))) = (honest, step.frame)
        && !roles.is_hostile(from)
    {
        if kind == HEARTBEAT {
            let context = usize::from(world.actor(node).map_or(0, Actor::lane));
            // Only calm time counts: otherwise a fault or a frame in flight may explain that the node does nothing.
            let differs = || world.root_in(context, node) != world.root_in(context, from);
            if step.accepted && monitor.is_settled(now) && world.is_undisturbed() && differs() {
                monitor.on_difference();
            }
        } else if CHATTER.contains(&kind) {
            let storm = monitor.on_chatter(now, world.honest_replicas());
            found = found.or(storm);
        }
    }
    if honest.is_some() {
        for noticed in step.notices {
            if let Notice::SessionStarted { peer } = &noticed.notice
                && !roles.is_hostile((*peer).into())
            {
                let storm = monitor.on_start(now, world.honest_replicas());
                found = found.or(storm);
            }
        }
    }
    found.map(|Storm { of, count, span }| Check::Storm { of, count, span })
}

/// A session may report success only with the root that its own side has.
pub(super) fn unproven_success(
    _: &mut ProgressWatch,
    step: &CheckedStep<'_>,
    world: &dyn Watched,
) -> Option<Check> {
    ended(step, world).find_map(|EndedPair { lane, sides: (node, peer), outcome, .. }| {
        let Outcome::Converged { root } = outcome else { return None };
        // The same step may have applied more after the session ended, which changed the root again.
        let moved_on = |noticed: &ContextNotice| {
            let moves =
                matches!(noticed.notice, Notice::DeltaApplied { .. } | Notice::TombstonesCollected { .. });
            moves && noticed.context == lane
        };
        let context = usize::from(lane);
        let unproven = *root != world.root_in(context, node) && !step.notices.iter().any(moved_on);
        let node = world.name_in(context, node);
        unproven.then(|| Check::UnprovenSuccess { node, peer: world.name(peer) })
    })
}

pub(super) fn sticky_loop(
    watch: &mut ProgressWatch,
    step: &CheckedStep<'_>,
    world: &dyn Watched,
) -> Option<Check> {
    ended(step, world).find_map(|EndedPair { lane, sides: (node, peer), started_at, outcome }| {
        let context = usize::from(lane);
        // Equal roots are success.
        if matches!(outcome, Outcome::Converged { .. })
            && world.root_in(context, node) == world.root_in(context, peer)
        {
            return None;
        }
        // Endings that are no livelock, and endings that faults or writes still explain, say nothing.
        let ending = SessionEnding::of(outcome).filter(|_| watch.is_calm(world))?;
        let times = watch.monitor.on_end(lane, (node, peer), started_at, ending)?;
        let node = world.name_in(context, node);
        Some(Check::StickyLoop { node, peer: world.name(peer), ending, times })
    })
}

/// A livelock that other nodes' progress hides from [`sticky_loop`]: the states of some nodes move on, and the
/// sessions of one pair still never come to an end.
pub(super) fn endless_pending(
    watch: &mut ProgressWatch,
    step: &CheckedStep<'_>,
    world: &dyn Watched,
) -> Option<Check> {
    ended(step, world).find_map(|EndedPair { lane, sides: (node, peer), outcome, .. }| {
        let pair = (lane, node, peer);
        let reason = match outcome {
            // Clocks come together in time.
            Outcome::SyncPending(RetryReason::ClockDrift) => return None,
            Outcome::SyncPending(reason) if world.is_undisturbed() => *reason,
            Outcome::SyncPending(_) | Outcome::Converged { .. } | Outcome::Failed(_) => {
                watch.pending.remove(&pair);
                return None;
            }
        };
        let yielded_to = match reason {
            RetryReason::Yielded => watch.reason_to_yield(lane, node, peer),
            _ => None,
        };
        let row = watch.pending.entry(pair).or_default();
        // A long session of the peer is a reason to yield to it many times, and counts once.
        if yielded_to.is_some() && row.yielded_to == yielded_to {
            return None;
        }
        *row = PendingRow { times: row.times + 1, yielded_to };
        (row.times >= MOST_PENDING).then(|| Check::EndlessPending {
            node: world.name_in(usize::from(lane), node),
            peer: world.name(peer),
            ending: SessionEnding::Pending(reason),
            times: row.times,
        })
    })
}
