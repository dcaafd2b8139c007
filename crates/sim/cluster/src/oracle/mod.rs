//! What every replica must show in the end (**C6**): an independent, naive specification of each type.
//!
//! The specification knows the *set* of acknowledged writes: what was asked of whom, when, and under
//! which stamp it was accepted. It has no tree, no join, no tombstone and no storage, and shares no code
//! with the merge functions, so that a bug which all replicas share is still one replica and its
//! specification apart. What it says is compared with what an application sees: ids, values, order.
//!
//! | type | what must be seen |
//! |---|---|
//! | register, opaque | of the writes after the last delete the one of the greatest stamp, then bytes |
//! | counters | the sum of all that was asked for |
//! | element of a set | it is there while some add is not covered by a remove that knew of it |
//! | text | every character inserted and not deleted, in the order of Fugue |
//! | list, sorted map, sorted set | what is visible in it, in the order of positions or keys |
//! | value of an owner | the owner's latest |
//! | frozen value | the earliest |
//! | type of the application's own | all states, merged by its function |
//! | any | seen if written after the last delete of itself and of each of its ancestors |
//!
//! Deleting forgets nothing here, and tombstones that replicas forget make no difference: only what is
//! seen counts. What nobody sees, such as the payload of a tombstone, is compared with one state that
//! joins all writes without a network; that one does use the merge functions.

mod blame;
mod entity_path;
mod fact;
mod hidden_state;
mod hostile_writes;
mod reference_state;
mod specification;
mod text;
mod visible_value;

pub use blame::{AckedWrite, WrongPlace};
pub use reference_state::Joined;

use crate::node::SimReplica;
use crate::verdict::Check;
use std::sync::Arc;
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::Merges;
use syncline_replica::Operation;
use syncline_storage::{Action, StorageError, record_page};
use syncline_types::{ReplicaId, SimTime};

use crate::oracle::specification::Specification;

/// A write that a node has acknowledged.
#[derive(Clone, Debug)]
struct Acknowledged {
    node: NodeId,
    /// The name it wrote under.
    author: ReplicaId,
    at: SimTime,
    operations: Vec<Operation>,
    /// One for each operation.
    actions: Vec<Action>,
}

/// Nodes, and what they all began with.
type Begun = (Arc<[NodeId]>, Arc<[Action]>);

/// All that was ever acknowledged. A clone shares the writes.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// What nodes began with, and which.
    begun: Vec<Begun>,
    writes: Vec<Arc<Acknowledged>>,
    merges: Merges,
}

impl Oracle {
    /// One that merges the application's own types with these functions.
    pub fn new(merges: Merges) -> Self {
        Self { merges, ..Self::default() }
    }

    /// Takes in what some nodes begin with.
    pub(crate) fn begin_with(&mut self, nodes: Vec<NodeId>, actions: Vec<Action>) {
        if !actions.is_empty() && !nodes.is_empty() {
            self.begun.push((nodes.into(), actions.into()));
        }
    }

    /// Whether anything was written.
    pub(crate) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Takes note of an acknowledged write. O(1).
    pub(crate) fn acknowledge(
        &mut self,
        (node, author): (NodeId, ReplicaId),
        at: SimTime,
        operations: Vec<Operation>,
        actions: Vec<Action>,
    ) {
        self.writes.push(Arc::new(Acknowledged { node, author, at, operations, actions }));
    }

    /// The first entity that some replica does not show as it must. `first` names the node that is read
    /// as an application would; nodes whose records are the same, byte by byte, show the same. O(writes
    /// log writes + records).
    pub(crate) fn wrong_value(
        &self,
        nodes: &[(NodeId, String, &SimReplica)],
        first: usize,
    ) -> Result<Option<Check>, StorageError> {
        let specification = Specification::of(self, None);
        let mut known: Option<Vec<_>> = None;
        for (_, name, node) in nodes.iter().cycle().skip(first).take(nodes.len()) {
            let records = record_page(node.disk(), None, usize::MAX)?.records;
            if known.as_ref() == Some(&records) {
                continue;
            }
            if let Some(wrong) = specification.first_wrong(&mut node.state()?)? {
                let names: Vec<&str> = nodes.iter().map(|(_, name, _)| name.as_str()).collect();
                return Ok(Some(blame::blame(self, &specification, wrong, name, &names)));
            }
            known.get_or_insert(records);
        }
        Ok(None)
    }
}
