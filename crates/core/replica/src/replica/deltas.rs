//! Outgoing writes, incoming deltas, and the search for missing deltas.

use super::{Replica, StepContext};
use crate::delta_fetch::AskPurpose;
use crate::effects::Notice;
use crate::event::Timer;
use crate::refusal::Refusal;
use crate::sync_queue::PendingReason;
use crate::writes::{self, Operation, OperationError};
use std::collections::BTreeSet;
use syncline_storage::{Action, StorageError};
use syncline_store::{Bytes, ReadView};
use syncline_sync::{Delta, DeltaLog, DeltaRef, DeltaRefusal, Dot, Gossip, Message, PushOutcome};
use syncline_types::{Decode, PeerId, Probe, Reader, canary};

/// The fate of a delta that arrived.
enum DeltaFate {
    /// The delta was applied, or it waits in the buffer.
    Accepted,
    /// The delta had no effect.
    Refused(Refusal),
}

impl<V: ReadView> Replica<V> {
    pub(super) fn on_write(
        &mut self,
        operations: Vec<Operation>,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        match self.try_write(&operations, step) {
            Ok(actions) => {
                step.out.notices.push(Notice::WriteAccepted { operations, actions });
                Ok(())
            }
            Err(OperationError::Storage(error)) => Err(error),
            Err(error) => {
                step.work.note_if(error.is_too_large(), Probe::WriteTooLarge);
                step.out.notices.push(Notice::WriteRefused { error });
                Ok(())
            }
        }
    }

    fn try_write(
        &mut self,
        operations: &[Operation],
        step: &mut StepContext<'_, V>,
    ) -> Result<Vec<Action>, OperationError> {
        if let Some(fault) = self.clock_fault() {
            return Err(fault.into());
        }
        if self.is_recovering() && self.root.is_zero() {
            return Err(OperationError::CatchingUp);
        }
        let author = self.config.replica;
        let write = writes::prepare(operations, author, &self.config.membership, &step.work, &self.clock)?;
        debug_assert!(write.clock.last() >= self.clock.last(), "a write never sets the clock back");
        step.work.state = write.state;
        self.clock = write.clock;
        let work = &mut step.work;
        work.log.append(&write.delta, work.state.view(), &mut work.metadata_batch)?;
        debug_assert!(
            step.work.log.covered().of(author) == write.delta.dot.seq,
            "own writes are numbered in order"
        );
        self.spread(write.delta, None, step);
        Ok(write.actions)
    }

    /// Sends a delta to randomly selected peers.
    pub(super) fn spread(&self, delta: Delta, except: Option<PeerId>, step: &mut StepContext<'_, V>) {
        let peers = self.peers.pick(self.config.gossip_fanout, except, step.entropy);
        self.broadcast(&peers, Message::Gossip(Gossip::Delta(delta)), step);
    }

    pub(super) fn on_gossiped_delta(
        &mut self,
        from: PeerId,
        delta: Delta,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if let DeltaFate::Refused(refusal) = self.on_delta(from, delta, step)? {
            step.refuse(refusal);
        }
        self.fetch_missing(from, step);
        Ok(())
    }

    /// Handles one received delta: applies it, with the buffered deltas that waited for it, or buffers it.
    fn on_delta(
        &mut self,
        from: PeerId,
        delta: Delta,
        step: &mut StepContext<'_, V>,
    ) -> Result<DeltaFate, StorageError> {
        if step.work.examine(&delta)? {
            return Ok(DeltaFate::Refused(Refusal::Duplicate));
        }
        if step.work.log.covered().covers(delta.dot) {
            if canary!(DuplicatesForwarded) {
                self.spread(delta, Some(from), step);
            }
            return Ok(DeltaFate::Refused(Refusal::Duplicate));
        }
        // Such a delta would wait for itself.
        let own_descendant =
            |parent: &DeltaRef| parent.dot.author == delta.dot.author && parent.dot.seq >= delta.dot.seq;
        if delta.parents.iter().any(own_descendant) {
            return Ok(DeltaFate::Refused(DeltaRefusal::Malformed.into()));
        }
        // Joined with records that its author had collected, the delta would bring back what is deleted.
        let is_ahead = delta.horizon > step.work.state.horizon();
        if self.sessions.is_any_transferring() || !step.work.log.is_ready(&delta) || is_ahead {
            step.work.note_if(is_ahead, Probe::HorizonAhead);
            return Ok(self.buffer_delta(from, delta, step));
        }
        let refused = self.apply_delta(from, delta, step)?;
        // Buffered deltas may have waited only for this one.
        self.replay(from, step)?;
        Ok(refused.map_or(DeltaFate::Accepted, |refusal| DeltaFate::Refused(refusal.into())))
    }

    /// Buffers a delta until its parents are applied, this state has collected what its author had, and no session
    /// is changing the state (**I6**).
    fn buffer_delta(&mut self, from: PeerId, delta: Delta, step: &mut StepContext<'_, V>) -> DeltaFate {
        // A delta that does not pass the gate must not take the place of one that does.
        if let Err(refusal) = step.work.let_in(&delta) {
            return DeltaFate::Refused(refusal.into());
        }
        let dot = delta.dot;
        let (mut left_out, is_full) = match self.delta_fetch.push(&delta, &step.work.log) {
            PushOutcome::Added(evicted) => (evicted, false),
            PushOutcome::Duplicate => return DeltaFate::Refused(Refusal::Duplicate),
            PushOutcome::Full(evicted) => (evicted, true),
        };
        left_out.extend(is_full.then_some(dot));
        if !left_out.is_empty() {
            step.work.note(Probe::BufferFull);
            let overflowed = left_out.into_iter().map(|delta| Notice::DeltaOverflowed { delta });
            step.out.notices.extend(overflowed);
            self.enqueue_forced_sync(from, PendingReason::BufferFull, step);
        }
        if is_full { DeltaFate::Refused(Refusal::BufferFull) } else { DeltaFate::Accepted }
    }

    /// Applies a delta whose parents are covered: all of it or nothing. Returns the reason if the delta is
    /// refused.
    fn apply_delta(
        &mut self,
        from: PeerId,
        delta: Delta,
        step: &mut StepContext<'_, V>,
    ) -> Result<Option<DeltaRefusal>, StorageError> {
        let author = delta.dot.author;
        if let Err(error) = step.work.apply_delta(&delta) {
            let refusal = error.refusal()?;
            // After any other refusal, another attempt would have the same result.
            match refusal {
                DeltaRefusal::Drift => self.enqueue_forced_sync(from, PendingReason::StampAhead, step),
                // The handshakes of a session tell the author, if the peer is the author.
                DeltaRefusal::AnotherHistory => {
                    self.peers.record(from).suggest_replica(author);
                    self.enqueue_forced_sync(from, PendingReason::AnotherHistory, step);
                }
                // A peer that has not collected the ancestor has the effect of the delta in its state. So has one that
                // knew the author as a member before this replica did.
                DeltaRefusal::MissingAncestor | DeltaRefusal::LeftBehind => {
                    self.enqueue_forced_sync(from, PendingReason::DeltasMissing, step);
                }
                _ => {}
            }
            return Ok(Some(refusal));
        }
        debug_assert!(step.work.log.covered().covers(delta.dot), "an applied delta is covered");
        let actions = delta.actions.len() as u64;
        step.out.notices.push(Notice::DeltaApplied { delta: delta.dot, actions });
        if self.peers.reachable().len() > self.config.gossip_fanout {
            // The author may not have reached all members itself.
            step.work.note(Probe::Forwarded);
            self.spread(delta, Some(from), step);
        }
        Ok(None)
    }

    /// Applies every buffered delta that is ready, in causal order (**I6**, **I8**).
    fn replay(&mut self, from: PeerId, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        while let Some(delta) = self.delta_fetch.take_ready(&mut step.work.log, step.work.state.horizon())? {
            let dot = delta.dot;
            // For a delta whose stamp is ahead of our clock, a sync is pending, so the delta is not lost.
            if let Some(refusal) = self.apply_delta(from, delta, step)? {
                step.out.notices.push(Notice::DeltaDiscarded { delta: dot, refusal });
            }
        }
        if self.delta_fetch.finish_if_empty() {
            step.cancel_timer(Timer::Fetch);
        }
        Ok(())
    }

    /// Handles the end of a session with `peer`: applies the deltas that it made ready, and requests those
    /// that are still missing.
    pub(super) fn resume_delta_fetch(
        &mut self,
        peer: PeerId,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        self.replay(peer, step)?;
        self.drop_if_hopeless(step);
        // This peer did not send the missing deltas; another peer may.
        self.delta_fetch.restart_attempts();
        let other = self.pick_source(Some(peer), step);
        self.fetch_missing(other.unwrap_or(peer), step);
        Ok(())
    }

    /// A reachable peer other than `except` that may have the missing deltas, at random.
    fn pick_source(&self, except: Option<PeerId>, step: &mut StepContext<'_, V>) -> Option<PeerId> {
        let may_have = |peer| {
            Some(peer) != except && !self.delta_fetch.is_exhausted(peer) && !self.peers.is_given_up(peer)
        };
        self.peers.pick_among(1, may_have, step.entropy).first().copied()
    }

    /// Drops the waiting deltas if no peer can be expected to send what they wait for. Should a peer have it after
    /// all, its root differs, and a sync brings the effect of these deltas.
    fn drop_if_hopeless(&mut self, step: &mut StepContext<'_, V>) {
        if self.delta_fetch.is_hopeless(self.peers.reachable(), |peer| self.peers.is_given_up(peer)) {
            self.drop_pending_deltas(step);
        }
    }

    fn drop_pending_deltas(&mut self, step: &mut StepContext<'_, V>) {
        let deltas = self.delta_fetch.dots().collect();
        self.delta_fetch.drop_pending_deltas();
        step.cancel_timer(Timer::Fetch);
        step.out.notices.push(Notice::PendingDeltasDropped { deltas });
    }

    /// Requests from `from` the deltas that buffered deltas wait for, unless a request is outstanding or a
    /// session may bring them.
    fn fetch_missing(&mut self, from: PeerId, step: &mut StepContext<'_, V>) {
        if self.sessions.is_any_transferring() || self.delta_fetch.is_empty() || !self.delta_fetch.is_idle() {
            return;
        }
        self.fetch(from, step);
    }

    fn fetch(&mut self, from: PeerId, step: &mut StepContext<'_, V>) {
        let wanted = self.delta_fetch.missing(&mut step.work.log);
        let waits_for_horizon = self.delta_fetch.waits_for_horizon(step.work.state.horizon());
        if wanted.is_empty() && !waits_for_horizon {
            self.drop_unsatisfiable(step);
            return;
        }
        if self.is_fresh() && !self.delta_fetch.is_exhausted(from) {
            // From single deltas this replica would build a state that may lack tombstones that all others
            // have collected. It requests a whole state instead.
            self.enqueue_forced_sync(from, PendingReason::NoState, step);
            return;
        }
        debug_assert!(
            wanted.len() <= self.config.limits.deltas_per_frame(),
            "a request names no more than a frame may"
        );
        step.work.note_if(wanted.len() == self.config.limits.deltas_per_frame(), Probe::FetchFull);
        let attempt = self.delta_fetch.count_attempt();
        if waits_for_horizon {
            // The handshake of a peer that has collected as much brings the horizon.
            self.enqueue_forced_sync(from, PendingReason::HorizonAhead, step);
        }
        if !wanted.is_empty() {
            self.request_deltas(from, wanted, AskPurpose::Buffer, step);
        }
        let at = step.now() + self.peers.timeout(from, attempt, step.entropy);
        step.set_timer(Timer::Fetch, at);
    }

    /// Requests these deltas from `peer`. Only what was requested is taken from the answer.
    pub(super) fn request_deltas(
        &mut self,
        peer: PeerId,
        wanted: Vec<Dot>,
        purpose: AskPurpose,
        step: &mut StepContext<'_, V>,
    ) {
        self.delta_fetch.on_request_sent(peer, &wanted, purpose);
        self.send(peer, Message::Gossip(Gossip::DeltaRequest { wanted }), step);
    }

    /// Drops deltas that wait for each other. The id of a delta is a digest over its parents, so no honest
    /// delta can be its own ancestor. Such deltas are forged by an adversary to fill the buffer.
    fn drop_unsatisfiable(&mut self, step: &mut StepContext<'_, V>) {
        if self.delta_fetch.is_unsatisfiable(&mut step.work.log) {
            self.drop_pending_deltas(step);
        }
    }

    pub(super) fn on_fetch_timeout(&mut self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        // If no peer is reachable, nothing can be requested. The arrival of a peer sets the timer again.
        let source = self.pick_source(None, step).or_else(|| self.peers.reachable().first().copied());
        let Some(peer) = source else { return Ok(()) };
        if !self.sessions.is_any_transferring() {
            self.replay(peer, step)?;
            self.drop_if_hopeless(step);
        }
        if self.delta_fetch.is_empty() {
            self.delta_fetch.restart_attempts();
            return Ok(());
        }
        if self.delta_fetch.has_used_up_attempts() {
            // No peer sends the single deltas. A session with any peer may bring their effect.
            step.work.note(Probe::FetchUsedUp);
            self.delta_fetch.restart_attempts();
            self.enqueue_forced_sync(peer, PendingReason::DeltasMissing, step);
        } else if !self.sessions.is_any_transferring() {
            self.fetch(peer, step);
        }
        Ok(())
    }

    pub(super) fn on_delta_request(
        &mut self,
        from: PeerId,
        wanted: &[Dot],
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        let mut deltas: Vec<Bytes> = Vec::new();
        let mut unavailable = Vec::new();
        let mut bytes = 0;
        for &dot in wanted {
            match DeltaLog::read(step.work.state.view(), dot)? {
                Some(delta) if bytes == 0 || bytes + delta.len() <= self.config.limits.page_bytes() => {
                    bytes += delta.len();
                    deltas.push(delta);
                }
                // The reply is full. The peer requests the rest again.
                Some(_) => {
                    step.work.note(Probe::FetchCut);
                    break;
                }
                None => unavailable.push(dot),
            }
        }
        debug_assert!(deltas.len() + unavailable.len() <= wanted.len(), "nothing is answered twice");
        self.send(from, Message::Gossip(Gossip::DeltaReply { deltas, unavailable }), step);
        Ok(())
    }

    pub(super) fn on_delta_reply(
        &mut self,
        from: PeerId,
        deltas: &[Bytes],
        unavailable: &[Dot],
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        let mut refusal = Some(Refusal::Duplicate);
        // An answer that nobody asked for, or a second one, is dropped before any of it is decoded.
        let dots = deltas.iter().map(|bytes| Dot::decode(&mut Reader::new(bytes)));
        let answered: Result<BTreeSet<Dot>, _> = dots.chain(unavailable.iter().copied().map(Ok)).collect();
        let Ok(answered) = answered else {
            step.refuse(DeltaRefusal::Malformed.into());
            return Ok(());
        };
        if self.delta_fetch.take_requested(from, &answered).is_none() {
            step.out.refusal = refusal;
            return Ok(());
        }
        for bytes in deltas {
            let Ok(delta) = Delta::from_bytes(bytes) else {
                refusal = Some(DeltaRefusal::Malformed.into());
                break;
            };
            match self.on_delta(from, delta, step)? {
                DeltaFate::Accepted => refusal = None,
                DeltaFate::Refused(Refusal::Duplicate) => {}
                DeltaFate::Refused(other) => refusal = Some(other),
            }
        }
        self.on_proof_answered(from, unavailable, step);
        self.on_fork_answer(from, deltas, unavailable, step)?;
        let log = &mut step.work.log;
        let is_lost = self.delta_fetch.is_any_missing(unavailable, log);
        let is_incomplete = !self.delta_fetch.missing(log).is_empty()
            || self.delta_fetch.waits_for_horizon(step.work.state.horizon());
        if is_lost {
            // The peer does not retain the delta any more. Only its state contains the effect of the delta.
            step.work.note(Probe::FetchUnavailable);
            refusal = None;
            self.enqueue_forced_sync(from, PendingReason::DeltasMissing, step);
        } else if is_incomplete && refusal.is_none() && !self.sessions.is_any_transferring() {
            // This reply made progress, so the next reply may bring more.
            self.delta_fetch.restart_attempts();
            self.fetch(from, step);
        }
        step.out.refusal = refusal;
        Ok(())
    }
}
