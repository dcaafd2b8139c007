//! Which nodes of a run are hostile. Only the harness has this information; replicas do not.

use std::collections::BTreeMap;
use sync_sim_engine::network::Topology;
use sync_sim_engine::node_id::NodeId;

/// The hostile nodes of a run and what the run may still promise beside them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostileRoles {
    /// Whether each hostile node is an outsider.
    hostile: BTreeMap<NodeId, bool>,
    /// Whether some insider may tell a lie that members take on trust.
    is_taken_on_trust: bool,
}

impl HostileRoles {
    /// Adds a hostile node. `is_taken_on_trust` says whether it may tell a lie that members take on
    /// trust.
    pub fn add(&mut self, node: NodeId, outsider: bool, is_taken_on_trust: bool) {
        let before = self.hostile.insert(node, outsider);
        assert!(before.is_none(), "a node has one role: {node} was hostile already");
        self.is_taken_on_trust |= is_taken_on_trust && !outsider;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hostile.is_empty()
    }

    pub(crate) fn is_hostile(&self, node: NodeId) -> bool {
        !self.hostile.is_empty() && self.hostile.contains_key(&node)
    }

    pub(crate) fn is_outsider(&self, node: NodeId) -> bool {
        self.hostile.get(&node).is_some_and(|outsider| *outsider)
    }

    /// The hostile nodes, ascending.
    pub(crate) fn hostile(&self) -> impl Iterator<Item = NodeId> {
        self.hostile.keys().copied()
    }

    /// Whether the run promises which values the honest nodes agree on, and not only that they agree.
    pub(crate) const fn is_value_promised(&self) -> bool {
        !self.is_taken_on_trust
    }

    /// Whether there is an honest node among the `nodes` nodes and all honest nodes reach each other
    /// along links between honest nodes. O(nodes²).
    pub fn leaves_honest_joined(&self, topology: Topology, nodes: usize) -> bool {
        let mut unreached: Vec<NodeId> =
            (0..nodes as u32).map(NodeId).filter(|node| !self.is_hostile(*node)).collect();
        // Without an honest node nothing can be promised.
        let Some(first) = unreached.pop() else { return false };
        let mut frontier = vec![first];
        // Flood fill along links between honest nodes: `unreached` shrinks with every node that is found.
        while let Some(from) = frontier.pop() {
            let (near, far) = unreached.into_iter().partition(|node| topology.links(from, *node, nodes));
            unreached = far;
            let near: Vec<NodeId> = near;
            frontier.extend(near);
        }
        unreached.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adversary_may_cut_honest_nodes_apart() {
        let adversary = |node| {
            let mut roles = HostileRoles::default();
            roles.add(NodeId(node), false, false);
            roles
        };
        for shape in Topology::ALL {
            assert!(adversary(3).leaves_honest_joined(shape, 4), "{shape:?}");
            assert!(!adversary(0).leaves_honest_joined(shape, 1));
        }
        assert!(!adversary(0).leaves_honest_joined(Topology::Star, 4));
        assert!(!adversary(2).leaves_honest_joined(Topology::Line, 4));
        assert!(adversary(2).leaves_honest_joined(Topology::Ring, 4));
    }
}
