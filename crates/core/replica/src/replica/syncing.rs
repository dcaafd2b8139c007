//! Sessions: starts the pending ones, handles responses, and handles the end of a session.

use super::heartbeats::SETTLE;
use super::{Replica, StepContext};
use crate::effects::Notice;
use crate::event::Timer;
use crate::peers::{Backoff, FailedSession, jittered};
use crate::refusal::Refusal;
use crate::sync_queue::PendingReason;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{
    DeltaRef, FailureReason, KnownVectors, Message, Outcome, Rejection, Request, RequestId, Response,
    RetryReason, Session, SessionId, SessionProgress,
};
use syncline_types::{Digest, PeerId, Probe, SimDuration, SimTime, canary};

/// The pause between a session and the next one with the same peer, if one side accepted writes meanwhile.
const AFTER_NEW_WRITES: SimDuration = SimDuration::from_millis(50);
/// The pause that lets a session of the peer that takes precedence finish.
const AFTER_YIELD: SimDuration = SimDuration::from_millis(500);
/// The pause that lets clocks converge, and hosts register a merge function.
const AFTER_DRIFT: SimDuration = SimDuration::from_secs(1);
/// The pause that lets a peer that is behind another one catch up.
const AFTER_BEHIND: SimDuration = SimDuration::from_secs(2);
/// The pause that lets a peer that has sent all it has receive more.
const AFTER_EXHAUSTED: SimDuration = SimDuration::from_secs(1);

/// The attempt at which a handshake is sent with whole vectors, if there are no common ones.
const WHOLE: u32 = 2;

impl<V: ReadView> Replica<V> {
    /// Adds a sync with `peer` to the queue, due after about `pause`.
    pub(super) fn enqueue_sync(
        &mut self,
        peer: PeerId,
        reason: PendingReason,
        pause: SimDuration,
        step: &mut StepContext<'_, V>,
    ) {
        // The sync is not lost: roots are announced again once the peer is reachable, and a difference
        // enqueues it then.
        if !self.peers.is_reachable(peer) {
            return;
        }
        let not_before = self.peers.record(peer).not_before();
        let due = not_before.max(step.now() + jittered(pause, step.entropy));
        self.sync_queue.push(peer, reason, due, not_before);
        self.update_sync_timer(step);
    }

    /// Like [`Replica::enqueue_sync`], but equal roots do not settle the sync.
    pub(super) fn enqueue_forced_sync(
        &mut self,
        peer: PeerId,
        reason: PendingReason,
        step: &mut StepContext<'_, V>,
    ) {
        // A peer that has sent all it has is not asked again soon.
        let pause = if self.delta_fetch.is_exhausted(peer) { AFTER_EXHAUSTED } else { SETTLE };
        self.enqueue_sync(peer, reason, pause, step);
        self.sync_queue.force(peer);
    }

    /// Like [`Replica::enqueue_sync`], but nothing else that the peer announces may shorten the pause.
    fn enqueue_sync_after(
        &mut self,
        peer: PeerId,
        reason: PendingReason,
        backoff: Backoff,
        step: &mut StepContext<'_, V>,
    ) {
        let now = step.now();
        self.peers.record(peer).rest(now, backoff);
        self.enqueue_sync(peer, reason, backoff.pause, step);
    }

    /// Whether one more session may start. A replica receives one snapshot at a time, and runs no other
    /// session meanwhile. A session in overtime occupies no place.
    fn has_place(&self) -> bool {
        let is_free = if self.is_fresh() {
            self.sessions.len() == 0
        } else {
            self.sessions.in_time() < self.config.max_sessions.max(1)
        };
        is_free && !self.is_restoring() && !self.is_collecting()
    }

    /// Whether the session with `peer`, which wants to send a request, may do so. A session that has run out of time goes
    /// on beside others, and holds up no delta any more (**I6** counts it as ended): over a slow link a transfer may bring
    /// next to nothing for long. On a fresh replica nothing can go on beside it, so it ends there if another peer waits.
    fn may_go_on(&mut self, peer: PeerId, step: &mut StepContext<'_, V>) -> Result<bool, StorageError> {
        let now = step.now();
        let in_time = self.sessions.in_time();
        if !self.sessions.is_overdue(peer, now) {
            return Ok(true);
        }
        step.work.note(Probe::Overdue);
        let is_waited_for = self.is_fresh() && !self.due_peers(now).is_empty();
        let may = !is_waited_for && self.sessions.has_overtime(peer, now);
        if may && self.sessions.in_time() < in_time {
            // It leaves its place to another one, and the deltas that have waited for its end are applied in a step of their
            // own: the next request may contain a root, which must be that of a stored state.
            self.start_due_sessions(step)?;
            if !self.delta_fetch.is_empty() && !self.sessions.is_any_transferring() {
                step.set_timer(Timer::Fetch, now);
            }
        }
        Ok(may)
    }

    /// The peers without a session whose sync is due, the longest due first.
    fn due_peers(&self, now: SimTime) -> Vec<PeerId> {
        self.sync_queue.due(now, |peer| self.sessions.contains(peer))
    }

    /// Whether the replica has no state yet, or only its own writes while it receives a snapshot.
    pub(super) fn is_fresh(&self) -> bool {
        self.root.is_zero() || self.takes_snapshot
    }

    pub(super) fn update_sync_timer(&mut self, step: &mut StepContext<'_, V>) {
        let has_place = self.has_place();
        let op = self.sync_queue.update_timer(step.now(), has_place, |peer| self.sessions.contains(peer));
        step.out.timers.push(op);
    }

    /// Starts the sessions that are due, the longest due first, unless the reason no longer applies.
    pub(super) fn start_due_sessions(&mut self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        let root = step.work.state.root_hash()?;
        self.sync_queue.resolve_all(|peer| {
            self.peers.root_of(peer) == Some(root)
                || (canary!(SettledByAnyone) && self.peers.roots().any(|other| other == root))
        });
        for peer in self.due_peers(step.now()) {
            if self.has_place() {
                self.start_session(peer, step)?;
            } else {
                step.work.note(Probe::Crowded);
            }
        }
        self.update_sync_timer(step);
        Ok(())
    }

    fn start_session(&mut self, peer: PeerId, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        let ours = self.introduce(peer, step)?;
        // The session covers the sync that is pending now. A reason that arises from now on needs another
        // session.
        let forced = self.sync_queue.remove(peer).is_some_and(|sync| sync.is_forced());
        let patience = self.config.session_deadline;
        let (session, id, request) =
            self.sessions.start(peer, self.incarnation, ours, forced, patience, step.now());
        step.out.notices.push(Notice::SessionStarted { peer });
        self.send_request(peer, session, id, request, step);
        Ok(())
    }

    fn send_request(
        &mut self,
        peer: PeerId,
        session: SessionId,
        id: RequestId,
        request: Request,
        step: &mut StepContext<'_, V>,
    ) {
        let attempts = self.sessions.attempts(peer);
        self.send_again(peer, Message::Request { session, id, request }, attempts, step);
        let bytes = step.out.messages.last().map_or(0, |sent| sent.bytes.len());
        self.sessions.count_sent(peer, bytes);
        step.work.note_if(self.peers.is_longest_timeout(peer, attempts), Probe::LongestTimeout);
        let timeout = self.peers.timeout(peer, attempts, step.entropy);
        let at = step.now() + timeout;
        step.set_timer(Timer::Session(peer), at);
    }

    pub(super) fn on_session_timeout(
        &mut self,
        peer: PeerId,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        // A host may fire a timer that was cancelled at the same instant: then there is nothing to
        // retransmit.
        let Some(progress) = self.sessions.on_timeout(peer) else { return Ok(()) };
        match progress {
            // The time has run out while the peer was silent: it did not answer with too little.
            SessionProgress::Send(..) if !self.may_go_on(peer, step)? => {
                self.end_session(peer, Outcome::Failed(FailureReason::Timeout), step)
            }
            progress => self.on_progress(peer, progress, step),
        }
    }

    pub(super) fn on_response(
        &mut self,
        from: PeerId,
        session: SessionId,
        id: RequestId,
        response: &Response,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if !self.sessions.is_current(from, session) {
            if let Response::Rejected(Rejection::StaleIncarnation { newest }) = response {
                self.on_stale_answer(*newest, step);
            }
            step.refuse(Refusal::Duplicate);
            return Ok(());
        }
        // The progress is recorded before the session continues, because the session may depend on the new
        // horizon.
        if self.sessions.is_in_handshake(from) == Some(true) {
            match response {
                Response::Handshake(reply) => {
                    let own = Self::own_vectors(step);
                    self.peers.with_vectors(from, |vectors| {
                        vectors.on_answered();
                        vectors.on_handshake(&reply.theirs, &own);
                    });
                    self.on_progress_announced(from, &reply.theirs, step)?;
                }
                Response::Rejected(Rejection::NoHandshake) => {
                    // The peer does not know the vectors that the handshake was relative to. If the whole handshake is
                    // on its way, this is the answer to an earlier copy.
                    let whole = self.peers.with_vectors(from, KnownVectors::on_unknown);
                    match self.sessions.outstanding(from).filter(|_| whole) {
                        Some((id, request)) => {
                            self.send_again(from, Message::Request { session, id, request }, WHOLE, step);
                        }
                        None => step.refuse(Refusal::Duplicate),
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
        let now = step.now();
        let answered = self.sessions.on_response(from, id, response, &mut step.work, now)?;
        if let Some(round_trip) = answered.round_trip {
            self.peers.record(from).on_round_trip(round_trip);
        }
        self.on_progress(from, answered.progress, step)
    }

    fn on_progress(
        &mut self,
        peer: PeerId,
        progress: SessionProgress,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        match progress {
            SessionProgress::Send(..) if !self.may_go_on(peer, step)? => {
                self.end_session(peer, Outcome::Failed(FailureReason::TooLong), step)
            }
            SessionProgress::Ignored => {
                step.refuse(Refusal::Duplicate);
                Ok(())
            }
            SessionProgress::Send(id, request) => {
                let session = self.sessions.on_request_sent(peer, step.now())?;
                self.send_request(peer, session, id, request, step);
                Ok(())
            }
            SessionProgress::Done(outcome) => self.end_session(peer, outcome, step),
        }
    }

    /// Ends the session with `peer`. The sync is then settled, pending again, or pending after a pause.
    pub(super) fn end_session(
        &mut self,
        peer: PeerId,
        outcome: Outcome,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        let ended = self.sessions.end(peer)?;
        step.cancel_timer(Timer::Session(peer));
        let failed = FailedSession {
            started_at: ended.started_at(),
            ended_at: step.now(),
            wasted: ended.wasted_bytes(&outcome, step.work.state.root_hash()?),
            stuck: ended.stuck_bytes(&outcome),
        };
        match &outcome {
            Outcome::Converged { root } => self.on_converged(peer, *root, ended.session(), step)?,
            Outcome::SyncPending(reason) => self.on_sync_pending(peer, *reason, failed, step)?,
            Outcome::Failed(reason) => self.on_session_failed(peer, reason, failed, step),
        }
        // A forced sync stays forced until a session converges.
        if ended.is_forced() && !matches!(outcome, Outcome::Converged { .. }) {
            self.sync_queue.force(peer);
        }
        step.out.notices.push(Notice::SessionEnded {
            peer,
            started_at: ended.started_at(),
            outcome,
            protocol: ended.session().selected().map(|(kind, _)| kind),
            stats: ended.session().stats(),
        });
        if !self.sessions.is_any_transferring() {
            self.resume_delta_fetch(peer, step)?;
        }
        // The slot of this session is free, and the received data may have settled other syncs.
        self.start_due_sessions(step)
    }

    fn on_converged(
        &mut self,
        peer: PeerId,
        root: Digest,
        session: &Session,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if let Some(theirs) = session.peer() {
            // Equal states cover the same deltas, whether or not the deltas themselves were sent.
            step.work.adopt(theirs);
            if root == step.work.state.root_hash()? {
                self.note_shared(step);
            }
            self.adopt_horizon(theirs, step)?;
        }
        if !root.is_zero() {
            self.on_peer_met(peer, step);
        }
        self.claims.on_equal(peer);
        self.peers.record(peer).on_converged(root);
        self.delta_fetch.mark_exhausted(peer);
        self.sync_queue.resolve(peer);
        Ok(())
    }

    /// Counts a failure of a peer. Gives the pause before the next session with it.
    fn pause_after_failure(
        &mut self,
        peer: PeerId,
        failed: FailedSession,
        step: &mut StepContext<'_, V>,
    ) -> Backoff {
        let pause = self.peers.on_failure(peer, failed, step.entropy);
        step.work.note_if(self.peers.is_at_longest_backoff(peer), Probe::LongestBackoff);
        pause
    }

    fn on_session_failed(
        &mut self,
        peer: PeerId,
        reason: &FailureReason,
        failed: FailedSession,
        step: &mut StepContext<'_, V>,
    ) {
        let known = self.peers.record(peer);
        let pending = match reason {
            FailureReason::Timeout => {
                known.on_silence();
                PendingReason::NoAnswer
            }
            FailureReason::Rejected(_) | FailureReason::NoCommonProtocol => PendingReason::Rejected,
            FailureReason::Unauthorized(_) => {
                known.on_unauthorized_deltas();
                PendingReason::DeltasRefused
            }
            _ => PendingReason::SessionFailed,
        };
        match reason {
            FailureReason::UnprovenHistory { claimed: dot }
            | FailureReason::Rejected(Rejection::AnotherHistory { delta: DeltaRef { dot, .. } }) => {
                self.ask_for_proof(peer, *dot, step);
            }
            FailureReason::Rejected(Rejection::StaleIncarnation { newest }) => {
                self.outgrow_incarnation(*newest, step);
            }
            _ => {}
        }
        let backoff = self.pause_after_failure(peer, failed, step);
        if reason.is_breach() || reason.is_final() {
            // The peer does not send the deltas, if it has them, or this replica may not accept them.
            self.delta_fetch.mark_exhausted(peer);
        }
        if reason.is_final() {
            // No further attempt could settle the sync. A later announcement of the peer may start a session,
            // after the pause.
            let now = step.now();
            self.peers.record(peer).rest(now, backoff);
            self.sync_queue.remove(peer);
        } else {
            self.enqueue_sync_after(peer, pending, backoff, step);
        }
    }

    /// Handles a session that ended without a failure and after which another one is needed. If such sessions follow
    /// each other and nothing changes, they count as failures, whatever the reason.
    fn on_sync_pending(
        &mut self,
        peer: PeerId,
        reason: RetryReason,
        failed: FailedSession,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        let root = step.work.state.root_hash()?;
        let (pending, least) = match reason {
            RetryReason::NewerWrites => (PendingReason::NewerWrites, SimDuration::ZERO),
            RetryReason::PeerRestarted => (PendingReason::PeerRestarted, SimDuration::ZERO),
            RetryReason::Yielded => (PendingReason::Yielded, AFTER_YIELD),
            RetryReason::PeerBehind => (PendingReason::PeerBehind, AFTER_BEHIND),
            RetryReason::ClockDrift => (PendingReason::ClockDrift, AFTER_DRIFT),
        };
        if matches!(reason, RetryReason::NewerWrites | RetryReason::PeerBehind) {
            self.peers.record(peer).on_answered();
        }
        if reason == RetryReason::ClockDrift {
            self.on_drift(peer, failed, step);
        } else if self.peers.record(peer).on_sync_pending(root) {
            step.work.note(Probe::Fruitless);
            let Backoff { pause, if_news } = self.pause_after_failure(peer, failed, step);
            let backoff = Backoff { pause: pause.max(least), if_news: if_news.max(least) };
            self.enqueue_sync_after(peer, pending, backoff, step);
        } else if least > SimDuration::ZERO {
            self.enqueue_sync_after(peer, pending, Backoff::of(least), step);
        } else {
            self.enqueue_sync(peer, pending, AFTER_NEW_WRITES, step);
        }
        Ok(())
    }

    /// Handles a session in which a stamp was ahead of one of the clocks. Only time brings a clock there, whatever else
    /// changes; until then another session is worth its cost only if the peer has something new.
    fn on_drift(&mut self, peer: PeerId, failed: FailedSession, step: &mut StepContext<'_, V>) {
        self.peers.record(peer).on_drift();
        let ahead = self.peer_history_ahead(peer, step.moment);
        step.out.notices.extend(ahead.map(Notice::AheadOfTime));
        let Backoff { pause, if_news } = self.pause_after_failure(peer, failed, step);
        let if_news = if_news.max(AFTER_DRIFT);
        let pause = self.drift_ends_in(peer, step).unwrap_or_else(|| pause.max(AFTER_DRIFT));
        let backoff = Backoff { pause, if_news: if_news.min(pause) };
        self.enqueue_sync_after(peer, PendingReason::ClockDrift, backoff, step);
    }
}
