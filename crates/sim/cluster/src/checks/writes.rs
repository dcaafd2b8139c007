//! Checks of a write at its author: it is in the state, and it is later than what was there.

use super::restarts::BEFORE_RUN_MS;
use super::stamps::{replica_of, stored};
use super::{Noticed, Watched};
use crate::verdict::Check;
use syncline_replica::Notice;
use syncline_storage::{Action, Record};
use syncline_sync::Dot;
use syncline_types::Hlc;

/// A write is later than everything that its author had of the entity and of those above it: else the write could lose
/// to what it was meant to replace. It is later than the horizon too: else no other replica would take it. O(actions).
pub(super) fn write_is_latest(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::WriteAccepted { actions, .. } = noticed.notice else { return None };
    if world.has_losses(noticed.context) {
        return None;
    }
    let replica = replica_of(noticed, world).filter(|replica| !replica.is_corrupt())?;
    let author = replica.replica()?.config().replica;
    let delta = stored(replica, Dot { author, seq: replica.log().covered().of(author) })?;
    let mut state = replica.state().ok()?;
    let wrong =
        |detail| Some(Check::StampWrong { node: world.name_in(noticed.context, noticed.node), detail });
    let horizon = state.horizon();
    if delta.stamp <= horizon {
        return wrong(format!("{} of {} was written before the horizon {horizon}", delta.dot, delta.stamp));
    }
    for id in actions.iter().flat_map(Action::entities) {
        let latest = state.record(id).ok()?.map_or(Hlc::ZERO, |record| record.latest_stamp());
        if latest > delta.stamp && latest.physical_ms() > BEFORE_RUN_MS {
            return wrong(format!("{} of {} was written over {latest} of {id}", delta.dot, delta.stamp));
        }
    }
    None
}

/// **C6**: an accepted write is in the state of its author. O(actions).
pub(super) fn write_is_stored(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::WriteAccepted { actions, .. } = noticed.notice else { return None };
    let replica = replica_of(noticed, world).filter(|replica| !replica.is_corrupt())?;
    let mut state = replica.state().ok()?;
    for action in actions {
        let written = action.to_record().ok()?;
        let found = state.record(action.id()).ok()?;
        let includes = |record: &Record| !record.clone().join(&written);
        if !found.is_some_and(|record| includes(&record)) {
            let node = world.name_in(noticed.context, noticed.node);
            let detail = format!("{node} has accepted a write of {} that its state lacks", action.id());
            return Some(Check::NotDurable { detail });
        }
    }
    None
}
