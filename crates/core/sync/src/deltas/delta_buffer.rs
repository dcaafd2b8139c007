//! The buffer of deltas that cannot be applied yet.

use super::{Delta, DeltaLog, Dot, Gate};
use std::collections::BTreeMap;
use syncline_types::{Hlc, ReplicaId, canary};

/// What became of a delta that was offered to the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushOutcome {
    /// The delta was added.
    Added,
    /// A delta with the same position is in the buffer already.
    Duplicate,
    /// The buffer is full. The caller must schedule a sync with the sender, which brings the delta's
    /// effect in another way.
    Full,
}

/// Counts of the ways by which deltas enter and leave the buffer. Every delta that entered has left
/// by a counted way or is still waiting; see [`DeltaBuffer::is_balanced`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BufferLedger {
    /// Deltas that entered the buffer.
    pub added: u64,
    /// Deltas that left it to be applied.
    pub replayed: u64,
    /// Deltas that a state sync had covered by the time of the replay.
    pub superseded: u64,
    /// Deltas that were refused because the buffer was full; each left a pending sync.
    pub overflowed: u64,
    /// Deltas that were removed because their authors are not members any more.
    pub unauthorized: u64,
    /// Deltas that were dropped because no peer has their predecessors.
    pub dropped: u64,
}

/// Deltas that arrived during a state sync or before their parents (**I6**).
///
/// The buffer is bounded. When it is full it refuses the new delta and reports that; it never evicts
/// an older one. Evicting would let a peer that sends deltas without parents displace honest ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeltaBuffer {
    waiting: BTreeMap<Dot, Delta>,
    capacity: usize,
    ledger: BufferLedger,
}

const BALANCED: &str = "every delta that entered has left by a counted way or waits";

impl DeltaBuffer {
    /// A buffer for up to `capacity` deltas.
    pub const fn new(capacity: usize) -> Self {
        let ledger =
            BufferLedger { added: 0, replayed: 0, superseded: 0, overflowed: 0, unauthorized: 0, dropped: 0 };
        Self { waiting: BTreeMap::new(), capacity, ledger }
    }

    /// How many deltas are waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no delta is waiting.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The waiting deltas, ascending by position.
    pub fn waiting(&self) -> impl Iterator<Item = &Delta> {
        self.waiting.values()
    }

    /// Counts of the deltas that have entered and left.
    pub const fn ledger(&self) -> BufferLedger {
        self.ledger
    }

    /// Whether every delta that entered has left by a counted way or is still waiting.
    pub fn is_balanced(&self) -> bool {
        let BufferLedger { added, replayed, superseded, overflowed: _, unauthorized, dropped } = self.ledger;
        added == replayed + superseded + unauthorized + dropped + self.waiting.len() as u64
    }

    /// Removes the deltas that `gate` does not admit any more. O(waiting).
    pub fn remove_unauthorized(&mut self, gate: &Gate) {
        let before = self.waiting.len();
        self.waiting.retain(|_, delta| gate.lets_in(delta).is_ok());
        self.ledger.unauthorized += (before - self.waiting.len()) as u64;
        debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
    }

    /// Drops all waiting deltas and returns how many there were. Call it when every peer that might have
    /// their predecessors has turned out not to. No acknowledged write is lost: a peer that has applied
    /// one of these deltas still sends its effect in a state sync.
    pub fn drop_pending(&mut self) -> u64 {
        let dropped = std::mem::take(&mut self.waiting).len() as u64;
        self.ledger.dropped += dropped;
        debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
        dropped
    }

    /// Whether every waiting delta waits only for other waiting deltas, and there is at least one. Such
    /// deltas can never be applied: ids are digests, so an honest delta cannot name one that was made
    /// after it, and a cycle must be forged. O(waiting).
    pub fn is_unsatisfiable(&self, log: &DeltaLog) -> bool {
        let waits_for_waiting = |delta: &Delta| {
            let mut missing = log.missing(delta).peekable();
            missing.peek().is_some() && missing.all(|dot| self.waiting.contains_key(&dot))
        };
        !self.waiting.is_empty() && self.waiting.values().all(waits_for_waiting)
    }

    /// Stores `delta` until it can be applied.
    pub fn push(&mut self, delta: Delta) -> PushOutcome {
        if self.waiting.contains_key(&delta.dot) {
            return PushOutcome::Duplicate;
        }
        if self.waiting.len() >= self.capacity {
            self.ledger.overflowed += 1;
            return PushOutcome::Full;
        }
        self.waiting.insert(delta.dot, delta);
        self.ledger.added += 1;
        debug_assert!(self.waiting.len() <= self.capacity, "the buffer never holds more than its capacity");
        debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
        PushOutcome::Added
    }

    /// Whether a waiting delta could be applied to a state with this `log`, but for its `horizon`: the author of the
    /// delta had collected more. O(authors · log waiting).
    pub fn waits_for_horizon(&self, log: &DeltaLog, horizon: Hlc) -> bool {
        let mut first = self.waiting.keys().next().copied();
        while let Some(Dot { author, .. }) = first {
            let next = Dot { author, seq: log.covered().of(author) + 1 };
            let waits = |delta: &Delta| delta.horizon > horizon && log.is_ready(delta);
            if self.waiting.get(&next).is_some_and(waits) {
                return true;
            }
            first = self.waiting.range(Dot { author, seq: u64::MAX }..).next().map(|(dot, _)| *dot);
        }
        false
    }

    /// Removes and returns the next delta whose parents are all covered, and whose author had collected no more than
    /// a state with this `horizon`. Deltas that are covered themselves are discarded on the way. Call it again after
    /// each delta is applied, until it returns
    /// `None`: the deltas come in causal order. O(authors · log waiting).
    pub fn take_ready(&mut self, log: &DeltaLog, horizon: Hlc) -> Option<Delta> {
        if canary!(BufferEmptiedBeforeReplay) {
            self.waiting.clear();
        }
        let mut author = self.waiting.keys().next()?.author;
        loop {
            // The map is sorted by author, then by number, and the deltas of one author apply in the order
            // of their numbers. So of each author only the delta after the last covered one can be ready:
            // one lookup decides for the author, however many of its deltas wait.
            let next = Dot { author, seq: log.covered().of(author) + 1 };
            while let Some((&dot, _)) = self.waiting.range(Dot { author, seq: 0 }..next).next() {
                self.waiting.remove(&dot);
                self.ledger.superseded += 1;
            }
            let is_ready = |delta: &Delta| log.is_ready(delta) && delta.horizon <= horizon;
            if self.waiting.get(&next).is_some_and(is_ready) {
                self.ledger.replayed += 1;
                let ready = self.waiting.remove(&next);
                debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
                return ready;
            }
            // No delta has this number (the decoder refuses it), so the range starts at the next author.
            author = self.waiting.range(Dot { author, seq: u64::MAX }..).next()?.0.author;
        }
    }

    /// The predecessors that the waiting deltas need and that are neither covered nor waiting
    /// themselves, oldest first for each author. At most `most`. O(waiting).
    pub fn missing(&self, log: &DeltaLog, most: usize) -> Vec<Dot> {
        let mut needed: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        for delta in self.waiting.values() {
            for last in log.missing(delta) {
                let seq = needed.entry(last.author).or_default();
                *seq = (*seq).max(last.seq);
            }
        }
        // An author's deltas form a chain, so the last missing delta of an author implies the gap before it.
        let gaps = needed.into_iter().flat_map(|(author, last)| {
            (log.covered().of(author) + 1..=last).map(move |seq| Dot { author, seq })
        });
        gaps.filter(|dot| !self.waiting.contains_key(dot)).take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_store::WriteBatch;

    fn delta(author: u64, seq: u64, parents: &[&Delta]) -> Delta {
        let parents = parents.iter().map(|parent| parent.reference()).collect();
        let dot = Dot { author: ReplicaId::from_u64(author), seq };
        Delta::new(dot, parents, Hlc::ZERO, vec![])
    }

    #[test]
    fn replays_in_causal_order() {
        let a1 = delta(2, 1, &[]);
        let b1 = delta(1, 1, &[&a1]);
        let a2 = delta(2, 2, &[&b1]);
        let mut buffer = DeltaBuffer::new(9);
        let mut log = DeltaLog::default();
        for delta in [&a2, &b1, &a1] {
            assert_eq!(buffer.push(delta.clone()), PushOutcome::Added);
        }
        let mut order = Vec::new();
        while let Some(delta) = buffer.take_ready(&log, Hlc::ZERO) {
            log.append(&delta, &mut WriteBatch::default());
            order.push(delta.dot);
        }
        assert_eq!(order, [a1.dot, b1.dot, a2.dot]);
        assert!(buffer.is_balanced());
        assert_eq!(log.heads(), [a2.reference()]);
    }

    #[test]
    fn delta_waits_for_horizon_of_its_author() {
        let horizon = Hlc::last_at(7);
        let later = delta(1, 1, &[]).after_collection(horizon);
        let mut buffer = DeltaBuffer::new(9);
        buffer.push(later.clone());
        assert_eq!(buffer.take_ready(&DeltaLog::default(), Hlc::last_at(6)), None);
        assert!(buffer.missing(&DeltaLog::default(), 9).is_empty(), "no delta is missing");
        assert!(buffer.waits_for_horizon(&DeltaLog::default(), Hlc::last_at(6)));
        assert!(!buffer.waits_for_horizon(&DeltaLog::default(), horizon));
        assert_eq!(buffer.take_ready(&DeltaLog::default(), horizon), Some(later));
    }

    #[test]
    fn detects_unsatisfiable_cycle() {
        let a1 = delta(1, 1, &[&delta(2, 1, &[])]);
        let log = DeltaLog::default();
        let b1 = delta(2, 1, &[&a1]);
        let mut buffer = DeltaBuffer::new(9);
        assert!(!buffer.is_unsatisfiable(&log));
        buffer.push(a1);
        assert!(!buffer.is_unsatisfiable(&log), "the other may come");
        buffer.push(b1);
        assert!(buffer.is_unsatisfiable(&log));
        assert_eq!((buffer.missing(&log, 9), buffer.take_ready(&log, Hlc::ZERO)), (vec![], None));
        buffer.push(delta(3, 1, &[]));
        assert!(!buffer.is_unsatisfiable(&log), "one is ready");
    }

    #[test]
    fn full_buffer_refuses_new_delta() {
        let mut buffer = DeltaBuffer::new(1);
        assert_eq!(buffer.push(delta(1, 2, &[])), PushOutcome::Added);
        assert_eq!(buffer.push(delta(1, 2, &[])), PushOutcome::Duplicate);
        assert_eq!(buffer.push(delta(1, 3, &[])), PushOutcome::Full);
        assert_eq!((buffer.len(), buffer.ledger().overflowed), (1, 1));
        assert!(buffer.is_balanced());
    }

    #[test]
    fn missing_is_gap_without_waiting_deltas() {
        let mut buffer = DeltaBuffer::new(9);
        buffer.push(delta(1, 3, &[]));
        buffer.push(delta(1, 5, &[&delta(2, 1, &[])]));
        let seqs: Vec<(u64, u8)> =
            buffer.missing(&DeltaLog::default(), 9).iter().map(|dot| (dot.seq, dot.author.0[0])).collect();
        assert_eq!(seqs, [(1, 1), (2, 1), (4, 1), (1, 2)]);
    }
}
