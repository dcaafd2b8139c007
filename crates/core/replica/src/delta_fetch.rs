//! Deltas that wait for their parents, and the requests for these parents.

use std::collections::BTreeSet;
use syncline_sync::{BufferLedger, Delta, DeltaBuffer, DeltaLog, Dot, Gate, PushOutcome};
use syncline_types::PeerId;

/// The most requests for missing deltas before a sync of states is tried instead.
const MAX_ATTEMPTS: u32 = 3;

/// The delta buffer, and the progress of the search for the missing parents.
#[derive(Clone, Debug)]
pub(crate) struct DeltaFetch {
    buffer: DeltaBuffer,
    /// The most deltas that one request names.
    per_request: usize,
    /// Requests sent since a delta last arrived or a sync last ended.
    attempts: u32,
    /// Peers that have sent all they have, or have broken a rule in a session, since a delta was last
    /// buffered.
    exhausted: BTreeSet<PeerId>,
}

impl DeltaFetch {
    /// A buffer for `capacity` deltas, and requests for up to `per_request` at once.
    pub(crate) const fn new(capacity: usize, per_request: usize) -> Self {
        Self { buffer: DeltaBuffer::new(capacity), per_request, attempts: 0, exhausted: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The deltas that wait, in the order of their dots.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Delta> {
        self.buffer.waiting()
    }

    pub(crate) const fn ledger(&self) -> BufferLedger {
        self.buffer.ledger()
    }

    pub(crate) fn is_balanced(&self) -> bool {
        self.buffer.is_balanced()
    }

    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) const fn exhausted(&self) -> &BTreeSet<PeerId> {
        &self.exhausted
    }

    /// Buffers a delta that cannot be applied yet.
    pub(crate) fn push(&mut self, delta: Delta) -> PushOutcome {
        let pushed = self.buffer.push(delta);
        if pushed == PushOutcome::Added {
            // A new delta may wait for deltas that peers had no reason to send before.
            self.exhausted.clear();
        }
        pushed
    }

    /// Takes the next delta whose parents `log` covers; see [`DeltaBuffer::take_ready`].
    pub(crate) fn take_ready(&mut self, log: &DeltaLog) -> Option<Delta> {
        let ready = self.buffer.take_ready(log);
        debug_assert!(
            ready.as_ref().is_none_or(|delta| log.is_ready(delta)),
            "a delta leaves the buffer after its parents"
        );
        ready
    }

    /// The deltas to request next, oldest first.
    pub(crate) fn missing(&self, log: &DeltaLog) -> Vec<Dot> {
        self.buffer.missing(log, self.per_request)
    }

    /// Whether every waiting delta waits only for other waiting deltas.
    pub(crate) fn is_unsatisfiable(&self, log: &DeltaLog) -> bool {
        self.buffer.is_unsatisfiable(log)
    }

    /// Whether no request was sent since the count was last reset.
    pub(crate) const fn is_idle(&self) -> bool {
        self.attempts == 0
    }

    /// Whether a sync of states must be tried instead of another request.
    pub(crate) const fn has_used_up_attempts(&self) -> bool {
        self.attempts >= MAX_ATTEMPTS
    }

    pub(crate) const fn restart_attempts(&mut self) {
        self.attempts = 0;
    }

    /// Counts one more request. Returns its number, from 1.
    pub(crate) fn count_attempt(&mut self) -> u32 {
        debug_assert!(!self.buffer.is_empty(), "deltas are only requested while others wait for them");
        debug_assert!(!self.has_used_up_attempts(), "a state sync replaces further requests");
        self.attempts += 1;
        self.attempts
    }

    /// Resets the count and the set of exhausted peers if no delta waits. Returns whether no delta waits.
    pub(crate) fn finish_if_empty(&mut self) -> bool {
        let is_empty = self.buffer.is_empty();
        if is_empty {
            self.attempts = 0;
            self.exhausted.clear();
        }
        is_empty
    }

    /// Records that `peer` has nothing more to send for the deltas that wait now.
    pub(crate) fn mark_exhausted(&mut self, peer: PeerId) {
        if !self.buffer.is_empty() {
            self.exhausted.insert(peer);
        }
    }

    pub(crate) fn is_exhausted(&self, peer: PeerId) -> bool {
        self.exhausted.contains(&peer)
    }

    /// Whether deltas wait, some peer is reachable, and all reachable peers are exhausted, or given up as peers that
    /// answer nothing of use.
    pub(crate) fn is_hopeless(&self, reachable: &[PeerId], is_given_up: impl Fn(PeerId) -> bool) -> bool {
        !reachable.is_empty()
            && !self.buffer.is_empty()
            && reachable.iter().all(|peer| self.exhausted.contains(peer) || is_given_up(*peer))
    }

    /// Drops all waiting deltas. Returns their number.
    pub(crate) fn drop_pending_deltas(&mut self) -> u64 {
        self.exhausted.clear();
        let dropped = self.buffer.drop_pending();
        debug_assert!(self.buffer.is_empty(), "no delta is left");
        dropped
    }

    /// Drops the deltas that `gate` does not admit any more.
    pub(crate) fn dismiss(&mut self, gate: &Gate) {
        self.buffer.remove_unauthorized(gate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::{Hlc, ReplicaId};

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);

    fn delta(author: u64, seq: u64) -> Delta {
        Delta::new(Dot { author: ReplicaId::from_u64(author), seq }, vec![], Hlc::ZERO, vec![])
    }

    #[test]
    fn new_delta_gives_exhausted_peers_another_chance() {
        let mut fetch = DeltaFetch::new(9, 9);
        fetch.mark_exhausted(A);
        assert!(!fetch.is_exhausted(A), "nothing waits");
        fetch.push(delta(1, 2));
        fetch.mark_exhausted(A);
        fetch.push(delta(1, 2));
        assert!(fetch.is_exhausted(A), "a duplicate is nothing new");
        fetch.push(delta(1, 3));
        assert!(!fetch.is_exhausted(A));
    }

    #[test]
    fn hopeless_once_every_reachable_peer_is_exhausted() {
        let mut fetch = DeltaFetch::new(9, 9);
        fetch.push(delta(1, 2));
        fetch.mark_exhausted(A);
        let none = |_| false;
        assert!(!fetch.is_hopeless(&[], none) && !fetch.is_hopeless(&[A, B], none));
        assert!(fetch.is_hopeless(&[A], none) && fetch.is_hopeless(&[A, B], |peer| peer == B));
        assert_eq!(fetch.drop_pending_deltas(), 1);
        assert!(fetch.is_empty() && fetch.is_balanced() && !fetch.is_hopeless(&[A], none));
    }

    #[test]
    fn attempts_run_out_and_restart() {
        let mut fetch = DeltaFetch::new(9, 9);
        fetch.push(delta(1, 2));
        assert!(fetch.is_idle());
        assert_eq!([fetch.count_attempt(), fetch.count_attempt(), fetch.count_attempt()], [1, 2, 3]);
        assert!(fetch.has_used_up_attempts() && !fetch.finish_if_empty());
        fetch.drop_pending_deltas();
        assert!(fetch.finish_if_empty() && fetch.is_idle());
    }
}
