//! Scenarios and the actions of their initial states.

use crate::disk_view::CheckedDiskView;
use syncline_crdt::{Register, Value};
use syncline_replica::Operation;
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, StorageError};
use syncline_store::{MemoryStore, Store};
use syncline_types::{ContextId, EntityId, Hlc, Moment, ReplicaId, ShortIdKey, SimTime};

/// One node of a scenario.
#[derive(Clone, Debug)]
pub struct NodeSeed {
    /// The name of the node.
    pub name: String,
    /// Initial state of this node alone.
    pub own: Vec<Action>,
    /// Whether the node has the shared state.
    pub has_shared: bool,
    /// Writes of its application before the run, each a delta that no other node has.
    pub writes: Vec<Operation>,
}

/// Nodes and the state they already have when the run begins.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Initial state of all nodes with [`NodeSeed::has_shared`].
    pub shared: Vec<Action>,
    /// The nodes, in the order in which they are added.
    pub nodes: Vec<NodeSeed>,
    /// Whether sessions choose their protocol by the decision table, whatever the settings say.
    pub by_table: bool,
}

/// The author of initial state number `node`: a replica that is not a node of the run.
pub fn author(node: u64) -> ReplicaId {
    let mut id = ReplicaId::from_u64(node);
    id.0[15] = 0xee;
    id
}

/// The number of the [`author`] of initial state in a context other than the first. There it is the same for all
/// nodes; in the first context the author depends on the node.
pub const fn author_in(context: usize) -> u64 {
    (context as u64) << 32
}

/// A register of initial state as it is in context `number`: its text has the number as a prefix, and so has its id
/// if that is the hash of the text.
fn in_other_context(action: &Action, number: usize) -> Action {
    let Action::Add { id, ancestors, value: Value::Lww(register), .. } = action else {
        // Initial states are registers; other actions that a test adds are the same in every context.
        return action.clone();
    };
    let parent = ancestors.last().copied().unwrap_or(EntityId::ROOT);
    let text = [format!("{number}:").as_bytes(), register.bytes()].concat();
    let is_named = EntityId::child_of(parent, register.bytes()) == *id;
    let id = if is_named { EntityId::child_of(parent, &text) } else { *id };
    early_register(id, ancestors.clone(), author(author_in(number)), text)
}

/// A register of initial state with this text.
pub fn register(id: EntityId, ancestors: Vec<EntityId>, by: ReplicaId, text: String) -> Action {
    early_register(id, ancestors, by, text.into_bytes())
}

/// A register that `by` wrote at time 1 ms, before all writes of a run.
pub fn early_register(id: EntityId, ancestors: Vec<EntityId>, by: ReplicaId, bytes: Vec<u8>) -> Action {
    let stamp = Hlc::new(1, 0, by);
    Action::Add {
        id,
        ancestors,
        value: Value::Lww(Register::new(stamp, bytes)),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: Label::None },
    }
}

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

/// The default name of node number `at`.
pub(super) fn node_name(at: usize) -> String {
    NAMES.get(at).map_or_else(|| format!("node-{at}"), |name| (*name).to_owned())
}

impl Scenario {
    /// A scenario of nodes that all have `shared`; each also has the actions that `own` returns for its
    /// number.
    pub fn new(nodes: usize, shared: Vec<Action>, mut own: impl FnMut(usize) -> Vec<Action>) -> Self {
        let seed = |at| NodeSeed { name: node_name(at), own: own(at), has_shared: true, writes: Vec::new() };
        Self { shared, nodes: (0..nodes).map(seed).collect(), by_table: false }
    }

    /// The scenario of context `number` for nodes that begin with this one in their first context: states of the same
    /// shape, of other entities, rotated by `number` nodes. Shared state becomes state of each single node.
    pub fn in_context(&self, number: usize) -> Self {
        let mut nodes = self.nodes.clone();
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        nodes.rotate_left(number % names.len().max(1));
        for (node, name) in nodes.iter_mut().zip(names) {
            let shared = if node.has_shared { &self.shared[..] } else { &[] };
            let all = shared.iter().chain(&node.own);
            node.own = all.map(|action| in_other_context(action, number)).collect();
            node.name = name;
            node.has_shared = false;
            for write in &mut node.writes {
                if let Operation::Set { bytes, .. } = write {
                    bytes.splice(0..0, format!("{number}:").into_bytes());
                }
            }
        }
        Self { shared: Vec::new(), nodes, by_table: self.by_table }
    }

    /// Makes sessions choose their protocol by the decision table, for scenarios that are built for one of its rows.
    pub const fn choosing_by_table(mut self) -> Self {
        self.by_table = true;
        self
    }

    /// The initial disk of each node; `base` is what the shared state comes on top of. O(n log n).
    pub(crate) fn disks(
        &self,
        context: ContextId,
        base: MemoryStore,
    ) -> Result<Vec<MemoryStore>, StorageError> {
        let shared = written(context, base, &self.shared)?;
        let disk = |node: &NodeSeed| {
            let base = if node.has_shared { shared.clone() } else { MemoryStore::default() };
            written(context, base, &node.own)
        };
        self.nodes.iter().map(disk).collect()
    }
}

/// A disk of a context after these actions.
fn written(
    context: ContextId,
    mut disk: MemoryStore,
    actions: &[Action],
) -> Result<MemoryStore, StorageError> {
    if actions.is_empty() {
        return Ok(disk);
    }
    let state = Interface::open(CheckedDiskView::from(&disk))?;
    let mut state = state.with_short_ids(ShortIdKey::of(context));
    let context = ApplyContext { moment: Moment::at(SimTime::ZERO), max_drift_ms: u64::MAX };
    for action in actions {
        let applied = state.apply_action(action, &context);
        applied.map_err(|_| StorageError::Index { what: "a scenario of well-formed actions" })?;
    }
    disk.apply(state.finish()?)?;
    Ok(disk)
}
