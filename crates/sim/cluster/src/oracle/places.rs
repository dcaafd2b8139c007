//! Where entities are in the tree, if their writers disagree.
//!
//! The id of an entity usually follows from its path. An application may also give ids of its own, and write one entity
//! under several parents: it moves the entity. The place of the least depth wins, and of those the one with the least
//! parent. A write of a descendant names the place of the entity too.

use crate::oracle::fact::Fact;
use crate::oracle::specification::{Specification, SpecifiedEntity};
use std::collections::{BTreeMap, BTreeSet};
use syncline_types::{EntityId, Hlc};

/// The places of all entities.
#[derive(Debug, Default)]
pub(super) struct TreePlaces {
    /// The depth and the parent of each entity.
    least: BTreeMap<EntityId, (usize, EntityId)>,
    /// The entities that were put at several places.
    moved: BTreeSet<EntityId>,
    /// The entities that a write names that may be lost.
    uncertain: BTreeSet<EntityId>,
}

impl TreePlaces {
    /// The places that these facts name, some of which may be lost. O(n log n) in the ancestors of all facts.
    pub(super) fn of(facts: &[Fact<'_>], is_uncertain: impl Fn(&Fact<'_>) -> bool) -> Self {
        let mut places = Self::default();
        let mut last: &[EntityId] = &[];
        for fact in facts {
            if is_uncertain(fact) {
                places.uncertain.extend(fact.ancestors.iter().chain([&fact.id]));
            }
            // Neighbours often have the same path.
            if fact.ancestors != last {
                let above = [EntityId::ROOT].iter().chain(fact.ancestors);
                for (depth, (parent, id)) in (1..).zip(above.zip(fact.ancestors)) {
                    places.put(*id, (depth, *parent));
                }
                last = fact.ancestors;
            }
            let parent = fact.ancestors.last().copied().unwrap_or(EntityId::ROOT);
            places.put(fact.id, (fact.ancestors.len() + 1, parent));
        }
        places
    }

    fn put(&mut self, id: EntityId, place: (usize, EntityId)) {
        if id == EntityId::ROOT {
            return;
        }
        let least = self.least.entry(id).or_insert(place);
        if *least != place {
            *least = place.min(*least);
            self.moved.insert(id);
        }
    }

    /// The path to an entity, from below the root down to its parent, if a part of it was put at several places, and
    /// whether it is certain that the entity is there.
    pub(super) fn path_of_moved(&self, id: EntityId) -> Option<(Vec<EntityId>, bool)> {
        if self.moved.is_empty() {
            return None;
        }
        let mut path = Vec::new();
        let mut is_moved = self.moved.contains(&id);
        // The depth of a parent is less than that of its child, so that the path ends.
        let mut at = id;
        while let Some((_, parent)) = self.least.get(&at).filter(|(_, parent)| *parent != EntityId::ROOT) {
            is_moved |= self.moved.contains(parent);
            path.push(*parent);
            at = *parent;
        }
        path.reverse();
        let is_certain = !path.iter().chain([&id]).any(|named| self.uncertain.contains(named));
        is_moved.then_some((path, is_certain))
    }
}

impl<'a> Specification<'a> {
    /// Whether a moved entity, or what is above it at one of its places, was ever deleted.
    pub(super) fn was_deleted_somewhere(&self, entity: &SpecifiedEntity<'a>) -> bool {
        self.deleted_somewhere_at(entity) > Hlc::ZERO
    }

    /// The stamp of the latest delete of an entity, or of what is above it at one of its places; [`Hlc::ZERO`] if there is
    /// none. O(facts of the entity, with their ancestors).
    pub(super) fn deleted_somewhere_at(&self, entity: &SpecifiedEntity<'a>) -> Hlc {
        let named = self.facts(entity).iter().flat_map(|fact| fact.ancestors);
        let all = named.chain(entity.ancestors.iter()).chain([&entity.id, &EntityId::ROOT]);
        let deletes = all.filter_map(|id| self.entity(*id)).map(|above| above.deleted_at);
        deletes.max().unwrap_or(Hlc::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_crdt::Value;
    use syncline_storage::{Action, Label, Metadata};

    fn put(id: u64, ancestors: &[u64]) -> Action {
        let metadata = Metadata { created_at: Hlc::ZERO, updated_at: Hlc::ZERO, label: Label::None };
        let ancestors = ancestors.iter().map(|id| EntityId::from_u64(*id)).collect();
        Action::Add { id: EntityId::from_u64(id), ancestors, value: Value::Map, metadata }
    }

    fn path(actions: &[Action], id: u64) -> Option<Vec<EntityId>> {
        let facts: Vec<Fact<'_>> = actions.iter().map(Fact::initial).collect();
        let places = TreePlaces::of(&facts, |_| false);
        places.path_of_moved(EntityId::from_u64(id)).map(|(path, _)| path)
    }

    #[test]
    fn least_place_wins() {
        let ids = |ids: &[u64]| Some(ids.iter().map(|id| EntityId::from_u64(*id)).collect::<Vec<_>>());
        assert_eq!(path(&[put(9, &[1]), put(9, &[1])], 9), None);
        assert_eq!(path(&[put(9, &[2]), put(9, &[1])], 9), ids(&[1]));
        assert_eq!(path(&[put(9, &[1, 2]), put(9, &[3])], 9), ids(&[3]));
        // A descendant moves with it, and may name the place.
        assert_eq!(path(&[put(9, &[1, 2, 5]), put(5, &[3])], 9), ids(&[3, 5]));
        assert_eq!(path(&[put(9, &[3, 5]), put(5, &[1, 2])], 5), ids(&[3]));
        assert_eq!(path(&[put(9, &[2]), put(9, &[1])], 2), None);
    }
}
