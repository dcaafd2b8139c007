//! What waiting deltas wait for: which of them are ready, and which deltas are missing.

use super::Dot;
use std::collections::{BTreeMap, BTreeSet};
use syncline_types::{Hlc, ReplicaId};

/// The index of a delta buffer. It changes with each delta that enters or leaves the buffer and with each author
/// whose coverage grows, so that no frame causes a pass over the whole buffer.
///
/// Invariants:
/// - `edges` has a pair for each predecessor of a waiting delta that is not covered, and `unmet` counts them.
/// - `gaps` contains, for each author, the deltas up to the last predecessor in `edges` that are neither
///   covered nor waiting, as disjoint ranges that do not touch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Waits {
    /// Pairs of a predecessor that is not covered and a delta that waits for it.
    edges: BTreeSet<(Dot, Dot)>,
    /// For each waiting delta, how many of its predecessors are not covered, and the horizon of its author.
    unmet: BTreeMap<Dot, (usize, Hlc)>,
    /// The waiting deltas whose predecessors are all covered, by the horizons of their authors.
    ready: BTreeSet<(Hlc, Dot)>,
    /// The first and the last number of each range of missing deltas, by author.
    gaps: BTreeMap<ReplicaId, BTreeMap<u64, u64>>,
    /// How many entries of the index were looked up or changed.
    lookups: u64,
}

/// The least pair whose predecessor is `dot`.
const fn first_pair(dot: Dot) -> (Dot, Dot) {
    (dot, Dot { author: ReplicaId([0; 16]), seq: 0 })
}

/// The greatest pair whose predecessor is `dot`.
const fn last_pair(dot: Dot) -> (Dot, Dot) {
    (dot, Dot { author: ReplicaId([0xff; 16]), seq: u64::MAX })
}

impl Waits {
    pub(super) const fn lookups(&self) -> u64 {
        self.lookups
    }

    /// The first delta that is ready for a state with this `horizon`.
    pub(super) fn first_ready(&self, horizon: Hlc) -> Option<Dot> {
        self.ready.first().filter(|(needed, _)| *needed <= horizon).map(|(_, dot)| *dot)
    }

    /// Whether a delta is ready but for its horizon, which is after `horizon`.
    pub(super) fn is_any_after(&self, horizon: Hlc) -> bool {
        self.ready.last().is_some_and(|(needed, _)| *needed > horizon)
    }

    /// Whether no waiting delta is ready and no delta is missing.
    pub(super) fn is_stuck(&self) -> bool {
        self.ready.is_empty() && self.gaps.is_empty()
    }

    /// The missing deltas, ascending. O(1) for each.
    pub(super) fn missing(&self) -> impl Iterator<Item = Dot> {
        self.gaps.iter().flat_map(|(&author, ranges)| {
            let seqs = ranges.iter().flat_map(|(&first, &last)| first..=last);
            seqs.map(move |seq| Dot { author, seq })
        })
    }

    pub(super) fn is_missing(&self, dot: Dot) -> bool {
        self.gap_around(dot).is_some()
    }

    /// Adds a waiting delta with the horizon of its author and those of its predecessors that are not covered.
    /// `covered` is the coverage of an author. O(predecessors · log waiting).
    pub(super) fn insert(
        &mut self,
        (dot, horizon): (Dot, Hlc),
        unmet: &[Dot],
        covered: impl Fn(ReplicaId) -> u64,
    ) {
        self.unmet.insert(dot, (unmet.len(), horizon));
        if unmet.is_empty() {
            self.ready.insert((horizon, dot));
        }
        self.close_gap(dot);
        for &predecessor in unmet {
            self.lookups += 1;
            let Dot { author, seq } = predecessor;
            let mut first = self.last_needed(author).max(covered(author)) + 1;
            self.edges.insert((predecessor, dot));
            // Deltas of the author that wait beyond what was needed so far are in no gap. There is at most one
            // run of them, since each but the first waits for the one before it.
            let waiting: Vec<u64> = match first <= seq {
                true => self
                    .unmet
                    .range(Dot { author, seq: first }..=predecessor)
                    .map(|(dot, _)| dot.seq)
                    .collect(),
                false => Vec::new(),
            };
            for waiting in waiting {
                self.open_gap(author, first, waiting - 1);
                first = waiting + 1;
            }
            self.open_gap(author, first, seq);
        }
    }

    /// Removes a waiting delta that was added with these predecessors. O(predecessors · log waiting).
    pub(super) fn remove(&mut self, dot: Dot, predecessors: &[Dot]) {
        if let Some((_, horizon)) = self.unmet.remove(&dot) {
            self.ready.remove(&(horizon, dot));
        }
        for &predecessor in predecessors {
            self.lookups += 1;
            if self.edges.remove(&(predecessor, dot)) {
                self.end_gaps(predecessor.author);
            }
        }
        if dot.seq <= self.last_needed(dot.author) {
            self.open_gap(dot.author, dot.seq, dot.seq);
        }
    }

    /// Handles the coverage of an author, which has grown to `covered`. The caller has removed the waiting deltas
    /// that are covered now. O(log waiting) for each delta that waited for the author.
    pub(super) fn advance(&mut self, author: ReplicaId, covered: u64) {
        self.lookups += 1;
        let first = first_pair(Dot { author, seq: 0 });
        while let Some(&(predecessor, dot)) =
            self.edges.range(first..=last_pair(Dot { author, seq: covered })).next()
        {
            self.lookups += 1;
            self.edges.remove(&(predecessor, dot));
            let (unmet, horizon) = self.unmet.entry(dot).or_default();
            debug_assert!(*unmet > 0, "each pair is counted");
            *unmet = unmet.saturating_sub(1);
            if *unmet == 0 {
                self.ready.insert((*horizon, dot));
            }
        }
        // Nothing waits for a delta of most authors.
        let Some(ranges) = self.gaps.get_mut(&author) else { return };
        while let Some(range) = ranges.first_entry().filter(|range| *range.key() <= covered) {
            let last = range.remove();
            if last > covered {
                ranges.insert(covered + 1, last);
            }
        }
        if ranges.is_empty() {
            self.gaps.remove(&author);
        }
    }

    /// The last delta of `author` that a waiting delta needs; zero if there is none.
    fn last_needed(&self, author: ReplicaId) -> u64 {
        let first = first_pair(Dot { author, seq: 0 });
        let last = last_pair(Dot { author, seq: u64::MAX });
        self.edges.range(first..=last).next_back().map_or(0, |(predecessor, _)| predecessor.seq)
    }

    /// The range of missing deltas that contains `dot`.
    fn gap_around(&self, dot: Dot) -> Option<(u64, u64)> {
        let (&first, &last) = self.gaps.get(&dot.author)?.range(..=dot.seq).next_back()?;
        (dot.seq <= last).then_some((first, last))
    }

    /// Records that the deltas of `author` from `first` to `last` are missing; none if `first` is greater.
    fn open_gap(&mut self, author: ReplicaId, first: u64, last: u64) {
        if first > last {
            return;
        }
        self.lookups += 1;
        let ranges = self.gaps.entry(author).or_default();
        let before = ranges.range(..first).next_back().map(|(&first, &last)| (first, last));
        debug_assert!(before.is_none_or(|(_, last)| last < first), "gaps are disjoint");
        let first = match before {
            Some((start, end)) if end + 1 == first => start,
            _ => first,
        };
        let last = ranges.remove(&(last + 1)).unwrap_or(last);
        ranges.insert(first, last);
    }

    /// Records that `dot` is not missing any more.
    fn close_gap(&mut self, dot: Dot) {
        self.lookups += 1;
        // The delta has arrived in sequence: there was no gap before it.
        let Some((first, last)) = self.gap_around(dot) else { return };
        let ranges = self.gaps.entry(dot.author).or_default();
        ranges.remove(&first);
        if first < dot.seq {
            ranges.insert(first, dot.seq - 1);
        }
        if dot.seq < last {
            ranges.insert(dot.seq + 1, last);
        }
        if ranges.is_empty() {
            self.gaps.remove(&dot.author);
        }
    }

    /// Removes the gaps of `author` behind the last delta that is still needed.
    fn end_gaps(&mut self, author: ReplicaId) {
        let needed = self.last_needed(author);
        // An author without gaps has none to end.
        let Some(ranges) = self.gaps.get_mut(&author) else { return };
        while let Some(mut range) = ranges.last_entry().filter(|range| *range.get() > needed) {
            self.lookups += 1;
            if *range.key() <= needed {
                range.insert(needed);
                break;
            }
            range.remove();
        }
        if ranges.is_empty() {
            self.gaps.remove(&author);
        }
    }
}
