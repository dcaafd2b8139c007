//! What the checks see: a world, and one step of it.

use super::Hazards;
use crate::budgets::IdlePauses;
use crate::hostile::HostileRoles;
use crate::node::{ContextNotice, SimNode, SimReplica};
use crate::oracle::Oracle;
use sync_sim_engine::network::{DropCause, Fates};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::{FrameSize, ProgressCount, StepReport};
use syncline_replica::Timer;
use syncline_sync::VersionVector;
use syncline_types::{Digest, Hlc, SimDuration, SimTime};

/// A world of real replicas, as the checks see it, whoever runs it.
pub trait Watched {
    /// The present time.
    fn now(&self) -> SimTime;

    /// What the wall clock of a node shows, in milliseconds.
    fn wall_ms(&self, node: NodeId) -> u64;

    /// The time that the replica of a context takes for plausible, in milliseconds: what the wall clock of its node
    /// shows, or less.
    fn plausible_ms(&self, context: usize, node: NodeId) -> u64 {
        let fault = self.replica(context, node).and_then(|replica| replica.replica()?.clock_fault());
        fault.map_or(u64::MAX, |fault| fault.plausible_ms).min(self.wall_ms(node))
    }

    /// The name of a node, with the context if nodes have several.
    fn name_in(&self, context: usize, node: NodeId) -> String;

    /// The name of a node.
    fn name(&self, node: NodeId) -> String;

    /// The number of nodes that ever took part.
    fn nodes(&self) -> usize;

    /// A node; `None` if it has retired.
    fn actor(&self, node: NodeId) -> Option<&SimNode>;

    /// The root of what a node has in a context.
    fn root_in(&self, context: usize, node: NodeId) -> Digest;

    /// Whether `peer` had this root in a context at some time in `since..=now`, in which a session of `node` with it
    /// was under way.
    fn had_root(&self, context: usize, sides: (NodeId, NodeId), root: Digest, since: SimTime) -> bool;

    /// Whether a check that costs much reads the state of a node now: in one of `of` states.
    fn is_sampled(&self, context: usize, node: NodeId, of: u8) -> bool {
        let _ = (context, node, of);
        true
    }

    /// Which nodes are hostile.
    fn roles(&self) -> &HostileRoles;

    /// Whether a node has made a fresh start in a context and has not caught up yet.
    fn is_catching_up(&self, context: usize, node: NodeId) -> bool;

    /// Whether the settings of replicas are so short that a session between honest replicas may exceed its bounds.
    fn shortens_sessions(&self) -> bool {
        false
    }

    /// Whether some node has still to learn of a member, or a frame that it refused before may be in flight.
    fn is_naming(&self) -> bool {
        false
    }

    /// Whether some node learns of a member later than others, at any time of the run.
    fn names_late(&self) -> bool {
        false
    }

    /// The longest pause of a node so far.
    fn longest_pause(&self) -> SimDuration {
        SimDuration::ZERO
    }

    /// Whether some disk has lost acknowledged commits of a context.
    fn has_losses(&self, context: usize) -> bool;

    /// The root of the join of what a node began with and the writes that `covered` covers, in a context whose
    /// tombstones up to `horizon` are collected; `None` if there is no such state. O(writes log n).
    fn joined_root(
        &self,
        context: usize,
        node: NodeId,
        covered: &VersionVector,
        horizon: Hlc,
    ) -> Option<Digest>;

    /// The number of honest replicas: one for each context on each honest node.
    fn honest_replicas(&self) -> u64;

    /// The number of records in all states together. O(nodes).
    fn records(&self) -> u64;

    /// How often the world made progress.
    fn progress(&self) -> ProgressCount;

    /// When the last frame that is in flight arrives.
    fn last_arrival(&self) -> SimTime;

    /// Whether all nodes are up and linked, and no write and no scripted event is to come.
    fn is_undisturbed(&self) -> bool;

    /// Whether no work is unfinished.
    fn is_quiet(&self) -> bool;

    /// The greatest size of a frame that honest nodes may send, in bytes.
    fn frame_limit(&self) -> usize;

    /// The bytes that all nodes have sent so far; `None` in an exploration, where no time passes in which nothing changes.
    fn bytes_sent(&self) -> Option<u64>;

    /// The bytes of the rows that all replicas have written so far, initial states included. O(nodes).
    fn bytes_put(&self) -> u64;

    /// The longest pauses that a replica makes while nothing changes.
    fn idle_pauses(&self) -> IdlePauses;

    /// The fates of all frames so far; `None` in an exploration, where no router takes part.
    fn fates(&self) -> Option<&Fates>;

    /// What is wrong in the run.
    fn hazards(&self) -> Hazards {
        Hazards::NONE
    }

    /// Whether tombstones of a context were collected somewhere.
    fn has_collected(&self, context: usize) -> bool;

    /// The acknowledged writes of a context.
    fn oracle(&self, context: usize) -> Option<&Oracle>;

    /// Whether a timer of a replica is set; `None` in an exploration, which fires timers in any order.
    fn has_timer(&self, replica: &SimReplica, timer: Timer) -> Option<bool> {
        let _ = (replica, timer);
        None
    }

    /// The replica of a context on a node.
    fn replica(&self, context: usize, node: NodeId) -> Option<&SimReplica> {
        self.actor(node)?.replica_of(context)
    }
}

/// One event, as the checks see it.
#[derive(Clone, Debug)]
pub struct CheckedStep<'a> {
    /// The node that the event happened to, if it happened to one.
    pub node: Option<NodeId>,
    /// What the node reports.
    pub notices: &'a [ContextNotice],
    /// The sender and the kind of the frame that arrived, with or without effect.
    pub frame: Option<(NodeId, u8)>,
    /// The bytes of that frame, where they are known.
    pub bytes: Option<&'a [u8]>,
    /// Whether the frame took effect.
    pub accepted: bool,
    /// Why the frame took no effect.
    pub refused: Option<DropCause>,
    /// Whether the bytes of the frame differ from those that were sent.
    pub corrupt: bool,
    /// Whether the frame took effect although the node had accepted one of a later incarnation of its sender.
    pub stale_accepted: bool,
    /// Whether the node went down.
    pub went_down: bool,
    /// Whether a crash has undone what the node reports.
    pub undone: bool,
    /// The largest frame that the node sent.
    pub largest_sent: Option<FrameSize>,
}

impl<'a> CheckedStep<'a> {
    /// What a world reports of an event.
    pub fn of(report: &'a StepReport<ContextNotice>) -> Self {
        Self {
            node: report.node,
            notices: &report.notices,
            frame: report.frame,
            bytes: report.frame_bytes.as_deref(),
            accepted: report.accepted,
            refused: report.refused,
            corrupt: report.corrupt,
            stale_accepted: report.stale_accepted,
            went_down: report.crashed || report.restarted,
            undone: report.undone,
            largest_sent: report.largest_sent,
        }
    }
}
