//! What every replica must show in the end (**C6**): an independent, naive specification of each type.
//!
//! The specification is a function of the *set* of acknowledged writes: for each, the operations, the node, the time
//! and the stamp under which it was accepted. It has no tree, no join, no tombstones and no storage, and it shares no
//! code with the merge functions, so a bug that all replicas share still shows as a difference. It is compared with
//! what an application sees: ids, values, order.
//!
//! | type | what must be seen |
//! |---|---|
//! | register, opaque | of the writes after the last delete the one with the greatest stamp, then the greatest bytes |
//! | counters | the sum of all increments and changes |
//! | element of a set | present while some add is not covered by a remove that has seen it |
//! | text | every character inserted and not deleted, in the order of Fugue |
//! | list, sorted map, sorted set | the visible children, in the order of positions or keys |
//! | value of an owner | the owner's latest write |
//! | frozen value | the earliest write |
//! | type of the application's own | all states, merged by its function |
//! | any | visible if written after the last delete of itself and of each of its ancestors |
//!
//! Deletes remove nothing here, and it makes no difference when replicas collect tombstones: only visible values count.
//! Invisible records, such as the payload of a tombstone, are compared with one state that joins all writes without a
//! network; that state does use the merge functions.

mod blame;
mod entity_path;
mod fact;
mod hidden_state;
mod hostile_writes;
mod list_items;
mod reference_state;
mod specification;
mod text;
mod visible_value;

pub use blame::{AckedWrite, ValueMismatch};
pub use reference_state::ReferenceState;

use crate::node::SimReplica;
use crate::oracle::specification::Specification;
use crate::verdict::Check;
use std::sync::Arc;
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::Merges;
use syncline_replica::Operation;
use syncline_storage::{Action, StorageError, record_page};
use syncline_types::{ReplicaId, SimTime};

/// A write that a node has acknowledged.
#[derive(Clone, Debug)]
struct OracleWrite {
    node: NodeId,
    /// The replica id under which the node wrote.
    author: ReplicaId,
    at: SimTime,
    operations: Vec<Operation>,
    /// The action that each operation became.
    actions: Vec<Action>,
}

/// Nodes, and initial state that all of them have.
type InitialState = (Arc<[NodeId]>, Arc<[Action]>);

/// All writes that were ever acknowledged. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// The initial states of nodes.
    initial: Vec<InitialState>,
    writes: Vec<Arc<OracleWrite>>,
    merges: Merges,
}

impl Oracle {
    /// An oracle without writes, with the merge functions of the application's own types.
    pub fn new(merges: Merges) -> Self {
        Self { merges, ..Self::default() }
    }

    /// Adds initial state of some nodes.
    pub(crate) fn add_initial(&mut self, nodes: Vec<NodeId>, actions: Vec<Action>) {
        if !actions.is_empty() && !nodes.is_empty() {
            self.initial.push((nodes.into(), actions.into()));
        }
    }

    /// Whether any write was acknowledged.
    pub(crate) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Adds an acknowledged write. O(1).
    pub fn acknowledge(
        &mut self,
        (node, author): (NodeId, ReplicaId),
        at: SimTime,
        operations: Vec<Operation>,
        actions: Vec<Action>,
    ) {
        assert!(operations.len() == actions.len(), "every operation becomes one action");
        self.writes.push(Arc::new(OracleWrite { node, author, at, operations, actions }));
    }

    /// The first entity that some replica does not show as it must. Node number `first` is read as an application
    /// reads it; a node whose records are the same, byte by byte, shows the same and is skipped. O(writes log writes +
    /// records).
    pub(crate) fn find_mismatch(
        &self,
        nodes: &[(NodeId, String, &SimReplica)],
        first: usize,
    ) -> Result<Option<Check>, StorageError> {
        let specification = Specification::of(self, None);
        let mut known: Option<Vec<_>> = None;
        for (_, name, node) in nodes.iter().cycle().skip(first).take(nodes.len()) {
            let records = record_page(node.disk(), None, usize::MAX)?.records;
            // Byte by byte equal records show the same values, so one reading serves all nodes that
            // agree.
            if known.as_ref() == Some(&records) {
                continue;
            }
            if let Some(mismatch) = specification.first_mismatch(&mut node.state()?)? {
                let names: Vec<&str> = nodes.iter().map(|(_, name, _)| name.as_str()).collect();
                return Ok(Some(blame::blame(self, &specification, mismatch, name, &names)));
            }
            known.get_or_insert(records);
        }
        Ok(list_items::shared_position(&self.writes).map(|write| {
            let node = nodes.iter().find(|(node, ..)| *node == write.node);
            let node = node.map_or_else(|| write.node.to_string(), |(_, name, _)| name.clone());
            Check::EditMisplaced {
                node,
                detail: "an item was inserted at the position of another one".to_owned(),
            }
        }))
    }
}
