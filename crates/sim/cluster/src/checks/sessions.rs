//! Checks of how sessions end.

use super::{Noticed, Watched};
use crate::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::Notice;
use syncline_sync::{DeltaRefusal, FailureReason, Outcome, Rejection, SyncProtocolKind};
use syncline_types::{SimDuration, SimTime};

/// A session that succeeds must end at a root that its responder had during the session.
pub(super) fn false_success(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::SessionEnded { peer, started_at, outcome: Outcome::Converged { root }, .. } = noticed.notice
    else {
        return None;
    };
    let peer = NodeId::from(*peer);
    let sides = (noticed.node, peer);
    if world.roles().is_hostile(peer) || world.had_root(noticed.context, sides, *root, *started_at) {
        return None;
    }
    Some(Check::FalseSuccess { node: world.name_in(noticed.context, noticed.node), peer: world.name(peer) })
}

/// A session with a side that is left behind compares no states.
pub(super) fn left_behind(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::SessionEnded { peer, outcome, protocol: Some(protocol), .. } = noticed.notice else {
        return None;
    };
    let compares = !matches!(
        protocol,
        SyncProtocolKind::None | SyncProtocolKind::DeltaSync | SyncProtocolKind::Snapshot
    );
    let peer = NodeId::from(*peer);
    let is_noticed = *outcome == Outcome::Failed(FailureReason::LeftBehind);
    let is_behind = || noticed.memory.sessions.is_left_behind(noticed.context, noticed.node, peer);
    if !compares || is_noticed || !world.roles().is_empty() || !is_behind() {
        return None;
    }
    Some(Check::ImpossibleOutcome {
        node: world.name_in(noticed.context, noticed.node),
        detail: format!("{outcome:?}, although {} lacks what was collected", world.name(peer)),
    })
}

/// Among honest nodes, the one thing that may fail a session is silence.
pub(super) fn impossible_outcome(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::SessionEnded { peer, started_at, outcome: Outcome::Failed(reason), .. } = noticed.notice
    else {
        return None;
    };
    let peer = NodeId::from(*peer);
    // A node that made a fresh start and has not caught up looks like one that was left behind.
    // So does a member that some had collected without, or whose disk is from before the horizon; it is brought back.
    let is_catching_up = *reason == FailureReason::LeftBehind
        && (world.names_late()
            || world.hazards().replaced_disks
            || [noticed.node, peer].iter().any(|side| world.is_catching_up(noticed.context, *side)));
    let is_expected = *reason == FailureReason::Timeout
        || is_catching_up
        || tells_of_two_lives(noticed.context, reason, world)
        || gives_way(noticed, peer, reason, *started_at, world)
        || is_explained(peer, reason, *started_at, world);
    if is_expected {
        return None;
    }
    Some(Check::ImpossibleOutcome {
        node: world.name_in(noticed.context, noticed.node),
        detail: reason.to_string(),
    })
}

/// Whether a side says that the history or the starts of the other one are not those that it knows, in a run in which
/// disks were replaced or have lost commits, or in which hostile nodes claim anything.
fn tells_of_two_lives(context: usize, reason: &FailureReason, world: &dyn Watched) -> bool {
    let tells = matches!(
        reason,
        FailureReason::PeerForked { .. }
            | FailureReason::UnprovenHistory { .. }
            | FailureReason::Rejected(
                Rejection::StaleIncarnation { .. }
                    | Rejection::AnotherHistory { .. }
                    | Rejection::UnprovenHistory
            )
    );
    tells && (world.hazards().replaced_disks || world.has_losses(context) || !world.roles().is_empty())
}

/// Whether a session has used up its time over a slow link, and something waited for its end.
fn gives_way(
    noticed: &Noticed<'_>,
    peer: NodeId,
    reason: &FailureReason,
    started_at: SimTime,
    world: &dyn Watched,
) -> bool {
    let Some(replica) = world.replica(noticed.context, noticed.node) else { return false };
    let Some(deadline) = replica.replica().map(|own| own.config().session_deadline) else { return false };
    *reason == FailureReason::TooLong
        && world.now().since(started_at) >= deadline
        && replica.ended_session(peer.into()).is_some_and(|note| note.has_given_way)
}

/// Whether hostile nodes, small limits, a long pause or a member that is not known everywhere yet explain a failure that
/// never ends a session between honest members alone.
fn is_explained(peer: NodeId, reason: &FailureReason, started_at: SimTime, world: &dyn Watched) -> bool {
    let roles = world.roles();
    let believed = *reason == FailureReason::LeftBehind && !roles.is_value_promised();
    // The pages of a snapshot come from several peers. The lie of one shows only when the snapshot is complete,
    // whichever peer sent the last page.
    let is_mixed_snapshot = matches!(reason, FailureReason::SnapshotMismatch { .. }) && !roles.is_empty();
    let is_short = *reason == FailureReason::TooLong && world.shortens_sessions();
    // A session in which a node stood still for minutes has used up its time when the node goes on.
    const LONG_PAUSE: SimDuration = SimDuration::from_secs(10);
    let has_rested = *reason == FailureReason::TooLong
        && world.longest_pause() >= LONG_PAUSE
        && world.now().since(started_at) >= LONG_PAUSE;
    let is_stranger = matches!(
        reason,
        FailureReason::NotAMember { .. }
            | FailureReason::Rejected(Rejection::NotAMember)
            | FailureReason::Unauthorized(DeltaRefusal::NotAMember)
    );
    let is_unnamed = is_stranger && world.is_naming();
    believed || has_rested || is_unnamed || is_mixed_snapshot || is_short || roles.is_hostile(peer)
}
