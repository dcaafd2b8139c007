//! What the acknowledged writes imply, entity by entity.

use crate::oracle::fact::{Fact, Said};
use crate::oracle::visible_value::Seen;
use crate::oracle::{Oracle, text};
use std::collections::{BTreeMap, BTreeSet};
use syncline_crdt::{CrdtType, Merges};
use syncline_storage::{Interface, Label, Record, StorageError};
use syncline_store::MemoryStore;
use syncline_types::{EntityId, Hlc, ReplicaId};

/// What the writes say of one entity.
#[derive(Clone, Debug)]
pub(super) struct Entity<'a> {
    pub(super) id: EntityId,
    /// Where its facts are.
    facts: (usize, usize),
    /// The path to it, from below the root down to its parent.
    pub(super) ancestors: &'a [EntityId],
    pub(super) label: &'a Label,
    /// The greatest type that a write gave it.
    pub(super) kind: CrdtType,
    updated_at: Hlc,
    deleted_at: Hlc,
}

/// An entity that a replica does not show as it must.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) id: EntityId,
    pub(super) expected: Option<String>,
    pub(super) found: Option<String>,
    /// How many others are wrong too.
    pub(super) others: usize,
}

/// Everything that the acknowledged writes say.
#[derive(Debug)]
pub(super) struct Specification<'a> {
    merges: &'a Merges,
    /// By entity, and for each in the order of acknowledgement.
    facts: Vec<Fact<'a>>,
    /// Ascending by id.
    entities: Vec<Entity<'a>>,
}

impl<'a> Specification<'a> {
    /// What all writes imply, or all `without` the one of that number. O(n log n) in the writes.
    pub(crate) fn of(oracle: &'a Oracle, without: Option<usize>) -> Self {
        let begun = oracle.begun.iter().flat_map(|(_, actions)| actions.iter()).map(Fact::begun);
        let written = oracle.writes.iter().enumerate().filter(|(number, _)| Some(*number) != without);
        let written = written.flat_map(|(number, write)| Fact::written(number, write));
        let mut facts: Vec<Fact<'a>> = begun.chain(written).collect();
        facts.sort_by_key(|fact| fact.id);
        let mut entities: Vec<Entity<'a>> = Vec::new();
        for (at, fact) in facts.iter().enumerate() {
            match entities.last_mut().filter(|entity| entity.id == fact.id) {
                Some(entity) => entity.take_in(at, fact),
                None => entities.push(Entity::begun_by(at, fact)),
            }
        }
        Self { merges: &oracle.merges, facts, entities }
    }

    /// What is said of an entity, if anything is.
    pub(super) fn entity(&self, id: EntityId) -> Option<&Entity<'a>> {
        let at = self.entities.binary_search_by(|entity| entity.id.cmp(&id)).ok()?;
        self.entities.get(at)
    }

    /// What is said of all entities, ascending by id.
    pub(super) fn entities(&self) -> &[Entity<'a>] {
        &self.entities
    }

    /// What each write says of an entity, in the order of acknowledgement.
    pub(super) fn facts(&self, entity: &Entity<'a>) -> &[Fact<'a>] {
        self.facts.get(entity.facts.0..entity.facts.1).unwrap_or_default()
    }

    /// What an application must see of an entity.
    pub(super) fn seen(&self, entity: &Entity<'a>) -> Option<Seen<'a>> {
        let root = (entity.id != EntityId::ROOT).then_some(&EntityId::ROOT);
        let above = entity.ancestors.iter().chain(root).filter_map(|id| self.entity(*id));
        let hidden_by = above.map(|above| above.deleted_at).max().unwrap_or(Hlc::ZERO);
        let undeletable = matches!(entity.kind, CrdtType::UserValue | CrdtType::FrozenValue);
        let gone = entity.updated_at == Hlc::ZERO
            || entity.updated_at <= hidden_by
            || entity.updated_at <= entity.deleted_at && !undeletable;
        if gone {
            return None;
        }
        // The id of what was deleted may come again once all have forgotten it, as the place of an item in a
        // list does. Who has forgotten knows nothing of the type it had; who has not keeps to it.
        let left =
            self.facts(entity).iter().filter(|fact| fact.updated_at > entity.deleted_at.max(hidden_by));
        if !undeletable && left.map(|fact| fact.said.kind()).max() < Some(entity.kind) {
            return Some(Seen::Either);
        }
        // Where replicas disagree on the type of an entity, the greatest type counts, and no other.
        let facts = self.facts(entity).iter().filter(|fact| fact.said.kind() == entity.kind);
        match entity.kind {
            CrdtType::Placeholder => None,
            CrdtType::LwwRegister | CrdtType::Opaque => {
                let set = facts.filter(|fact| fact.updated_at > entity.deleted_at);
                let last = set.max_by_key(|fact| (fact.updated_at, bytes_of(fact)));
                Some(Seen::Bytes(entity.kind, last.map_or(&[][..], bytes_of).into()))
            }
            CrdtType::FrozenValue => {
                let first = facts.min_by_key(|fact| (fact.updated_at, bytes_of(fact)))?;
                Some(Seen::Bytes(entity.kind, bytes_of(first).into()))
            }
            CrdtType::UserValue => {
                let owner = facts.clone().map(owner_of).max()?;
                let own = facts.filter(|fact| owner_of(fact) == owner);
                let last = own.max_by_key(|fact| (fact.updated_at, bytes_of(fact)))?;
                Some(Seen::Owned(owner, bytes_of(last).into()))
            }
            CrdtType::GCounter | CrdtType::PnCounter => {
                let by = facts.map(|fact| if let Said::Counted(_, by) = fact.said { by } else { 0 });
                Some(Seen::Count(entity.kind, by.sum()))
            }
            CrdtType::SetElement => presence(facts, hidden_by.max(entity.deleted_at)),
            CrdtType::Rga => {
                let edits = facts.filter_map(|fact| match fact.said {
                    Said::Edited(edit, inserted) => Some((edit, inserted)),
                    _ => None,
                });
                Some(Seen::Text(text::after(edits)))
            }
            CrdtType::Custom => self.merged(facts),
            CrdtType::UnorderedMap
            | CrdtType::UnorderedSet
            | CrdtType::SortedMap
            | CrdtType::SortedSet
            | CrdtType::Vector
            | CrdtType::UserStorage
            | CrdtType::FrozenStorage => Some(Seen::Collection(entity.kind)),
        }
    }

    /// All states that were merged into a value of the application's own type, as one.
    fn merged<'f>(&self, facts: impl Iterator<Item = &'f Fact<'a>> + Clone) -> Option<Seen<'a>>
    where
        'a: 'f,
    {
        let state = |fact: &Fact<'a>| match fact.said {
            Said::Merged(name, bytes) => Some((name, bytes)),
            _ => None,
        };
        let name = facts.clone().filter_map(state).map(|(name, _)| name).max()?;
        let states = facts.filter_map(state).filter(|(own, _)| *own == name).map(|(_, bytes)| bytes.to_vec());
        let all = states.reduce(|one, two| self.merges.merge(name, &one, &two))?;
        Some(Seen::Merged(name.into(), all.into()))
    }

    /// The first entity that a state does not show as it must, by id; then the first whose children it
    /// does not show in their order. O(n).
    pub(super) fn first_wrong(
        &self,
        state: &mut Interface<MemoryStore>,
    ) -> Result<Option<Wrong>, StorageError> {
        let mut shown = state.visible()?;
        // The root may hold a value, and is nobody's child.
        if state.is_visible(EntityId::ROOT)? {
            shown.extend(state.record(EntityId::ROOT)?.map(|record| (EntityId::ROOT, record)));
        }
        shown.sort_unstable_by_key(|(id, _)| *id);
        let mut shown = shown.iter().peekable();
        let mut wrong: Option<Wrong> = None;
        let mut compare = |id: EntityId, expected: Option<Seen<'_>>, found: Option<&Record>| {
            let found = found.map(|record| Seen::of(&record.value));
            if expected == found || expected == Some(Seen::Either) {
                return;
            }
            if let Some(first) = &mut wrong {
                first.others += 1;
                return;
            }
            let words = |seen: Option<Seen<'_>>| seen.map(|seen| seen.to_string());
            wrong = Some(Wrong { id, expected: words(expected), found: words(found), others: 0 });
        };
        for entity in &self.entities {
            while let Some((id, record)) = shown.next_if(|(id, _)| *id < entity.id) {
                compare(*id, None, Some(record));
            }
            let found = shown.next_if(|(id, _)| *id == entity.id).map(|(_, record)| &**record);
            compare(entity.id, self.seen(entity), found);
        }
        for (id, record) in shown {
            compare(*id, None, Some(record));
        }
        match wrong {
            Some(wrong) => Ok(Some(wrong)),
            None => self.first_disordered(state),
        }
    }

    /// The first collection whose visible children are not read in the order of their labels.
    fn first_disordered(&self, state: &mut Interface<MemoryStore>) -> Result<Option<Wrong>, StorageError> {
        let mut ordered: BTreeMap<EntityId, Vec<(&[u8], EntityId)>> = BTreeMap::new();
        for entity in &self.entities {
            if let Label::Ordered(label) = entity.label
                && self.seen(entity).is_some_and(|seen| seen != Seen::Either)
            {
                let parent = entity.ancestors.last().copied().unwrap_or(EntityId::ROOT);
                ordered.entry(parent).or_default().push((&**label, entity.id));
            }
        }
        for (parent, mut expected) in ordered {
            expected.sort_unstable();
            let expected: Vec<EntityId> = expected.into_iter().map(|(_, id)| id).collect();
            let mut found = state.ordered_children(parent, &[], None, usize::MAX)?;
            // What is visible, and what of undecided elements is, was looked at already.
            let wanted: BTreeSet<EntityId> = expected.iter().copied().collect();
            found.retain(|id| wanted.contains(id));
            if found != expected {
                let words = |ids: &[EntityId]| {
                    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    Some(format!("in order {}", ids.join(", ")))
                };
                let (expected, found) = (words(&expected), words(&found));
                return Ok(Some(Wrong { id: parent, expected, found, others: 0 }));
            }
        }
        Ok(None)
    }
}

impl<'a> Entity<'a> {
    const fn begun_by(at: usize, fact: &Fact<'a>) -> Self {
        Self {
            id: fact.id,
            facts: (at, at + 1),
            ancestors: fact.ancestors,
            label: fact.label,
            kind: fact.said.kind(),
            updated_at: fact.updated_at,
            deleted_at: fact.deleted_at,
        }
    }

    fn take_in(&mut self, at: usize, fact: &Fact<'a>) {
        self.facts.1 = at + 1;
        // Writers of one entity agree on its place unless they made up its id; then the higher counts.
        let place = |path: &'a [EntityId]| (path.len(), path.last());
        if place(fact.ancestors) < place(self.ancestors) {
            self.ancestors = fact.ancestors;
        }
        self.label = self.label.max(fact.label);
        self.kind = self.kind.max(fact.said.kind());
        self.updated_at = self.updated_at.max(fact.updated_at);
        self.deleted_at = self.deleted_at.max(fact.deleted_at);
    }
}

const fn bytes_of<'a>(fact: &Fact<'a>) -> &'a [u8] {
    match fact.said {
        Said::Bytes(_, bytes) | Said::Owned(_, bytes) => bytes,
        _ => &[],
    }
}

fn owner_of(fact: &Fact<'_>) -> ReplicaId {
    if let Said::Owned(owner, _) = fact.said { owner } else { ReplicaId::default() }
}

/// Whether an element is in its set: some add is covered by no remove. A remove covers what it names,
/// and what its own author had added before. An add that a delete hides is another matter: replicas
/// that have forgotten it cannot name it in a remove, others can; if the answer hangs on such an add
/// alone, both are right.
fn presence<'f, 'a: 'f>(facts: impl Iterator<Item = &'f Fact<'a>>, hidden_by: Hlc) -> Option<Seen<'a>> {
    let mut adds: BTreeMap<ReplicaId, u64> = BTreeMap::new();
    let mut covered: BTreeMap<ReplicaId, u64> = BTreeMap::new();
    let cover = |covered: &mut BTreeMap<ReplicaId, u64>, replica, time: u64| {
        let known = covered.entry(replica).or_default();
        *known = time.max(*known);
    };
    for fact in facts {
        match fact.said {
            Said::Added => cover(&mut adds, fact.updated_at.replica(), fact.updated_at.time()),
            Said::Removed(named, by) => {
                named.entries().for_each(|(replica, entry)| cover(&mut covered, replica, entry.removed));
                if let Some(own) = adds.get(&by) {
                    cover(&mut covered, by, *own);
                }
            }
            Said::Presence(element) => {
                for (replica, entry) in element.entries() {
                    cover(&mut adds, replica, entry.added);
                    cover(&mut covered, replica, entry.removed);
                }
            }
            _ => {}
        }
    }
    let mut left = adds.iter().filter(|(by, time)| covered.get(by).is_none_or(|covered| covered < time));
    let shown = |(by, time): (&ReplicaId, &u64)| Hlc::new(time >> 16, *time as u16, *by) > hidden_by;
    let first = left.next()?;
    Some(if shown(first) || left.any(shown) { Seen::Present } else { Seen::Either })
}
