//! Deltas that wait for their parents, and the requests for these parents.

use std::collections::{BTreeSet, VecDeque};
use syncline_store::Bytes;
use syncline_sync::{BufferLedger, BufferLimits, Delta, DeltaBuffer, DeltaLog, Dot, Gate, PushOutcome};
use syncline_types::{Hlc, InternalError, PeerId};

/// The most requests for missing deltas before a sync of states is tried instead.
const MAX_ATTEMPTS: u32 = 3;
/// The most requests whose answers are awaited. Each names no more deltas than a frame may.
const MAX_OUTSTANDING: usize = 8;

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
    /// The requests that may still be answered, the oldest first: at most [`MAX_ATTEMPTS`], and at most one for
    /// each peer. An answer to anything else is dropped.
    outstanding: VecDeque<DeltaAsk>,
}

/// A request for deltas that may still be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeltaAsk {
    peer: PeerId,
    wanted: BTreeSet<Dot>,
    purpose: AskPurpose,
}

/// What the requested deltas are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AskPurpose {
    /// Deltas wait for them in the buffer. Once none waits, the answer is of no use.
    Buffer,
    /// They decide about a history: they prove a claim, or are the last ones that others have. That does not depend on the
    /// buffer.
    History,
}

impl DeltaFetch {
    /// A buffer with these bounds, and requests for up to `per_request` deltas at once.
    pub(crate) fn new(limits: BufferLimits, per_request: usize) -> Self {
        let buffer = DeltaBuffer::new(limits);
        Self { buffer, per_request, attempts: 0, exhausted: BTreeSet::new(), outstanding: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The positions of the deltas that wait, ascending.
    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> {
        self.buffer.dots()
    }

    /// The canonical bytes of the deltas that wait, in the order of their dots.
    pub(crate) fn encoded(&self) -> impl Iterator<Item = &Bytes> {
        self.buffer.encoded()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.buffer.bytes()
    }

    /// How many entries of the buffer's index were looked up or changed.
    pub(crate) const fn lookups(&self) -> u64 {
        self.buffer.lookups()
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

    /// The requests that may still be answered.
    pub(crate) const fn outstanding(&self) -> &VecDeque<DeltaAsk> {
        &self.outstanding
    }

    /// Buffers a delta that cannot be applied yet.
    pub(crate) fn push(&mut self, delta: &Delta, log: &DeltaLog) -> PushOutcome {
        let pushed = self.buffer.push(delta, log);
        if matches!(pushed, PushOutcome::Added(_)) {
            // A new delta may wait for deltas that peers had no reason to send before.
            self.exhausted.clear();
        }
        pushed
    }

    /// Whether a waiting delta waits for a later horizon alone.
    pub(crate) fn waits_for_horizon(&self, horizon: Hlc) -> bool {
        self.buffer.waits_for_horizon(horizon)
    }

    /// Takes the next delta that applies to a state with this `log` and `horizon`; see
    /// [`DeltaBuffer::take_ready`].
    pub(crate) fn take_ready(
        &mut self,
        log: &mut DeltaLog,
        horizon: Hlc,
    ) -> Result<Option<Delta>, InternalError> {
        let ready = self.buffer.take_ready(log, horizon)?;
        debug_assert!(
            ready.as_ref().is_none_or(|delta| log.is_ready(delta)),
            "a delta leaves the buffer after its parents"
        );
        Ok(ready)
    }

    /// The deltas to request next, oldest first.
    pub(crate) fn missing(&mut self, log: &mut DeltaLog) -> Vec<Dot> {
        self.buffer.refresh(log);
        self.buffer.missing(self.per_request)
    }

    /// Whether any of `dots` is missing.
    pub(crate) fn is_any_missing(&mut self, dots: &[Dot], log: &mut DeltaLog) -> bool {
        self.buffer.refresh(log);
        dots.iter().any(|dot| self.buffer.is_missing(*dot))
    }

    /// Whether every waiting delta waits only for other waiting deltas.
    pub(crate) fn is_unsatisfiable(&mut self, log: &mut DeltaLog) -> bool {
        self.buffer.refresh(log);
        self.buffer.is_unsatisfiable()
    }

    /// Records that `wanted` was requested from `peer`.
    pub(crate) fn on_request_sent(&mut self, peer: PeerId, wanted: &[Dot], purpose: AskPurpose) {
        let request = DeltaAsk { peer, wanted: wanted.iter().copied().collect(), purpose };
        self.outstanding.retain(|other| *other != request);
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(request);
    }

    /// The oldest request to `peer` that asked for all of `answered`, once: the answer is an answer to this request.
    /// `None` if there is no such request.
    pub(crate) fn take_requested(&mut self, peer: PeerId, answered: &BTreeSet<Dot>) -> Option<BTreeSet<Dot>> {
        let is_answered = |ask: &DeltaAsk| ask.peer == peer && answered.is_subset(&ask.wanted);
        let at = self.outstanding.iter().position(is_answered)?;
        self.outstanding.remove(at).map(|ask| ask.wanted)
    }

    /// Forgets the requests that were for the buffer.
    fn forget_requests(&mut self) {
        self.outstanding.retain(|ask| ask.purpose != AskPurpose::Buffer);
    }

    /// Forgets the requests to peers that are not reachable: they will not answer.
    pub(crate) fn keep_reachable(&mut self, is_reachable: impl Fn(PeerId) -> bool) {
        self.outstanding.retain(|ask| is_reachable(ask.peer));
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
            self.forget_requests();
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
        self.forget_requests();
        let dropped = self.buffer.drop_pending();
        debug_assert!(self.buffer.is_empty(), "no delta is left");
        dropped
    }

    /// Drops the deltas that `gate` does not admit any more.
    pub(crate) fn dismiss(&mut self, gate: &Gate) -> Result<(), InternalError> {
        self.buffer.remove_unauthorized(gate)
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
        let mut fetch = DeltaFetch::new(BufferLimits::default(), 9);
        let log = DeltaLog::default();
        fetch.mark_exhausted(A);
        assert!(!fetch.is_exhausted(A), "nothing waits");
        fetch.push(&delta(1, 2), &log);
        fetch.mark_exhausted(A);
        fetch.push(&delta(1, 2), &log);
        assert!(fetch.is_exhausted(A), "a duplicate is nothing new");
        fetch.push(&delta(1, 3), &log);
        assert!(!fetch.is_exhausted(A));
    }

    #[test]
    fn hopeless_once_every_reachable_peer_is_exhausted() {
        let mut fetch = DeltaFetch::new(BufferLimits::default(), 9);
        let log = DeltaLog::default();
        fetch.push(&delta(1, 2), &log);
        fetch.mark_exhausted(A);
        let none = |_| false;
        assert!(!fetch.is_hopeless(&[], none) && !fetch.is_hopeless(&[A, B], none));
        assert!(fetch.is_hopeless(&[A], none) && fetch.is_hopeless(&[A, B], |peer| peer == B));
        assert_eq!(fetch.drop_pending_deltas(), 1);
        assert!(fetch.is_empty() && fetch.is_balanced() && !fetch.is_hopeless(&[A], none));
    }

    #[test]
    fn answer_belongs_to_one_request() {
        let mut fetch = DeltaFetch::new(BufferLimits::default(), 9);
        let dots: Vec<Dot> = (1..=4).map(|seq| delta(1, seq).dot).collect();
        let set = |dots: &[Dot]| dots.iter().copied().collect::<BTreeSet<Dot>>();
        assert_eq!(fetch.take_requested(A, &set(&dots[..1])), None, "nobody asked");
        fetch.on_request_sent(A, &dots[..1], AskPurpose::Buffer);
        fetch.on_request_sent(A, &dots[1..], AskPurpose::Buffer);
        fetch.on_request_sent(A, &dots[1..], AskPurpose::Buffer);
        assert_eq!(fetch.take_requested(B, &set(&dots[2..])), None, "another peer was asked");
        assert_eq!(fetch.take_requested(A, &set(&dots)), None, "no request asked for all of them");
        assert_eq!(fetch.take_requested(A, &set(&dots[2..])), Some(set(&dots[1..])));
        assert_eq!(fetch.take_requested(A, &set(&dots[2..])), None, "it has answered");
        assert_eq!(fetch.take_requested(A, &set(&dots[..1])), Some(set(&dots[..1])));
        (0..99).for_each(|peer| fetch.on_request_sent(PeerId(peer), &dots, AskPurpose::Buffer));
        assert_eq!(fetch.outstanding().len(), MAX_OUTSTANDING);
    }

    #[test]
    fn request_about_a_history_outlives_the_buffer() {
        let mut fetch = DeltaFetch::new(BufferLimits::default(), 9);
        let dot = delta(1, 1).dot;
        for purpose in [AskPurpose::Buffer, AskPurpose::History] {
            fetch.on_request_sent(A, &[dot], purpose);
        }
        assert!(fetch.finish_if_empty());
        assert_eq!(fetch.outstanding().len(), 1);
        fetch.drop_pending_deltas();
        assert_eq!(fetch.take_requested(A, &[dot].into()), Some([dot].into()));
        fetch.on_request_sent(A, &[dot], AskPurpose::History);
        fetch.keep_reachable(|peer| peer != A);
        assert!(fetch.outstanding().is_empty());
    }

    #[test]
    fn attempts_run_out_and_restart() {
        let mut fetch = DeltaFetch::new(BufferLimits::default(), 9);
        let log = DeltaLog::default();
        fetch.push(&delta(1, 2), &log);
        assert!(fetch.is_idle());
        assert_eq!([fetch.count_attempt(), fetch.count_attempt(), fetch.count_attempt()], [1, 2, 3]);
        assert!(fetch.has_used_up_attempts() && !fetch.finish_if_empty());
        fetch.drop_pending_deltas();
        assert!(fetch.finish_if_empty() && fetch.is_idle());
    }
}
