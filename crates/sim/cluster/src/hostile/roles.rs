//! Who plays which part in a run. The harness knows; replicas do not.

use std::collections::BTreeMap;
use sync_sim_engine::network::Topology;
use sync_sim_engine::node_id::NodeId;

/// The hostile nodes of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cast {
    /// Each hostile node, and whether it is an outsider.
    hostile: BTreeMap<NodeId, bool>,
    /// Whether some insider may say what a member is believed.
    is_taken_on_trust: bool,
}

impl Cast {
    /// Adds a hostile node, which may say what members are believed.
    pub fn add(&mut self, node: NodeId, outsider: bool, is_taken_on_trust: bool) {
        self.hostile.insert(node, outsider);
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

    /// The hostile nodes, in their order.
    pub(crate) fn hostile(&self) -> impl Iterator<Item = NodeId> {
        self.hostile.keys().copied()
    }

    /// Whether it is promised what the honest agree on, as opposed to that they do.
    pub(crate) const fn is_value_promised(&self) -> bool {
        !self.is_taken_on_trust
    }

    /// Whether the honest among `nodes` nodes have a way to each other that leads past no hostile one, and
    /// there is one at all.
    pub fn leaves_honest_joined(&self, topology: Topology, nodes: usize) -> bool {
        let mut apart: Vec<NodeId> =
            (0..nodes as u32).map(NodeId).filter(|node| !self.is_hostile(*node)).collect();
        let Some(first) = apart.pop() else { return false };
        let mut reached = vec![first];
        while let Some(from) = reached.pop() {
            let (near, far) = apart.into_iter().partition(|node| topology.links(from, *node, nodes));
            apart = far;
            let near: Vec<NodeId> = near;
            reached.extend(near);
        }
        apart.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_honest_are_joined_unless_a_liar_stands_between() {
        let liar = |node| {
            let mut cast = Cast::default();
            cast.add(NodeId(node), false, false);
            cast
        };
        for shape in Topology::ALL {
            assert!(liar(3).leaves_honest_joined(shape, 4), "{shape:?}");
            assert!(!liar(0).leaves_honest_joined(shape, 1));
        }
        assert!(!liar(0).leaves_honest_joined(Topology::Star, 4));
        assert!(!liar(2).leaves_honest_joined(Topology::Line, 4));
        assert!(liar(2).leaves_honest_joined(Topology::Ring, 4));
    }
}
