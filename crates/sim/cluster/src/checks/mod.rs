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

/// The implementation of a check. Its kind says when it runs.
#[derive(Clone, Copy, Debug)]
enum Implementation {
    Step(fn(NodeId, &CheckedStep<'_>, &dyn Watched) -> Option<Check>),
    Notice(fn(&Noticed<'_>, &dyn Watched) -> Option<Check>),
    /// After every step of a replica that has raised its horizon since its last start.
    Horizon(fn((NodeId, usize), &horizons::Known, &CheckedStep<'_>, &dyn Watched) -> Option<Check>),
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
    /// The horizons of replicas. They follow from the states, so that they need no place in the hash of a state.
    pub horizons: Horizons,
    /// What the authors of deltas had seen.
    pub pasts: Pasts,
    /// The snapshots under way.
    pub snapshots: SnapshotWatch,
    /// The sessions that have walked twice without a reason.
    pub second_walks: u32,
}

/// Every check. Of several that fail at the same time, the first one counts.
pub const CHECKS: [CheckEntry; 57] = [
    CheckEntry {
        name: "storm",
        promise: "I2: what happens without a change of any state is bounded",
        reports: &["Storm"],
        run: Implementation::Event(livelocks::storm),
    },
    CheckEntry {
        name: "unproven success",
        promise: "I1: a session that reports success has compared its own root",
        reports: &["UnprovenSuccess"],
        run: Implementation::Event(livelocks::unproven_success),
    },
    CheckEntry {
        name: "sticky loop",
        promise: "I2: sessions do not end alike again and again while nothing moves",
        reports: &["StickyLoop"],
        run: Implementation::Event(livelocks::sticky_loop),
    },
    CheckEntry {
        name: "endless pending",
        promise: "I2: without writes and faults, a pair does not sync again and again without end",
        reports: &["EndlessPending"],
        run: Implementation::Event(livelocks::endless_pending),
    },
    CheckEntry {
        name: "idle traffic",
        promise: "G4: replicas that have nothing to tell each other send next to nothing",
        reports: &["OverBudget"],
        run: Implementation::Event(|watch, _, world| budgets::idle_traffic(watch, world)),
    },
    CheckEntry {
        name: "stale frame",
        promise: "a frame from before a restart has no effect after frames from after it",
        reports: &["StaleFrameAccepted"],
        run: Implementation::Step(steps::stale_frame),
    },
    CheckEntry {
        name: "false success",
        promise: "I1: a session that reports success ended at a root that its peer had",
        reports: &["FalseSuccess"],
        run: Implementation::Notice(sessions::false_success),
    },
    CheckEntry {
        name: "session outcome",
        promise: "a session between honest replicas fails by silence alone",
        reports: &["ImpossibleOutcome"],
        run: Implementation::Notice(sessions::impossible_outcome),
    },
    CheckEntry {
        name: "needless walk",
        promise: "I4: deltas alone make states equal that differ by deltas which both sides have",
        reports: &["NeedlessWalk"],
        run: Implementation::Notice(walks::needless_walk),
    },
    CheckEntry {
        name: "second walk",
        promise: "I4: one walk finds every difference between two states that do not change",
        reports: &["WalkedTwice"],
        run: Implementation::Notice(walks::second_walk),
    },
    CheckEntry {
        name: "session in time",
        promise: "a session that has used up its time asks for nothing more",
        reports: &["Neglected"],
        run: Implementation::Notice(work::session_in_time),
    },
    CheckEntry {
        name: "parents first",
        promise: "I8: a delta is applied after all its parents",
        reports: &["CausalGap"],
        run: Implementation::Notice(steps::parents_applied),
    },
    CheckEntry {
        name: "parents named",
        promise: "I8: the parents of a write lead to all that its author had applied",
        reports: &["CausalGap"],
        run: Implementation::Notice(parents::parents_named),
    },
    CheckEntry {
        name: "waits for the session",
        promise: "I6: no delta is applied while a session changes the state",
        reports: &["AppliedDuringSync"],
        run: Implementation::Notice(steps::waits_for_session),
    },
    CheckEntry {
        name: "overflow",
        promise: "B3: a delta that found the buffer full leaves a pending sync",
        reports: &["Neglected"],
        run: Implementation::Notice(work::overflow_leaves_sync),
    },
    CheckEntry {
        name: "honest delta refused",
        promise: "no delta of an honest author is refused for a fault of its author",
        reports: &["HonestFrameRefused"],
        run: Implementation::Notice(steps::honest_delta_refused),
    },
    CheckEntry {
        name: "corrupt frame",
        promise: "a frame that the network changed is refused as corrupt",
        reports: &["CorruptFrameAccepted"],
        run: Implementation::Step(steps::corrupt_frame),
    },
    CheckEntry {
        name: "honest frame refused",
        promise: "no frame of an honest member is refused for a fault of its sender",
        reports: &["HonestFrameRefused"],
        run: Implementation::Step(steps::honest_frame_refused),
    },
    CheckEntry {
        name: "frame size",
        promise: "G2: no honest node sends a frame that others must refuse for its size",
        reports: &["FrameTooLarge"],
        run: Implementation::Step(steps::frame_size),
    },
    CheckEntry {
        name: "stamps ascend",
        promise: "the stamps of one author ascend with its deltas",
        reports: &["StampWrong"],
        run: Implementation::Notice(stamps::stamps_ascend),
    },
    CheckEntry {
        name: "stamp in time",
        promise: "a delta that is ahead of the clock by more than the drift limit waits",
        reports: &["StampWrong"],
        run: Implementation::Notice(stamps::stamp_in_time),
    },
    CheckEntry {
        name: "write is latest",
        promise: "a write is later than what its author had of the entity, and than the horizon",
        reports: &["StampWrong"],
        run: Implementation::Notice(writes::write_is_latest),
    },
    CheckEntry {
        name: "write is stored",
        promise: "C6: an accepted write is in the state of its author",
        reports: &["NotDurable"],
        run: Implementation::Notice(writes::write_is_stored),
    },
    CheckEntry {
        name: "collection",
        promise: "a collection removes what nobody can need any more, all of it and nothing else",
        reports: &["CollectionWrong"],
        run: Implementation::Notice(collections::collection),
    },
    CheckEntry {
        name: "horizon raised",
        promise: "a horizon is over what all members have, and ahead of the clock of none",
        reports: &["HorizonWrong"],
        run: Implementation::Notice(horizons::raised),
    },
    CheckEntry {
        name: "horizon kept",
        promise: "a horizon never goes back, and no delta from before it is applied",
        reports: &["HorizonWrong"],
        run: Implementation::Horizon(horizons::kept),
    },
    CheckEntry {
        name: "left behind",
        promise: "no states are compared with a replica that lacks what was collected",
        reports: &["ImpossibleOutcome"],
        run: Implementation::Notice(sessions::left_behind),
    },
    CheckEntry {
        name: "source of a snapshot",
        promise: "nobody asks for a snapshot of a peer that has no state",
        reports: &["ImpossibleOutcome"],
        run: Implementation::Notice(snapshots::snapshot_of_state),
    },
    CheckEntry {
        name: "snapshot in time",
        promise: "a snapshot is published without what is ahead of the clock",
        reports: &["StampWrong"],
        run: Implementation::Notice(snapshots::snapshot_in_time),
    },
    CheckEntry {
        name: "snapshot is covered",
        promise: "a replica that has received a snapshot has what it covers",
        reports: &["FalseCoverage"],
        run: Implementation::Notice(snapshots::snapshot_is_covered),
    },
    CheckEntry {
        name: "heeded heartbeat",
        promise: "a replica remembers the root that a peer has announced, and syncs if it differs",
        reports: &["Neglected"],
        run: Implementation::Step(work::heeds_heartbeat),
    },
    CheckEntry {
        name: "work has a timer",
        promise: "whatever a replica waits for comes, or its timer fires",
        reports: &["Neglected"],
        run: Implementation::Step(work::work_has_timer),
    },
    CheckEntry {
        name: "memory is stored",
        promise: "a replica knows what it would know after a restart",
        reports: &["NotStored"],
        run: Implementation::Step(restarts::memory_is_stored),
    },
    CheckEntry {
        name: "edit in place",
        promise: "C6: an edit of a list or a text shows where the application made it",
        reports: &["EditMisplaced"],
        run: Implementation::Notice(edits::edit_in_place),
    },
    CheckEntry {
        name: "replica stopped",
        promise: "no replica stops by itself",
        reports: &["ReplicaStopped"],
        run: Implementation::Replica(replicas::stopped),
    },
    CheckEntry {
        name: "bytes put by a write",
        promise: "G1: a write puts rows in proportion to its content",
        reports: &["OverBudget"],
        run: Implementation::Replica(budgets::write_bytes),
    },
    CheckEntry {
        name: "bytes read by a write",
        promise: "G1: a write reads rows in proportion to its content",
        reports: &["OverBudget"],
        run: Implementation::Replica(budgets::write_reads),
    },
    CheckEntry {
        name: "position size",
        promise: "G1: the position of an item is short, however many were inserted beside it",
        reports: &["OverBudget"],
        run: Implementation::Replica(budgets::position_bytes),
    },
    CheckEntry {
        name: "record size",
        promise: "G3: a record is about as large as what it shows",
        reports: &["OverBudget"],
        run: Implementation::Replica(budgets::record_bytes),
    },
    CheckEntry {
        name: "bytes read by a step",
        promise: "G1: a step reads rows in proportion to what it moves, or the state once",
        reports: &["OverBudget"],
        run: Implementation::Replica(budgets::step_reads),
    },
    CheckEntry {
        name: "frame accounts",
        promise: "F2: sent and duplicated frames add up to those delivered, dropped and in flight",
        reports: &["FatesUnbalanced"],
        run: Implementation::World(steps::frame_accounts),
    },
    CheckEntry {
        name: "buffer accounts",
        promise: "I6: every delta that entered a buffer left it in a counted way or waits",
        reports: &["BufferUnbalanced"],
        run: Implementation::Replica(replicas::buffer_accounts),
    },
    CheckEntry {
        name: "clock and stamps",
        promise: "the clock that a restart finds exceeds every stamp in the state",
        reports: &["StampWrong"],
        run: Implementation::Replica(restarts::clock_after_stamps),
    },
    CheckEntry {
        name: "covered writes",
        promise: "a replica has what it covers",
        reports: &["FalseCoverage"],
        run: Implementation::States(contexts::covered_writes),
    },
    CheckEntry {
        name: "durable writes",
        promise: "C6: every accepted write is on some disk",
        reports: &["NotDurable", "Internal"],
        run: Implementation::States(contexts::durable_writes),
    },
    CheckEntry {
        name: "leaves stay collected",
        promise: "what was collected does not come back, where nothing below it may need it",
        reports: &["CollectionWrong"],
        run: Implementation::States(collections::leaves_stay_collected),
    },
    CheckEntry {
        name: "give-ups",
        promise: "B3: what a replica gave up comes in another way",
        reports: &["GaveUp"],
        run: Implementation::Stopped(give_ups::never_taken_back),
    },
    CheckEntry {
        name: "blocked by a hazard",
        promise: "A2, A3: replaced disks, clocks that were ahead and faulty merge functions hold up nobody for good",
        reports: &["NotBroughtBack", "Muted", "DividedByMerge"],
        run: Implementation::Unfinished(hazards::held_up),
    },
    CheckEntry {
        name: "values",
        promise: "C6: every replica shows what the acknowledged writes imply",
        reports: &[
            "Lost",
            "WrongValue",
            "EditMisplaced",
            "NotDurable",
            "HiddenDifference",
            "HistoryLost",
            "Internal",
        ],
        run: Implementation::Converged(contexts::values),
    },
    CheckEntry {
        name: "hidden records",
        promise: "C6: invisible records are the join of the acknowledged writes",
        reports: &["HiddenDifference"],
        run: Implementation::Converged(contexts::hidden_records),
    },
    CheckEntry {
        name: "collected for good",
        promise: "what was collected has not come back",
        reports: &["CollectionWrong"],
        run: Implementation::Converged(collections::all_stay_collected),
    },
    CheckEntry {
        name: "disk size",
        promise: "G5: a disk is about as large as what it shows, apart from deltas and the index",
        reports: &["OverBudget"],
        run: Implementation::Converged(budgets::disk_bytes),
    },
    CheckEntry {
        name: "causal order",
        promise: "I8: the log has every delta above its floor, and covers the parents of each",
        reports: &["CausalGap"],
        run: Implementation::Replica(replicas::causal_order),
    },
    CheckEntry {
        name: "signatures",
        promise: "every delta in a log is signed by its author",
        reports: &["Unsigned"],
        run: Implementation::Replica(replicas::signatures),
    },
    CheckEntry {
        name: "rows",
        promise: "L4: every stored row is the one that the records imply",
        reports: &["IndexDrifted", "RowDrifted"],
        run: Implementation::Replica(replicas::rows),
    },
    CheckEntry {
        name: "sketch",
        promise: "L4: the sketch in memory is the one of the state",
        reports: &["RowDrifted"],
        run: Implementation::Replica(replicas::sketch),
    },
    CheckEntry {
        name: "silence",
        promise: "G4: equal replicas send heartbeats and nothing else",
        reports: &["OverBudget"],
        run: Implementation::Silence(budgets::silence),
    },
];

/// Runs the checks of steps after a step, and then lets `memory` take in what the step did. Returns the first
/// violation.
pub fn after_step(memory: &mut CheckMemory, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    // The checks are about what a node did; network events have none.
    let node = step.node?;
    memory.sessions.before_notices(node, step, world);
    memory.snapshots.before_notices(node, step, world);
    let is_hostile = world.roles().is_hostile(node);
    let mut found = CHECKS.iter().find_map(|check| match check.run {
        Implementation::Step(run) => run(node, step, world),
        _ => None,
    });
    for ContextNotice { context, notice } in step.notices {
        // The notices of a hostile node may be false.
        if is_hostile {
            break;
        }
        let context = usize::from(*context);
        let noticed = Noticed { node, context, notice, step, memory: &*memory };
        found = found.or_else(|| {
            CHECKS.iter().find_map(|check| match check.run {
                Implementation::Notice(run) => run(&noticed, world),
                _ => None,
            })
        });
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
    memory.horizons.of(node).find_map(|(context, known)| {
        CHECKS.iter().find_map(|check| match check.run {
            Implementation::Horizon(run) => run((node, context), known, step, world),
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
