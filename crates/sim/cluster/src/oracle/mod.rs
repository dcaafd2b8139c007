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
//! | counters | the sum of all increments and changes; with `Oracle::with_counter_resets` of those that no delete has seen |
//! | element of a set | present while some add is not covered by a remove that has seen it |
//! | text | every character inserted and not deleted, in the order of Fugue; the first edit after a delete clears the text |
//! | list, sorted map, sorted set | the visible children, in the order of positions or keys |
//! | value of an owner | the owner's latest write |
//! | frozen value | the earliest write |
//! | type of the application's own | all states, merged by its function |
//! | any | visible if written after the last delete of itself and of each of its ancestors |
//!
//! An entity that writers have put at several places is at the one of the least depth, then of the least parent; one that
//! was deleted besides is undetermined, since who has collected it does not know the former places.
//!
//! A name that was deleted may be written again with another type. If the deleter had seen every write of the former
//! type, and every later write had seen the delete, the later writes alone decide type and value. Where somebody had
//! not seen what went before, the value is undetermined.
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
mod places;
mod recreation;
mod reference_state;
mod specification;
mod text;
mod visible_value;

pub use blame::{AckedWrite, ValueMismatch};
pub use reference_state::ReferenceState;
pub(crate) use text::{has_deleted_range, is_behind_deleted};

use crate::disk_view::CheckedDiskView;
use crate::node::SimReplica;
use crate::oracle::specification::Specification;
use crate::verdict::Check;
use crate::workload::MergeFaults;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::Merges;
use syncline_replica::Operation;
use syncline_storage::{Action, Interface, StorageError, record_page};
use syncline_sync::{Dot, VersionVector};
use syncline_types::{Encode, EntityId, Hlc, ReplicaId, SimTime};

/// A write that a node has acknowledged.
#[derive(Clone, Debug)]
struct OracleWrite {
    node: NodeId,
    /// The replica id under which the node wrote.
    author: ReplicaId,
    /// The replica id under which the node acknowledged it: the owner of a value that has one.
    owner: ReplicaId,
    at: SimTime,
    /// How often the disk of the node had been replaced.
    life: u32,
    operations: Vec<Operation>,
    /// The action that each operation became.
    actions: Vec<Action>,
    /// The deltas that the node had when the write was accepted, the one of the write included.
    seen: VersionVector,
}

impl OracleWrite {
    /// The name of the delta of the write.
    fn dot(&self) -> Dot {
        Dot { author: self.author, seq: self.seen.of(self.author) }
    }
}

/// Who acknowledged a write, when, and what the node had seen by then.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The node that wrote.
    pub node: NodeId,
    /// The replica id under which the node wrote.
    pub author: ReplicaId,
    /// When it acknowledged the write.
    pub at: SimTime,
    /// The deltas that the node is known to have by then, the one of the write included.
    pub seen: VersionVector,
}

/// One number of a replica that names two acknowledged writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReusedNumber {
    number: Dot,
    /// Who acknowledged the first write of the number, and when.
    first: String,
    second: String,
}

impl fmt::Display for ReusedNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, first, second } = self;
        write!(f, "number {} of one replica names a write of {first} and another of {second}", number.seq)
    }
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
    /// Whether a delete resets a counter.
    resets_counters: bool,
    /// The faults of the merge functions of nodes; `merges` is without them.
    merge_faults: MergeFaults,
    /// The numbers of writes that were on no disk any more, as far as anybody knows, when a disk was replaced. Frames
    /// in flight may have saved them.
    uncertain: BTreeSet<usize>,
    /// The entities of initial state of which the same holds.
    uncertain_initial: BTreeSet<EntityId>,
    /// How often the disk of each node was replaced.
    lives: BTreeMap<NodeId, u32>,
}

impl Oracle {
    /// An oracle without writes, with the merge functions of the application's own types.
    pub fn new(merges: Merges) -> Self {
        Self { merges, ..Self::default() }
    }

    /// Sets whether a counter that is written again after a delete begins anew: it then shows what no delete has seen.
    #[must_use]
    pub(crate) const fn with_counter_resets(mut self, resets: bool) -> Self {
        self.resets_counters = resets;
        self
    }

    /// Sets the faults of the merge functions of nodes.
    #[must_use]
    pub(crate) const fn with_merge_faults(mut self, faults: MergeFaults) -> Self {
        self.merge_faults = faults;
        self
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

    /// Whether any write is about something below an entity. O(writes).
    pub(crate) fn has_below(&self, id: EntityId) -> bool {
        let initial = self.initial.iter().flat_map(|(_, actions)| actions.iter());
        let written = self.writes.iter().flat_map(|write| &write.actions);
        initial.chain(written).any(|action| action.ancestors().contains(&id))
    }

    /// Adds an acknowledged write. O(1).
    pub fn acknowledge(
        &mut self,
        Acknowledgement { node, author, at, seen }: Acknowledgement,
        operations: Vec<Operation>,
        actions: Vec<Action>,
    ) {
        assert!(operations.len() == actions.len(), "every operation becomes one action");
        self.writes.push(Arc::new(OracleWrite {
            node,
            author,
            owner: author,
            at,
            life: self.lives.get(&node).copied().unwrap_or_default(),
            operations,
            actions,
            seen,
        }));
    }

    /// A node that was brought back has written again what a former id of it had written: delta `former` of these
    /// actions, as its delta `delta`. The operations are the acknowledged ones, so that the requested values count, each
    /// once, under the stamps that the new actions have. O(writes).
    pub fn reissue(
        &mut self,
        former: Dot,
        former_actions: &[Action],
        delta: Dot,
        actions: Vec<Option<Action>>,
    ) {
        // A number may name two writes, whose actions differ.
        let is_former = |write: &Arc<OracleWrite>| write.dot() == former && write.actions == former_actions;
        let Some(number) = self.writes.iter().position(is_former) else { return };
        let write = Arc::make_mut(&mut self.writes[number]);
        for (own, new) in write.actions.iter_mut().zip(actions) {
            if let Some(new) = new {
                *own = new;
            }
        }
        write.author = delta.author;
        write.seen.cover(delta);
        self.uncertain.remove(&number);
    }

    /// The disk of `node`, one of these replicas, was replaced by one that lacks what its node had acknowledged last: what only
    /// that disk had may be lost. All else that was acknowledged must be shown in the end, and so must all that is
    /// acknowledged from now on. O(writes + initial state · replicas).
    ///
    /// # Errors
    /// If a state cannot be read.
    pub fn on_disk_replaced<'r>(
        &mut self,
        node: NodeId,
        replicas: impl Iterator<Item = &'r SimReplica>,
    ) -> Result<(), StorageError> {
        *self.lives.entry(node).or_default() += 1;
        let mut covered = VersionVector::default();
        let mut disks: Vec<Interface<CheckedDiskView>> = Vec::new();
        for replica in replicas {
            covered.join(replica.log().covered());
            disks.push(replica.state()?);
        }
        let mut names: BTreeMap<Dot, u32> = BTreeMap::new();
        for write in &self.writes {
            *names.entry(write.dot()).or_default() += 1;
        }
        // A number that names two writes does not say which of them is stored.
        let is_stored =
            |write: &OracleWrite| covered.covers(write.dot()) && names.get(&write.dot()) == Some(&1);
        let lost = self.writes.iter().enumerate().filter(|(_, write)| !is_stored(write));
        let lost: Vec<usize> = lost.map(|(number, _)| number).collect();
        self.uncertain.extend(lost);
        let mut gone = BTreeSet::new();
        for action in self.initial.iter().flat_map(|(_, actions)| actions.iter()) {
            let mut is_stored = false;
            for disk in &mut disks {
                is_stored |= self.is_in(action, disk)?;
            }
            if !is_stored {
                gone.insert(action.id());
            }
        }
        self.uncertain_initial.extend(gone);
        Ok(())
    }

    /// Gives every write that may be lost, in an order that does not depend on that of acceptance, and the initial
    /// entities of which the same holds. O(log n) each.
    pub fn each_uncertain(&self, take: &mut impl FnMut(&[u8])) {
        let uncertain = self.uncertain.iter().filter_map(|number| self.writes.get(*number));
        let mut writes: Vec<Vec<u8>> = uncertain
            .map(|write| {
                let mut bytes = write.dot().to_bytes();
                bytes.extend(write.actions.iter().flat_map(Encode::to_bytes));
                bytes
            })
            .collect();
        writes.sort_unstable();
        writes.iter().for_each(|bytes| take(bytes));
        self.uncertain_initial.iter().for_each(|id| take(&id.0));
    }

    /// Two acknowledged writes of one number, if there are any: the replica has lost its history, or shares its name.
    pub(crate) fn reused_number(&self, name: impl Fn(NodeId) -> String) -> Option<ReusedNumber> {
        let mut seen: BTreeMap<Dot, &OracleWrite> = BTreeMap::new();
        self.writes.iter().find_map(|write| {
            let first = seen.insert(write.dot(), write)?;
            let said = |write: &OracleWrite| format!("{} at {}", name(write.node), write.at);
            Some(ReusedNumber { number: write.dot(), first: said(first), second: said(write) })
        })
    }

    /// The first write that a replica that covers `covered` does not have: its node and its time. Writes that may be
    /// lost are left out.
    pub(crate) fn first_missing(&self, covered: &VersionVector) -> Option<(NodeId, SimTime)> {
        let mut writes = self.writes.iter().enumerate();
        let missing =
            writes.find(|(number, write)| !covered.covers(write.dot()) && !self.uncertain.contains(number));
        missing.map(|(_, write)| (write.node, write.at))
    }

    /// The stamp of the latest acknowledged delete of each entity, or of what is above it; entities that were never
    /// deleted are left out. O(writes log writes).
    pub(crate) fn deletes(&self) -> BTreeMap<EntityId, Hlc> {
        let specification = Specification::of(self, None);
        let all = specification.entities().iter();
        let deletes = all.map(|entity| (entity.id, specification.deleted_somewhere_at(entity)));
        deletes.filter(|(_, delete)| *delete > Hlc::ZERO).collect()
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
        let mut known = None;
        for (_, name, node) in nodes.iter().cycle().skip(first).take(nodes.len()) {
            let records = record_page(node.disk(), None, usize::MAX)?.records;
            let mut state = node.state()?;
            // Byte by byte equal records show the same values by the same merge functions, so one reading
            // serves all nodes that agree.
            let shows = (records, state.merges().clone());
            if known.as_ref() == Some(&shows) {
                continue;
            }
            if let Some(mismatch) = specification.first_mismatch(&mut state)? {
                let names: Vec<&str> = nodes.iter().map(|(_, name, _)| name.as_str()).collect();
                return Ok(Some(blame::blame(self, &specification, mismatch, name, &names)));
            }
            known.get_or_insert(shows);
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
