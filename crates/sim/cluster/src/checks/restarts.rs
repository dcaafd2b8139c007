//! Checks of what a replica would find in its store after a restart.
//!
//! Any moment may be the one before a crash. What a replica has promised, or relies on, must be in its store by then.

use super::{CheckedStep, InspectedReplica, RowScratch, Watched};
use crate::disk_view::CheckedDiskView;
use crate::node::SimReplica;
use crate::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::{FrameKind, Replica};
use syncline_storage::{Record, StorageError, record_page};
use syncline_types::{Decode, Hlc};

const SNAPSHOT: u8 = FrameKind::Snapshot as u8;

/// What a replica knows is what it would know after a restart. Runs after steps that report something and after those
/// that move a snapshot, since the others change nothing of it; in a quarter of the states. O(authors).
pub(super) fn memory_is_stored(node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    let is_snapshot = step.frame.is_some_and(|(_, kind)| kind == SNAPSHOT);
    if step.notices.is_empty() && !is_snapshot || step.went_down || step.undone {
        return None;
    }
    if world.roles().is_hostile(node) {
        return None;
    }
    let replicas = world.actor(node)?.replicas();
    // A row that the simulated disk has corrupted is found when the replica reads it.
    for replica in replicas.filter(|replica| !replica.is_corrupt()) {
        if !world.is_sampled(replica.number(), node, 4) {
            continue;
        }
        let Some(own) = replica.replica() else { continue };
        let Some(detail) = replica.after_restart().and_then(|restarted| forgotten(own, &restarted)) else {
            continue;
        };
        let node = world.name_in(replica.number(), node);
        return Some(Check::NotStored { node, detail: detail.to_owned() });
    }
    None
}

/// The first thing that a replica knows and its successor does not, in words.
fn forgotten(own: &Replica<CheckedDiskView>, restarted: &Replica<CheckedDiskView>) -> Option<&'static str> {
    let log = own.log();
    let stored = restarted.log();
    let facts = [
        (own.digest() == restarted.digest(), "the root that it announces"),
        (log.covered() == stored.covered(), "the deltas that it covers"),
        (log.floor() == stored.floor(), "the deltas that its log has pruned"),
        (log.heads() == stored.heads(), "the heads of its log"),
        (log.stable() == stored.stable(), "the deltas that all members covered"),
        (own.is_receiving_snapshot() == restarted.is_receiving_snapshot(), "whether it receives a snapshot"),
    ];
    facts.into_iter().find_map(|(holds, what)| (!holds).then_some(what))
}

/// Until here nothing of a run is written, and replicas begin with records whose stamps they have not observed.
pub(super) const BEFORE_RUN_MS: u64 = 2;

/// The clock that a restart finds exceeds every stamp in the state: else a later write could lose to what its author
/// has overwritten. O(records), unless a replica with the same root was checked before.
pub(super) fn clock_after_stamps(
    inspected: &InspectedReplica<'_>,
    scratch: &mut RowScratch,
) -> Option<Check> {
    if inspected.replica.is_corrupt() {
        return None;
    }
    let restarted = inspected.replica.after_restart()?;
    let latest = match scratch.latest.filter(|(root, _)| *root == inspected.root) {
        Some((_, latest)) => latest,
        None => latest_stamp(inspected.replica).ok()?,
    };
    scratch.latest = Some((inspected.root, latest));
    let is_ahead = latest.time() > restarted.clock() && latest.physical_ms() > BEFORE_RUN_MS;
    let detail = || format!("its state has one of {latest}, which its clock does not exceed");
    is_ahead.then(|| Check::StampWrong { node: inspected.name.clone(), detail: detail() })
}

/// The latest stamp of all records of a replica. O(records).
pub(super) fn latest_stamp(replica: &SimReplica) -> Result<Hlc, StorageError> {
    let mut latest = Hlc::ZERO;
    for (_, bytes) in record_page(replica.disk(), None, usize::MAX)?.records {
        let record = Record::from_bytes(&bytes);
        let record = record.map_err(|error| StorageError::Row { what: "a record", error })?;
        latest = latest.max(record.latest_stamp());
    }
    Ok(latest)
}
