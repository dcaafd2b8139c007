//! Whether a run has converged, and if not, why not.

use crate::verdict::{Owed, Property};
use sync_sim_engine::node_id::NodeId;
use syncline_types::Digest;

/// The answer to "has it converged?".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Convergence {
    /// C1 to C5 hold and the workload is done.
    Converged,
    /// Something is unfinished.
    Pending(ConvergencePending),
    /// Nothing is unfinished, and the digests differ.
    Diverged(ConvergenceDiff),
}

impl Convergence {
    /// Whether it has.
    pub const fn is_converged(&self) -> bool {
        matches!(self, Self::Converged)
    }
}

/// What is unfinished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConvergencePending {
    /// The first property that does not hold.
    pub blocking_property: Property,
    /// What is owed by whom.
    pub owed: Owed,
}

/// Who has which state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConvergenceDiff {
    /// The digest of each node.
    pub digests: Vec<(NodeId, Digest)>,
    /// The digest that most nodes have; of equally many, the greater.
    pub majority_digest: Digest,
    /// The nodes that have another.
    pub differing_nodes: Vec<NodeId>,
}

impl ConvergenceDiff {
    /// The difference that these digests show, by node.
    pub fn of(digests: Vec<(NodeId, Digest)>) -> Self {
        let count = |digest: Digest| digests.iter().filter(|(_, own)| *own == digest).count();
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
    fn of_two_equally_common_digests_the_greater_is_the_majority() {
        let digest = |n| Digest([n; 32]);
        let diff = ConvergenceDiff::of(vec![(NodeId(0), digest(2)), (NodeId(1), digest(1))]);
        assert_eq!((diff.majority_digest, diff.differing_nodes), (digest(2), vec![NodeId(1)]));
    }
}
