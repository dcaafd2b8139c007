//! What a scenario is made of.

use syncline_crdt::{Register, Value};
use syncline_replica::Operation;
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, StorageError};
use syncline_store::{MemoryStore, Store};
use syncline_types::{EntityId, Hlc, Moment, ReplicaId, SimTime};

/// One node of a scenario.
#[derive(Clone, Debug)]
pub struct NodeSeed {
    /// Its name.
    pub name: String,
    /// What it has beyond what all share.
    pub own: Vec<Action>,
    /// Whether it has what all share.
    pub has_shared: bool,
    /// What its application wrote before the run, each a delta that nobody else has.
    pub writes: Vec<Operation>,
}

/// Nodes and the state they already have when the run begins.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What all nodes have, unless one says otherwise.
    pub shared: Vec<Action>,
    /// The nodes.
    pub nodes: Vec<NodeSeed>,
    /// Whether sessions choose their protocol by the decision table, whatever the settings say.
    pub by_table: bool,
}

/// The stamps of initial state: a millisecond of the past, written by a replica that takes no part.
pub fn author(node: u64) -> ReplicaId {
    let mut id = ReplicaId::from_u64(node);
    id.0[15] = 0xee;
    id
}

/// Who writes the initial states of a context, given by its number: of the first, the author depends on the
/// node; of each other one it is this, whichever node has it.
pub const fn author_in(context: usize) -> u64 {
    (context as u64) << 32
}

/// A register of initial state as it is in the context of this number: another one, if its id comes from what it
/// holds.
fn renamed(action: &Action, number: usize) -> Action {
    let Action::Add { id, ancestors, value: Value::Lww(held), .. } = action else { return action.clone() };
    let parent = ancestors.last().copied().unwrap_or(EntityId::ROOT);
    let text = [format!("{number}:").as_bytes(), held.bytes()].concat();
    let is_named = EntityId::child_of(parent, held.bytes()) == *id;
    let id = if is_named { EntityId::child_of(parent, &text) } else { *id };
    early_register(id, ancestors.clone(), author(author_in(number)), text)
}

/// A register of initial state.
pub fn register(id: EntityId, ancestors: Vec<EntityId>, by: ReplicaId, text: String) -> Action {
    early_register(id, ancestors, by, text.into_bytes())
}

/// A register that `by` wrote before everything else.
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

/// The name of the `at`-th node.
pub(super) fn node_name(at: usize) -> String {
    NAMES.get(at).map_or_else(|| format!("node-{at}"), |name| (*name).to_owned())
}

impl Scenario {
    /// A scenario of nodes that have `shared`, and each what `own` gives for it.
    pub fn new(nodes: usize, shared: Vec<Action>, mut own: impl FnMut(usize) -> Vec<Action>) -> Self {
        let seed = |at| NodeSeed { name: node_name(at), own: own(at), has_shared: true, writes: Vec::new() };
        Self { shared, nodes: (0..nodes).map(seed).collect(), by_table: false }
    }

    /// What nodes that begin with this in their first context have in another: states of the same kind, of
    /// other entities, and each node what its neighbour has in the one before. Nobody shares any of them: what
    /// several nodes have is told of each.
    pub fn in_context(&self, number: usize) -> Self {
        let mut nodes = self.nodes.clone();
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        nodes.rotate_left(number % names.len().max(1));
        for (node, name) in nodes.iter_mut().zip(names) {
            let shared = if node.has_shared { &self.shared[..] } else { &[] };
            let all = shared.iter().chain(&node.own);
            node.own = all.map(|action| renamed(action, number)).collect();
            (node.name, node.has_shared) = (name, false);
            for write in &mut node.writes {
                if let Operation::Set { bytes, .. } = write {
                    bytes.splice(0..0, format!("{number}:").into_bytes());
                }
            }
        }
        Self { shared: Vec::new(), nodes, by_table: self.by_table }
    }

    /// Sessions choose their protocol by the decision table: the scenario is made for one of its rows.
    pub const fn choosing_by_table(mut self) -> Self {
        self.by_table = true;
        self
    }

    /// The disk of each node.
    pub(crate) fn disks(&self) -> Result<Vec<MemoryStore>, StorageError> {
        let shared = written(MemoryStore::default(), &self.shared)?;
        let disk = |node: &NodeSeed| {
            let base = if node.has_shared { shared.clone() } else { MemoryStore::default() };
            written(base, &node.own)
        };
        self.nodes.iter().map(disk).collect()
    }
}

fn written(mut disk: MemoryStore, actions: &[Action]) -> Result<MemoryStore, StorageError> {
    if actions.is_empty() {
        return Ok(disk);
    }
    let mut state = Interface::open(disk.view())?;
    let context = ApplyContext { moment: Moment::at(SimTime::ZERO), max_drift_ms: u64::MAX };
    for action in actions {
        let applied = state.apply_action(action, &context);
        applied.map_err(|_| StorageError::Index { what: "a scenario of well-formed actions" })?;
    }
    disk.apply(state.finish()?)?;
    Ok(disk)
}
