//! The membership of one element in an add-wins set.
//!
//! The join is the pointwise maximum of two times for each replica. It is idempotent, commutative and
//! associative because `max` is; add-wins follows from which times a remove raises, not from the join.

use crate::counter::join_entries;
use std::collections::BTreeMap;
use syncline_types::{Hlc, ReplicaId};

/// The adds of an element by one replica, and which of them were removed. Both fields are
/// [`Hlc::time`]s of stamps of that replica, and both only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Presence {
    /// The time of the latest add; zero if there is none.
    pub added: u64,
    /// The time of the latest add that was removed: a remove covers it and all earlier ones. Zero if
    /// none was.
    pub removed: u64,
}

impl Presence {
    const fn is_present(self) -> bool {
        self.added > self.removed
    }
}

/// Whether an element is in a set, with observed-remove semantics: a remove covers exactly the adds that its
/// author had seen, so that an add concurrent with a remove wins. One entry for each replica is enough,
/// because a replica that has seen an add of another replica has seen the earlier adds of that replica
/// (Bieniusa, Zawirski, Preguiça, Shapiro, Baquero, Balegas, Duarte, "An Optimized Conflict-free Replicated
/// Set", 2012).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Element(BTreeMap<ReplicaId, Presence>);

impl Element {
    /// Returns the delta that adds the element at `stamp`.
    pub fn added(stamp: Hlc) -> Self {
        Self(BTreeMap::from([(stamp.replica(), Presence { added: stamp.time(), removed: 0 })]))
    }

    /// Returns the delta that removes every add in this value. It covers no add that this value has not
    /// seen: that is what lets a concurrent add win.
    pub fn removed(&self) -> Self {
        let seen = self.0.iter().filter(|(_, presence)| presence.is_present());
        let delta = Self(seen.map(|(&r, p)| (r, Presence { added: p.added, removed: p.added })).collect());
        debug_assert!(!delta.is_present(), "a remove adds nothing");
        delta
    }

    /// Rebuilds an element from its entries. Of two entries for one replica the later counts; a decoder
    /// rejects such input before it gets here.
    pub fn from_entries(entries: impl IntoIterator<Item = (ReplicaId, Presence)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The latest add and remove of each replica, ascending by replica.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ReplicaId, Presence)> {
        self.0.iter().map(|(&replica, &presence)| (replica, presence))
    }

    /// Whether some add is later than `deleted_at` and not covered by a remove. An add from before the delete of
    /// the element or of its set is void, whatever else is joined to it. O(replicas in the value).
    pub fn is_present_after(&self, deleted_at: Hlc) -> bool {
        if syncline_types::canary!(RemoveWinsEverywhere) && self.0.values().any(|own| own.removed > 0) {
            return false;
        }
        let is_later =
            |replica: ReplicaId, added: u64| (added, replica) > (deleted_at.time(), deleted_at.replica());
        self.0.iter().any(|(&replica, own)| own.is_present() && is_later(replica, own.added))
    }

    /// Whether some add is not covered by a remove. O(replicas in the value).
    pub fn is_present(&self) -> bool {
        self.is_present_after(Hlc::ZERO)
    }

    /// Replaces `self` by the least upper bound of both. Returns whether `self` changed.
    pub fn join(&mut self, other: &Self) -> bool {
        if syncline_types::canary!(RemoveWinsWhole) && *self != *other {
            self.clone_from(other);
            return true;
        }
        join_entries(&mut self.0, &other.0, |own, incoming| {
            let grew = incoming.added > own.added || incoming.removed > own.removed;
            own.added = own.added.max(incoming.added);
            own.removed = own.removed.max(incoming.removed);
            grew
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(ms: u64, replica: u64) -> Element {
        Element::added(Hlc::new(ms, 0, ReplicaId::from_u64(replica)))
    }

    #[test]
    fn add_concurrent_with_remove_wins() {
        let seen = add(1, 1);
        let remove = seen.removed();
        let mut merged = add(2, 2);
        merged.join(&seen);
        merged.join(&remove);
        assert!(merged.is_present());
    }

    #[test]
    fn delete_voids_earlier_adds() {
        let mut element = add(1, 1);
        let deleted_at = Hlc::new(5, 0, ReplicaId::from_u64(9));
        let again = add(6, 2);
        element.join(&again);
        assert!(element.is_present_after(deleted_at), "it was added again");
        element.join(&again.removed());
        assert!(
            element.is_present() && !element.is_present_after(deleted_at),
            "the remove had not seen the first"
        );
    }

    #[test]
    fn remove_covers_every_observed_add() {
        let mut element = add(1, 1);
        element.join(&add(2, 2));
        element.join(&element.clone().removed());
        assert!(!element.is_present());
        element.join(&add(3, 1));
        assert!(element.is_present(), "a later add brings it back");
    }
}
