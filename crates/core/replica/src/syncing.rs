//! Sessions: starting those that are owed, answering peers', and what their ends mean.

use crate::deadline::Deadline;
use crate::event::{Notice, Refusal, Timer};
use crate::peer::jittered;
use crate::replica::{Replica, Step};
use crate::scheduler::SETTLE;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{
    FailureReason, Message, Outcome, Rejection, Request, RequestId, Response, RetryReason,
    SYNC_PROTOCOL_VERSION, Session, SessionId, SessionProgress, SyncHandshake, SyncProtocolKind, respond,
};
use syncline_types::{Hlc, PeerId, SimDuration, SimTime, canary};

/// A session that this replica initiated.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ActiveSession {
    session: Session,
    started_at: SimTime,
    deadline: Deadline,
    /// When the current request was first sent.
    asked_at: SimTime,
    /// The debt that it settles needs the peer's account of its deltas.
    forced: bool,
}

/// A sync that is owed with a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Debt {
    pub(crate) reason: &'static str,
    /// When it may be tried.
    pub(crate) due: SimTime,
    /// Equal roots do not settle it: the peer's account of its deltas is needed.
    pub(crate) forced: bool,
}

/// How long after a session another with the same peer may follow, if one side was written to.
const AGAIN: SimDuration = SimDuration::from_millis(50);
/// How long a peer that goes first is given to finish.
const AFTER_YIELD: SimDuration = SimDuration::from_millis(500);
/// How long clocks are given to come closer.
const AFTER_DRIFT: SimDuration = SimDuration::from_secs(1);
/// How long a peer that has more is given to come back.
const AFTER_BEHIND: SimDuration = SimDuration::from_secs(2);
/// How long a peer that gave all it had is given to come by more.
const AFTER_ALL: SimDuration = SimDuration::from_secs(1);

impl<V: ReadView> Replica<V> {
    /// Takes note that a sync with `peer` is owed, to be tried after about `pause`.
    pub(crate) fn owe(
        &mut self,
        peer: PeerId,
        reason: &'static str,
        pause: SimDuration,
        step: &mut Step<'_, V>,
    ) {
        if !self.reachable.contains(&peer) {
            return;
        }
        let not_before = self.peers.entry(peer).or_default().not_before();
        let due = not_before.max(step.now() + jittered(pause, step.entropy));
        let debt = self.owed.entry(peer).or_insert(Debt { reason, due, forced: false });
        debt.due = debt.due.min(due).max(not_before);
        self.set_owed_timer(step);
    }

    /// As [`Replica::owe`], and equal roots do not settle it.
    pub(crate) fn owe_forced(&mut self, peer: PeerId, reason: &'static str, step: &mut Step<'_, V>) {
        // One that gave all it had is not soon asked again.
        let pause = if self.exhausted.contains(&peer) { AFTER_ALL } else { SETTLE };
        self.owe(peer, reason, pause, step);
        if let Some(debt) = self.owed.get_mut(&peer) {
            debt.forced = true;
        }
    }

    /// As [`Replica::owe`], but nothing that is heard meanwhile may shorten the pause.
    fn owe_after(&mut self, peer: PeerId, reason: &'static str, pause: SimDuration, step: &mut Step<'_, V>) {
        let at = step.now() + pause;
        self.peers.entry(peer).or_default().rest_until(at);
        self.owe(peer, reason, pause, step);
    }

    /// How many sessions may be under way. A replica takes one snapshot at a time, and nothing beside it.
    fn places(&self) -> usize {
        if self.is_fresh() { 1 } else { self.config.max_sessions.max(1) }
    }

    /// Whether it has no state yet, or no more than it has written while it takes a snapshot.
    pub(crate) fn is_fresh(&self) -> bool {
        self.root.is_zero() || self.takes_snapshot
    }

    pub(crate) fn set_owed_timer(&self, step: &mut Step<'_, V>) {
        let idle = self.owed.iter().filter(|(peer, _)| !self.sessions.contains_key(peer));
        match idle.map(|(_, debt)| debt.due).min() {
            // With every place taken, the end of a session starts the next.
            Some(due) if self.sessions.len() < self.places() => {
                let at = due.max(step.now());
                step.set(Timer::Owed, at);
            }
            _ => step.cancel(Timer::Owed),
        }
    }

    /// Starts the session that has been due longest, unless its reason has gone.
    pub(crate) fn start_due_session(&mut self, step: &mut Step<'_, V>) -> Result<(), StorageError> {
        let root = step.work.state.root_hash()?;
        self.owed.retain(|peer, debt| {
            let settled = self.peers.get(peer).and_then(|peer| peer.root) == Some(root)
                || (canary!(SettledByAnyone) && self.peers.values().any(|peer| peer.root == Some(root)));
            debt.forced || !settled
        });
        let mut due: Vec<(SimTime, PeerId)> =
            self.owed.iter().map(|(&peer, debt)| (debt.due, peer)).collect();
        due.retain(|(due, peer)| *due <= step.now() && !self.sessions.contains_key(peer));
        due.sort_unstable();
        for (_, peer) in due {
            if self.sessions.len() < self.places() {
                self.start_session(peer, step)?;
            }
        }
        self.set_owed_timer(step);
        Ok(())
    }

    fn start_session(&mut self, peer: PeerId, step: &mut Step<'_, V>) -> Result<(), StorageError> {
        let ours = self.introduce(peer, step)?;
        self.sessions_started += 1;
        // Unique across restarts, so that an answer to an earlier life is not taken for ours.
        let id = SessionId(self.incarnation << 32 | self.sessions_started);
        let (session, request_id, request) = Session::start(id, ours);
        let now = step.now();
        // What is owed from now on is owed anew.
        let forced = self.owed.remove(&peer).is_some_and(|debt| debt.forced);
        let deadline = Deadline::new(self.config.session_deadline, now);
        let active = ActiveSession { session, started_at: now, deadline, asked_at: now, forced };
        self.sessions.insert(peer, active);
        step.out.notices.push(Notice::SessionStarted { peer });
        self.ask(peer, id, request_id, request, step);
        Ok(())
    }

    fn ask(
        &mut self,
        peer: PeerId,
        session: SessionId,
        id: RequestId,
        request: Request,
        step: &mut Step<'_, V>,
    ) {
        self.send(peer, Message::Request { session, id, request }, step);
        let attempts = self.sessions.get(&peer).map_or(1, |active| active.session.attempts());
        let known = self.peers.entry(peer).or_default();
        let patience = known.timeout(attempts, self.config.first_timeout, step.entropy);
        let at = step.now() + patience;
        step.set(Timer::Session(peer), at);
    }

    pub(crate) fn on_session_timeout(
        &mut self,
        peer: PeerId,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        let Some(active) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let progress = active.session.on_timeout();
        self.on_progress(peer, progress, step)
    }

    pub(crate) fn on_response(
        &mut self,
        from: PeerId,
        session: SessionId,
        id: RequestId,
        response: &Response,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        let Some(active) = self.sessions.get_mut(&from).filter(|active| active.session.id() == session)
        else {
            step.refuse(Refusal::Duplicate);
            return Ok(());
        };
        let first_try = active.session.attempts() == 1;
        if let Response::Handshake(reply) = response
            && active.session.is_in_handshake()
        {
            self.on_told(&reply.theirs, step)?;
        }
        let Some(active) = self.sessions.get_mut(&from) else { return Ok(()) };
        let progress = active.session.on_response(id, response, &mut step.work)?;
        if first_try && progress != SessionProgress::Ignored {
            let round_trip = step.now().since(active.asked_at);
            self.peers.entry(from).or_default().on_round_trip(round_trip);
        }
        self.on_progress(from, progress, step)
    }

    fn on_progress(
        &mut self,
        peer: PeerId,
        progress: SessionProgress,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        let overdue = self.sessions.get_mut(&peer).is_some_and(|active| {
            let stats = active.session.stats();
            !active.deadline.holds(step.moment.now, &stats)
        });
        match progress {
            SessionProgress::Send(..) if overdue => {
                self.end_session(peer, Outcome::Failed(FailureReason::TooLong), step)?;
            }
            SessionProgress::Ignored => step.refuse(Refusal::Duplicate),
            SessionProgress::Send(id, request) => {
                let Some(active) = self.sessions.get_mut(&peer) else { return Ok(()) };
                if active.session.attempts() == 1 {
                    active.asked_at = step.now();
                }
                let session = active.session.id();
                self.ask(peer, session, id, request, step);
            }
            SessionProgress::Done(outcome) => self.end_session(peer, outcome, step)?,
        }
        Ok(())
    }

    /// What the end of a session means: settled, owed again, or failed and owed after a pause.
    fn end_session(
        &mut self,
        peer: PeerId,
        outcome: Outcome,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        let Some(ActiveSession { session, started_at, forced, .. }) = self.sessions.remove(&peer) else {
            return Ok(());
        };
        step.cancel(Timer::Session(peer));
        match &outcome {
            Outcome::Converged { root } => {
                if let Some(theirs) = session.peer() {
                    step.work.adopt(theirs);
                    self.adopt_horizon(theirs, step)?;
                }
                let known = self.peers.entry(peer).or_default();
                known.root = Some(*root);
                known.only_states = false;
                known.on_success();
                if !self.buffer.is_empty() {
                    self.exhausted.insert(peer);
                }
                if self.owed.get(&peer).is_some_and(|debt| !debt.forced) {
                    self.owed.remove(&peer);
                }
            }
            Outcome::SyncPending(reason) => self.on_owed(peer, *reason, step)?,
            Outcome::Failed(reason) => {
                let known = self.peers.entry(peer).or_default();
                let words = match reason {
                    FailureReason::Timeout => {
                        known.on_silence();
                        "it did not answer"
                    }
                    FailureReason::Rejected(_) | FailureReason::NoCommonProtocol => "it refused to sync",
                    FailureReason::Unauthorized(_) => {
                        known.only_states = true;
                        "its deltas were refused"
                    }
                    _ => "the last session failed",
                };
                let pause = known.on_failure(self.config.backoff_min, self.config.backoff_max, step.entropy);
                let gives_nothing = reason.is_breach() || reason.is_final();
                if gives_nothing && !self.buffer.is_empty() {
                    // It would not give what it has, if it has any, or we may not take it.
                    self.exhausted.insert(peer);
                }
                if reason.is_final() {
                    // Nothing stands owed that another try could settle; what is heard of the peer later
                    // may start one, after the pause.
                    known.rest_until(step.moment.now + pause);
                    self.owed.remove(&peer);
                } else {
                    self.owe_after(peer, words, pause, step);
                }
            }
        }
        if let Some(debt) = self.owed.get_mut(&peer) {
            debt.forced |= forced && !matches!(outcome, Outcome::Converged { .. });
        }
        step.out.notices.push(Notice::SessionEnded {
            peer,
            started_at,
            outcome,
            protocol: session.selected().map(|(kind, _)| kind),
            stats: session.stats(),
        });
        if !self.is_syncing() {
            self.replay(peer, step)?;
            self.give_up_stranded(step);
            // What is still missing this peer could not give; another may.
            self.fetches = 0;
            if let Some(&other) = self.pick_peers(1, Some(peer), step.entropy).first() {
                self.fetch_missing(other, step);
            } else {
                self.fetch_missing(peer, step);
            }
        }
        self.start_due_session(step)
    }

    /// Lets go of deltas that wait for what no peer has.
    fn give_up_stranded(&mut self, step: &mut Step<'_, V>) {
        let is_hopeless = !self.reachable.is_empty()
            && self.reachable.iter().all(|peer| self.exhausted.contains(peer))
            && !self.buffer.is_empty();
        if is_hopeless {
            self.strand(step);
        }
    }

    pub(crate) fn strand(&mut self, step: &mut Step<'_, V>) {
        let deltas = self.buffer.drop_pending();
        self.exhausted.clear();
        step.cancel(Timer::Fetch);
        step.out.notices.push(Notice::DeltasStranded { deltas });
    }

    /// A session went well and another is needed.
    fn on_owed(
        &mut self,
        peer: PeerId,
        reason: RetryReason,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        let root = step.work.state.root_hash()?;
        let known = self.peers.entry(peer).or_default();
        let (words, pause) = match reason {
            RetryReason::NewerWrites => ("it was written to meanwhile", None),
            RetryReason::PeerRestarted => ("it has restarted", None),
            RetryReason::Yielded => ("it syncs with us first", Some(AFTER_YIELD)),
            RetryReason::PeerBehind => ("another peer has more", Some(AFTER_BEHIND)),
            RetryReason::NoMerge => ("a merge function is not registered", Some(AFTER_DRIFT)),
            RetryReason::ClockDrift => ("the clocks disagree", Some(AFTER_DRIFT)),
        };
        if let Some(pause) = pause {
            known.on_success();
            self.owe_after(peer, words, pause, step);
        } else if known.on_owed(root) {
            let pause = known.on_failure(self.config.backoff_min, self.config.backoff_max, step.entropy);
            self.owe_after(peer, words, pause, step);
        } else {
            self.owe(peer, words, AGAIN, step);
        }
        Ok(())
    }

    pub(crate) fn on_request(
        &mut self,
        from: PeerId,
        session: SessionId,
        id: RequestId,
        request: &Request,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        if let Some(rejection) = self.reject(from, request, step) {
            let response = Response::Rejected(rejection);
            self.send(from, Message::Response { session, id, response }, step);
            return Ok(());
        }
        if let Request::Handshake(theirs) = request {
            let peer = self.peers.entry(from).or_default();
            if session < peer.newest_session {
                // A late copy of a handshake that its sender has given up.
                step.refuse(Refusal::Duplicate);
                return Ok(());
            }
            peer.newest_session = session;
            peer.root = Some(theirs.root_hash);
            let empty = self.root.is_zero() && step.work.state.horizon() == Hlc::ZERO;
            let fresh = empty || self.takes_snapshot;
            match self.who_goes_first(from, fresh, theirs) {
                First::Us => {
                    if !self.sessions.contains_key(&from) {
                        self.owe(from, "we go first", SimDuration::ZERO, step);
                    }
                    let response = Response::Rejected(Rejection::Yield);
                    self.send(from, Message::Response { session, id, response }, step);
                    return Ok(());
                }
                First::Them if self.sessions.contains_key(&from) => {
                    self.end_session(from, Outcome::SyncPending(RetryReason::Yielded), step)?;
                }
                First::Them => {}
            }
        }
        if let Request::Handshake(theirs) = request {
            self.on_told(theirs, step)?;
        }
        let ours = self.describe(from, step)?;
        let response = respond(&mut step.work, &mut self.views, &ours, request)?;
        self.send(from, Message::Response { session, id, response }, step);
        if !self.is_syncing() && !self.buffer.is_empty() {
            // The peer may have brought what waiting deltas waited for. They are applied in a step of
            // their own: the answer names the root of a state that really is stored.
            let now = step.now();
            step.set(Timer::Fetch, now);
        }
        Ok(())
    }

    /// Whether any session is past its handshake: deltas wait until it is over (**I6**).
    pub(crate) fn is_syncing(&self) -> bool {
        self.sessions.values().any(|active| !active.session.is_in_handshake())
    }

    /// Whose session goes on, when a peer starts one. Both sides come to the same answer:
    ///
    /// 1. A session that is past its handshake goes on.
    /// 2. Of a fresh side and one with state, the fresh side goes first: it takes a snapshot, which
    ///    is verified before it is shown, rather than have its first state pushed to it. With equal roots
    ///    there is nothing to take, and it would not begin: whoever asks is answered.
    /// 3. If both have started one, that of the lower replica id goes on.
    fn who_goes_first(&self, peer: PeerId, fresh: bool, theirs: &SyncHandshake) -> First {
        let own = self.sessions.get(&peer);
        if own.is_some_and(|active| !active.session.is_in_handshake()) {
            return First::Us;
        }
        let speaks = |protocols: &[SyncProtocolKind]| protocols.contains(&SyncProtocolKind::Snapshot);
        let comparable = theirs.version == SYNC_PROTOCOL_VERSION
            && theirs.context == self.config.context
            && theirs.root_hash != self.root
            && speaks(&self.config.protocols)
            && speaks(&theirs.supported_protocols);
        match (fresh, theirs.has_state) {
            (true, true) if comparable => First::Us,
            (false, false) if comparable => First::Them,
            _ if own.is_some() && self.config.replica < theirs.replica => First::Us,
            _ => First::Them,
        }
    }
}

/// Whose session goes on.
enum First {
    Us,
    Them,
}
