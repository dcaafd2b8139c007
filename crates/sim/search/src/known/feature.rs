//! What a case must contain so that a known finding may explain its failure.

use crate::case::{Case, ScriptAction};
use std::collections::BTreeSet;
use sync_sim_cluster::workload::Growth;
use sync_sim_engine::faults::Rate;
use syncline_replica::Operation;

/// A feature of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaseFeature {
    /// Something is written again after it, or what contains it, was deleted.
    RecreatesDeleted,
    /// A counter that is written again after a delete must begin anew.
    ResetsCounters,
    /// The random writes make this large.
    Grows(Growth),
}

impl CaseFeature {
    /// Whether the case has the feature. O(script), or four runs if random writes decide it.
    pub fn holds(self, case: &Case) -> bool {
        match self {
            Self::RecreatesDeleted => case.workload.reuse > Rate::ZERO || in_writes(case, recreates),
            Self::ResetsCounters => case.counters_reset,
            Self::Grows(growth) => case.workload.grows == Some(growth),
        }
    }
}

/// Whether the writes of a case, also the random ones, contain an operation that `counts` on what was deleted before.
fn in_writes(case: &Case, counts: fn(&Operation) -> bool) -> bool {
    writes_deleted(case, counts)
        || case.workload.writes > 0 && case.pinned().is_ok_and(|pinned| writes_deleted(&pinned, counts))
}

fn recreates(operation: &Operation) -> bool {
    !matches!(operation, Operation::Delete { .. })
}

/// Whether the script has an operation that `counts` on a root name at which it deleted something before.
fn writes_deleted(case: &Case, counts: fn(&Operation) -> bool) -> bool {
    let mut deleted = BTreeSet::new();
    let writes = case.script.iter().filter_map(|line| match &line.what {
        ScriptAction::Write(write) => Some(write),
        _ => None,
    });
    for write in writes {
        for operation in &write.ops {
            let target = operation.named_target();
            let place = (write.context, *target.ancestors.first().unwrap_or(&target.id));
            if deleted.contains(&place) && counts(operation) {
                return true;
            }
            if matches!(operation, Operation::Delete { .. }) {
                deleted.insert(place);
            }
        }
    }
    false
}
