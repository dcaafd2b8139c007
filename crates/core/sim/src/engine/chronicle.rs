//! What the workload and chance did, kept so that it can be written down and done again one by one.

use super::actor::Actor;
use super::event::CrashPoint;
use super::world::World;
use crate::network::PartitionSpec;
use crate::types::NodeId;
use syncline_types::{SimDuration, SimTime};

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
    /// A node crashed by chance.
    Crash {
        /// Which.
        node: NodeId,
        /// Where in its work.
        point: CrashPoint,
        /// For how long; for ever if `None`.
        down_for: Option<SimDuration>,
    },
    /// A node left by chance.
    Leave {
        /// Which.
        node: NodeId,
        /// For how long.
        away_for: SimDuration,
    },
    /// The network split by chance.
    Partition {
        /// How.
        spec: PartitionSpec,
        /// For how long.
        lasting: SimDuration,
    },
    /// A node was added that came up late.
    Join {
        /// Which.
        node: NodeId,
    },
}

impl<A: Actor> World<A> {
    /// Keeps what happened at `at`, if that is wanted.
    pub(crate) fn keep(&mut self, at: SimTime, happened: impl FnOnce() -> Happened<A::Op>) {
        if let Some(kept) = &mut self.chronicle {
            kept.push((at, happened()));
        }
    }
}
