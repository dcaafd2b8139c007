//! Deltas that cannot be applied yet.

use crate::authority::Gate;
use crate::delta::{Delta, Dot};
use crate::log::DeltaLog;
use std::collections::BTreeMap;
use syncline_types::{ReplicaId, canary, limits};

/// What became of a delta that was offered to the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It waits.
    Added,
    /// It waits already.
    Duplicate,
    /// There is no room. The replica owes a sync with whoever sent it.
    Full,
}

/// Where every delta that entered the buffer went. Nothing may leave it unaccounted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BufferLedger {
    /// Deltas that entered.
    pub added: u64,
    /// Deltas that were handed out to be applied.
    pub replayed: u64,
    /// Deltas that a state sync had covered by the time of the replay.
    pub superseded: u64,
    /// Deltas that found no room; each left an owed sync behind.
    pub overflowed: u64,
    /// Deltas that were let go because their authors may not write any more.
    pub dismissed: u64,
    /// Deltas that were given up: what they follow, nobody has.
    pub stranded: u64,
}

/// Deltas that arrived during a state sync or before their parents (**I6**). Bounded; when it is
/// full the newcomer is refused, never an older one dropped, and the refusal is reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeltaBuffer {
    waiting: BTreeMap<Dot, Delta>,
    capacity: usize,
    ledger: BufferLedger,
}

impl DeltaBuffer {
    /// A buffer for up to `capacity` deltas.
    pub const fn new(capacity: usize) -> Self {
        let ledger =
            BufferLedger { added: 0, replayed: 0, superseded: 0, overflowed: 0, dismissed: 0, stranded: 0 };
        Self { waiting: BTreeMap::new(), capacity, ledger }
    }

    /// How many deltas wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The deltas that wait, in the order of their dots.
    pub fn waiting(&self) -> impl Iterator<Item = &Delta> {
        self.waiting.values()
    }

    /// Where the deltas went.
    pub const fn ledger(&self) -> BufferLedger {
        self.ledger
    }

    /// Whether every delta that entered has left by a recorded way or still waits.
    pub fn is_balanced(&self) -> bool {
        let BufferLedger { added, replayed, superseded, overflowed: _, dismissed, stranded } = self.ledger;
        added == replayed + superseded + dismissed + stranded + self.waiting.len() as u64
    }

    /// Lets go of what would not be let in any more. O(waiting).
    pub fn dismiss(&mut self, gate: &Gate) {
        let before = self.waiting.len();
        self.waiting.retain(|_, delta| gate.lets_in(delta).is_ok());
        self.ledger.dismissed += (before - self.waiting.len()) as u64;
    }

    /// Gives up all that waits, and says how many that were. Right when every peer that might have what
    /// they follow turned out not to: whoever has applied one of them still gives it by a sync.
    pub fn strand(&mut self) -> u64 {
        let given_up = std::mem::take(&mut self.waiting).len() as u64;
        self.ledger.stranded += given_up;
        given_up
    }

    /// Whether deltas wait, each for another that waits too. O(waiting).
    pub fn is_stuck(&self, log: &DeltaLog) -> bool {
        let waits = |delta: &Delta| {
            let mut missing = log.missing(delta).peekable();
            missing.peek().is_some() && missing.all(|dot| self.waiting.contains_key(&dot))
        };
        !self.waiting.is_empty() && self.waiting.values().all(waits)
    }

    /// Keeps `delta` until it can be applied.
    pub fn push(&mut self, delta: Delta) -> Pushed {
        if self.waiting.contains_key(&delta.dot) {
            return Pushed::Duplicate;
        }
        if self.waiting.len() >= self.capacity {
            self.ledger.overflowed += 1;
            return Pushed::Full;
        }
        self.waiting.insert(delta.dot, delta);
        self.ledger.added += 1;
        Pushed::Added
    }

    /// Takes the next delta whose parents are all covered, dropping those that are covered
    /// themselves. Call it again after each is applied, until it gives none: the deltas come in
    /// causal order. O(authors · log waiting).
    pub fn take_ready(&mut self, log: &DeltaLog) -> Option<Delta> {
        if canary!(BufferEmptiedBeforeReplay) {
            self.waiting.clear();
        }
        let mut author = self.waiting.keys().next()?.author;
        loop {
            // Of one author only the delta after the last covered one can be ready.
            let next = Dot { author, seq: log.covered().of(author) + 1 };
            while let Some((&dot, _)) = self.waiting.range(Dot { author, seq: 0 }..next).next() {
                self.waiting.remove(&dot);
                self.ledger.superseded += 1;
            }
            if self.waiting.get(&next).is_some_and(|delta| log.is_ready(delta)) {
                self.ledger.replayed += 1;
                return self.waiting.remove(&next);
            }
            author = self.waiting.range(Dot { author, seq: u64::MAX }..).next()?.0.author;
        }
    }

    /// The deltas that those waiting wait for and that are not waiting themselves, oldest first, at
    /// most as many as one request may name. O(waiting).
    pub fn missing(&self, log: &DeltaLog) -> Vec<Dot> {
        let mut needed: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        for delta in self.waiting.values() {
            for last in log.missing(delta) {
                let seq = needed.entry(last.author).or_default();
                *seq = (*seq).max(last.seq);
            }
        }
        let gaps = needed.into_iter().flat_map(|(author, last)| {
            (log.covered().of(author) + 1..=last).map(move |seq| Dot { author, seq })
        });
        gaps.filter(|dot| !self.waiting.contains_key(dot)).take(limits::MAX_DELTAS_PER_FRAME).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_store::WriteBatch;
    use syncline_types::Hlc;

    fn delta(author: u64, seq: u64, parents: &[&Delta]) -> Delta {
        let parents = parents.iter().map(|parent| parent.reference()).collect();
        let dot = Dot { author: ReplicaId::from_u64(author), seq };
        Delta::new(dot, parents, Hlc::ZERO, vec![])
    }

    #[test]
    fn deltas_come_out_in_causal_order_whatever_the_order_they_came_in() {
        let a1 = delta(2, 1, &[]);
        let b1 = delta(1, 1, &[&a1]);
        let a2 = delta(2, 2, &[&b1]);
        let (mut buffer, mut log) = (DeltaBuffer::new(9), DeltaLog::default());
        for delta in [&a2, &b1, &a1] {
            assert_eq!(buffer.push(delta.clone()), Pushed::Added);
        }
        let mut order = Vec::new();
        while let Some(delta) = buffer.take_ready(&log) {
            log.append(&delta, &mut WriteBatch::default());
            order.push(delta.dot);
        }
        assert_eq!(order, [a1.dot, b1.dot, a2.dot]);
        assert!(buffer.is_balanced());
        assert_eq!(log.heads(), [a2.reference()]);
    }

    #[test]
    fn deltas_that_wait_for_each_other_are_told_from_those_that_wait_for_what_may_come() {
        let (a1, log) = (delta(1, 1, &[&delta(2, 1, &[])]), DeltaLog::default());
        let b1 = delta(2, 1, &[&a1]);
        let mut buffer = DeltaBuffer::new(9);
        assert!(!buffer.is_stuck(&log));
        buffer.push(a1);
        assert!(!buffer.is_stuck(&log), "the other may come");
        buffer.push(b1);
        assert!(buffer.is_stuck(&log));
        assert_eq!((buffer.missing(&log), buffer.take_ready(&log)), (vec![], None));
        buffer.push(delta(3, 1, &[]));
        assert!(!buffer.is_stuck(&log), "one is ready");
    }

    #[test]
    fn a_full_buffer_refuses_the_newcomer_and_says_so() {
        let mut buffer = DeltaBuffer::new(1);
        assert_eq!(buffer.push(delta(1, 2, &[])), Pushed::Added);
        assert_eq!(buffer.push(delta(1, 2, &[])), Pushed::Duplicate);
        assert_eq!(buffer.push(delta(1, 3, &[])), Pushed::Full);
        assert_eq!((buffer.len(), buffer.ledger().overflowed), (1, 1));
        assert!(buffer.is_balanced());
    }

    #[test]
    fn what_is_missing_is_the_whole_gap_less_what_waits() {
        let mut buffer = DeltaBuffer::new(9);
        buffer.push(delta(1, 3, &[]));
        buffer.push(delta(1, 5, &[&delta(2, 1, &[])]));
        let seqs: Vec<(u64, u8)> =
            buffer.missing(&DeltaLog::default()).iter().map(|dot| (dot.seq, dot.author.0[0])).collect();
        assert_eq!(seqs, [(1, 1), (2, 1), (4, 1), (1, 2)]);
    }
}
