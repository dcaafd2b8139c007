//! Checks of stamps: they follow causality, and none is accepted from the future.

use super::{Noticed, Watched};
use crate::node::SimReplica;
use crate::verdict::Check;
use syncline_replica::Notice;
use syncline_sync::{Delta, DeltaLog, Dot};
use syncline_types::Decode;

/// The stamps of one author ascend with its deltas: else a write could lose to an earlier one of the same author. Across
/// authors they need not: a replica whose root equals that of a peer covers the deltas of the peer, and does not learn
/// their stamps.
pub(super) fn stamps_ascend(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    // A hostile author may give a delta any stamp. One whose disk has lost its clock does not know better.
    if !world.roles().is_empty() || world.has_losses(noticed.context) {
        return None;
    }
    let replica = replica_of(noticed, world)?;
    let dot = match noticed.notice {
        Notice::DeltaApplied { delta, .. } => *delta,
        Notice::WriteAccepted { .. } => {
            let author = replica.replica()?.config().replica;
            Dot { author, seq: replica.log().covered().of(author) }
        }
        _ => return None,
    };
    let delta = stored(replica, dot)?;
    let before = stored(replica, Dot { seq: dot.seq.saturating_sub(1), ..dot })?;
    if before.stamp < delta.stamp {
        return None;
    }
    let detail = format!("{dot} of {} follows {} of {}", delta.stamp, before.dot, before.stamp);
    Some(Check::StampWrong { node: world.name_in(noticed.context, noticed.node), detail })
}

/// A delta that is further ahead of the clock than the drift limit allows must wait.
pub(super) fn stamp_in_time(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::DeltaApplied { delta: dot, .. } = noticed.notice else { return None };
    let replica = replica_of(noticed, world)?;
    let delta = stored(replica, *dot)?;
    let latest = world.wall_ms(noticed.node).saturating_add(replica.max_drift_ms());
    let detail = || format!("{dot} of {} is later than {latest} ms", delta.stamp);
    (delta.stamp.physical_ms() > latest)
        .then(|| Check::StampWrong { node: world.name_in(noticed.context, noticed.node), detail: detail() })
}

/// The replica of a notice, unless a crash within the step may have undone what the notice says.
pub(super) fn replica_of<'a>(noticed: &Noticed<'_>, world: &'a dyn Watched) -> Option<&'a SimReplica> {
    let is_sure = !noticed.step.went_down && !noticed.step.undone;
    world.replica(noticed.context, noticed.node).filter(|_| is_sure)
}

/// A delta that the log of a replica stores. One that is damaged is for the check of the whole log.
pub(super) fn stored(replica: &SimReplica, dot: Dot) -> Option<Delta> {
    let bytes = DeltaLog::read(replica.disk(), dot).ok()??;
    Delta::from_bytes(&bytes).ok()
}
