//! The checks of a run: one list, which every way of running real replicas uses.
//!
//! [`CHECKS`] has an entry for each check: its name, the promise that it guards, when it runs, and its one
//! implementation. `run`, `sweep`, `replay` and `shrink` run worlds through
//! [`SimRuntime`](crate::runtime::SimRuntime), and `explore` runs them through its own search. Both call the
//! functions [`after_step`], [`after_progress`], [`of_replica`], [`of_states`] and [`at_stop`] of this module, and
//! these iterate over the list. So there is no check that only one of them runs; `crates/house` checks that no
//! other module makes a [`Check`].
//!
//! What a check may see is a [`Watched`] world, an [`CheckedStep`] of one node, an [`InspectedReplica`], or a
//! [`ContextView`]. Checks never change a run: they draw nothing from its [`Choices`](sync_sim_engine::random::Choices)
//! and leave its trace as it is.

mod budgets;
mod collections;
mod contexts;
mod edits;
mod give_ups;
mod hazards;
mod horizons;
mod list;
mod livelocks;
mod moments;
mod parents;
mod replicas;
mod restarts;
mod sessions;
mod snapshots;
mod stamps;
mod steps;
mod walks;
mod watched;
mod work;
mod writes;

#[cfg(test)]
mod forgetting_tests;
#[cfg(test)]
mod tests;

pub use contexts::ContextView;
pub use give_ups::GiveUps;
pub use hazards::{Hazards, UnfinishedRun, may_be_explained};
pub use horizons::Horizons;
pub use list::CHECKS;
pub use livelocks::ProgressWatch;
pub use moments::CheckMoments;
pub use parents::Pasts;
pub use replicas::{InspectedReplica, RowScratch};
pub use snapshots::SnapshotWatch;
pub use steps::SENDER_FAULTS;
pub use walks::OpenSessions;
pub use watched::{CheckedStep, Watched};

use crate::budgets::IdleTraffic;
use crate::hostile::HostileRoles;
use crate::node::ContextNotice;
use crate::verdict::Check;
use std::sync::LazyLock;
use sync_sim_engine::node_id::NodeId;

/// A check, with the promise that it guards.
#[derive(Clone, Copy, Debug)]
pub struct CheckEntry {
    /// The name, as `docs/book/faults.md` lists it.
    pub name: &'static str,
    /// What a run may rely on if the check passes.
    pub promise: &'static str,
    /// The names of the [`Check`]s that it reports.
    pub reports: &'static [&'static str],
    run: Implementation,
}

/// When a check runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CheckTime {
    /// After every step of a node.
    EveryStep,
    /// After every event of a run, with a memory of what happened since the last progress. Exploration runs it in
    /// the continuation without faults from each terminal state, since there is no last progress in a state.
    EveryEvent,
    /// On the state of one replica: at moments drawn from the seed for a drawn replica, and at the end for all. In an
    /// exploration: in every state.
    Moments,
    /// When a run stops, for whatever reason, and wherever exploration stops.
    Stop,
    /// When all nodes have converged.
    Converged,
    /// Two minutes after all nodes have converged, for some of the seeds of runs.
    Afterwards,
}

type StepCheck = fn(NodeId, &CheckedStep<'_>, &dyn Watched) -> Option<Check>;
type NoticeCheck = fn(&Noticed<'_>, &dyn Watched) -> Option<Check>;

/// The implementation of a check. Its kind says when it runs.
#[derive(Clone, Copy, Debug)]
enum Implementation {
    Step(StepCheck),
    Notice(NoticeCheck),
    /// After every step of a replica that has raised its horizon since its last start.
    Horizon(fn(&horizons::Known, &CheckedStep<'_>, &dyn Watched) -> Option<Check>),
    Event(fn(&mut ProgressWatch, &CheckedStep<'_>, &dyn Watched) -> Option<Check>),
    Replica(fn(&InspectedReplica<'_>, &mut RowScratch) -> Option<Check>),
    States(fn(&ContextView<'_>) -> Option<Check>),
    World(fn(&dyn Watched) -> Option<Check>),
    Stopped(fn(&ContextView<'_>) -> Option<Check>),
    Converged(fn(&ContextView<'_>) -> Option<Check>),
    Unfinished(fn(&UnfinishedRun) -> Option<Check>),
    Silence(fn(&IdleTraffic, &dyn Watched) -> Option<Check>),
}

impl CheckEntry {
    /// When the check runs.
    pub const fn time(&self) -> CheckTime {
        match self.run {
            Implementation::Step(_) | Implementation::Notice(_) | Implementation::Horizon(_) => {
                CheckTime::EveryStep
            }
            Implementation::Event(_) => CheckTime::EveryEvent,
            Implementation::Replica(_) | Implementation::States(_) => CheckTime::Moments,
            Implementation::World(_) | Implementation::Stopped(_) | Implementation::Unfinished(_) => {
                CheckTime::Stop
            }
            Implementation::Converged(_) => CheckTime::Converged,
            Implementation::Silence(_) => CheckTime::Afterwards,
        }
    }
}

/// A notice of an honest node, and what the checks remember of the step and the steps before.
struct Noticed<'a> {
    node: NodeId,
    context: usize,
    notice: &'a syncline_replica::Notice,
    step: &'a CheckedStep<'a>,
    memory: &'a CheckMemory,
}

/// A notice, for what remembers it.
struct Reported<'a> {
    node: NodeId,
    context: usize,
    notice: &'a syncline_replica::Notice,
    step: &'a CheckedStep<'a>,
}

impl<'a> Noticed<'a> {
    const fn reported(&self) -> Reported<'a> {
        let Self { node, context, notice, step, .. } = *self;
        Reported { node, context, notice, step }
    }
}

/// What the checks of steps remember. It does not depend on the order of independent steps.
#[derive(Clone, Debug, Default)]
pub struct CheckMemory {
    /// The sessions under way.
    pub sessions: OpenSessions,
    /// What replicas gave up.
    pub give_ups: GiveUps,
    /// The horizons of replicas.
    pub horizons: Horizons,
    /// What the authors of deltas had seen.
    pub pasts: Pasts,
    /// The snapshots under way.
    pub snapshots: SnapshotWatch,
    /// The sessions that have walked twice without a reason.
    pub second_walks: u32,
}

/// The checks of the list that run after every step: a run has a hundred steps for each other check.
struct ChecksOfSteps {
    steps: Vec<StepCheck>,
    notices: Vec<NoticeCheck>,
}

static CHECKS_OF_STEPS: LazyLock<ChecksOfSteps> = LazyLock::new(|| {
    let mut checks = ChecksOfSteps { steps: Vec::new(), notices: Vec::new() };
    for check in CHECKS {
        match check.run {
            Implementation::Step(run) => checks.steps.push(run),
            Implementation::Notice(run) => checks.notices.push(run),
            _ => {}
        }
    }
    checks
});

/// Runs the checks of steps after a step, and then lets `memory` take in what the step did. Returns the first
/// violation.
pub fn after_step(memory: &mut CheckMemory, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    // The checks are about what a node did; network events have none.
    let node = step.node?;
    memory.sessions.before_notices(node, step, world);
    memory.snapshots.before_notices(node, step, world);
    let is_hostile = world.roles().is_hostile(node);
    let mut found = CHECKS_OF_STEPS.steps.iter().find_map(|run| run(node, step, world));
    for ContextNotice { context, notice } in step.notices {
        // The notices of a hostile node may be false.
        if is_hostile {
            break;
        }
        let context = usize::from(*context);
        let noticed = Noticed { node, context, notice, step, memory: &*memory };
        found = found.or_else(|| CHECKS_OF_STEPS.notices.iter().find_map(|run| run(&noticed, world)));
        let walks_again = walks::walks_again(&noticed, world);
        let reported = Reported { node, context, notice, step };
        memory.second_walks += u32::from(walks_again);
        memory.pasts.on_notice(&reported, world);
        memory.snapshots.on_notice(&reported, world);
        memory.sessions.on_notice(node, context, notice, world);
        memory.give_ups.on_notice(node, context, notice);
    }
    if !is_hostile && !step.notices.is_empty() {
        found = found.or_else(|| horizon_checks(memory, node, step, world));
    }
    if !is_hostile {
        memory.horizons.on_step(node, step, world);
    }
    found
}

/// Runs the checks of the replicas of a node that had raised their horizons before a step.
fn horizon_checks(
    memory: &CheckMemory,
    node: NodeId,
    step: &CheckedStep<'_>,
    world: &dyn Watched,
) -> Option<Check> {
    memory.horizons.of(node).find_map(|known| {
        CHECKS.iter().find_map(|check| match check.run {
            Implementation::Horizon(run) => run(known, step, world),
            _ => None,
        })
    })
}

/// Runs the checks of progress after an event. Returns the first violation.
pub fn after_progress(
    watch: &mut ProgressWatch,
    step: &CheckedStep<'_>,
    world: &dyn Watched,
) -> Option<Check> {
    watch.begin_event(step, world);
    let found = CHECKS.iter().find_map(|check| match check.run {
        Implementation::Event(run) => run(watch, step, world),
        _ => None,
    });
    watch.end_event(world);
    found
}

/// Runs the checks of the state of one replica. `scratch` saves work where replicas of one context are checked one
/// after the other. Returns the first violation. O(records + deltas).
pub fn of_replica(replica: &InspectedReplica<'_>, scratch: &mut RowScratch) -> Option<Check> {
    CHECKS.iter().find_map(|check| match check.run {
        Implementation::Replica(run) => run(replica, scratch),
        _ => None,
    })
}

/// Runs the checks of the states of all replicas together, at any time. Returns the first violation.
/// O(records of all nodes).
pub fn of_states(view: &ContextView<'_>) -> Option<Check> {
    CHECKS.iter().find_map(|check| match check.run {
        Implementation::States(run) => run(view),
        _ => None,
    })
}

/// Runs the checks of a context at the end: those of a stop, and, if all nodes `converged`, those of their final
/// states. Returns the first violation. O(writes log writes + records of all nodes).
pub fn at_stop(view: &ContextView<'_>, converged: bool) -> Option<Check> {
    let of_context = CHECKS.iter().find_map(|check| match check.run {
        Implementation::Stopped(run) => run(view),
        Implementation::Converged(run) if converged => run(view),
        _ => None,
    });
    of_context.or_else(|| {
        let mut scratch = RowScratch::default();
        let mut all = view.nodes.iter().filter(|_| converged);
        all.find_map(|replica| of_replica(replica, &mut scratch))
    })
}

/// Runs the checks that must pass whenever a run stops, converged or not. Returns the first violation. O(nodes).
pub fn of_accounts(world: &dyn Watched, replicas: &[InspectedReplica<'_>]) -> Option<Check> {
    let of_world = CHECKS.iter().find_map(|check| match check.run {
        Implementation::World(run) => run(world),
        _ => None,
    });
    of_world.or_else(|| {
        replicas.iter().find_map(|replica| replicas::buffer_accounts(replica, &mut RowScratch::default()))
    })
}

/// Runs the checks of a run that has stopped without convergence, or at a check that
/// [a hazard may explain](may_be_explained). Returns the first violation.
pub fn of_unfinished(unfinished: &UnfinishedRun) -> Option<Check> {
    CHECKS.iter().find_map(|check| match check.run {
        Implementation::Unfinished(run) => run(unfinished),
        _ => None,
    })
}

/// Runs the checks of a run that has gone on after it had converged; `since` is its traffic since then. Returns the first
/// violation.
pub fn of_silence(since: &IdleTraffic, world: &dyn Watched) -> Option<Check> {
    CHECKS.iter().find_map(|check| match check.run {
        Implementation::Silence(run) => run(since, world),
        _ => None,
    })
}

/// Whether a step was caused by a hostile node: then a check that fails on it says nothing about honest nodes.
fn is_caused_by_hostile(node: NodeId, step: &CheckedStep<'_>, roles: &HostileRoles) -> bool {
    roles.is_hostile(node) || step.frame.is_some_and(|(from, _)| roles.is_hostile(from))
}
