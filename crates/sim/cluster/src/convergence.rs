//! Whether a run has converged, and if not, what is missing.

use crate::verdict::{ConvergenceBlockers, Property};
use sync_sim_engine::node_id::NodeId;
use syncline_types::Digest;

/// What [`SimRuntime::check_convergence`](crate::runtime::SimRuntime::check_convergence) found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Convergence {
    /// C1 to C5 hold and the workload is done.
    Converged,
    /// Some work is unfinished.
    Pending(ConvergencePending),
    /// Nothing is unfinished, and the digests differ.
    Diverged(ConvergenceDiff),
}

impl Convergence {
    /// Whether the run has converged.
    pub const fn is_converged(&self) -> bool {
        matches!(self, Self::Converged)
    }
}

/// The unfinished work that keeps a run from being converged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConvergencePending {
    /// The first property that does not hold.
    pub blocking_property: Property,
    /// Each piece of unfinished work with the node that has to do it.
    pub blockers: ConvergenceBlockers,
}

/// Which nodes have which state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConvergenceDiff {
    /// The digest of each node.
    pub digests: Vec<(NodeId, Digest)>,
    /// The digest that most nodes have; among equally common digests the greatest.
    pub majority_digest: Digest,
    /// The nodes with a digest other than the majority digest.
    pub differing_nodes: Vec<NodeId>,
}

impl ConvergenceDiff {
    /// Groups the digests of the nodes and finds the majority.
    pub fn of(digests: Vec<(NodeId, Digest)>) -> Self {
        let count = |digest: Digest| digests.iter().filter(|(_, other)| *other == digest).count();
        let majority = digests.iter().map(|(_, digest)| (count(*digest), *digest)).max();
        let majority_digest = majority.map_or(Digest::ZERO, |(_, digest)| digest);
        let differing = digests.iter().filter(|(_, digest)| *digest != majority_digest);
        Self { differing_nodes: differing.map(|(node, _)| *node).collect(), majority_digest, digests }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greater_digest_wins_majority_tie() {
        let digest = |n| Digest([n; 32]);
        let diff = ConvergenceDiff::of(vec![(NodeId(0), digest(2)), (NodeId(1), digest(1))]);
        assert_eq!((diff.majority_digest, diff.differing_nodes), (digest(2), vec![NodeId(1)]));
    }
}
