//! Names that were deleted and written again: which former writes no longer count.

use crate::oracle::fact::{Fact, FactKind};
use crate::oracle::specification::{Specification, SpecifiedEntity};
use std::collections::{BTreeMap, BTreeSet};
use syncline_crdt::{CrdtType, RunId, Text};
use syncline_types::{EntityId, Hlc};

impl<'a> Specification<'a> {
    /// The deletes of an entity and of everything above it.
    fn deletes<'s>(&'s self, entity: &'s SpecifiedEntity<'a>) -> impl Iterator<Item = &'s Fact<'a>> {
        let root = (entity.id != EntityId::ROOT).then_some(&EntityId::ROOT);
        let path = entity.ancestors.iter().chain(root).filter_map(|id| self.entity(*id));
        path.chain([entity]).flat_map(|above| self.facts(above)).filter(|fact| fact.deleted_at > Hlc::ZERO)
    }

    /// Whether the author of a fact had seen another one. Nobody knows it of initial state.
    fn has_seen(&self, later: &Fact<'_>, earlier: &Fact<'_>) -> bool {
        let (Some((later, at)), Some((earlier, before))) = (later.write, earlier.write) else { return false };
        if later == earlier {
            return at > before;
        }
        match (self.writes.get(later), self.writes.get(earlier)) {
            (Some(later), Some(earlier)) => later.seen.covers(earlier.dot()),
            _ => unreachable!("facts come from writes of the oracle"),
        }
    }

    /// Whether the value of an entity depends on writes that may be on no disk: its own, and deletes above it.
    pub(super) fn is_uncertain(&self, entity: &SpecifiedEntity<'a>) -> bool {
        let facts = self.deletes(entity).chain(self.facts(entity));
        facts.into_iter().any(|fact| fact.may_be_lost(self.uncertain, self.uncertain_initial))
    }

    /// Whether some delete of the entity, or of what is above it, had seen a fact.
    pub(super) fn was_deleted(&self, entity: &SpecifiedEntity<'a>, fact: &Fact<'a>) -> bool {
        self.deletes(entity).any(|delete| self.has_seen(delete, fact))
    }

    /// The runs of a text that its first edits after deletes have cleared. Whoever edits a text that is deleted as far as he
    /// knows begins it anew: what he has seen of the old text is gone for good.
    ///
    /// An edit is such a first edit for certain if its author had seen a delete, and nobody has written the text with a
    /// stamp between the two. O(edits² · deletes), and O(deletes) for a text that was never deleted.
    pub(super) fn cleared_runs(&self, entity: &SpecifiedEntity<'a>) -> BTreeSet<RunId> {
        let deletes: Vec<&Fact<'a>> = self.deletes(entity).collect();
        let facts = self.facts(entity);
        let is_first_after = |edit: &Fact<'a>, delete: &Fact<'a>| {
            let between =
                |fact: &Fact<'a>| delete.deleted_at < fact.updated_at && fact.updated_at < edit.updated_at;
            delete.deleted_at < edit.updated_at && !facts.iter().any(between) && self.has_seen(edit, delete)
        };
        let begins = |edit: &&Fact<'a>| {
            matches!(edit.kind, FactKind::Edited(..))
                && deletes.iter().any(|delete| is_first_after(edit, delete))
        };
        let mut cleared = BTreeSet::new();
        for first in facts.iter().filter(begins) {
            let seen = facts.iter().filter(|fact| self.has_seen(first, fact));
            let runs: BTreeMap<RunId, Option<RunId>> = seen
                .filter_map(|fact| if let FactKind::Edited(edit, _) = fact.kind { Some(edit) } else { None })
                .flat_map(Text::runs)
                .map(|(id, run)| (*id, run.anchor.map(|anchor| anchor.run)))
                .collect();
            // A run was not shown, and so not cleared, if the one that it hangs on had not arrived. Anchors have
            // smaller ids.
            let mut shown = BTreeSet::new();
            for (run, anchor) in runs {
                if anchor.is_none_or(|anchor| shown.contains(&anchor)) {
                    shown.insert(run);
                }
            }
            cleared.extend(shown);
        }
        cleared
    }

    /// The type that an entity must have that was last deleted at `hidden_by` and written since; `None` if that is
    /// undetermined.
    pub(super) fn latest_kind(&self, entity: &SpecifiedEntity<'a>, hidden_by: Hlc) -> Option<CrdtType> {
        // The id of a deleted entity may be used again, as the names of applications and the positions of list items
        // are. Then only what was written after the delete gives the type.
        let left = self.facts(entity).iter().filter(|fact| fact.updated_at > hidden_by);
        let latest = left.map(|fact| fact.kind.crdt_type()).max();
        let Some(latest) = latest.filter(|latest| *latest < entity.kind) else { return Some(entity.kind) };
        let former = |fact: &Fact<'_>| fact.kind.crdt_type() > latest;
        self.is_superseded(entity, hidden_by, former).then_some(latest)
    }

    /// Whether all facts of a `former` kind up to the delete at `hidden_by` are superseded: some delete had seen the
    /// fact, and everybody who wrote the entity after `hidden_by` had seen that delete. O(facts² · deletes).
    pub(super) fn is_superseded(
        &self,
        entity: &SpecifiedEntity<'a>,
        hidden_by: Hlc,
        former: impl Fn(&Fact<'a>) -> bool,
    ) -> bool {
        let facts = self.facts(entity);
        let later = |fact: &&Fact<'a>| fact.updated_at > hidden_by;
        let is_superseded = |fact: &Fact<'a>| {
            self.deletes(entity).any(|delete| {
                let known = |later: &Fact<'a>| self.has_seen(later, delete);
                delete.deleted_at >= fact.updated_at
                    && self.has_seen(delete, fact)
                    && facts.iter().filter(later).all(known)
            })
        };
        facts.iter().filter(|fact| former(fact) && !later(fact)).all(is_superseded)
    }
}
