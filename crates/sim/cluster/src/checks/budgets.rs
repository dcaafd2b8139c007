//! Checks of [budgets](crate::budgets): what steps cost, what is sent while nothing changes, and what is on disk.

use super::{ContextView, InspectedReplica, ProgressWatch, RowScratch, Watched};
use crate::budgets::{Budget, IdleTraffic, OverBudget, check_disk};
use crate::verdict::{Check, SimPart};

/// The traffic of the nodes together belongs to none of them.
const NETWORK: &str = "the network";

/// The first step of a replica that has exceeded a budget, if it is this budget.
fn of_steps(inspected: &InspectedReplica<'_>, budget: Budget) -> Option<Check> {
    let over = inspected.replica.over_budget().filter(|over| over.budget == budget)?;
    Some(Check::OverBudget { node: inspected.name.clone(), over: over.clone() })
}

pub(super) fn write_bytes(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    of_steps(inspected, Budget::WriteBytes)
}

pub(super) fn write_reads(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    of_steps(inspected, Budget::WriteReads)
}

pub(super) fn position_bytes(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    of_steps(inspected, Budget::PositionBytes)
}

pub(super) fn record_bytes(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    of_steps(inspected, Budget::RecordBytes)
}

pub(super) fn step_reads(inspected: &InspectedReplica<'_>, _: &mut RowScratch) -> Option<Check> {
    of_steps(inspected, Budget::StepReads)
}

/// The traffic since the last progress. Nothing is promised about the traffic that hostile nodes cause. O(1), or
/// O(nodes) if there was much.
pub(super) fn idle_traffic(watch: &ProgressWatch, world: &dyn Watched) -> Option<Check> {
    let sent = world.bytes_sent()?;
    let traffic = watch.traffic();
    if !traffic.is_heavy(sent) || !world.roles().is_empty() {
        return None;
    }
    of_network(traffic.check(
        world.now(),
        sent,
        world.honest_replicas(),
        world.idle_pauses(),
        world.bytes_put(),
    ))
}

/// The traffic of a run that has gone on after convergence. What still changes then, such as the collection of
/// tombstones, is bounded by the same allowance: it happens once.
pub(super) fn silence(since: &IdleTraffic, world: &dyn Watched) -> Option<Check> {
    let sent = world.bytes_sent()?;
    of_network(since.check_equal(world.now(), sent, world.honest_replicas(), world.idle_pauses()))
}

fn of_network(over: Option<OverBudget>) -> Option<Check> {
    over.map(|over| Check::OverBudget { node: NETWORK.to_owned(), over })
}

/// The disk of one replica, which the seed chooses: all have the same records. O(rows).
pub(super) fn disk_bytes(view: &ContextView<'_>) -> Option<Check> {
    let chosen = (view.seed / 3 + view.context as u64) % (view.nodes.len() as u64).max(1);
    let inspected = view.nodes.get(chosen as usize)?;
    match check_disk(inspected.replica.disk()) {
        Ok(over) => Some(Check::OverBudget { node: inspected.name.clone(), over: over? }),
        Err(error) => Some(Check::Internal { part: SimPart::Reader, detail: error.to_string() }),
    }
}
