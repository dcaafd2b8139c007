//! The replica ids under which nodes write.

use sync_sim_engine::node_id::NodeId;
use syncline_types::ReplicaId;

/// The replica id under which a node writes before any fresh start.
pub fn replica_id(node: NodeId) -> ReplicaId {
    replica_id_after(node, 0)
}

/// The replica id of a node after so many fresh starts.
pub(super) fn replica_id_after(node: NodeId, fresh_starts: u16) -> ReplicaId {
    let mut replica = ReplicaId::from_u64(u64::from(node.0) + 1);
    // The low byte last: the ids of the first starts are those in stored traces.
    replica.0[13..15].copy_from_slice(&fresh_starts.to_be_bytes());
    replica.0[15] = 0x51;
    replica
}

/// Whether a node writes under this replica id after any number of fresh starts.
pub(super) fn is_replica_of(mut replica: ReplicaId, node: NodeId) -> bool {
    replica.0[13..15].fill(0);
    replica == replica_id(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fresh_start_has_an_id_of_the_node() {
        let node = NodeId(7);
        let ids: std::collections::BTreeSet<_> =
            (0..=u16::MAX).map(|starts| replica_id_after(node, starts)).collect();
        assert_eq!(ids.len(), 1 << 16);
        assert!(ids.iter().all(|id| is_replica_of(*id, node) && !is_replica_of(*id, NodeId(8))));
    }
}
