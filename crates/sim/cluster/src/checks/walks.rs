//! DeltaSync sessions that walk without need.
//!
//! Where two states differ by deltas alone, and each side's log still has every delta that the other side lacks,
//! DeltaSync makes them equal. A walk after it hides that it did not: the session converges all the same. So the
//! check looks at the sessions during which nothing else happened to either side, and in which both sides had
//! begun with exactly the join of the deltas that they cover: after a session that was cut off, a state has more.
//! One walk finds every difference between two states that do not change. A second one hides that the first has missed
//! some: the session converges all the same.
//!
//! A responder may refuse a delta whose stamps are too far ahead of its clock, or whose author it does not know as a
//! member yet, without a notice: then a walk is due. So it is after a delta that writes to what others have deleted and
//! collected while its author was away: the author's record has the old tombstone, and theirs has not, until they are
//! joined.

use super::restarts::latest_stamp;
use super::{CheckedStep, Noticed, Watched};
use crate::node::{CheckedDiskView, SimReplica};
use crate::verdict::Check;
use std::collections::BTreeMap;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::Notice;
use syncline_storage::Interface;
use syncline_sync::{Delta, DeltaLog, Dot, SyncProtocolKind, VersionVector};
use syncline_types::{Decode, Digest, Encode, Hlc, Probe};

/// A replica when a session started.
#[derive(Clone, Debug)]
struct SideAtStart {
    covered: VersionVector,
    floor: VersionVector,
    stable: VersionVector,
    horizon: Hlc,
    root: Digest,
    /// Whether the replica knew all members, and therefore refused no delta of one.
    knows_all: bool,
}

impl SideAtStart {
    fn of(replica: &SimReplica, root: Digest) -> Option<Self> {
        let horizon = replica.state().ok()?.horizon();
        let log = replica.log();
        let [covered, floor, stable] = [log.covered(), log.floor(), log.stable()].map(Clone::clone);
        Some(Self { covered, floor, stable, horizon, root, knows_all: replica.knows_all_members() })
    }

    /// Whether the log has every delta that this side covers and `other` lacks.
    fn can_give(&self, other: &Self) -> bool {
        self.covered.entries().all(|dot| {
            let had = other.covered.of(dot.author);
            dot.seq <= had || self.floor.of(dot.author) <= had
        })
    }

    /// The deltas that this side covers and `other` lacks, read from the log of `replica`, which is this side now;
    /// `None` if the log has pruned one of them since.
    fn deltas_for(&self, other: &Self, replica: &SimReplica) -> Option<Vec<Delta>> {
        let mut deltas = Vec::new();
        for Dot { author, seq: last } in self.covered.entries() {
            for seq in other.covered.of(author) + 1..=last {
                let bytes = DeltaLog::read(replica.disk(), Dot { author, seq }).ok()??;
                deltas.push(Delta::from_bytes(&bytes).ok()?);
            }
        }
        Some(deltas)
    }

    /// Whether one of these deltas of authors who had not collected as much as this side writes to what was deleted,
    /// according to `state`: its author's record has the old tombstone still, and that of one who has collected it has
    /// not.
    fn rewrites_collected(&self, deltas: &[Delta], state: &mut Interface<CheckedDiskView>) -> bool {
        let actions =
            deltas.iter().filter(|delta| delta.horizon < self.horizon).flat_map(|delta| &delta.actions);
        let is_deleted = |id| matches!(state.record(id), Ok(Some(record)) if record.deleted_at != Hlc::ZERO);
        actions.flat_map(|relative| relative.action.entities()).any(is_deleted)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.covered.to_bytes();
        bytes.extend(self.floor.to_bytes());
        bytes.extend(self.stable.to_bytes());
        bytes.extend(self.horizon.to_bytes());
        bytes.extend(self.root.0);
        bytes
    }
}

/// A session under way.
#[derive(Clone, Debug)]
struct OpenSession {
    initiator: SideAtStart,
    responder: SideAtStart,
    /// The roots of the initiator and the responder after their last steps.
    roots: (Digest, Digest),
    /// Whether something other than the session may have changed one of the two states.
    is_disturbed: bool,
    /// The time that the responder took for plausible when it answered the initiator; the least of several.
    responder_ms: u64,
    /// The time that the initiator took for plausible when the session started.
    initiator_ms: u64,
}

/// The sessions under way, by context, initiator and responder.
#[derive(Clone, Debug, Default)]
pub struct OpenSessions(BTreeMap<(usize, NodeId, NodeId), OpenSession>);

impl OpenSessions {
    /// The bytes of all sessions, for the hash of a state that contains them. The latest roots are left out: they
    /// are those of the nodes.
    pub fn each_bytes(&self, mut take: impl FnMut(&[u8])) {
        for ((context, node, peer), session) in &self.0 {
            take(&(*context as u64).to_le_bytes());
            take(&node.0.to_le_bytes());
            take(&peer.0.to_le_bytes());
            take(&[u8::from(session.is_disturbed)]);
            // Whatever the two sides were, a session that was disturbed is not judged.
            if !session.is_disturbed {
                take(&session.initiator.bytes());
                take(&session.responder.bytes());
            }
        }
    }

    /// Whether the responder of a session lacked a delta that every member had before the initiator collected
    /// tombstones, and nothing else has changed either side since.
    pub(super) fn is_left_behind(&self, context: usize, initiator: NodeId, responder: NodeId) -> bool {
        self.0.get(&(context, initiator, responder)).is_some_and(|session| {
            !session.is_disturbed
                && session.initiator.horizon > session.responder.horizon
                && !session.responder.covered.includes(&session.initiator.stable)
        })
    }

    /// Takes in what a step did to the states of its node, before its notices.
    pub(super) fn before_notices(&mut self, node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) {
        if self.0.is_empty() {
            return;
        }
        if step.went_down {
            // A crash ends the sessions that the node had begun, without a notice.
            self.0.retain(|(_, initiator, _), _| *initiator != node);
            self.disturb(|_, sides| sides.1 == node);
        }
        let sender = step.frame.map(|(from, _)| from);
        for ((context, initiator, responder), session) in &mut self.0 {
            let (own, other) = match node {
                node if node == *initiator => (&mut session.roots.0, *responder),
                node if node == *responder => (&mut session.roots.1, *initiator),
                _ => continue,
            };
            let root = world.root_in(*context, node);
            session.is_disturbed |= root != *own && sender != Some(other);
            *own = root;
            if node == *responder && sender == Some(*initiator) {
                session.responder_ms = session.responder_ms.min(world.plausible_ms(*context, node));
            }
        }
    }

    /// Takes in a notice, after the checks have seen it.
    pub(super) fn on_notice(&mut self, node: NodeId, context: usize, notice: &Notice, world: &dyn Watched) {
        match notice {
            Notice::SessionStarted { peer } => self.start(context, node, (*peer).into(), world),
            Notice::SessionEnded { peer, .. } => {
                self.0.remove(&(context, node, NodeId::from(*peer)));
            }
            Notice::DeltaApplied { .. }
            | Notice::WriteAccepted { .. }
            | Notice::TombstonesCollected { .. } => {
                self.disturb(|own, sides| own == context && (sides.0 == node || sides.1 == node));
            }
            _ => {}
        }
    }

    fn start(&mut self, context: usize, node: NodeId, peer: NodeId, world: &dyn Watched) {
        let is_beside = |own: usize, sides: (NodeId, NodeId)| {
            own == context && [node, peer].iter().any(|side| *side == sides.0 || *side == sides.1)
        };
        let is_disturbed = self.0.keys().any(|(own, a, b)| is_beside(*own, (*a, *b)));
        self.disturb(is_beside);
        let roots = (world.root_in(context, node), world.root_in(context, peer));
        let side = |node, root| SideAtStart::of(world.replica(context, node)?, root);
        if let Some((initiator, responder)) = side(node, roots.0).zip(side(peer, roots.1)) {
            let session = OpenSession {
                initiator,
                responder,
                roots,
                is_disturbed,
                responder_ms: u64::MAX,
                initiator_ms: world.plausible_ms(context, node),
            };
            self.0.insert((context, node, peer), session);
        }
    }

    fn disturb(&mut self, which: impl Fn(usize, (NodeId, NodeId)) -> bool) {
        for ((context, initiator, responder), session) in &mut self.0 {
            session.is_disturbed |= which(*context, (*initiator, *responder));
        }
    }
}

pub(super) fn needless_walk(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::SessionEnded { peer, protocol: Some(SyncProtocolKind::DeltaSync), stats, .. } =
        noticed.notice
    else {
        return None;
    };
    let peer = NodeId::from(*peer);
    let context = noticed.context;
    if stats.walks == 0 || !world.roles().is_empty() || world.has_losses(context) {
        return None;
    }
    let session = noticed.memory.sessions.0.get(&(context, noticed.node, peer))?;
    let OpenSession { initiator, responder, responder_ms, .. } = session;
    let differ_by_deltas = |side: &SideAtStart| {
        let joined = world.joined_root(context, noticed.node, &side.covered, side.horizon);
        joined == Some(side.root)
    };
    let are_enough = || {
        let own = world.replica(context, noticed.node)?;
        let other = world.replica(context, peer)?;
        let pushed = initiator.deltas_for(responder, own)?;
        let most = responder_ms.saturating_add(other.max_drift_ms());
        let is_early = latest_of(&pushed)?.physical_ms() > most;
        let pulled = responder.deltas_for(initiator, other)?;
        let mut state = own.state().ok()?;
        let rewrites = [pushed, pulled].iter().any(|deltas| initiator.rewrites_collected(deltas, &mut state));
        Some(!is_early && !rewrites)
    };
    let is_needless = !session.is_disturbed
        && initiator.knows_all
        && responder.knows_all
        // After a collection the states may differ by more than deltas until both have made it.
        && initiator.horizon == responder.horizon
        && responder.can_give(initiator)
        && initiator.can_give(responder)
        && differ_by_deltas(initiator)
        && differ_by_deltas(responder)
        && are_enough() == Some(true);
    is_needless.then(|| Check::NeedlessWalk {
        node: world.name_in(context, noticed.node),
        peer: world.name(peer),
        received: stats.deltas_received,
        records: stats.records_received + stats.records_pushed,
        had_collected: initiator.horizon > Hlc::ZERO,
    })
}

/// The latest stamp of some deltas and of what they change.
fn latest_of(deltas: &[Delta]) -> Option<Hlc> {
    let mut latest = Hlc::ZERO;
    for delta in deltas {
        latest = latest.max(delta.stamp);
        for action in &delta.actions {
            latest = latest.max(action.to_record().ok()?.latest_stamp());
        }
    }
    Some(latest)
}

/// Whether a session has walked twice without a reason. One of 2^24 comparisons of short digests overlooks a
/// difference, so that a single session proves nothing. O(1), and O(records) where a session has walked twice.
pub(super) fn walks_again(noticed: &Noticed<'_>, world: &dyn Watched) -> bool {
    let Notice::SessionEnded { peer, protocol, .. } = noticed.notice else { return false };
    // What a snapshot has staged is compared with several states of the peer.
    if *protocol == Some(SyncProtocolKind::Snapshot) {
        return false;
    }
    let again = || {
        let Noticed { node, context, .. } = *noticed;
        let peer = NodeId::from(*peer);
        let own = world.replica(context, node)?;
        let probes = own.ended_session(peer.into())?.probes;
        let is_promised = world.roles().is_empty()
            && !world.has_losses(context)
            && !world.hazards().may_differ_unseen()
            && probes.contains(Probe::SecondWalk)
            && !probes.contains(Probe::OrphansDropped)
            // The rest of an opening that was given up counts as a walk.
            && !probes.contains(Probe::PrefetchGivenUp);
        if !is_promised {
            return None;
        }
        let session = noticed.memory.sessions.0.get(&(context, node, peer))?;
        let shown = session.responder_ms.min(session.initiator_ms).min(world.plausible_ms(context, node));
        let is_early = |replica: &SimReplica| {
            let most = shown.saturating_add(replica.max_drift_ms());
            // Where the clocks have no limit, nothing is early, and the state of the peer may not be read.
            most < u64::MAX && latest_stamp(replica).map_or(true, |latest| latest.physical_ms() > most)
        };
        let is_even = session.initiator.horizon == session.responder.horizon;
        let accepts_all =
            || !is_early(own) && world.replica(context, peer).is_some_and(|peer| !is_early(peer));
        Some(!session.is_disturbed && is_even && accepts_all())
    };
    again() == Some(true)
}

/// The second session of a run that walks twice without a reason.
pub(super) fn second_walk(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::SessionEnded { peer, .. } = noticed.notice else { return None };
    (noticed.memory.second_walks > 0 && walks_again(noticed, world)).then(|| Check::WalkedTwice {
        node: world.name_in(noticed.context, noticed.node),
        peer: world.name((*peer).into()),
    })
}
