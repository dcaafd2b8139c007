//! State-based counters. Each replica counts in an entry of its own; the value is the sum of all entries.
//!
//! The join is the pointwise maximum over replicas, the product of one max-semilattice for each
//! replica. It is idempotent, commutative and associative because `max` is. The maximum loses no
//! increment because only one replica raises an entry, so that the greater count of a replica includes
//! the smaller one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use syncline_types::{ReplicaId, canary};

/// An increment would carry the count of one replica beyond 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("replica {replica} cannot count beyond 2^64 - 1")]
pub struct CounterOverflow {
    /// The replica whose count would overflow.
    pub replica: ReplicaId,
}

/// A grow-only counter: for each replica the greatest count seen.
///
/// A join takes O(m log n) for m entries in the incoming value and n in this one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GCounter(BTreeMap<ReplicaId, u64>);

impl GCounter {
    /// A counter with an entry for one replica only.
    pub fn of(replica: ReplicaId, count: u64) -> Self {
        Self(BTreeMap::from([(replica, count)]))
    }

    /// Rebuilds a counter from its entries. Of two entries for one replica the later counts; a decoder
    /// rejects such input before it gets here.
    pub fn from_entries(entries: impl IntoIterator<Item = (ReplicaId, u64)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The count of each replica, ascending by replica.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ReplicaId, u64)> {
        self.0.iter().map(|(&replica, &count)| (replica, count))
    }

    /// Returns the delta that adds `amount` in the name of `replica`: the new count of that replica alone.
    pub fn increment(&self, replica: ReplicaId, amount: u64) -> Result<Self, CounterOverflow> {
        let own = self.0.get(&replica).copied().unwrap_or(0);
        let count = own.checked_add(amount).ok_or(CounterOverflow { replica })?;
        Ok(Self::of(replica, count))
    }

    /// The value of the counter: the sum of all counts. It cannot overflow, because at most 2^16 replicas
    /// count 64 bits each.
    pub fn total(&self) -> u128 {
        if canary!(CounterLeavesOneOut) && self.0.len() > 1 {
            return self.0.values().skip(1).map(|&count| u128::from(count)).sum();
        }
        self.0.values().map(|&count| u128::from(count)).sum()
    }

    /// Replaces `self` by the least upper bound of both. Returns whether `self` changed.
    pub fn join(&mut self, other: &Self) -> bool {
        if canary!(CounterByLastWriter) && *self != *other {
            self.clone_from(other);
            return true;
        }
        join_entries(&mut self.0, &other.0, |own, incoming| {
            let grew = incoming > own;
            *own = (*own).max(*incoming);
            grew
        })
    }
}

/// A counter that can be incremented and decremented: for each replica two grow-only counts, the sum of
/// its increments and the sum of its decrements. A single signed count would not be monotone, and the
/// maximum would lose decrements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PnCounter(BTreeMap<ReplicaId, (u64, u64)>);

impl PnCounter {
    /// A counter with an entry for one replica only: the sums of its increments and of its decrements.
    pub fn of(replica: ReplicaId, added: u64, taken: u64) -> Self {
        Self(BTreeMap::from([(replica, (added, taken))]))
    }

    /// Rebuilds a counter from its entries. Of two entries for one replica the later counts; a decoder
    /// rejects such input before it gets here.
    pub fn from_entries(entries: impl IntoIterator<Item = (ReplicaId, (u64, u64))>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The sums of increments and of decrements of each replica, ascending by replica.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ReplicaId, (u64, u64))> {
        self.0.iter().map(|(&replica, &counts)| (replica, counts))
    }

    /// Returns the delta that changes the counter by `amount` in the name of `replica`.
    pub fn change(&self, replica: ReplicaId, amount: i64) -> Result<Self, CounterOverflow> {
        let (added, taken) = self.0.get(&replica).copied().unwrap_or((0, 0));
        let overflow = CounterOverflow { replica };
        let step = amount.unsigned_abs();
        Ok(if amount >= 0 {
            Self::of(replica, added.checked_add(step).ok_or(overflow)?, taken)
        } else {
            Self::of(replica, added, taken.checked_add(step).ok_or(overflow)?)
        })
    }

    /// The value of the counter: all increments minus all decrements.
    pub fn total(&self) -> i128 {
        self.0.values().map(|&(added, taken)| i128::from(added) - i128::from(taken)).sum()
    }

    /// Replaces `self` by the least upper bound of both. Returns whether `self` changed.
    pub fn join(&mut self, other: &Self) -> bool {
        join_entries(&mut self.0, &other.0, |own, incoming| {
            let grew = incoming.0 > own.0 || incoming.1 > own.1;
            *own = (own.0.max(incoming.0), own.1.max(incoming.1));
            grew
        })
    }
}

/// Joins the product of semilattices `incoming` into `own` entry by entry, with `join` for two entries of one
/// replica. A missing entry is the bottom of its semilattice, so the join with it is the entry that exists.
/// Returns whether `own` changed. O(m log n) for m entries in `incoming` and n in `own`.
pub(crate) fn join_entries<T: Copy>(
    own: &mut BTreeMap<ReplicaId, T>,
    incoming: &BTreeMap<ReplicaId, T>,
    join: impl Fn(&mut T, &T) -> bool,
) -> bool {
    let before = own.len();
    let mut changed = false;
    for (&replica, value) in incoming {
        match own.entry(replica) {
            Entry::Occupied(mut entry) => {
                changed |= join(entry.get_mut(), value);
                debug_assert!(
                    !join(&mut entry.get().clone(), value),
                    "joining an entry again changes nothing"
                );
            }
            Entry::Vacant(entry) => {
                entry.insert(*value);
                changed = true;
            }
        }
    }
    debug_assert!(own.len() >= before.max(incoming.len()), "a join is an upper bound: it drops no entry");
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_of_two_replicas_add_up() {
        let a = ReplicaId::from_u64(1);
        let b = ReplicaId::from_u64(2);
        let mut counter = GCounter::default();
        counter.join(&GCounter::default().increment(a, 5).unwrap());
        counter.join(&GCounter::default().increment(b, 3).unwrap());
        assert_eq!(counter.total(), 8);
    }

    #[test]
    fn rejects_counts_beyond_64_bits() {
        let a = ReplicaId::from_u64(1);
        assert!(GCounter::of(a, u64::MAX).increment(a, 1).is_err());
        assert!(PnCounter::of(a, 0, u64::MAX).change(a, -1).is_err());
        assert_eq!(
            PnCounter::of(a, u64::MAX, 0).change(a, i64::MIN).unwrap().total(),
            i128::from(u64::MAX) - (1 << 63)
        );
    }
}
