//! Membership of one element in an add-wins set.

use crate::counter::join_max;
use std::collections::BTreeMap;
use syncline_types::{Hlc, ReplicaId};

/// One replica's adds of an element, and how far they were seen removed. Both are times of that
/// replica's stamps and only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Presence {
    /// The last add.
    pub added: u64,
    /// The last add that some remove has seen.
    pub removed: u64,
}

impl Presence {
    const fn is_present(self) -> bool {
        self.added > self.removed
    }
}

/// Whether an element is in a set, in the observed-remove sense: a remove covers the adds that its
/// author had seen and no others, so an add that is concurrent with a remove wins. One entry per
/// replica is enough because a replica's later add implies its earlier ones (Bieniusa et al., "An
/// optimized conflict-free replicated set", 2012).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Element(BTreeMap<ReplicaId, Presence>);

impl Element {
    /// The delta that adds the element at `stamp`.
    pub fn added(stamp: Hlc) -> Self {
        Self(BTreeMap::from([(stamp.replica(), Presence { added: stamp.time(), removed: 0 })]))
    }

    /// The delta that removes every add this value knows of.
    pub fn removed(&self) -> Self {
        let seen = self.0.iter().filter(|(_, presence)| presence.is_present());
        Self(seen.map(|(&r, p)| (r, Presence { added: p.added, removed: p.added })).collect())
    }

    /// Rebuilds an element from its entries; the caller vouches that they are strictly ascending.
    pub fn from_entries(entries: impl IntoIterator<Item = (ReplicaId, Presence)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The entries, ascending by replica.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ReplicaId, Presence)> {
        self.0.iter().map(|(&replica, &presence)| (replica, presence))
    }

    /// Whether some add is not covered by a remove.
    pub fn is_present(&self) -> bool {
        if syncline_types::canary!(RemoveWinsEverywhere) && self.0.values().any(|own| own.removed > 0) {
            return false;
        }
        self.0.values().any(|presence| presence.is_present())
    }

    /// Joins `other` in. Says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        if syncline_types::canary!(RemoveWinsWhole) && *self != *other {
            self.clone_from(other);
            return true;
        }
        join_max(&mut self.0, &other.0, |own, incoming| {
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
    fn an_add_concurrent_with_a_remove_wins() {
        let seen = add(1, 1);
        let remove = seen.removed();
        let mut merged = add(2, 2);
        merged.join(&seen);
        merged.join(&remove);
        assert!(merged.is_present());
    }

    #[test]
    fn a_remove_that_saw_every_add_removes() {
        let mut element = add(1, 1);
        element.join(&add(2, 2));
        element.join(&element.clone().removed());
        assert!(!element.is_present());
        element.join(&add(3, 1));
        assert!(element.is_present(), "a later add brings it back");
    }
}
