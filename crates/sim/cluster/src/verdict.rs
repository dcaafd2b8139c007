//! Why a run stopped, and what was still owed.

use crate::oracle::{AckedWrite, WrongPlace};
use std::fmt;
use sync_sim_engine::node_id::NodeId;
use syncline_types::SimDuration;

/// A convergence property.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Property {
    /// C1: no message is in flight. Heartbeats do not count: they recur for ever.
    NetworkQuiescent,
    /// C2: every node is up, none is away, and none has a session under way.
    AllNodesIdle,
    /// C3: no delta waits and no sync is owed.
    NoPendingBuffers,
    /// C4: no timer is set that somebody waits for.
    NoPendingSyncTimers,
    /// C5: all state digests are equal.
    StateDigestsEqual,
    /// The workload is done.
    WorkloadDone,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkQuiescent => "C1: messages are in flight",
            Self::AllNodesIdle => "C2: nodes are busy, down or away",
            Self::NoPendingBuffers => "C3: deltas wait or syncs are owed",
            Self::NoPendingSyncTimers => "C4: sync timers are set",
            Self::StateDigestsEqual => "C5: state digests differ",
            Self::WorkloadDone => "writes are still to come",
        })
    }
}

/// One thing that is owed, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Debt {
    /// By whom; by no one node if `None`.
    pub node: Option<NodeId>,
    /// The node's name, or "the network".
    pub who: String,
    /// What.
    pub what: String,
}

/// What kept a run from being converged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owed {
    /// The first property that does not hold.
    pub blocking: Option<Property>,
    /// What is owed by whom.
    pub debts: Vec<Debt>,
    /// The names of hostile nodes: what they owe and are owed does not count.
    pub left_out: Vec<String>,
}

impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(blocking) = self.blocking {
            write!(f, "{blocking}")?;
        }
        for debt in &self.debts {
            write!(f, "; {}: {}", debt.who, debt.what)?;
        }
        if !self.left_out.is_empty() {
            write!(f, "; hostile and left out: {}", self.left_out.join(", "))?;
        }
        Ok(())
    }
}

/// A promise that was found broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Check {
    /// F2: a frame has no fate, or two.
    FatesUnbalanced {
        /// Sent and doubled.
        in_: u64,
        /// Delivered, dropped and in flight.
        out: u64,
    },
    /// I6: a delta that had to wait is unaccounted for.
    BufferUnbalanced {
        /// Where.
        node: String,
    },
    /// A session reported success with a root that its peer never had meanwhile.
    FalseSuccess {
        /// Who reported.
        node: String,
        /// About whom.
        peer: String,
    },
    /// C6: a replica shows what it would if one acknowledged write had never been.
    Lost {
        /// What is shown, and what must be.
        wrong: WrongPlace,
        /// The write that is missing.
        write: AckedWrite,
    },
    /// C6: a replica shows something that the acknowledged writes do not imply, with or without any one
    /// of them.
    WrongValue {
        /// What is shown, and what must be.
        wrong: WrongPlace,
        /// The latest acknowledged write that bears on it.
        latest: Option<AckedWrite>,
    },
    /// C6: all replicas show what was written, but what they keep unseen is not the join of it.
    HiddenDifference {
        /// Which node was looked at.
        node: String,
        /// The first record that differs, as it must be and as it is.
        detail: String,
    },
    /// C6: an accepted write is on no disk.
    NotDurable {
        /// What was expected and what was found.
        detail: String,
    },
    /// I8: a delta was applied and one that it follows was not.
    CausalGap {
        /// Where.
        node: String,
    },
    /// A session between honest replicas ended in a way that only a bug explains.
    ImpossibleOutcome {
        /// Whose session.
        node: String,
        /// How it ended.
        detail: String,
    },
    /// A frame of an honest replica was refused as malformed.
    HonestFrameRefused {
        /// Who refused.
        node: String,
    },
    /// A frame that was corrupted on its way was taken for one.
    CorruptFrameAccepted {
        /// Who took it.
        node: String,
    },
    /// A frame from before its sender's restart took effect after one from after it.
    StaleFrameAccepted {
        /// Who accepted it.
        node: String,
    },
    /// A replica stopped because its store failed.
    ReplicaStopped {
        /// Which.
        node: String,
        /// Why.
        detail: String,
    },
    /// A session reported success with a root that its own side does not have.
    UnprovenSuccess {
        /// Who reported.
        node: String,
        /// About whom.
        peer: String,
    },
    /// The same session between the same two nodes ended the same way again and again. Both were up and
    /// linked, nothing was written, and no root moved: it would go on so for ever.
    StickyLoop {
        /// Who began the sessions.
        node: String,
        /// With whom.
        peer: String,
        /// How they ended.
        ending: &'static str,
        /// How often.
        times: u32,
    },
    /// Far more happened than the states of the nodes explain.
    Storm {
        /// Of what.
        of: &'static str,
        /// How many.
        count: u64,
        /// In how long.
        span: SimDuration,
    },
    /// A check of one's own failed; see [`own`](sync_sim_search::custom).
    Own {
        /// Which, in a word or two that are the same wherever the same thing is wrong.
        name: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Hostile nodes stand between honest ones, or there is no honest one: nothing is promised, so that the run
    /// shows nothing.
    HonestApart,
    /// L4: rebuilding the index from the records gives another root.
    IndexDrifted {
        /// Where.
        node: String,
    },
}

impl fmt::Display for Check {
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
            Self::WrongValue { wrong, latest: None } => write!(f, "C6: {wrong}; nobody wrote there"),
            Self::HiddenDifference { node, detail } => {
                write!(f, "C6: what nobody sees is not what was written: expected | {node} has: {detail}")
            }
            Self::NotDurable { detail } => write!(f, "C6: an accepted write is on no disk: {detail}"),
            Self::CausalGap { node } => {
                write!(f, "I8: {node} applied a delta without one that it follows")
            }
            Self::ImpossibleOutcome { node, detail } => write!(f, "a session of {node} ended as: {detail}"),
            Self::HonestFrameRefused { node } => write!(f, "{node} refused an honest frame as malformed"),
            Self::CorruptFrameAccepted { node } => write!(f, "{node} took a corrupt frame for a sound one"),
            Self::StaleFrameAccepted { node } => {
                write!(f, "{node} took a frame from before a restart for a new one")
            }
            Self::ReplicaStopped { node, detail } => write!(f, "{node} stopped: {detail}"),
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
            Self::Own { name, detail } => write!(f, "{name}: {detail}"),
            Self::HonestApart => {
                write!(f, "the honest nodes have no way to each other that leads past the hostile ones")
            }
            Self::IndexDrifted { node } => {
                write!(f, "L4: the index of {node} does not follow from its records")
            }
        }
    }
}

/// Why a run stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StopCondition {
    /// C1 to C5 hold, the workload is done, and every check passed.
    Converged,
    /// Nothing is unfinished and the digests differ: nothing is left to happen, or all nodes are up and
    /// linked, have heard again and again that they differ, and do nothing about it.
    Diverged(Owed),
    /// Nothing is left to happen and something is unfinished.
    Deadlock(Owed),
    /// Time ran out.
    MaxTime(Owed),
    /// The budget of events ran out.
    MaxEvents(Owed),
    /// The predicate of [`SimRuntime::run_until`](crate::runtime::SimRuntime::run_until) held.
    Manual,
    /// A promise was found broken.
    Violated(Check),
}

impl StopCondition {
    /// The reason in one word, as reports group by it.
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
            Self::Diverged(owed) => write!(f, "diverged: {owed}"),
            Self::Deadlock(owed) => write!(f, "deadlocked: {owed}"),
            Self::MaxTime(owed) => write!(f, "time ran out: {owed}"),
            Self::MaxEvents(owed) => write!(f, "the event budget ran out: {owed}"),
            Self::Manual => write!(f, "stopped as asked"),
            Self::Violated(check) => write!(f, "a promise is broken: {check}"),
        }
    }
}
