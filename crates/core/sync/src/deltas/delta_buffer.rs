//! The buffer of deltas that cannot be applied yet.

use super::waits::Waits;
use super::{Delta, DeltaLog, Dot, Gate};
use std::collections::{BTreeMap, BTreeSet};
use syncline_store::Bytes;
use syncline_types::{Decode, Encode, Hlc, InternalError, ReplicaId, canary};

/// What became of a delta that was offered to the buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushOutcome {
    /// The delta was added. To make room, the deltas in the list were evicted: none in most cases.
    Added(Vec<Dot>),
    /// A delta with the same position is in the buffer already.
    Duplicate,
    /// The buffer has no room for the delta. The caller must schedule a sync with the sender, which brings the
    /// delta's effect in another way. The list contains other deltas that were evicted.
    Full(Vec<Dot>),
}

/// The bounds of a [`DeltaBuffer`]. A delta counts with its encoded bytes and [`BufferLimits::OVERHEAD_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferLimits {
    /// The most deltas in the buffer.
    pub deltas: usize,
    /// The most bytes in the buffer.
    pub bytes: usize,
    /// The most deltas of one author.
    pub author_deltas: usize,
    /// The most bytes of the deltas of one author.
    pub author_bytes: usize,
}

impl BufferLimits {
    /// What a delta counts in addition to its encoding: an upper bound of its entries in the index.
    pub const OVERHEAD_BYTES: usize = 1 << 10;
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self { deltas: 10_000, bytes: 32 << 20, author_deltas: 5_000, author_bytes: 8 << 20 }
    }
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
    /// Deltas that were evicted to make room for others; each left a pending sync.
    pub evicted: u64,
    /// Deltas that were removed because their authors are not members any more.
    pub unauthorized: u64,
    /// Deltas that were dropped because no peer has their predecessors.
    pub dropped: u64,
}

/// A delta in the buffer. It is stored as bytes, so that its size in memory is known.
#[derive(Clone, PartialEq, Eq, Debug)]
struct WaitingDelta {
    bytes: Bytes,
    /// The predecessors that were not covered when the delta arrived.
    predecessors: Box<[Dot]>,
}

impl WaitingDelta {
    fn cost(&self) -> usize {
        self.bytes.len() + BufferLimits::OVERHEAD_BYTES
    }
}

/// What the deltas of one author take up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Share {
    deltas: usize,
    bytes: usize,
}

/// Deltas that arrived during a state sync or before their parents (**I6**).
///
/// The buffer is bounded, in all and for each author. When a bound is exceeded, it evicts from the author that takes
/// up the most, and of that author's deltas the last one: it is the farthest from being applied. Between authors with
/// equal shares the author of the new delta loses. So a peer that sends deltas without parents cannot displace the
/// deltas of an author that takes up less, and the order of eviction depends on the arrivals only. A sync brings the
/// effect of an evicted delta later.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeltaBuffer {
    waiting: BTreeMap<Dot, WaitingDelta>,
    waits: Waits,
    limits: BufferLimits,
    total: Share,
    shares: BTreeMap<ReplicaId, Share>,
    /// The authors by the number of their deltas, and by the bytes.
    by_deltas: BTreeSet<(usize, ReplicaId)>,
    by_bytes: BTreeSet<(usize, ReplicaId)>,
    ledger: BufferLedger,
}

const BALANCED: &str = "every delta that entered has left by a counted way or waits";
const DECODES: &str = "a buffered delta decodes";
const WAITS: &str = "a delta that is ready is in the buffer";

impl DeltaBuffer {
    /// An empty buffer with these bounds.
    pub fn new(limits: BufferLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How many deltas are waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no delta is waiting.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What the waiting deltas take up in bytes, by the measure of [`BufferLimits`].
    pub const fn bytes(&self) -> usize {
        self.total.bytes
    }

    /// The positions of the waiting deltas, ascending.
    pub fn dots(&self) -> impl Iterator<Item = Dot> {
        self.waiting.keys().copied()
    }

    /// The canonical bytes of the waiting deltas, ascending by position.
    pub fn encoded(&self) -> impl Iterator<Item = &Bytes> {
        self.waiting.values().map(|delta| &delta.bytes)
    }

    /// Counts of the deltas that have entered and left.
    pub const fn ledger(&self) -> BufferLedger {
        self.ledger
    }

    /// How many entries of the index were looked up or changed: the cost of the buffer so far.
    pub const fn lookups(&self) -> u64 {
        self.waits.lookups()
    }

    /// Whether every delta that entered has left by a counted way or is still waiting.
    pub fn is_balanced(&self) -> bool {
        let BufferLedger { added, replayed, superseded, overflowed: _, evicted, unauthorized, dropped } =
            self.ledger;
        added == replayed + superseded + evicted + unauthorized + dropped + self.waiting.len() as u64
    }

    /// Removes the deltas that `gate` does not admit any more. O(bytes that wait).
    pub fn remove_unauthorized(&mut self, gate: &Gate) -> Result<(), InternalError> {
        for dot in self.dots().collect::<Vec<_>>() {
            let Some(delta) = self.waiting.get(&dot) else { continue };
            if gate.lets_in(&decoded(&delta.bytes)?).is_err() {
                self.remove(dot);
                self.ledger.unauthorized += 1;
            }
        }
        debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
        Ok(())
    }

    /// Drops all waiting deltas and returns how many there were. Call it when every peer that might have
    /// their predecessors has turned out not to. No acknowledged write is lost: a peer that has applied
    /// one of these deltas still sends its effect in a state sync.
    pub fn drop_pending(&mut self) -> u64 {
        let dropped = self.waiting.len() as u64;
        while let Some((&dot, _)) = self.waiting.last_key_value() {
            self.remove(dot);
        }
        self.ledger.dropped += dropped;
        debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
        dropped
    }

    /// Whether every waiting delta waits only for other waiting deltas, and there is at least one. Such
    /// deltas can never be applied: ids are digests, so an honest delta cannot name one that was made
    /// after it, and a cycle must be forged. O(1) after [`DeltaBuffer::refresh`].
    pub fn is_unsatisfiable(&self) -> bool {
        !self.waiting.is_empty() && self.waits.is_stuck()
    }

    /// Stores `delta` until `log` covers its predecessors. O(encoded bytes + parents · log waiting), and O(log
    /// waiting) for each eviction.
    pub fn push(&mut self, delta: &Delta, log: &DeltaLog) -> PushOutcome {
        let dot = delta.dot;
        if self.waiting.contains_key(&dot) {
            return PushOutcome::Duplicate;
        }
        // The delta before this one may be among the parents too.
        let predecessors: BTreeSet<Dot> = log.missing(delta).collect();
        let predecessors: Box<[Dot]> = predecessors.into_iter().collect();
        let entry = WaitingDelta { bytes: delta.to_bytes().into(), predecessors };
        self.waits.insert((dot, delta.horizon), &entry.predecessors, |author| log.covered().of(author));
        self.charge(dot.author, |share| {
            share.deltas += 1;
            share.bytes += entry.cost();
        });
        self.waiting.insert(dot, entry);
        self.ledger.added += 1;
        let mut evicted = self.evict(dot.author);
        self.ledger.evicted += evicted.len() as u64;
        let is_refused = evicted.contains(&dot);
        if is_refused {
            self.ledger.added -= 1;
            self.ledger.evicted -= 1;
            self.ledger.overflowed += 1;
            evicted.retain(|other| *other != dot);
        }
        debug_assert!(self.total.deltas <= self.limits.deltas && self.total.bytes <= self.limits.bytes);
        debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
        if is_refused { PushOutcome::Full(evicted) } else { PushOutcome::Added(evicted) }
    }

    /// Evicts deltas until the buffer is within its bounds, after a delta of `author` was added.
    fn evict(&mut self, author: ReplicaId) -> Vec<Dot> {
        let mut evicted = Vec::new();
        let BufferLimits { deltas, bytes, author_deltas, author_bytes } = self.limits;
        loop {
            let own = self.shares.get(&author).copied().unwrap_or_default();
            // The author of the new delta loses against others with the same share.
            let largest = |most: Option<&(usize, ReplicaId)>, own: usize| {
                most.filter(|(share, _)| *share > own).map_or(author, |(_, author)| *author)
            };
            let from = if own.deltas > author_deltas || own.bytes > author_bytes {
                author
            } else if self.total.deltas > deltas {
                largest(self.by_deltas.last(), own.deltas)
            } else if self.total.bytes > bytes {
                largest(self.by_bytes.last(), own.bytes)
            } else {
                return evicted;
            };
            let last = self.waiting.range(..=Dot { author: from, seq: u64::MAX }).next_back();
            let Some((&last, _)) = last.filter(|(dot, _)| dot.author == from) else {
                debug_assert!(false, "an author with a share has a delta");
                return evicted;
            };
            self.remove(last);
            evicted.push(last);
        }
    }

    /// Changes what is charged to an author.
    fn charge(&mut self, author: ReplicaId, change: impl Fn(&mut Share)) {
        let mut share = self.shares.remove(&author).unwrap_or_default();
        self.by_deltas.remove(&(share.deltas, author));
        self.by_bytes.remove(&(share.bytes, author));
        change(&mut self.total);
        change(&mut share);
        if share != Share::default() {
            self.by_deltas.insert((share.deltas, author));
            self.by_bytes.insert((share.bytes, author));
            self.shares.insert(author, share);
        }
    }

    fn remove(&mut self, dot: Dot) -> Option<WaitingDelta> {
        let removed = self.waiting.remove(&dot)?;
        self.waits.remove(dot, &removed.predecessors);
        self.charge(dot.author, |share| {
            share.deltas -= 1;
            share.bytes -= removed.cost();
        });
        Some(removed)
    }

    /// Takes in what `log` covers since the last call. Deltas that are covered themselves leave the buffer.
    /// O(authors that have advanced + deltas that waited for them).
    pub fn refresh(&mut self, log: &mut DeltaLog) {
        for author in log.take_advanced() {
            if self.waiting.is_empty() {
                continue;
            }
            let covered = log.covered().of(author);
            let first = Dot { author, seq: 0 };
            while let Some((&dot, _)) = self.waiting.range(first..=Dot { author, seq: covered }).next() {
                self.remove(dot);
                self.ledger.superseded += 1;
            }
            self.waits.advance(author, covered);
        }
    }

    /// Whether a waiting delta could be applied, but for the `horizon` of the state: the author of the delta had
    /// collected more. O(log waiting) after [`DeltaBuffer::refresh`].
    pub fn waits_for_horizon(&self, horizon: Hlc) -> bool {
        self.waits.is_any_after(horizon)
    }

    /// Removes and returns the next delta whose parents are all covered, and whose author had collected no more than
    /// a state with this `horizon`. Call it again after each delta is applied, until it returns `None`: the deltas
    /// come in causal order. O(log waiting), and the cost of [`DeltaBuffer::refresh`].
    pub fn take_ready(&mut self, log: &mut DeltaLog, horizon: Hlc) -> Result<Option<Delta>, InternalError> {
        if canary!(BufferEmptiedBeforeReplay) {
            while let Some((&dot, _)) = self.waiting.last_key_value() {
                self.remove(dot);
            }
        }
        self.refresh(log);
        let Some(dot) = self.waits.first_ready(horizon) else { return Ok(None) };
        let Some(taken) = self.remove(dot) else {
            debug_assert!(false, "{WAITS}");
            return Err(InternalError::broken(WAITS));
        };
        self.ledger.replayed += 1;
        debug_assert!(self.is_balanced() || canary!(BufferEmptiedBeforeReplay), "{BALANCED}");
        decoded(&taken.bytes).map(Some)
    }

    /// The predecessors that the waiting deltas need and that are neither covered nor waiting
    /// themselves, oldest first for each author. At most `most`. O(most) after [`DeltaBuffer::refresh`].
    pub fn missing(&self, most: usize) -> Vec<Dot> {
        self.waits.missing().take(most).collect()
    }

    /// Whether waiting deltas need `dot`, and it is neither covered nor waiting. O(log waiting) after
    /// [`DeltaBuffer::refresh`].
    pub fn is_missing(&self, dot: Dot) -> bool {
        self.waits.is_missing(dot)
    }
}

fn decoded(bytes: &Bytes) -> Result<Delta, InternalError> {
    let delta = Delta::from_bytes(bytes);
    debug_assert!(delta.is_ok(), "{DECODES}");
    delta.map_err(|_| InternalError::broken(DECODES))
}

#[cfg(test)]
#[path = "delta_buffer_tests.rs"]
mod tests;
