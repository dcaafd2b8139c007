//! Checks of single steps: frames that were sent, taken or refused, and deltas that were applied.

use super::stamps::stored;
use super::{CheckedStep, Noticed, Watched, is_caused_by_hostile};
use crate::verdict::Check;
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::{FrameKind, Notice};
use syncline_sync::{DeltaLog, DeltaRefusal, Dot};

/// The causes of refusal that are faults of the sender. No frame of an honest member is refused for one of them.
pub const SENDER_FAULTS: [DropCause; 6] = [
    DropCause::Corrupt,
    DropCause::Malformed,
    DropCause::NotAMember,
    DropCause::BadSignature,
    DropCause::LeftBehind,
    DropCause::OtherContext,
];

pub(super) fn stale_frame(node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    // A node whose disk was replaced may have lost its incarnation, and uses it again.
    let is_explained = is_caused_by_hostile(node, step, world.roles()) || world.hazards().replaced_disks;
    let stale = step.stale_accepted && !is_explained;
    stale.then(|| Check::StaleFrameAccepted { node: world.name(node) })
}

/// A corrupt frame must be refused as corrupt, whoever sent it.
pub(super) fn corrupt_frame(node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    // A replica whose disk fails under the frame has refused nothing, and has taken nothing either.
    let taken = step.corrupt && !step.went_down && step.refused != Some(DropCause::Corrupt);
    taken.then(|| Check::CorruptFrameAccepted { node: world.name(node) })
}

pub(super) fn honest_frame_refused(
    node: NodeId,
    step: &CheckedStep<'_>,
    world: &dyn Watched,
) -> Option<Check> {
    let cause = step.refused.filter(|cause| !step.corrupt && SENDER_FAULTS.contains(cause))?;
    // An honest frame may be refused because of a lie that was taken on trust.
    let follows_from_trust = !world.roles().is_value_promised() && cause == DropCause::LeftBehind;
    // Until all have learned of a member, some refuse it and what it wrote.
    let is_unnamed = cause == DropCause::NotAMember && world.is_naming();
    // What a member wrote before all knew of it reaches them with the state.
    let is_old = cause == DropCause::LeftBehind && world.names_late();
    let explained =
        follows_from_trust || is_unnamed || is_old || is_caused_by_hostile(node, step, world.roles());
    let left_behind = cause == DropCause::LeftBehind;
    (!explained).then(|| Check::HonestFrameRefused { node: world.name(node), left_behind })
}

pub(super) fn honest_delta_refused(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let is_unnamed = |refusal| refusal == DeltaRefusal::NotAMember && world.is_naming();
    let refused = match noticed.notice {
        // A hostile member may have signed the delta, and the sender is not known any more.
        Notice::DeltaDiscarded { refusal, .. } => {
            refusal.is_fault_of_author() && world.roles().is_empty() && !is_unnamed(*refusal)
        }
        Notice::DeltaRefused { from, refusal } => {
            !world.roles().is_hostile((*from).into()) && !is_unnamed(*refusal)
        }
        _ => false,
    };
    let node = || world.name_in(noticed.context, noticed.node);
    refused.then(|| Check::HonestFrameRefused { node: node(), left_behind: false })
}

pub(super) fn frame_size(node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    let limit = world.frame_limit();
    let frame = step.largest_sent.filter(|frame| frame.bytes > limit)?;
    if world.roles().is_hostile(node) {
        return None;
    }
    let kind = FrameKind::ALL.into_iter().find(|kind| u8::from(*kind) == frame.kind);
    Some(Check::FrameTooLarge {
        node: world.name(node),
        peer: world.name(frame.to),
        kind: kind.map_or_else(|| frame.kind.to_string(), |kind| format!("{kind:?}")),
        bytes: frame.bytes as u64,
        limit: limit as u64,
    })
}

/// **I8**, at the step itself: the log covers all parents of a delta that was applied. A parent that the same step
/// applied after its child is not noticed here. O(parents).
pub(super) fn parents_applied(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::DeltaApplied { delta: dot, .. } = noticed.notice else { return None };
    // A crash within the step may have lost the delta again.
    if noticed.step.went_down || noticed.step.undone {
        return None;
    }
    // A row that was corrupted by the simulated disk is found when it is read.
    let replica = world.replica(noticed.context, noticed.node).filter(|replica| !replica.is_corrupt())?;
    let missing = unapplied_parent(replica, *dot)?;
    let node = world.name_in(noticed.context, noticed.node);
    Some(Check::CausalGap { node, detail: format!("{dot} follows {missing}, which is missing") })
}

/// **I6**: no delta is applied while a session is changing the state. The deltas that the session itself brings are not
/// reported.
pub(super) fn waits_for_session(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::DeltaApplied { delta, .. } = noticed.notice else { return None };
    // A crash within the step has ended the session.
    let replica = world.replica(noticed.context, noticed.node)?.replica()?;
    let is_early = replica.is_transferring() && !noticed.step.went_down;
    is_early.then(|| Check::AppliedDuringSync {
        node: world.name_in(noticed.context, noticed.node),
        detail: format!("delta {delta}"),
    })
}

/// A parent of a stored delta that the log does not cover, or the delta of its author before it if the log should store
/// that and does not.
fn unapplied_parent(replica: &crate::node::SimReplica, dot: Dot) -> Option<Dot> {
    let delta = stored(replica, dot)?;
    let log = replica.log();
    let previous = Dot { seq: dot.seq.saturating_sub(1), ..dot };
    if previous.seq > log.floor().of(dot.author) && DeltaLog::read(replica.disk(), previous) == Ok(None) {
        return Some(previous);
    }
    delta.parents.iter().map(|parent| parent.dot).find(|parent| !log.covered().covers(*parent))
}

/// **F2**.
pub(super) fn frame_accounts(world: &dyn Watched) -> Option<Check> {
    let fates = world.fates().filter(|fates| !fates.is_balanced())?;
    let out = fates.delivered + fates.dropped_total() + fates.in_flight;
    Some(Check::FatesUnbalanced { in_: fates.sent + fates.duplicated, out })
}
