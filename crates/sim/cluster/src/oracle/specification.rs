//! The specification: what the acknowledged writes imply, entity by entity.

use crate::disk_view::CheckedDiskView;
use crate::oracle::fact::{Fact, FactKind};
use crate::oracle::places::TreePlaces;
use crate::oracle::visible_value::VisibleValue;
use crate::oracle::{Oracle, OracleWrite, text};
use crate::workload::{MergeFaults, MergeFunction};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::{CrdtType, Custom, MergeFailure, Merges, Value};
use syncline_storage::{Interface, Label, Record, StorageError};
use syncline_types::{EntityId, Hlc, ReplicaId};

/// What all writes together say about one entity.
#[derive(Clone, Debug)]
pub(super) struct SpecifiedEntity<'a> {
    pub(super) id: EntityId,
    /// The range of its facts in [`Specification::facts`].
    facts: (usize, usize),
    /// The path to it, from below the root down to its parent.
    pub(super) ancestors: Cow<'a, [EntityId]>,
    /// Whether writers disagree on the path.
    is_moved: bool,
    /// Whether a write that may be lost decides where it is.
    is_somewhere: bool,
    pub(super) label: &'a Label,
    /// The greatest type that a write gave the entity.
    pub(super) kind: CrdtType,
    updated_at: Hlc,
    pub(super) deleted_at: Hlc,
}

/// An entity that a replica does not show as it must.
#[derive(Clone, Debug)]
pub(super) struct Mismatch {
    pub(super) id: EntityId,
    pub(super) expected: Option<String>,
    pub(super) found: Option<String>,
    /// Number of other entities that do not match.
    pub(super) others: usize,
}

/// All facts of the acknowledged writes, grouped by entity.
#[derive(Debug)]
pub(super) struct Specification<'a> {
    merges: &'a Merges,
    /// All writes, by their numbers.
    pub(super) writes: &'a [Arc<OracleWrite>],
    resets_counters: bool,
    merge_faults: MergeFaults,
    pub(super) uncertain: &'a BTreeSet<usize>,
    pub(super) uncertain_initial: &'a BTreeSet<EntityId>,
    /// Ascending by entity; the facts of one entity are in the order of acknowledgement.
    facts: Vec<Fact<'a>>,
    /// All entities, ascending by id.
    entities: Vec<SpecifiedEntity<'a>>,
}

impl<'a> Specification<'a> {
    /// The specification of all writes, or of all `without` the one of that number. O(n log n) in the writes.
    pub(crate) fn of(oracle: &'a Oracle, without: Option<usize>) -> Self {
        let initial = oracle.initial.iter().flat_map(|(_, actions)| actions.iter()).map(Fact::initial);
        let written = oracle.writes.iter().enumerate().filter(|(number, _)| Some(*number) != without);
        let written = written.flat_map(|(number, write)| Fact::written(number, write));
        let mut facts: Vec<Fact<'a>> = initial.chain(written).collect();
        // A stable sort: the facts of one entity stay in the order of acknowledgement.
        facts.sort_by_key(|fact| fact.id);
        let mut entities: Vec<SpecifiedEntity<'a>> = Vec::new();
        for (at, fact) in facts.iter().enumerate() {
            match entities.last_mut().filter(|entity| entity.id == fact.id) {
                Some(entity) => entity.add_fact(at, fact),
                None => entities.push(SpecifiedEntity::from_first_fact(at, fact)),
            }
        }
        assert!(entities.is_sorted_by_key(|entity| entity.id), "entities are found by binary search");
        let places =
            TreePlaces::of(&facts, |fact| fact.may_be_lost(&oracle.uncertain, &oracle.uncertain_initial));
        for entity in &mut entities {
            if let Some((path, is_certain)) = places.path_of_moved(entity.id) {
                entity.ancestors = path.into();
                entity.is_moved = true;
                entity.is_somewhere = !is_certain;
            }
        }
        Self {
            merges: &oracle.merges,
            writes: &oracle.writes,
            resets_counters: oracle.resets_counters,
            merge_faults: oracle.merge_faults,
            uncertain: &oracle.uncertain,
            uncertain_initial: &oracle.uncertain_initial,
            facts,
            entities,
        }
    }

    /// The entity of this id, if any write is about it. O(log n).
    pub(super) fn entity(&self, id: EntityId) -> Option<&SpecifiedEntity<'a>> {
        let at = self.entities.binary_search_by(|entity| entity.id.cmp(&id)).ok()?;
        self.entities.get(at)
    }

    /// All entities, ascending by id.
    pub(super) fn entities(&self) -> &[SpecifiedEntity<'a>] {
        &self.entities
    }

    /// The facts of an entity, in the order of acknowledgement.
    pub(super) fn facts(&self, entity: &SpecifiedEntity<'a>) -> &[Fact<'a>] {
        &self.facts[entity.facts.0..entity.facts.1]
    }

    /// The value that an application must see of an entity; `None` if the entity must be invisible.
    pub(super) fn visible_value(&self, entity: &SpecifiedEntity<'a>) -> Option<VisibleValue<'a>> {
        let may_have_lost = !self.uncertain.is_empty() || !self.uncertain_initial.is_empty();
        if may_have_lost && (entity.is_somewhere || self.is_uncertain(entity)) {
            return Some(VisibleValue::Undetermined);
        }
        if entity.is_moved && self.was_deleted_somewhere(entity) {
            return Some(VisibleValue::Undetermined);
        }
        // The root is not listed among the ancestors of an entity, but deleting it hides everything
        // below.
        let root = (entity.id != EntityId::ROOT).then_some(&EntityId::ROOT);
        let above = entity.ancestors.iter().chain(root).filter_map(|id| self.entity(*id));
        let hidden_by = above.map(|above| above.deleted_at).max().unwrap_or(Hlc::ZERO);
        let undeletable = matches!(entity.kind, CrdtType::UserValue | CrdtType::FrozenValue);
        // A delete wins over a write of the same stamp, of the entity itself and of any ancestor. Values
        // of owners and frozen values cannot be deleted themselves; only a delete of an ancestor hides
        // them.
        let gone = entity.updated_at == Hlc::ZERO
            || entity.updated_at <= hidden_by
            || entity.updated_at <= entity.deleted_at && !undeletable;
        if gone {
            return None;
        }
        let hidden_by = hidden_by.max(entity.deleted_at);
        let latest = if undeletable { Some(entity.kind) } else { self.latest_kind(entity, hidden_by) };
        let Some(kind) = latest else { return Some(VisibleValue::Undetermined) };
        // Where writers disagree on the type of an entity, only writes of the greatest type count.
        let facts = self.facts(entity).iter().filter(|fact| fact.kind.crdt_type() == kind);
        match kind {
            CrdtType::Placeholder => None,
            CrdtType::LwwRegister | CrdtType::Opaque => {
                // Writes with equal stamps are ordered by their bytes, as in the merge.
                let set = facts.filter(|fact| fact.updated_at > entity.deleted_at);
                let last = set.max_by_key(|fact| (fact.updated_at, bytes_of(fact)));
                Some(VisibleValue::Bytes(kind, last.map_or(&[][..], bytes_of).into()))
            }
            CrdtType::FrozenValue => {
                // The earliest write wins, deleted or not.
                let first = facts.min_by_key(|fact| (fact.updated_at, bytes_of(fact)))?;
                Some(VisibleValue::Bytes(kind, bytes_of(first).into()))
            }
            CrdtType::UserValue => {
                // Two owners can meet only on a forged id; the greater one wins.
                let owner = facts.clone().map(owner_of).max()?;
                let own = facts.filter(|fact| owner_of(fact) == owner);
                let last = own.max_by_key(|fact| (fact.updated_at, bytes_of(fact)))?;
                Some(VisibleValue::Owned(owner, bytes_of(last).into()))
            }
            CrdtType::GCounter | CrdtType::PnCounter => {
                let counts = facts.filter(|fact| !self.resets_counters || !self.was_deleted(entity, fact));
                let by = counts.map(|fact| if let FactKind::Counted(_, by) = fact.kind { by } else { 0 });
                Some(VisibleValue::Count(kind, by.sum()))
            }
            CrdtType::SetElement => match self.presence(facts, hidden_by) {
                // All adds that are left were hidden by a delete that had seen them, and nobody who wrote later
                // missed the delete: the element left with its set.
                Some(VisibleValue::Undetermined)
                    if self.is_superseded(entity, hidden_by, |fact| matches!(fact.kind, FactKind::Added)) =>
                {
                    None
                }
                shown => shown,
            },
            CrdtType::Rga => {
                let edits = facts.filter_map(|fact| match fact.kind {
                    FactKind::Edited(edit, inserted) => Some((edit, inserted)),
                    _ => None,
                });
                Some(VisibleValue::Text(text::after(edits, &self.cleared_runs(entity))))
            }
            // Nobody says what a function shows that is no join.
            CrdtType::Custom if self.merge_faults.function == MergeFunction::Appends => {
                Some(VisibleValue::Undetermined)
            }
            CrdtType::Custom => self.merged(facts),
            CrdtType::UnorderedMap
            | CrdtType::UnorderedSet
            | CrdtType::SortedMap
            | CrdtType::SortedSet
            | CrdtType::Vector
            | CrdtType::UserStorage
            | CrdtType::FrozenStorage => Some(VisibleValue::Collection(kind)),
        }
    }

    /// Whether an element is in its set: some add is covered by no remove. A remove covers the adds that it names and the
    /// earlier adds of its own author. Adds that a delete hides are undetermined: replicas that have collected them cannot
    /// name them in a remove, others can. If the answer depends on such adds alone, both answers are right.
    fn presence<'f>(
        &self,
        facts: impl Iterator<Item = &'f Fact<'a>>,
        hidden_by: Hlc,
    ) -> Option<VisibleValue<'a>>
    where
        'a: 'f,
    {
        let mut adds: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        // A remove has seen all adds of its own author, but not those of another life of the author.
        let mut own: BTreeMap<(NodeId, u32, ReplicaId), u64> = BTreeMap::new();
        let mut covered: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        let raise = |known: &mut u64, time: u64| *known = time.max(*known);
        let life = |fact: &Fact<'a>| self.writes.get(fact.write?.0).map(|write| (write.node, write.life));
        for fact in facts {
            match fact.kind {
                // The clock of the replica that added it identifies an add.
                FactKind::Added => {
                    let by = fact.updated_at.replica();
                    let time = fact.updated_at.time();
                    raise(adds.entry(by).or_default(), time);
                    if let Some((node, life)) = life(fact) {
                        raise(own.entry((node, life, by)).or_default(), time);
                    }
                }
                FactKind::Removed(named, by) => {
                    named.entries().for_each(|(replica, entry)| {
                        raise(covered.entry(replica).or_default(), entry.removed);
                    });
                    if let Some(own) = life(fact).and_then(|(node, life)| own.get(&(node, life, by))) {
                        raise(covered.entry(by).or_default(), *own);
                    }
                }
                FactKind::Presence(element) => {
                    for (replica, entry) in element.entries() {
                        raise(adds.entry(replica).or_default(), entry.added);
                        raise(covered.entry(replica).or_default(), entry.removed);
                    }
                }
                _ => {}
            }
        }
        let mut left = adds.iter().filter(|(by, time)| covered.get(by).is_none_or(|covered| covered < time));
        let shown = |(by, time): (&ReplicaId, &u64)| Hlc::new(time >> 16, *time as u16, *by) > hidden_by;
        let first = left.next()?;
        Some(if shown(first) || left.any(shown) { VisibleValue::Present } else { VisibleValue::Undetermined })
    }

    /// The states that were merged into a value of the application's own type, merged by its function.
    fn merged<'f>(&self, facts: impl Iterator<Item = &'f Fact<'a>> + Clone) -> Option<VisibleValue<'a>>
    where
        'a: 'f,
    {
        let state = |fact: &Fact<'a>| match fact.kind {
            FactKind::Merged(name, bytes) => Some((name, bytes)),
            _ => None,
        };
        // Writers of different type names under one id: the greatest name wins, as in the merge.
        let name = facts.clone().filter_map(state).map(|(name, _)| name).max()?;
        let mut states = facts.filter_map(state).filter(|(own, _)| *own == name).map(|(_, bytes)| bytes);
        let first = Arc::from(states.next()?);
        let all = states.try_fold(first, |all: Arc<[u8]>, state| self.merges.merge(name, &all, state));
        // The oracle has no function for a type that a test has given to nodes alone.
        Some(all.map_or(VisibleValue::Undetermined, |all| VisibleValue::Merged(name.into(), all)))
    }

    /// What a node with these merge functions shows of a value of an own type. If its function is missing or panics
    /// as the run wants, the node shows nothing, and must have the operands that a sound function would merge.
    fn shown<'v>(&self, custom: &'v Custom, functions: &Merges) -> VisibleValue<'v> {
        let merged = functions.shown(custom).or_else(|unmerged| {
            let is_wanted = match unmerged.reason {
                MergeFailure::Missing => true,
                MergeFailure::Panicked(_) => self.merge_faults.function == MergeFunction::Panics,
                MergeFailure::TooLarge { .. } => false,
            };
            if is_wanted { self.merges.shown(custom) } else { Err(unmerged) }
        });
        match merged {
            Ok(bytes) => VisibleValue::Merged(custom.name().into(), bytes),
            Err(unmerged) => VisibleValue::Unmerged(unmerged),
        }
    }

    /// The first entity, by id, that a state does not show as it must; if there is none, the first whose children it
    /// does not show in order. O(n).
    pub(super) fn first_mismatch(
        &self,
        state: &mut Interface<CheckedDiskView>,
    ) -> Result<Option<Mismatch>, StorageError> {
        let mut shown = state.visible()?;
        // `visible` lists children only; the root may have a value too.
        if state.is_visible(EntityId::ROOT)? {
            shown.extend(state.record(EntityId::ROOT)?.map(|record| (EntityId::ROOT, record)));
        }
        shown.sort_unstable_by_key(|(id, _)| *id);
        let mut shown = shown.iter().peekable();
        let functions = state.merges().clone();
        let mut mismatch: Option<Mismatch> = None;
        let mut compare = |id: EntityId, expected: Option<VisibleValue<'_>>, found: Option<&Record>| {
            // Values are compared as an application sees them, not by their records.
            let found = found.map(|record| match &record.value {
                Value::Custom(custom) => self.shown(custom, &functions),
                value => VisibleValue::of(value),
            });
            if expected == found || expected == Some(VisibleValue::Undetermined) {
                return;
            }
            if let Some(first) = &mut mismatch {
                first.others += 1;
                return;
            }
            let words = |value: Option<VisibleValue<'_>>| value.map(|value| value.to_string());
            mismatch = Some(Mismatch { id, expected: words(expected), found: words(found), others: 0 });
        };
        // Both lists ascend by id: a merge join finds what only one of them has.
        for entity in &self.entities {
            while let Some((id, record)) = shown.next_if(|(id, _)| *id < entity.id) {
                compare(*id, None, Some(record));
            }
            let found = shown.next_if(|(id, _)| *id == entity.id).map(|(_, record)| &**record);
            compare(entity.id, self.visible_value(entity), found);
        }
        for (id, record) in shown {
            compare(*id, None, Some(record));
        }
        match mismatch {
            Some(mismatch) => Ok(Some(mismatch)),
            None => self.first_misordered(state),
        }
    }

    /// The first collection whose visible children are not read in the order of their labels.
    fn first_misordered(
        &self,
        state: &mut Interface<CheckedDiskView>,
    ) -> Result<Option<Mismatch>, StorageError> {
        // The expected order of the visible children of each collection, by label.
        let mut ordered: BTreeMap<EntityId, Vec<(&[u8], EntityId)>> = BTreeMap::new();
        for entity in &self.entities {
            if let Label::Ordered(label) = entity.label
                && self.visible_value(entity).is_some_and(|value| value != VisibleValue::Undetermined)
            {
                let parent = entity.ancestors.last().copied().unwrap_or(EntityId::ROOT);
                ordered.entry(parent).or_default().push((&**label, entity.id));
            }
        }
        for (parent, mut expected) in ordered {
            expected.sort_unstable();
            let expected: Vec<EntityId> = expected.into_iter().map(|(_, id)| id).collect();
            let mut found = read_in_order(parent, state)?;
            // Visibility, that of undetermined elements included, was compared already; only the order is left.
            let wanted: BTreeSet<EntityId> = expected.iter().copied().collect();
            found.retain(|id| wanted.contains(id));
            if found != expected {
                let words = |ids: &[EntityId]| {
                    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    Some(format!("in order {}", ids.join(", ")))
                };
                let expected = words(&expected);
                let found = words(&found);
                return Ok(Some(Mismatch { id: parent, expected, found, others: 0 }));
            }
        }
        Ok(None)
    }
}

/// The children of a collection in order, page by page, as an application reads a long list.
fn read_in_order(
    parent: EntityId,
    state: &mut Interface<CheckedDiskView>,
) -> Result<Vec<EntityId>, StorageError> {
    /// Small, so that collections of ordinary worlds have several pages.
    const PAGE: usize = 5;
    let mut all: Vec<EntityId> = Vec::new();
    let mut last: Option<(Label, EntityId)> = None;
    loop {
        let after = last.as_ref().and_then(|(label, id)| Some((label.bytes()?, *id)));
        let page = state.ordered_children(parent, &[], after, PAGE)?;
        let is_last = page.len() < PAGE;
        all.extend(&page);
        let Some(id) = page.last().filter(|_| !is_last) else { return Ok(all) };
        let record = state.record(*id)?.ok_or(StorageError::Index { what: "the record of an order row" })?;
        let next = (record.label.clone(), *id);
        // A row that does not match its record could lead back to itself.
        if next.0.bytes().is_none() || last.is_some_and(|last| last >= next) {
            return Err(StorageError::Index { what: "an order row that matches its record" });
        }
        last = Some(next);
    }
}

impl<'a> SpecifiedEntity<'a> {
    /// An entity whose first fact is number `at`.
    const fn from_first_fact(at: usize, fact: &Fact<'a>) -> Self {
        Self {
            id: fact.id,
            facts: (at, at + 1),
            ancestors: Cow::Borrowed(fact.ancestors),
            is_moved: false,
            is_somewhere: false,
            label: fact.label,
            kind: fact.kind.crdt_type(),
            updated_at: fact.updated_at,
            deleted_at: fact.deleted_at,
        }
    }

    /// Adds fact number `at`, which follows the ones before.
    fn add_fact(&mut self, at: usize, fact: &Fact<'a>) {
        assert!(self.facts.1 == at, "the facts of one entity are contiguous");
        self.facts.1 = at + 1;
        self.label = self.label.max(fact.label);
        self.kind = self.kind.max(fact.kind.crdt_type());
        self.updated_at = self.updated_at.max(fact.updated_at);
        self.deleted_at = self.deleted_at.max(fact.deleted_at);
    }
}

const fn bytes_of<'a>(fact: &Fact<'a>) -> &'a [u8] {
    match fact.kind {
        FactKind::Bytes(_, bytes) | FactKind::Owned(_, bytes) => bytes,
        _ => &[],
    }
}

fn owner_of(fact: &Fact<'_>) -> ReplicaId {
    if let FactKind::Owned(owner, _) = fact.kind { owner } else { ReplicaId::default() }
}
