//! Replicas whose disk was replaced, and members of which a replica learns late.

use crate::node::sim_replica::SimReplica;
use sync_sim_engine::node_id::NodeId;
use syncline_types::Digest;

impl SimReplica {
    /// As [`SimNode::set_unnamed`](crate::node::SimNode::set_unnamed).
    pub(in crate::node) fn set_unnamed(&mut self, node: NodeId) {
        self.unnamed.insert(node);
        self.update_membership();
    }

    /// Whether the replica counts every member of the run as one. It never forgets a member.
    pub(crate) fn knows_all_members(&self) -> bool {
        self.unnamed.is_empty()
    }

    /// As [`SimNode::name_member`](crate::node::SimNode::name_member).
    pub(in crate::node) fn name_member(&mut self, node: NodeId) {
        self.unnamed.remove(&node);
        self.update_membership();
    }

    /// The node is down: its disk becomes a copy of the durable rows of `from`, and the replica goes on under the name
    /// that belongs to them. Nobody tells it that the rows are not its latest ones.
    pub(in crate::node) fn restore_disk(&mut self, from: &Self) {
        self.disk = self.disk.with_rows_of(from.durable());
        self.config.replica = from.config.replica;
        self.config.authority = from.config.authority.clone();
        self.config.least_incarnation = 1;
        self.disk_was_replaced();
    }

    /// The node is down: its disk is erased, and the replica goes on under its name. `counted` says whether the host
    /// knows how often it has started.
    pub(in crate::node) fn lose_disk(&mut self, counted: bool) {
        self.disk = self.disk.erased();
        self.config.least_incarnation = if counted { self.starts + 1 } else { 1 };
        self.disk_was_replaced();
    }

    fn disk_was_replaced(&mut self) {
        assert!(self.replica.is_none(), "a disk is replaced while its node is down");
        self.is_damaged = false;
        let root = self.state().and_then(|mut state| state.root_hash());
        self.resting_root = root.unwrap_or(Digest::ZERO);
    }
}
