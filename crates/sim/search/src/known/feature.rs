//! What a case must contain so that a known finding may explain its failure.

use crate::case::{Case, ScriptAction};
use std::collections::BTreeSet;
use sync_sim_cluster::workload::Growth;
use sync_sim_engine::faults::Rate;
use syncline_replica::Operation;
use syncline_types::{Limit, Limits, SimDuration};

/// A feature of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaseFeature {
    /// Something is written again after it, or what contains it, was deleted.
    RecreatesDeleted,
    /// Something is written or deleted again after it, or what contains it, was deleted.
    WritesDeleted,
    /// A counter that is written again after a delete must begin anew.
    ResetsCounters,
    /// Nodes learn of a new member at different moments.
    NamesMembersLate,
    /// Authors that are gone wrote before the run.
    HasFormerAuthors,
    /// Tombstones are collected.
    CollectsTombstones,
    /// The random writes make this large.
    Grows(Growth),
    /// Frames carry less than by default, so that a session takes more rounds.
    HasSmallFrames,
    /// A round trip takes longer than what a session is credited for a round.
    HasLongRoundTrips,
}

/// The credit of a session for a round: `PER_ROUND` of `core/replica/src/sessions/deadline.rs`, in milliseconds.
const ROUND_MS: u64 = 100;

/// The limits of what a frame carries.
const OF_FRAMES: [Limit; 6] = [
    Limit::PageBytes,
    Limit::SnapshotPageBytes,
    Limit::RecordsPerFrame,
    Limit::DeltasPerFrame,
    Limit::QuestionsPerFrame,
    Limit::ChildrenPerAnswer,
];

impl CaseFeature {
    /// Whether the case has the feature. O(script), or four runs if random writes decide it.
    pub fn holds(self, case: &Case) -> bool {
        match self {
            Self::RecreatesDeleted => case.workload.reuse > Rate::ZERO || in_writes(case, recreates),
            Self::WritesDeleted => case.workload.reuse > Rate::ZERO || in_writes(case, |_| true),
            Self::ResetsCounters => case.counters_reset,
            Self::HasFormerAuthors => case.former_authors > 0,
            Self::CollectsTombstones => case.forget_tombstones,
            Self::Grows(growth) => case.workload.grows == Some(growth),
            Self::HasSmallFrames => {
                let usual = Limits::default();
                OF_FRAMES.iter().any(|limit| case.replica.limits.get(*limit) < usual.get(*limit))
            }
            Self::HasLongRoundTrips => {
                2 * (case.faults.base_latency_ms + case.faults.latency_jitter_ms) > ROUND_MS
            }
            Self::NamesMembersLate => {
                case.naming_spread > SimDuration::ZERO
                    || case.script.iter().any(|line| matches!(line.what, ScriptAction::Name(_)))
            }
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
