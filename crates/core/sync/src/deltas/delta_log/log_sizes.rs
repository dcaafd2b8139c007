//! The bytes of the deltas that a log stores, by author.

use std::collections::{BTreeMap, BTreeSet};
use syncline_types::ReplicaId;

/// How many authors are looked at for one whose deltas every member covers.
const CANDIDATES: usize = 16;

/// The bytes of the stored deltas. Invariant: `by_size` has the entries of `of_author`, and `total` is their sum.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct LogSizes {
    of_author: BTreeMap<ReplicaId, u64>,
    by_size: BTreeSet<(u64, ReplicaId)>,
    total: u64,
}

impl LogSizes {
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn of(&self, author: ReplicaId) -> u64 {
        self.of_author.get(&author).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, author: ReplicaId, bytes: u64) {
        self.set(author, self.of(author).saturating_add(bytes));
    }

    pub(super) fn subtract(&mut self, author: ReplicaId, bytes: u64) {
        debug_assert!(bytes <= self.of(author), "a delta that is pruned was counted");
        self.set(author, self.of(author).saturating_sub(bytes));
    }

    /// The log stores no delta of this author any more.
    pub(super) fn clear(&mut self, author: ReplicaId) {
        self.set(author, 0);
    }

    fn set(&mut self, author: ReplicaId, bytes: u64) {
        let before = self.of_author.remove(&author).unwrap_or_default();
        self.by_size.remove(&(before, author));
        self.total = (self.total - before).saturating_add(bytes);
        if bytes > 0 {
            self.of_author.insert(author, bytes);
            self.by_size.insert((bytes, author));
        }
    }

    /// The author with the most bytes among those with the least `loss`. Only the authors with the most bytes are looked at,
    /// so that the cost does not grow with the number of authors.
    pub(super) fn largest(&self, loss: impl Fn(&ReplicaId) -> u8) -> Option<ReplicaId> {
        self.by_size.iter().rev().map(|(_, author)| *author).take(CANDIDATES).min_by_key(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_author_gives_way_first() {
        let [one, two] = [1, 2].map(ReplicaId::from_u64);
        let mut sizes = LogSizes::default();
        assert_eq!(sizes.largest(|_| 0), None);
        sizes.add(one, 5);
        sizes.add(two, 3);
        assert_eq!((sizes.total(), sizes.largest(|_| 0)), (8, Some(one)));
        assert_eq!(sizes.largest(|author| u8::from(*author == one)), Some(two));
        sizes.subtract(one, 3);
        assert_eq!((sizes.of(one), sizes.largest(|_| 0)), (2, Some(two)));
        sizes.clear(two);
        sizes.clear(one);
        assert_eq!(sizes, LogSizes::default());
    }
}
