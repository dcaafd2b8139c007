//! The replica ids under which nodes write.

use sync_sim_engine::node_id::NodeId;
use syncline_types::ReplicaId;

/// The replica id under which a node writes before any fresh start.
pub fn replica_id(node: NodeId) -> ReplicaId {
    replica_id_after(node, 0)
}

/// The replica id of a node after so many fresh starts.
pub(super) fn replica_id_after(node: NodeId, fresh_starts: u8) -> ReplicaId {
    let mut replica = ReplicaId::from_u64(u64::from(node.0) + 1);
    replica.0[14] = fresh_starts;
    replica.0[15] = 0x51;
    replica
}

/// Whether a node writes under this replica id after any number of fresh starts.
pub(super) fn is_replica_of(mut replica: ReplicaId, node: NodeId) -> bool {
    replica.0[14] = 0;
    replica == replica_id(node)
}
