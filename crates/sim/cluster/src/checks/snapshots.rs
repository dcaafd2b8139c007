//! Checks of snapshots: where they come from, and what is published.

use super::contexts::lacks_covered;
use super::restarts::latest_stamp;
use super::{CheckedStep, Noticed, Reported, Watched};
use crate::node::SimReplica;
use crate::verdict::Check;
use std::collections::BTreeMap;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::Notice;
use syncline_store::WriteBatch;
use syncline_sync::{SyncProtocolKind, staged};
use syncline_types::{Digest, Hlc};

/// What the checks of snapshots remember.
#[derive(Clone, Debug, Default)]
pub struct SnapshotWatch {
    /// Sessions under way of a replica that has writes of its own with a peer that had no state either, by context,
    /// initiator and responder: the root of the responder, for as long as it stays like that.
    stateless: BTreeMap<(usize, NodeId, NodeId), Digest>,
    /// The latest time that the wall clock of each node has shown in a step.
    latest_ms: BTreeMap<NodeId, u64>,
}

impl SnapshotWatch {
    /// The bytes of all entries, for the hash of a state that contains them. The clocks are left out: where states are
    /// hashed, all of them are right.
    pub fn each_bytes(&self, mut take: impl FnMut(&[u8])) {
        for ((context, node, peer), root) in &self.stateless {
            take(&(*context as u64).to_le_bytes());
            take(&node.0.to_le_bytes());
            take(&peer.0.to_le_bytes());
            take(&root.0);
        }
    }

    /// Takes in what a step did to its node, before its notices.
    pub(super) fn before_notices(&mut self, node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) {
        let latest = self.latest_ms.entry(node).or_default();
        *latest = (*latest).max(world.wall_ms(node));
        if self.stateless.is_empty() {
            return;
        }
        self.stateless.retain(|(context, initiator, responder), root| {
            let has_changed = || {
                let is_same = world.root_in(*context, node) == *root;
                !is_same || !world.replica(*context, node).is_some_and(lacks_state)
            };
            let is_over = *initiator == node && step.went_down || *responder == node && has_changed();
            !is_over
        });
    }

    /// Takes in a notice, after the checks have seen it.
    pub(super) fn on_notice(&mut self, reported: &Reported<'_>, world: &dyn Watched) {
        let Reported { node, context, notice, .. } = *reported;
        match notice {
            Notice::SessionStarted { peer } => {
                let peer = NodeId::from(*peer);
                let has_writes = !world.root_in(context, node).is_zero();
                if has_writes && world.replica(context, peer).is_some_and(lacks_state) {
                    self.stateless.insert((context, node, peer), world.root_in(context, peer));
                }
            }
            Notice::SessionEnded { peer, .. } => {
                self.stateless.remove(&(context, node, NodeId::from(*peer)));
            }
            _ => {}
        }
    }
}

/// Whether a replica has no state that it could offer: none at all, or a snapshot on the way.
fn lacks_state(replica: &SimReplica) -> bool {
    let is_empty =
        replica.root().is_zero() && replica.state().is_ok_and(|state| state.horizon() == Hlc::ZERO);
    is_empty || staged::is_under_way(replica.disk(), &WriteBatch::default()).unwrap_or(false)
}

/// The peer of a session that has received a snapshot. A crash within the step may have undone it.
fn source(noticed: &Noticed<'_>) -> Option<NodeId> {
    let Notice::SessionEnded { peer, protocol: Some(SyncProtocolKind::Snapshot), .. } = noticed.notice else {
        return None;
    };
    let is_sure = !noticed.step.went_down && !noticed.step.undone;
    is_sure.then(|| NodeId::from(*peer))
}

/// A replica with writes of its own asks nobody for a snapshot who has no state.
pub(super) fn snapshot_of_state(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let peer = source(noticed)?;
    let Noticed { node, context, .. } = *noticed;
    let stateless = &noticed.memory.snapshots.stateless;
    if !stateless.contains_key(&(context, node, peer)) || !world.roles().is_empty() {
        return None;
    }
    let requested = world.replica(context, node)?.replica()?.config().requested_protocol;
    let detail = format!("a snapshot of {}, which has no state itself", world.name(peer));
    (requested != Some(SyncProtocolKind::Snapshot))
        .then(|| Check::ImpossibleOutcome { node: world.name_in(context, node), detail })
}

/// No record is published whose stamp is ahead of the clock by more than the drift limit. The clock may have been set
/// back since a record was accepted, so the latest time that it has shown counts. O(records).
pub(super) fn snapshot_in_time(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    source(noticed)?;
    let replica = world.replica(noticed.context, noticed.node).filter(|replica| !replica.is_corrupt())?;
    let shown = noticed.memory.snapshots.latest_ms.get(&noticed.node)?;
    let most = shown.saturating_add(replica.max_drift_ms());
    if most == u64::MAX {
        return None;
    }
    let latest = latest_stamp(replica).ok()?;
    let detail = || format!("a snapshot brought one of {latest}, later than {most} ms");
    (latest.physical_ms() > most)
        .then(|| Check::StampWrong { node: world.name_in(noticed.context, noticed.node), detail: detail() })
}

/// A replica that has received a snapshot has what it claims to cover. O(writes log n).
pub(super) fn snapshot_is_covered(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    source(noticed)?;
    let Noticed { node, context, .. } = *noticed;
    let is_promised = world.roles().is_empty()
        && !world.has_losses(context)
        && !world.has_collected(context)
        && !world.hazards().may_differ_unseen();
    if !is_promised {
        return None;
    }
    let detail = lacks_covered(world.oracle(context)?, node, world.replica(context, node)?)?;
    Some(Check::FalseCoverage { node: world.name_in(context, node), detail })
}
