//! What keeps a run from being converged.

use std::fmt;
use sync_sim_engine::node_id::NodeId;

/// A property that a converged run has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Property {
    /// C1: no frame is in flight. Heartbeats do not count, since they recur for ever.
    NetworkQuiescent,
    /// C2: every node is up, no node is away, and no node has a session under way.
    AllNodesIdle,
    /// C3: no delta is buffered and no sync is pending.
    NoPendingBuffers,
    /// C4: no timer is set that serves a sync.
    NoPendingSyncTimers,
    /// C5: all state digests are equal.
    StateDigestsEqual,
    /// All writes of the workload were made.
    WorkloadDone,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkQuiescent => "C1: messages are in flight",
            Self::AllNodesIdle => "C2: nodes are busy, down or away",
            Self::NoPendingBuffers => "C3: deltas are buffered or syncs are pending",
            Self::NoPendingSyncTimers => "C4: sync timers are set",
            Self::StateDigestsEqual => "C5: state digests differ",
            Self::WorkloadDone => "writes are still to come",
        })
    }
}

/// One piece of unfinished work, and who has to do it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocker {
    /// The node that has to do it; `None` for work of the network.
    pub node: Option<NodeId>,
    /// The node's name, or "the network".
    pub who: String,
    /// The unfinished work in words.
    pub what: String,
}

/// What keeps a run from being converged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConvergenceBlockers {
    /// The first property that does not hold.
    pub blocking: Option<Property>,
    /// Each piece of unfinished work.
    pub items: Vec<Blocker>,
    /// Facts that explain it, in words, the most important first: a partition, a node that is down, a clock.
    pub causes: Vec<String>,
    /// If time or events ran out: whether the run was still making progress, and the faults that have not ended.
    pub ran_out: Vec<String>,
    /// The names of hostile nodes, whose work does not count.
    pub excluded: Vec<String>,
}

impl fmt::Display for ConvergenceBlockers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.causes.clone();
        parts.extend(self.blocking.map(|blocking| blocking.to_string()));
        parts.extend(self.ran_out.iter().cloned());
        parts.extend(self.items.iter().map(|item| format!("{}: {}", item.who, item.what)));
        if !self.excluded.is_empty() {
            parts.push(format!("hostile and left out: {}", self.excluded.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}
