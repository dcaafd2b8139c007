//! Checks of the state of one replica.

use crate::node::{CheckedDiskView, SimReplica};
use crate::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use syncline_storage::{ImpliedRows, StorageError, Verification};
use syncline_sync::{Delta, DeltaLog, Dot, Sketch};
use syncline_types::{Decode, Digest, Hlc};

/// A replica to check.
#[derive(Clone, Debug)]
pub struct InspectedReplica<'a> {
    /// The node of the replica.
    pub node: NodeId,
    /// The name of the node, with the context if nodes have several.
    pub name: String,
    /// The replica.
    pub replica: &'a SimReplica,
    /// The root that the replica shows to its peers.
    pub root: Digest,
}

impl<'a> InspectedReplica<'a> {
    /// A replica of a node with this name, as it shows itself.
    pub fn of(name: String, replica: &'a SimReplica) -> Self {
        Self { node: replica.node(), name, replica, root: replica.root() }
    }
}

/// What the records of the replica that was checked before imply. Replicas with equal records share it.
#[derive(Debug, Default)]
pub struct RowScratch {
    /// The rows.
    rows: Option<ImpliedRows>,
    /// The root, and the latest stamp.
    pub(super) latest: Option<(Digest, Hlc)>,
}

pub(super) fn stopped(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    let detail = inspected.replica.stopped()?.to_owned();
    Some(Check::ReplicaStopped { node: inspected.name.clone(), detail })
}

/// **I6**.
pub(super) fn buffer_accounts(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    let unbalanced = inspected.replica.replica().is_some_and(|replica| !replica.is_buffer_balanced())
        || inspected.replica.lost_from_buffer().is_some();
    unbalanced.then(|| Check::BufferUnbalanced { node: inspected.name.clone() })
}

/// **I8**: the log stores every delta that it covers and has not pruned, and covers the parents of each. O(deltas).
pub(super) fn causal_order(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    // A row that was corrupted by the simulated disk is found when it is read.
    if inspected.replica.is_corrupt() {
        return None;
    }
    let detail = match gap(inspected.replica) {
        Ok(None) => return None,
        Ok(Some(gap)) => gap,
        Err(error) => error.to_string(),
    };
    Some(Check::CausalGap { node: inspected.name.clone(), detail })
}

/// A delta above the floor of the log that the log claims and lacks, or whose parents it does not cover, in words.
fn gap(replica: &SimReplica) -> Result<Option<String>, StorageError> {
    let log = replica.log();
    let covered = log.covered();
    let floor = log.floor();
    for Dot { author, seq: last } in covered.entries() {
        for seq in floor.of(author) + 1..=last {
            let dot = Dot { author, seq };
            let stored = DeltaLog::read(replica.disk(), dot)?;
            let Some(delta) = stored.and_then(|bytes| Delta::from_bytes(&bytes).ok()) else {
                return Ok(Some(format!("{dot} is covered and not in the log")));
            };
            let mut parents = delta.parents.iter().map(|parent| parent.dot);
            if let Some(missing) = parents.find(|parent| !covered.covers(*parent)) {
                return Ok(Some(format!("{dot} follows {missing}, which is missing")));
            }
        }
    }
    Ok(None)
}

/// Every delta in the log is signed by its author. Only hostile nodes forge deltas, so other runs need no check.
/// O(deltas).
pub(super) fn signatures(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    let replica = inspected.replica;
    if replica.is_corrupt() || !replica.is_beside_hostile() {
        return None;
    }
    let forged = unsigned(replica).ok()??;
    Some(Check::Unsigned { node: inspected.name.clone(), detail: format!("delta {forged}") })
}

/// A delta in the log whose signature is not the one that its author gives.
fn unsigned(replica: &SimReplica) -> Result<Option<Dot>, StorageError> {
    let log = replica.log();
    for Dot { author, seq: last } in log.covered().entries() {
        let gate = replica.gate_of(author);
        for seq in log.floor().of(author) + 1..=last {
            let stored = DeltaLog::read(replica.disk(), Dot { author, seq })?;
            // A delta that is missing or damaged is for the check of the log.
            let Some(delta) = stored.and_then(|bytes| Delta::from_bytes(&bytes).ok()) else { continue };
            if delta.clone().signed(&gate).signature != delta.signature {
                return Ok(Some(delta.dot));
            }
        }
    }
    Ok(None)
}

/// **L4**: every stored row is the one that the records imply. O(records) if the replica that was checked before has
/// the same records, and O(records log records) otherwise.
pub(super) fn rows(inspected: &InspectedReplica<'_>, scratch: &mut RowScratch) -> Option<Check> {
    // A row that was corrupted by the simulated disk is found when it is read.
    if inspected.replica.is_corrupt() {
        return None;
    }
    let node = inspected.name.clone();
    let found = match verified(inspected.replica, scratch) {
        Ok(found) => found,
        // The records themselves contradict each other.
        Err(error) => return Some(Check::IndexDrifted { node, detail: error.to_string() }),
    };
    if found.is_sound() && found.rebuilt_root == inspected.root {
        return None;
    }
    let first = found.mismatches.first().map_or_else(|| "the root differs".to_owned(), ToString::to_string);
    let detail = match found.mismatched_rows {
        0 | 1 => first,
        rows => format!("{first}; {rows} such rows in all"),
    };
    if found.rebuilt_root == inspected.root && found.stored.root == inspected.root {
        Some(Check::RowDrifted { node, detail })
    } else {
        Some(Check::IndexDrifted { node, detail })
    }
}

/// The sketch that a replica updates with each change is the one of its state. The least sketch has so many cells, and
/// every record is in the first of them. O(records).
pub(super) fn sketch(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    const CELLS: usize = 128;
    if inspected.replica.is_corrupt() {
        return None;
    }
    let sketch = inspected.replica.sketch()?;
    let implied = Sketch::of(sketch.key(), &mut inspected.replica.state().ok()?).ok()?;
    if sketch.cells(0, CELLS) == implied.cells(0, CELLS) {
        return None;
    }
    let detail = "the sketch has other records than the state".to_owned();
    Some(Check::RowDrifted { node: inspected.name.clone(), detail })
}

fn verified(replica: &SimReplica, scratch: &mut RowScratch) -> Result<Verification, StorageError> {
    let disk = &CheckedDiskView::from(replica.disk());
    if let Some(implied) = &scratch.rows {
        let found = implied.compare(disk)?;
        if found.is_sound() {
            return Ok(found);
        }
    }
    // The records may differ from those before: only its own records tell what is wrong with a state.
    let implied = ImpliedRows::of(disk)?;
    let found = implied.compare(disk);
    scratch.rows = Some(implied);
    found
}
