//! Values of application-defined types: what replicates of them are *operands*.
//!
//! The merge function of such a type is code of the application. It may be missing on some replicas, panic, or
//! be no join, so no replicated byte depends on it when replicas exchange state. An *operand* is an opaque
//! byte string that one write has added. A value is a set of operands and joins by the rule of this module.
//! [`Merges::shown`](crate::Merges::shown) derives what an application sees.
//!
//! # The rule
//!
//! For each writer the value has the pair (*covered*, *live*): `live` maps the times of writes to their
//! operands, all later than the time `covered`. A later operand has absorbed what the writer had written up to
//! `covered`. Two pairs join to the greater `covered` and the union of both `live` without what that covers;
//! of two operands with one time, which no honest writer makes, the greater bytes stay. This is a trimmed log
//! for each writer. It is a join-semilattice whatever the bytes mean:
//!
//! - `a ≤ b` if `a.covered ≤ b.covered` and each live operand of `a` is covered by `b` or is, with bytes at
//!   least as great, live in `b`. The join is the least upper bound of that order, so it is idempotent,
//!   commutative and associative. The value is the product over all writers.
//!
//! # Compaction
//!
//! A write may replace the operands that its author sees by one: the result of the merge function. The delta
//! of such a write ([`Custom::replacing`]) has the new operand and, for each writer, the time of the last
//! operand that it absorbed. A compaction is therefore a write like any other: replicas that receive it in
//! any order, or that compact at the same time, join to the same value. No agreement on a stable time is
//! needed: an operand that the author has not seen is later than what is covered, since a state that has an
//! operand of a writer has all that this writer wrote before (**I8**), and stays.
//!
//! The latest operand of a value is never covered, because each write is later than what it covers: a value
//! always has an operand.

use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_types::{Hlc, ReplicaId, canary};

/// A value of an application-defined type: the operands of its writers. The join is the trimmed log of each writer; no
/// function of the application takes part in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Custom {
    name: Arc<str>,
    /// Never empty, and the latest time is that of an operand, not one that is covered.
    writers: BTreeMap<ReplicaId, Operands>,
}

/// The operands of one writer. Never empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Operands {
    /// The time of the last operand that a later one has absorbed; zero if there is none.
    pub covered: u64,
    /// The other operands, by the times of their writes, all later than `covered`.
    pub live: BTreeMap<u64, Arc<[u8]>>,
}

/// The stamp of what `writer` wrote at `time`.
fn stamp_of(writer: ReplicaId, time: u64) -> Hlc {
    Hlc::new(time >> 16, time as u16, writer)
}

impl Operands {
    /// The least upper bound of both. Returns whether `self` changed. O(n log n) in the operands of `other`.
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        if other.covered > self.covered {
            self.covered = other.covered;
            // `covered` itself is absorbed, too.
            self.live = self.live.split_off(&(other.covered.saturating_add(1)));
            if other.covered == u64::MAX {
                self.live.clear();
            }
            changed = true;
        }
        for (time, bytes) in other.live.range(self.covered..).filter(|(time, _)| **time > self.covered) {
            match self.live.get_mut(time) {
                Some(own) if *own >= *bytes => {}
                Some(own) => {
                    own.clone_from(bytes);
                    changed = true;
                }
                None => {
                    self.live.insert(*time, bytes.clone());
                    changed = true;
                }
            }
        }
        changed
    }
}

impl Custom {
    /// A value of the type `name` with the operand of one write.
    pub fn written(name: impl Into<Arc<str>>, stamp: Hlc, bytes: impl Into<Arc<[u8]>>) -> Self {
        let operands = Operands { covered: 0, live: BTreeMap::from([(stamp.time(), bytes.into())]) };
        Self { name: name.into(), writers: BTreeMap::from([(stamp.replica(), operands)]) }
    }

    /// A value from its parts; `None` if no sequence of writes makes it: an operand that is covered, a writer
    /// without operands, or an absorbed operand without a later one that absorbed it.
    pub fn from_writers(
        name: impl Into<Arc<str>>,
        writers: impl IntoIterator<Item = (ReplicaId, Operands)>,
    ) -> Option<Self> {
        let value = Self { name: name.into(), writers: writers.into_iter().collect() };
        let in_order = |operands: &Operands| {
            let first = operands.live.first_key_value().map(|(time, _)| *time);
            first.map_or(operands.covered > 0, |first| first > operands.covered)
        };
        let latest = value.operands().last().map(|(stamp, _)| *stamp);
        let is_sound = value.writers.values().all(in_order) && latest == Some(value.latest_stamp());
        is_sound.then_some(value)
    }

    /// The name of the type, under which [`Merges`](crate::Merges) has its merge function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operands of each writer, ascending by writer.
    pub fn writers(&self) -> impl ExactSizeIterator<Item = (ReplicaId, &Operands)> {
        self.writers.iter().map(|(writer, operands)| (*writer, operands))
    }

    /// All live operands with the stamps of their writes, in the order of the stamps, which is the canonical
    /// order in which they are merged. Never empty. O(n log n).
    pub fn operands(&self) -> Vec<(Hlc, &Arc<[u8]>)> {
        let mut all = Vec::with_capacity(self.writers.len());
        for (writer, operands) in &self.writers {
            all.extend(operands.live.iter().map(|(time, bytes)| (stamp_of(*writer, *time), bytes)));
        }
        all.sort_unstable_by_key(|(stamp, _)| *stamp);
        all
    }

    /// The number of bytes of all live operands.
    pub fn bytes(&self) -> usize {
        let live = self.writers.values().flat_map(|operands| operands.live.values());
        live.map(|bytes| bytes.len()).sum()
    }

    /// The latest stamp of an operand, live or covered.
    pub fn latest_stamp(&self) -> Hlc {
        let latest = |(writer, operands): (&ReplicaId, &Operands)| {
            let last = operands.live.last_key_value().map_or(0, |(time, _)| *time);
            stamp_of(*writer, last.max(operands.covered))
        };
        self.writers.iter().map(latest).max().unwrap_or(Hlc::ZERO)
    }

    /// The delta of a write at `stamp` that replaces all live operands by `bytes`, which has absorbed them. The
    /// stamp must be later than [`Custom::latest_stamp`].
    pub fn replacing(&self, stamp: Hlc, bytes: impl Into<Arc<[u8]>>) -> Self {
        debug_assert!(stamp > self.latest_stamp(), "a write is later than what it covers");
        let covered = |(writer, operands): (&ReplicaId, &Operands)| {
            let (last, _) = operands.live.last_key_value()?;
            Some((*writer, Operands { covered: *last, live: BTreeMap::new() }))
        };
        let mut delta =
            Self { name: self.name.clone(), writers: self.writers.iter().filter_map(covered).collect() };
        delta.writers.entry(stamp.replica()).or_default().live.insert(stamp.time(), bytes.into());
        delta
    }

    /// Replaces `self` by the least upper bound of both: the operands of both if they are of one type, else the
    /// value of the type with the greater name. Returns whether `self` changed. O(n log n) in the operands of
    /// `other`.
    pub fn join(&mut self, other: &Self) -> bool {
        if self.name != other.name {
            let wins = other.name > self.name;
            if wins {
                self.clone_from(other);
            }
            return wins;
        }
        if canary!(CustomByLastWriter) {
            let changed = self != other;
            self.clone_from(other);
            return changed;
        }
        let mut changed = false;
        for (writer, operands) in &other.writers {
            changed |= self.writers.entry(*writer).or_default().join(operands);
        }
        debug_assert!(
            self.operands().last().map(|(stamp, _)| *stamp) == Some(self.latest_stamp()),
            "the latest operand is never covered"
        );
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, writer: u64) -> Hlc {
        Hlc::new(ms, 0, ReplicaId::from_u64(writer))
    }

    fn shown(value: &Custom) -> Vec<&[u8]> {
        value.operands().into_iter().map(|(_, bytes)| &**bytes).collect()
    }

    fn joined(one: &Custom, two: &Custom) -> Custom {
        let mut both = one.clone();
        both.join(two);
        both
    }

    #[test]
    fn an_operand_that_the_author_had_not_seen_survives_compaction() {
        let first = Custom::written("t", at(1, 1), *b"a");
        let unseen = Custom::written("t", at(2, 2), *b"b");
        let later = Custom::written("t", at(3, 1), *b"c");
        let seen = joined(&first, &later);
        let compacted = joined(&seen, &seen.replacing(at(4, 3), *b"ac"));
        assert_eq!(shown(&compacted), [b"ac"]);
        for all in [joined(&compacted, &unseen), joined(&joined(&unseen, &compacted), &seen)] {
            assert_eq!(shown(&all), [&b"b"[..], b"ac"]);
        }
    }

    #[test]
    fn concurrent_compactions_join_to_both_results() {
        let base = joined(&Custom::written("t", at(1, 1), *b"a"), &Custom::written("t", at(1, 2), *b"b"));
        let one = base.replacing(at(5, 1), *b"one");
        let two = base.replacing(at(4, 2), *b"two");
        let orders = [[&base, &one, &two], [&two, &base, &one], [&one, &two, &base]];
        for [first, second, third] in orders {
            assert_eq!(shown(&joined(&joined(first, second), third)), [b"two", b"one"]);
        }
    }

    #[test]
    fn parts_that_no_writes_make_are_refused() {
        let writer = ReplicaId::from_u64(1);
        let operands = |covered, times: &[u64]| {
            let live = times.iter().map(|time| (*time, Arc::from(*b"x"))).collect();
            Operands { covered, live }
        };
        let of = |operands| Custom::from_writers("t", [(writer, operands)]);
        assert_eq!(of(operands(0, &[5])), Some(Custom::written("t", stamp_of(writer, 5), *b"x")));
        for unsound in [operands(0, &[]), operands(5, &[]), operands(5, &[5]), operands(5, &[4, 6])] {
            assert_eq!(of(unsound.clone()), None, "{unsound:?}");
        }
        // Covered at a time later than every operand: nothing can have absorbed that.
        let other = ReplicaId::from_u64(2);
        assert_eq!(Custom::from_writers("t", [(writer, operands(0, &[5])), (other, operands(6, &[]))]), None);
        assert_eq!(Custom::from_writers("t", []), None);
    }
}
