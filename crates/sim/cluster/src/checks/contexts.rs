//! Checks of the states of all replicas of a context together.

use super::hazards::lost_history;
use super::{GiveUps, Hazards, InspectedReplica};
use crate::hostile::HostileRoles;
use crate::node::{SimReplica, differences};
use crate::oracle::{Oracle, ReferenceState};
use crate::verdict::{Check, SimPart};
use std::borrow::Cow;
use sync_sim_engine::node_id::NodeId;
use syncline_storage::{ApplyError, StorageError};
use syncline_store::MemoryStore;
use syncline_sync::{LocalSyncState, VersionVector};

/// One context of a world: its honest replicas, and what was written.
#[derive(Clone, Debug)]
pub struct ContextView<'a> {
    /// The number of the context.
    pub context: usize,
    /// The number of contexts on each node.
    pub contexts: usize,
    /// The honest replicas.
    pub nodes: Vec<InspectedReplica<'a>>,
    /// Decides which replica is read first.
    pub seed: u64,
    /// A number that differs between the times at which the run is checked: so every replica is read first at some.
    pub turn: u64,
    /// The acknowledged writes.
    pub oracle: &'a Oracle,
    /// The join of the acknowledged writes, if the host keeps it.
    pub joined: Option<&'a ReferenceState>,
    /// The state that must survive, if disks have lost acknowledged commits.
    pub certain: Option<&'a ReferenceState>,
    /// Whether tombstones were collected.
    pub has_collected: bool,
    /// Which nodes are hostile.
    pub roles: &'a HostileRoles,
    /// Whether every honest node that took part is among `nodes`: none has retired.
    pub is_complete: bool,
    /// Whether all nodes are up and linked, and no write is to come.
    pub is_undisturbed: bool,
    /// What replicas gave up.
    pub give_ups: &'a GiveUps,
    /// What is wrong in the run.
    pub hazards: Hazards,
}

impl ContextView<'_> {
    /// The replica that the seed and the turn choose to be read first; `salt` decorrelates choices.
    fn first(&self, salt: u64) -> usize {
        ((self.seed / salt).wrapping_add(self.turn) % (self.nodes.len() as u64).max(1)) as usize
    }

    /// The oracle of the writes that must be visible: all, except for writes of hostile nodes that have not arrived.
    fn oracle_of_arrived(&self) -> Result<Cow<'_, Oracle>, StorageError> {
        let Some(first) = self.nodes.first().filter(|_| !self.roles.is_empty()) else {
            return Ok(Cow::Borrowed(self.oracle));
        };
        self.oracle.arrived(self.roles, first.replica.state()?, &self.covered()).map(Cow::Owned)
    }

    /// The deltas that at least one honest node covers.
    fn covered(&self) -> VersionVector {
        let mut covered = VersionVector::default();
        self.nodes.iter().for_each(|node| {
            covered.join(&node.replica.covered());
        });
        covered
    }

    /// **C6**: compares what every replica shows with what all acknowledged writes imply, and gives the first
    /// entity that is shown wrong. O(writes log writes + records of all nodes).
    pub fn wrong_value(&self) -> Option<Check> {
        let nodes: Vec<_> =
            self.nodes.iter().map(|node| (node.node, node.name.clone(), node.replica)).collect();
        let found = self.oracle_of_arrived().and_then(|oracle| oracle.find_mismatch(&nodes, self.first(7)));
        found.unwrap_or_else(|error| {
            Some(Check::Internal { part: SimPart::Reader, detail: error.to_string() })
        })
    }
}

/// The first record in which two states differ: expected and found, in words.
fn first_difference(expected: &MemoryStore, found: &MemoryStore) -> String {
    let differences = differences(expected, found, 1).unwrap_or_default();
    differences.first().map_or_else(|| "the roots differ".to_owned(), ToString::to_string)
}

/// **C6**, at any time: the union of all disks has every accepted write. It says nothing once tombstones were
/// collected, since the union of a state that has collected and one that has not is neither.
pub(super) fn durable_writes(view: &ContextView<'_>) -> Option<Check> {
    let is_promised = view.certain.is_none()
        && view.roles.is_empty()
        && !view.has_collected
        && !view.hazards.may_differ_unseen();
    // Which writes may be lost with a disk is known once its node has restarted.
    let is_damaged = view.nodes.iter().any(|node| node.replica.has_damaged_disk());
    if !is_promised || is_damaged || !view.is_complete {
        return None;
    }
    let joined = match view
        .joined
        .map_or_else(|| view.oracle.as_state().map(Cow::Owned), |joined| Ok(Cow::Borrowed(joined)))
    {
        Ok(joined) => joined,
        Err(error) => return Some(Check::Internal { part: SimPart::Oracle, detail: error.to_string() }),
    };
    let expected = joined.root();
    if view.nodes.iter().any(|node| Ok(node.root) == expected) {
        return None;
    }
    let mut union = ReferenceState::default();
    let merged = view.nodes.iter().try_for_each(|node| union.merge(node.replica.disk()));
    if merged.is_ok() && union.root() == expected {
        return None;
    }
    let detail = first_difference(joined.state(), union.state());
    let place = if view.contexts > 1 { format!(" in context {}", view.context) } else { String::new() };
    Some(Check::NotDurable { detail: format!("expected | found{place}: {detail}") })
}

/// A replica has what it claims to cover: a drawn one, at any time.
pub(super) fn covered_writes(view: &ContextView<'_>) -> Option<Check> {
    let is_promised = view.certain.is_none()
        && view.roles.is_empty()
        && !view.has_collected
        && !view.hazards.may_differ_unseen();
    if !is_promised {
        return None;
    }
    let inspected = view.nodes.get(view.first(11))?;
    let detail = lacks_covered(view.oracle, inspected.node, inspected.replica)?;
    Some(Check::FalseCoverage { node: inspected.name.clone(), detail })
}

/// The first record of the covered writes that a replica lacks, in words. Nobody may have collected tombstones: a state
/// without them may have come from anywhere. O(writes log n).
pub(super) fn lacks_covered(oracle: &Oracle, node: NodeId, replica: &SimReplica) -> Option<String> {
    // A row that the simulated disk has corrupted is found when the replica reads it.
    if replica.has_damaged_disk() {
        return None;
    }
    let covered = match oracle.covered_state(node, replica.log().covered()) {
        Ok(covered) => covered,
        Err(error) => return Some(error.to_string()),
    };
    let is_there = covered.is_included_in(replica.disk()) != Ok(false);
    (!is_there).then(|| first_difference(covered.state(), replica.disk()))
}

/// **C6**: what every replica shows follows from what was acknowledged. Where disks have lost commits, nodes must
/// show all that is certain, and nothing that was not written. An insider may make the honest nodes agree on
/// false values, so beside one nothing is promised.
pub(super) fn values(view: &ContextView<'_>) -> Option<Check> {
    if !view.roles.is_value_promised() {
        return None;
    }
    match view.certain {
        Some(certain) => with_losses(view, certain),
        None if view.hazards.replaced_disks => view.wrong_value().map(|wrong| lost_history(view, &wrong)),
        None => view.wrong_value(),
    }
}

/// All nodes have equal roots at the end, so one of them is read.
fn with_losses(view: &ContextView<'_>, certain: &ReferenceState) -> Option<Check> {
    let InspectedReplica { name, replica, .. } = view.nodes.first()?;
    // A delete that was on no disk when another lost its commits is not certain, but frames in flight may have saved it.
    // Once it is collected, nothing tells that it was applied.
    let renamed = view.hazards.may_differ_unseen();
    let missing = certain.first_missing_in(replica.disk(), renamed, || view.oracle.deletes());
    if missing != Ok(None) {
        let missing = missing.ok().flatten();
        let differences = differences(certain.state(), replica.disk(), usize::MAX).unwrap_or_default();
        let found = differences.iter().find(|found| missing.is_none_or(|id| found.entity == id));
        let detail = found.map_or_else(|| "a state that cannot be read".to_owned(), ToString::to_string);
        return Some(Check::NotDurable { detail: format!("expected | {name} has: {detail}") });
    }
    // What was written again has other stamps than the first time, and both may be there.
    if view.has_collected || renamed {
        return None;
    }
    let written = match view.oracle.as_state() {
        Ok(written) => written,
        Err(error) => {
            return Some(Check::Internal { part: SimPart::Oracle, detail: error.to_string() });
        }
    };
    // No record may be there that no write explains.
    let includes = written.includes(replica.disk()) == Ok(true);
    let detail = || first_difference(written.state(), replica.disk());
    (!includes).then(|| Check::HiddenDifference { node: name.clone(), detail: detail() })
}

/// **C6**: invisible records must be the join of what was written too. Once tombstones were collected, the records
/// depend on when that happened and are not compared.
pub(super) fn hidden_records(view: &ContextView<'_>) -> Option<Check> {
    let is_known = !view.has_collected && view.certain.is_none() && !view.hazards.may_differ_unseen();
    if !is_known || !view.roles.is_value_promised() {
        return None;
    }
    let InspectedReplica { name, replica, root, .. } = view.nodes.first()?;
    let beside_adversaries = !view.roles.is_empty();
    let compared = view.oracle_of_arrived().map_err(ApplyError::from);
    let compared =
        compared.and_then(|oracle| oracle.hidden_difference(*root, replica.disk(), beside_adversaries));
    let detail = match compared {
        Ok(difference) => difference?,
        Err(error) => error.to_string(),
    };
    Some(Check::HiddenDifference { node: name.clone(), detail })
}
