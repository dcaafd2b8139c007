//! Counters that add up what each replica has counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use syncline_types::{ReplicaId, canary};

/// A replica's own count would exceed 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("replica {replica} cannot count beyond 2^64 - 1")]
pub struct CounterOverflow {
    /// Whose count.
    pub replica: ReplicaId,
}

/// A counter that only grows: per replica the highest count seen, joined by maximum.
///
/// Cost: O(replicas in the incoming value) map steps per join.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GCounter(BTreeMap<ReplicaId, u64>);

impl GCounter {
    /// The contribution of one replica.
    pub fn of(replica: ReplicaId, count: u64) -> Self {
        Self(BTreeMap::from([(replica, count)]))
    }

    /// Rebuilds a counter from its entries; the caller vouches that they are strictly ascending.
    pub fn from_entries(entries: impl IntoIterator<Item = (ReplicaId, u64)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The entries, ascending by replica.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ReplicaId, u64)> {
        self.0.iter().map(|(&replica, &count)| (replica, count))
    }

    /// The delta that adds `amount` in the name of `replica`: its new own count and no other.
    pub fn increment(&self, replica: ReplicaId, amount: u64) -> Result<Self, CounterOverflow> {
        let own = self.0.get(&replica).copied().unwrap_or(0);
        let count = own.checked_add(amount).ok_or(CounterOverflow { replica })?;
        Ok(Self::of(replica, count))
    }

    /// The value: what all replicas counted together.
    pub fn total(&self) -> u128 {
        let left_out = usize::from(canary!(CounterLeavesOneOut) && self.0.len() > 1);
        self.0.values().skip(left_out).map(|&count| u128::from(count)).sum()
    }

    /// Joins `other` in. Says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        if canary!(CounterByLastWriter) && *self != *other {
            self.clone_from(other);
            return true;
        }
        join_max(&mut self.0, &other.0, |own, incoming| {
            let grew = incoming > own;
            *own = (*own).max(*incoming);
            grew
        })
    }
}

/// A counter that goes both ways: two growing counts per replica.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PnCounter(BTreeMap<ReplicaId, (u64, u64)>);

impl PnCounter {
    /// The contribution of one replica: what it added and what it took away.
    pub fn of(replica: ReplicaId, added: u64, taken: u64) -> Self {
        Self(BTreeMap::from([(replica, (added, taken))]))
    }

    /// Rebuilds a counter from its entries; the caller vouches that they are strictly ascending.
    pub fn from_entries(entries: impl IntoIterator<Item = (ReplicaId, (u64, u64))>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The entries, ascending by replica: what it added and what it took away.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ReplicaId, (u64, u64))> {
        self.0.iter().map(|(&replica, &counts)| (replica, counts))
    }

    /// The delta that changes the counter by `amount` in the name of `replica`.
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

    /// The value: all that was added less all that was taken away.
    pub fn total(&self) -> i128 {
        self.0.values().map(|&(added, taken)| i128::from(added) - i128::from(taken)).sum()
    }

    /// Joins `other` in. Says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        join_max(&mut self.0, &other.0, |own, incoming| {
            let grew = incoming.0 > own.0 || incoming.1 > own.1;
            *own = (own.0.max(incoming.0), own.1.max(incoming.1));
            grew
        })
    }
}

/// Joins `incoming` into `own` entry by entry; an entry that is missing is taken as it is.
pub(crate) fn join_max<T: Copy>(
    own: &mut BTreeMap<ReplicaId, T>,
    incoming: &BTreeMap<ReplicaId, T>,
    mut join: impl FnMut(&mut T, &T) -> bool,
) -> bool {
    let mut changed = false;
    for (&replica, value) in incoming {
        changed |= match own.entry(replica) {
            Entry::Occupied(mut entry) => join(entry.get_mut(), value),
            Entry::Vacant(entry) => {
                entry.insert(*value);
                true
            }
        };
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_of_two_replicas_add_up() {
        let (a, b) = (ReplicaId::from_u64(1), ReplicaId::from_u64(2));
        let mut counter = GCounter::default();
        counter.join(&GCounter::default().increment(a, 5).unwrap());
        counter.join(&GCounter::default().increment(b, 3).unwrap());
        assert_eq!(counter.total(), 8);
    }

    #[test]
    fn a_count_beyond_64_bits_is_an_error() {
        let a = ReplicaId::from_u64(1);
        assert!(GCounter::of(a, u64::MAX).increment(a, 1).is_err());
        assert!(PnCounter::of(a, 0, u64::MAX).change(a, -1).is_err());
        assert_eq!(
            PnCounter::of(a, u64::MAX, 0).change(a, i64::MIN).unwrap().total(),
            i128::from(u64::MAX) - (1 << 63)
        );
    }
}
