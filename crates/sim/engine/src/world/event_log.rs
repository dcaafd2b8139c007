//! What the workload and chance did, kept so that it can be written down and done again one by one.

use crate::actor::Actor;
use crate::event::{CrashPoint, SimEvent};
use crate::network::PartitionSpec;
use crate::node_id::NodeId;
use crate::world::World;
use syncline_types::{SimDuration, SimTime};

/// A place in a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Cue {
    /// When.
    pub at: SimTime,
    /// After how many of the frames that arrive, the timers and the like of that very instant.
    pub after: u32,
}

impl From<SimTime> for Cue {
    /// Before all else that happens then.
    fn from(at: SimTime) -> Self {
        Self { at, after: 0 }
    }
}

/// One thing that happened to nodes or links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened<Op> {
    /// The workload asked a node for something.
    Op {
        /// Whom.
        node: NodeId,
        /// For what.
        op: Op,
    },
    /// A node was written to before the run began.
    Early {
        /// Which.
        node: NodeId,
        /// What.
        op: Op,
    },
    /// A node crashed.
    Crash {
        /// Which.
        node: NodeId,
        /// Where in its work.
        point: CrashPoint,
        /// For how long; for ever if `None`.
        down_for: Option<SimDuration>,
    },
    /// A node that was down was brought back.
    Restart {
        /// Which.
        node: NodeId,
    },
    /// A node left.
    Leave {
        /// Which.
        node: NodeId,
        /// For how long; for ever if `None`.
        away_for: Option<SimDuration>,
    },
    /// A node that left was brought back.
    Return {
        /// Which.
        node: NodeId,
    },
    /// The network split.
    Partition {
        /// How.
        spec: PartitionSpec,
        /// For how long; for ever if `None`.
        lasting: Option<SimDuration>,
    },
    /// A node was added that came up late.
    Join {
        /// Which.
        node: NodeId,
    },
}

impl<Op: Clone> Happened<Op> {
    /// What an event that a node is asked by, or that `is_told` by a script, has happen. Crashes are kept when
    /// they strike.
    pub fn of(event: &SimEvent<Op>, is_told: bool) -> Option<Self> {
        Some(match event {
            SimEvent::Op { node, op } => Self::Op { node: *node, op: op.clone() },
            _ if !is_told => return None,
            SimEvent::NodeRestart { node, .. } => Self::Restart { node: *node },
            SimEvent::NodeLeave { node, away_for } => Self::Leave { node: *node, away_for: *away_for },
            SimEvent::NodeReturn { node, .. } => Self::Return { node: *node },
            SimEvent::PartitionAt { spec, lasting } => {
                Self::Partition { spec: (**spec).clone(), lasting: *lasting }
            }
            _ => return None,
        })
    }
}

impl<A: Actor> World<A> {
    /// Keeps what happens at a place, if that is wanted.
    pub fn keep_at(&mut self, cue: Cue, happened: impl FnOnce() -> Happened<A::Op>) {
        if let Some(kept) = &mut self.chronicle {
            kept.push((cue, happened()));
        }
    }
}
