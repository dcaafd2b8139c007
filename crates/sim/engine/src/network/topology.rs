//! The shape of the network.

use crate::node_id::NodeId;
use serde::Serialize;

/// The shape of the network: between which nodes there are links. Nodes are placed in the order of joining. A
/// node that joins later may change the links of its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// Every node has a link to every other.
    #[default]
    Mesh,
    /// As [`Topology::Line`], and the last node has a link to the first.
    Ring,
    /// The first node has a link to every other.
    Star,
    /// Each node has a link to the one before it and the one after it.
    Line,
}

impl Topology {
    /// Every topology, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Mesh, Self::Ring, Self::Star, Self::Line];

    /// The name in flags, case files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Ring => "ring",
            Self::Star => "star",
            Self::Line => "line",
        }
    }

    /// Whether there is a link between two of `nodes` nodes. A node has a link to itself.
    pub const fn links(self, a: NodeId, b: NodeId, nodes: usize) -> bool {
        let apart = a.index().abs_diff(b.index());
        match self {
            Self::Mesh => true,
            Self::Ring => apart <= 1 || apart + 1 == nodes,
            Self::Star => apart == 0 || a.0 == 0 || b.0 == 0,
            Self::Line => apart <= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(topology: Topology, nodes: u32) -> Vec<(u32, u32)> {
        let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
        pairs.filter(|&(a, b)| topology.links(NodeId(a), NodeId(b), nodes as usize)).collect()
    }

    #[test]
    fn each_shape_has_its_edges() {
        assert_eq!(edges(Topology::Mesh, 4).len(), 6);
        assert_eq!(edges(Topology::Ring, 5), [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]);
        assert_eq!(edges(Topology::Star, 4), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(edges(Topology::Line, 4), [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn links_are_symmetric() {
        for topology in Topology::ALL {
            for (a, b) in [(0, 1), (0, 3), (2, 3), (1, 1)] {
                let a = NodeId(a);
                let b = NodeId(b);
                assert_eq!(topology.links(a, b, 4), topology.links(b, a, 4), "{topology:?}");
            }
            assert_eq!(edges(topology, 1).len() + edges(topology, 2).len(), 1, "{topology:?}");
        }
        assert_eq!(edges(Topology::Ring, 3), edges(Topology::Mesh, 3));
    }
}
