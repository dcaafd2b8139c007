//! Identifiers of the nodes of a run.

use serde::Serialize;
use std::fmt;
use syncline_types::PeerId;

/// Identifies a node of a run: its index in the order of joining.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The number as an index into a list of all nodes.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// In the simulator the handle of a peer is its node number.
impl From<PeerId> for NodeId {
    fn from(peer: PeerId) -> Self {
        Self(peer.0)
    }
}

impl From<NodeId> for PeerId {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

/// A reference to a node, by its number or its name.
pub trait NodeRef {
    /// The node, if there is one. `names` are the names of all nodes in the order of joining.
    fn resolve(&self, names: &[String]) -> Option<NodeId>;
}

impl NodeRef for NodeId {
    fn resolve(&self, names: &[String]) -> Option<NodeId> {
        (self.index() < names.len()).then_some(*self)
    }
}

impl NodeRef for str {
    fn resolve(&self, names: &[String]) -> Option<NodeId> {
        names.iter().position(|name| name == self).map(|at| NodeId(at as u32))
    }
}

impl NodeRef for String {
    fn resolve(&self, names: &[String]) -> Option<NodeId> {
        self.as_str().resolve(names)
    }
}

impl<T: NodeRef + ?Sized> NodeRef for &T {
    fn resolve(&self, names: &[String]) -> Option<NodeId> {
        (**self).resolve(names)
    }
}
