//! Why a run stopped: the verdict types.

mod blockers;

pub use blockers::{Blocker, ConvergenceBlockers, Property};

use crate::budgets::OverBudget;
use crate::liveness::{SessionEnding, StormKind};
use crate::oracle::{AckedWrite, ValueMismatch};
use std::fmt;
use syncline_types::SimDuration;

/// The part of the simulator that failed in [`Check::Internal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SimPart {
    /// The oracle refused a write that a replica had accepted.
    Oracle,
    /// The script of a case names what the run does not have.
    Case,
    /// The initial state of the scenario could not be built.
    Scenario,
    /// The state of a replica could not be read for a check.
    Reader,
}

impl fmt::Display for SimPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oracle => "the oracle",
            Self::Case => "the case",
            Self::Scenario => "the scenario",
            Self::Reader => "a replica that was read",
        })
    }
}

/// A check that failed, with the evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Check {
    /// F2: some frame has no fate, or two.
    FatesUnbalanced {
        /// Frames sent and duplicated.
        in_: u64,
        /// Frames delivered, dropped and in flight.
        out: u64,
    },
    /// I6: a buffered delta is unaccounted for.
    BufferUnbalanced {
        /// The node whose buffer it was in.
        node: String,
    },
    /// A session reported success with a root that its peer did not have at any time during the session.
    FalseSuccess {
        /// The node that reported success.
        node: String,
        /// The peer of the session.
        peer: String,
    },
    /// C6: a replica shows exactly what it would show without one of the acknowledged writes.
    Lost {
        /// The value that is shown and the value that must be.
        wrong: ValueMismatch,
        /// The write that is missing.
        write: AckedWrite,
    },
    /// C6: a replica shows a value that the acknowledged writes do not imply, with or without any one of
    /// them.
    WrongValue {
        /// The value that is shown and the value that must be.
        wrong: ValueMismatch,
        /// The latest acknowledged write that affects the value.
        latest: Option<AckedWrite>,
    },
    /// C6: all replicas show what was written, but their invisible records are not the join of it.
    HiddenDifference {
        /// The node whose records were compared.
        node: String,
        /// The first record that differs: expected and found.
        detail: String,
    },
    /// C6: right after an edit of a list or a text, its writer shows it in another place than the application asked
    /// for.
    EditMisplaced {
        /// The writer.
        node: String,
        /// Where the edit was made, and where it shows.
        detail: String,
    },
    /// A delta has a stamp that its author, or the replica that applied it, should not have let pass.
    StampWrong {
        /// The node that wrote or applied it.
        node: String,
        /// The stamp, and what it contradicts.
        detail: String,
    },
    /// A collection of tombstones has removed what must stay or left what must go, or something that was collected is
    /// there again.
    CollectionWrong {
        /// The node that collected.
        node: String,
        /// The entity, and what is wrong with it.
        detail: String,
    },
    /// A horizon went back, was raised too far, or did not keep a delta out.
    HorizonWrong {
        /// The node whose horizon it is.
        node: String,
        /// The horizon, and what it contradicts.
        detail: String,
    },
    /// C6: an accepted write is on no disk.
    NotDurable {
        /// The first record that differs: expected and found.
        detail: String,
    },
    /// A1, A2: after the disk of a node was restored, copied or lost under its name, a replica does not show what was
    /// acknowledged and still held, or what was acknowledged since.
    HistoryLost {
        /// The value that is shown and the value that must be, in words.
        wrong: String,
        /// The number that names two writes, in words, if there is one.
        reused: Option<String>,
    },
    /// A2: after the disk of a node was restored, copied or lost under its name, the run did not converge.
    NotBroughtBack {
        /// A node, and the acknowledged write that it lacks, in words, if it lacks one.
        unheard: Option<String>,
        /// How the run stopped, in words.
        pending: String,
    },
    /// A3: after a clock was far ahead for a while, writes of a node no longer reach another one.
    Muted {
        /// A node, and the acknowledged write that it lacks, in words.
        unheard: String,
        /// How the run stopped, in words.
        pending: String,
    },
    /// I8: a delta was applied before one of its parents, or the log lacks a delta that it claims.
    CausalGap {
        /// The node that applied it.
        node: String,
        /// The delta, and what it lacks.
        detail: String,
    },
    /// A session between honest replicas ended in a way that only a bug explains.
    ImpossibleOutcome {
        /// The initiator of the session.
        node: String,
        /// The outcome in words.
        detail: String,
    },
    /// A frame of an honest replica was refused for a fault of its sender.
    HonestFrameRefused {
        /// The node that refused it.
        node: String,
        /// Whether it was refused because it is from before the horizon.
        left_behind: bool,
    },
    /// A frame that the network corrupted was not refused as corrupt.
    CorruptFrameAccepted {
        /// The node that accepted it.
        node: String,
    },
    /// A frame from before a restart of its sender was accepted after a frame from after the restart.
    StaleFrameAccepted {
        /// The node that accepted it.
        node: String,
    },
    /// A replica stopped because its store failed or an invariant was broken.
    ReplicaStopped {
        /// The node of the replica.
        node: String,
        /// The error of the replica.
        detail: String,
    },
    /// A part of the simulator itself failed, not a replica. Case files store it under the class name of
    /// [`Check::ReplicaStopped`].
    Internal {
        /// The part that failed.
        part: SimPart,
        /// The error in words.
        detail: String,
    },
    /// A session reported success with a root that its own side does not have.
    UnprovenSuccess {
        /// The node that reported success.
        node: String,
        /// The peer of the session.
        peer: String,
    },
    /// A livelock: sessions between the same two nodes ended the same way again and again, while both were up
    /// and linked, nothing was written, and no root changed.
    StickyLoop {
        /// The initiator of the sessions.
        node: String,
        /// The responder of the sessions.
        peer: String,
        /// How each of them ended.
        ending: SessionEnding,
        /// Sessions in a row.
        times: u32,
    },
    /// A livelock: far more events happened than the states of the nodes explain.
    Storm {
        /// The kind of event.
        of: StormKind,
        /// Number of events counted.
        count: u64,
        /// The time over which they were counted.
        span: SimDuration,
    },
    /// A check of the user's own replica failed; see the module `custom` of `sync_sim`.
    Custom {
        /// The name of the check: one or two words, always the same for the same bug.
        name: &'static str,
        /// The evidence in words.
        detail: String,
    },
    /// The topology links honest nodes through hostile ones only, or there is no honest node: nothing is
    /// promised, so the run shows nothing.
    HonestApart,
    /// A cost is over its [budget](crate::budgets).
    OverBudget {
        /// The node that exceeded the budget, or the network.
        node: String,
        /// The budget, and what was found.
        over: OverBudget,
    },
    /// L4: rebuilding the index from the records gives another root.
    IndexDrifted {
        /// The node whose index was rebuilt.
        node: String,
        /// The first row that differs from what the records imply.
        detail: String,
    },
    /// L4: the index is right, and another row that is derived from the records is not. No root and no session
    /// shows it; readers of the row see something wrong.
    RowDrifted {
        /// The node whose rows were compared.
        node: String,
        /// The first row that differs from what the records imply, and how.
        detail: String,
    },
    /// A DeltaSync session ended in a walk, although each side's log had every delta that the other lacked, and
    /// nothing else changed either side meanwhile.
    NeedlessWalk {
        /// The initiator of the session.
        node: String,
        /// The responder of the session.
        peer: String,
        /// The deltas that the initiator received.
        received: u64,
        /// The records that the walk transferred.
        records: u64,
        /// Whether both had collected tombstones, up to the same stamp.
        had_collected: bool,
    },
    /// A livelock: session after session of one pair left another sync pending, while nothing was written and no
    /// fault happened. The roots of the nodes may have moved.
    EndlessPending {
        /// The initiator of the sessions.
        node: String,
        /// The responder of the sessions.
        peer: String,
        /// How the last of them ended.
        ending: SessionEnding,
        /// Sessions in a row.
        times: u32,
    },
    /// An honest node sent a frame above the limit, which its receiver must refuse.
    FrameTooLarge {
        /// The sender.
        node: String,
        /// The receiver.
        peer: String,
        /// The kind of message.
        kind: String,
        /// The size of the frame.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A replica gave something up, and never got it in another way although somebody has it.
    GaveUp {
        /// The node that gave it up.
        node: String,
        /// What it gave up, and who has it.
        detail: String,
    },
    /// A replica leaves work undone: nothing that is under way, and no timer, will make it go on.
    #[allow(missing_docs, reason = "the node, and the work")]
    Neglected { node: String, detail: String },
    /// A replica would know something else after a restart than it knows now.
    #[allow(missing_docs, reason = "the node, and what its store does not say")]
    NotStored { node: String, detail: String },
    /// A replica covers a delta, and its state lacks what the delta has written.
    #[allow(missing_docs, reason = "the node, and the first record that differs")]
    FalseCoverage { node: String, detail: String },
    /// I6: a delta was applied while a session was changing the state.
    #[allow(missing_docs, reason = "the node, and the delta")]
    AppliedDuringSync { node: String, detail: String },
    /// The log of a replica has a delta that its author has not signed.
    #[allow(missing_docs, reason = "the node, and the delta")]
    Unsigned { node: String, detail: String },
    /// Two sessions of a run walked the index twice, although one walk finds every difference between two states that
    /// do not change.
    #[allow(missing_docs, reason = "the sides of the second session")]
    WalkedTwice { node: String, peer: String },
}

impl Check {
    /// The name of the check, as in case files. A new check needs a name here before it compiles.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FatesUnbalanced { .. } => "FatesUnbalanced",
            Self::BufferUnbalanced { .. } => "BufferUnbalanced",
            Self::FalseSuccess { .. } => "FalseSuccess",
            Self::Lost { .. } => "Lost",
            Self::WrongValue { .. } => "WrongValue",
            Self::HiddenDifference { .. } => "HiddenDifference",
            Self::EditMisplaced { .. } => "EditMisplaced",
            Self::StampWrong { .. } => "StampWrong",
            Self::CollectionWrong { .. } => "CollectionWrong",
            Self::HorizonWrong { .. } => "HorizonWrong",
            Self::NotDurable { .. } => "NotDurable",
            Self::HistoryLost { .. } => "HistoryLost",
            Self::NotBroughtBack { .. } => "NotBroughtBack",
            Self::Muted { .. } => "Muted",
            Self::CausalGap { .. } => "CausalGap",
            Self::ImpossibleOutcome { .. } => "ImpossibleOutcome",
            Self::HonestFrameRefused { .. } => "HonestFrameRefused",
            Self::CorruptFrameAccepted { .. } => "CorruptFrameAccepted",
            Self::StaleFrameAccepted { .. } => "StaleFrameAccepted",
            // A failure of the simulator itself has always had this name in case files.
            Self::ReplicaStopped { .. } | Self::Internal { .. } => "ReplicaStopped",
            Self::UnprovenSuccess { .. } => "UnprovenSuccess",
            Self::StickyLoop { .. } => "StickyLoop",
            Self::Storm { .. } => "Storm",
            Self::Custom { name, .. } => name,
            Self::HonestApart => "HonestApart",
            Self::OverBudget { over, .. } => over.budget.name(),
            Self::IndexDrifted { .. } => "IndexDrifted",
            Self::RowDrifted { .. } => "RowDrifted",
            Self::NeedlessWalk { .. } => "NeedlessWalk",
            Self::EndlessPending { .. } => "EndlessPending",
            Self::FrameTooLarge { .. } => "FrameTooLarge",
            Self::GaveUp { .. } => "GaveUp",
            Self::Neglected { .. } => "Neglected",
            Self::NotStored { .. } => "NotStored",
            Self::FalseCoverage { .. } => "FalseCoverage",
            Self::AppliedDuringSync { .. } => "AppliedDuringSync",
            Self::Unsigned { .. } => "Unsigned",
            Self::WalkedTwice { .. } => "WalkedTwice",
        }
    }
}

impl fmt::Display for Check {
    #[allow(clippy::too_many_lines, reason = "one arm for each check")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FatesUnbalanced { in_, out } => {
                write!(f, "F2: {in_} frames went in and {out} are accounted for")
            }
            Self::BufferUnbalanced { node } => {
                write!(f, "I6: a delta vanished from the buffer of {node}")
            }
            Self::FalseSuccess { node, peer } => {
                write!(f, "{node} reported a sync with {peer} as converged on a root {peer} never had")
            }
            Self::Lost { wrong, write } => write!(f, "C6: {wrong}; lost: {write}"),
            Self::WrongValue { wrong, latest: Some(write) } => {
                write!(f, "C6: {wrong}; the latest write there: {write}")
            }
            Self::WrongValue { wrong, latest: None } => write!(f, "C6: {wrong}; no write affects it"),
            Self::HiddenDifference { node, detail } => {
                write!(
                    f,
                    "C6: the invisible records are not the join of the writes: expected | {node} has: {detail}"
                )
            }
            Self::NotDurable { detail } => write!(f, "C6: an accepted write is on no disk: {detail}"),
            Self::HistoryLost { wrong, reused: None } => {
                write!(f, "A2: a disk was replaced, and what was acknowledged is gone: {wrong}")
            }
            Self::HistoryLost { wrong, reused: Some(reused) } => {
                write!(f, "A1: a disk was replaced, and what was acknowledged is gone: {reused}; {wrong}")
            }
            Self::NotBroughtBack { unheard, pending } => {
                let unheard = unheard.as_deref().unwrap_or("its node does not come back");
                write!(f, "A2: a disk was replaced, and {unheard}: {pending}")
            }
            Self::Muted { unheard, pending } => {
                write!(f, "A3: a clock was far ahead, and {unheard}: {pending}")
            }
            Self::CausalGap { node, detail } => {
                write!(f, "I8: {node} applied a delta without one that it follows: {detail}")
            }
            Self::ImpossibleOutcome { node, detail } => write!(f, "a session of {node} ended as: {detail}"),
            Self::HonestFrameRefused { node, left_behind: true } => {
                write!(f, "{node} refused an honest frame as one from before the horizon")
            }
            Self::HonestFrameRefused { node, left_behind: false } => {
                write!(f, "{node} refused an honest frame as malformed")
            }
            Self::CorruptFrameAccepted { node } => write!(f, "{node} took a corrupt frame for a sound one"),
            Self::StaleFrameAccepted { node } => {
                write!(f, "{node} took a frame from before a restart for a new one")
            }
            Self::ReplicaStopped { node, detail } => write!(f, "{node} stopped: {detail}"),
            Self::Internal { part, detail } => write!(f, "{part} failed: {detail}"),
            Self::UnprovenSuccess { node, peer } => {
                write!(f, "{node} reported a sync with {peer} as converged on a root it does not have itself")
            }
            Self::StickyLoop { node, peer, ending, times } => {
                write!(
                    f,
                    "no progress: {times} sessions of {node} with {peer} in a row ended alike ({ending}) and no root moved"
                )
            }
            Self::Storm { of, count, span } => {
                write!(f, "a storm: {count} {of} in {span}, and nothing that explains them")
            }
            Self::Custom { name, detail } => write!(f, "{name}: {detail}"),
            Self::HonestApart => {
                write!(f, "the honest nodes have no way to each other that leads past the hostile ones")
            }
            Self::OverBudget { node, over } => write!(f, "G: {node} is over its budget of {over}"),
            Self::IndexDrifted { node, detail } => {
                write!(f, "L4: the index of {node} does not follow from its records: {detail}")
            }
            Self::RowDrifted { node, detail } => {
                write!(f, "L4: a row of {node} does not follow from its records: {detail}")
            }
            Self::NeedlessWalk { node, peer, received, records, had_collected } => {
                write!(
                    f,
                    "{node} walked the index of {peer} for {records} records after {received} deltas, although deltas alone would have made them equal"
                )?;
                if *had_collected {
                    f.write_str(" and both had collected the same tombstones")
                } else {
                    Ok(())
                }
            }
            Self::EndlessPending { node, peer, ending, times } => write!(
                f,
                "no end: {times} sessions of {node} with {peer} in a row left another one pending (the last: {ending}), and nothing was written"
            ),
            Self::FrameTooLarge { node, peer, kind, bytes, limit } => write!(
                f,
                "G2: {node} sent {peer} a frame ({kind}) of {bytes} bytes, and the limit is {limit}"
            ),
            Self::StampWrong { node, detail } => write!(f, "{node} accepted a wrong stamp: {detail}"),
            Self::CollectionWrong { node, detail } => write!(f, "tombstones of {node}: {detail}"),
            Self::HorizonWrong { node, detail } => write!(f, "the horizon of {node}: {detail}"),
            Self::EditMisplaced { node, detail } => write!(f, "C6: on {node} {detail}"),
            Self::GaveUp { node, detail } => write!(f, "{node} gave up and never got {detail}"),
            Self::Neglected { node, detail } => write!(f, "{node} neglects its work: {detail}"),
            Self::NotStored { node, detail } => {
                write!(f, "a restart of {node} would not find in its store {detail}")
            }
            Self::FalseCoverage { node, detail } => {
                write!(f, "{node} covers a delta whose records it lacks: expected | found: {detail}")
            }
            Self::AppliedDuringSync { node, detail } => {
                write!(f, "I6: {node} applied {detail} while a session was changing its state")
            }
            Self::Unsigned { node, detail } => {
                write!(f, "{node} has taken {detail}, which its author has not signed")
            }
            Self::WalkedTwice { node, peer } => {
                write!(f, "{node} walked the index of {peer} twice, although neither state has changed")
            }
        }
    }
}

/// Why a run stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StopCondition {
    /// C1 to C5 hold, the workload is done, and every check passed.
    Converged,
    /// No work is unfinished and the digests differ: no event is left, or all nodes are up and linked, have
    /// received repeated heartbeats with a different root, and do not act on the difference.
    Diverged(ConvergenceBlockers),
    /// No event is left and some work is unfinished.
    Deadlock(ConvergenceBlockers),
    /// The simulated time ran out.
    MaxTime(ConvergenceBlockers),
    /// The event budget ran out.
    MaxEvents(ConvergenceBlockers),
    /// The predicate of [`SimRuntime::run_until`](crate::runtime::SimRuntime::run_until) returned `true`.
    Manual,
    /// One of the checks failed.
    Violated(Check),
}

impl StopCondition {
    /// The reason as one word, by which reports group runs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Diverged(_) => "diverged",
            Self::Deadlock(_) => "deadlock",
            Self::MaxTime(_) => "max_time",
            Self::MaxEvents(_) => "max_events",
            Self::Manual => "manual",
            Self::Violated(_) => "violated",
        }
    }
}

impl fmt::Display for StopCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Converged => write!(f, "converged"),
            Self::Diverged(blockers) => write!(f, "diverged: {blockers}"),
            Self::Deadlock(blockers) => write!(f, "deadlocked: {blockers}"),
            Self::MaxTime(blockers) => write!(f, "time ran out: {blockers}"),
            Self::MaxEvents(blockers) => write!(f, "the event budget ran out: {blockers}"),
            Self::Manual => write!(f, "stopped as asked"),
            Self::Violated(check) => write!(f, "a promise is broken: {check}"),
        }
    }
}
