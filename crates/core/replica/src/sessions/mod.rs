//! The sessions in progress that this replica has initiated: at most one for each peer.

mod deadline;
mod precedence;

pub(crate) use precedence::{OwnSide, Precedence, precedence};

use deadline::Deadline;
use std::collections::BTreeMap;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{
    FailureReason, Outcome, Request, RequestId, Response, RetryReason, Session, SessionId, SessionProgress,
    SyncHandshake, Transaction,
};
use syncline_types::{Digest, InternalError, PeerId, SimDuration, SimTime};

/// A session that this replica initiated.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ActiveSession {
    session: Session,
    started_at: SimTime,
    deadline: Deadline,
    /// When the current request was first sent.
    asked_at: SimTime,
    /// Whether the pending sync is forced: it needs the peer's handshake even if the roots are equal.
    forced: bool,
    /// The root of this replica when the session started.
    root_before: Digest,
    /// The bytes of all frames that the two sides have exchanged meanwhile, also of those that were refused.
    traffic: u64,
    /// The bytes of all transmissions of the current request.
    request: u64,
    /// The bytes of the frames of the peer that could not be read since the current request was first sent.
    refused: u64,
}

impl ActiveSession {
    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) const fn started_at(&self) -> SimTime {
        self.started_at
    }

    /// Whether only a converged session settles the pending sync.
    pub(crate) const fn is_forced(&self) -> bool {
        self.forced
    }

    /// The bytes that the session has cost without progress, given how it has ended and the root of this replica now.
    pub(crate) fn wasted_bytes(&self, outcome: &Outcome, root: Digest) -> u64 {
        let stats = self.session.stats();
        let moved =
            stats.records_received + stats.records_pushed + stats.deltas_received + stats.deltas_pushed > 0;
        match outcome {
            Outcome::Converged { .. } => 0,
            // What is ahead of a clock is sent again.
            Outcome::SyncPending(RetryReason::ClockDrift) => self.traffic,
            Outcome::Failed(FailureReason::Timeout) => 0,
            // The next session continues from what was transferred.
            Outcome::Failed(FailureReason::TooLong) if moved => 0,
            _ if root == self.root_before => self.traffic,
            _ => 0,
        }
    }

    /// The bytes around the request on which the session got stuck: its transmissions, and what came from the peer and
    /// could not be read. The peer has answered the handshake and then no more, or with what could not be read.
    pub(crate) fn stuck_bytes(&self, outcome: &Outcome) -> u64 {
        let has_answered = self.session.selected().is_some() || self.refused > 0;
        let is_stuck = *outcome == Outcome::Failed(FailureReason::Timeout) && has_answered;
        if is_stuck { self.request.saturating_add(self.refused) } else { 0 }
    }
}

/// The effect of a response on its session.
pub(crate) struct Answered {
    pub(crate) progress: SessionProgress,
    /// The time since the request was sent, if the response belongs to a single transmission.
    pub(crate) round_trip: Option<SimDuration>,
}

/// The sessions in progress, by peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionTable {
    active: BTreeMap<PeerId, ActiveSession>,
    /// The number of sessions started in this incarnation.
    started: u64,
    /// What the number of each session of this start is above the count: random, since two lives of one replica may have
    /// the same incarnation.
    offset: u32,
}

/// How many sessions may go on beyond their deadlines at once.
const MAX_IN_OVERTIME: usize = 4;

/// The invariant that callers of [`SessionTable::end`] and [`SessionTable::on_response`] rely on.
const IS_ACTIVE: &str = "a session stays in the table until it is ended";

impl SessionTable {
    pub(crate) const fn active(&self) -> &BTreeMap<PeerId, ActiveSession> {
        &self.active
    }

    /// The incarnation in which a session was started.
    pub(crate) const fn incarnation_of(session: SessionId) -> u64 {
        session.0 >> 32
    }

    /// Offsets of session numbers are below this, which leaves as many numbers.
    pub(crate) const OFFSETS: u64 = 1 << 31;

    /// Sets what the numbers of sessions are above their count. Once a session has started the numbers go on, since they
    /// must ascend.
    pub(crate) fn set_offset(&mut self, offset: u32) {
        debug_assert!(u64::from(offset) < Self::OFFSETS, "an offset leaves room for sessions");
        if self.started == 0 {
            self.offset = offset;
        }
    }

    /// The number of the latest session, or the offset if there was none.
    pub(crate) fn latest_number(&self) -> u64 {
        u64::from(self.offset) + self.started
    }

    pub(crate) fn len(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn contains(&self, peer: PeerId) -> bool {
        self.active.contains_key(&peer)
    }

    /// The peers with a session in progress, in ascending order.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.active.keys().copied()
    }

    /// Whether the session with a peer is still in its handshake; `None` if there is no session.
    pub(crate) fn is_in_handshake(&self, peer: PeerId) -> Option<bool> {
        Some(self.active.get(&peer)?.session.is_in_handshake())
    }

    /// Whether any session is past its handshake and may change the state, so that deltas wait for its end. For a session in
    /// overtime they do not, unless it brings the state that they need.
    pub(crate) fn is_any_transferring(&self) -> bool {
        self.active.values().any(|ActiveSession { session, deadline, .. }| {
            !session.is_in_handshake() && (!deadline.is_in_overtime() || session.takes_snapshot())
        })
    }

    /// Starts a session with `peer`, which may stall for `patience`. Returns its first request.
    pub(crate) fn start(
        &mut self,
        peer: PeerId,
        incarnation: u64,
        ours: SyncHandshake,
        forced: bool,
        patience: SimDuration,
        now: SimTime,
    ) -> (SessionId, RequestId, Request) {
        debug_assert!(!self.active.contains_key(&peer), "there is at most one session for each peer");
        self.started += 1;
        debug_assert!(self.latest_number() >> 32 == 0, "session numbers do not reach into the incarnation");
        // The id is unique across restarts, so a response to an earlier incarnation is not mistaken for a
        // response to this one.
        let id = SessionId(incarnation << 32 | self.latest_number());
        let root_before = ours.root_hash;
        let (session, request_id, request) = Session::start(id, ours);
        let started = ActiveSession {
            session,
            started_at: now,
            deadline: Deadline::new(patience, now),
            asked_at: now,
            forced,
            root_before,
            traffic: 0,
            request: 0,
            refused: 0,
        };
        self.active.insert(peer, started);
        (id, request_id, request)
    }

    /// The number of transmissions of the current request to `peer`.
    pub(crate) fn attempts(&self, peer: PeerId) -> u32 {
        self.active.get(&peer).map_or(1, |active| active.session.attempts())
    }

    /// The request to `peer` that is not answered yet.
    pub(crate) fn outstanding(&self, peer: PeerId) -> Option<(RequestId, Request)> {
        self.active.get(&peer)?.session.outstanding()
    }

    /// Whether `session` is the session in progress with `peer`.
    pub(crate) fn is_current(&self, peer: PeerId, session: SessionId) -> bool {
        self.active.get(&peer).is_some_and(|active| active.session.id() == session)
    }

    /// Handles the timeout of the current request to `peer`. `None` if there is no session.
    pub(crate) fn on_timeout(&mut self, peer: PeerId) -> Option<SessionProgress> {
        Some(self.active.get_mut(&peer)?.session.on_timeout())
    }

    /// Passes a response to the session with `peer`, which must be in progress.
    pub(crate) fn on_response<V: ReadView>(
        &mut self,
        peer: PeerId,
        id: RequestId,
        response: &Response,
        work: &mut Transaction<V>,
        now: SimTime,
    ) -> Result<Answered, StorageError> {
        let Some(active) = self.active.get_mut(&peer) else {
            debug_assert!(false, "{IS_ACTIVE}");
            return Err(InternalError::broken(IS_ACTIVE).into());
        };
        let is_first_attempt = active.session.attempts() == 1;
        let progress = active.session.on_response(id, response, work)?;
        let is_timed = is_first_attempt && progress != SessionProgress::Ignored;
        let round_trip = is_timed.then(|| now.since(active.asked_at));
        Ok(Answered { progress, round_trip })
    }

    /// Charges the time since the last call to the deadline of the session with `peer`, and credits what it
    /// has transferred. Returns whether the session has run out of time.
    pub(crate) fn is_overdue(&mut self, peer: PeerId, now: SimTime) -> bool {
        self.active.get_mut(&peer).is_some_and(|active| {
            let stats = active.session.stats();
            !active.deadline.has_time_left(now, &stats)
        })
    }

    /// Whether the session with `peer`, which has run out of time, may go on beyond its deadline as far as the other
    /// sessions and the time are concerned. If there are too many of them, the one that has done so for longest may not.
    pub(crate) fn has_overtime(&self, peer: PeerId, now: SimTime) -> bool {
        let in_overtime =
            self.active.iter().filter_map(|(peer, active)| Some((active.deadline.overtime()?, *peer)));
        let is_longest = in_overtime.min().is_some_and(|(_, longest)| longest == peer);
        let are_few = self.len() - self.in_time() <= MAX_IN_OVERTIME;
        (are_few || !is_longest)
            && self.active.get(&peer).is_some_and(|active| !active.deadline.has_ended(now))
    }

    /// The number of sessions that have not run out of time.
    pub(crate) fn in_time(&self) -> usize {
        self.active.values().filter(|active| !active.deadline.is_in_overtime()).count()
    }

    /// Records that the session with `peer` sends its next request, or retransmits the current one. Returns
    /// the id of the session.
    pub(crate) fn on_request_sent(&mut self, peer: PeerId, now: SimTime) -> Result<SessionId, InternalError> {
        let Some(active) = self.active.get_mut(&peer) else {
            debug_assert!(false, "{IS_ACTIVE}");
            return Err(InternalError::broken(IS_ACTIVE));
        };
        if active.session.attempts() == 1 {
            active.asked_at = now;
        }
        Ok(active.session.id())
    }

    /// Counts a frame from `peer`, if a session with it is in progress.
    pub(crate) fn count_received(&mut self, peer: PeerId, bytes: usize) {
        if let Some(active) = self.active.get_mut(&peer) {
            active.traffic = active.traffic.saturating_add(bytes as u64);
        }
    }

    /// Counts a transmission of the current request to `peer`, if a session with it is in progress.
    pub(crate) fn count_sent(&mut self, peer: PeerId, bytes: usize) {
        if let Some(active) = self.active.get_mut(&peer) {
            if active.session.attempts() == 1 {
                active.request = 0;
                active.refused = 0;
            }
            active.traffic = active.traffic.saturating_add(bytes as u64);
            active.request = active.request.saturating_add(bytes as u64);
        }
    }

    /// Counts a frame from `peer` that could not be read, if a session with it is in progress.
    pub(crate) fn count_refused(&mut self, peer: PeerId, bytes: usize) {
        if let Some(active) = self.active.get_mut(&peer) {
            active.refused = active.refused.saturating_add(bytes as u64);
        }
    }

    /// Removes the session with `peer`, which must be in progress, from the table.
    pub(crate) fn end(&mut self, peer: PeerId) -> Result<ActiveSession, InternalError> {
        let ended = self.active.remove(&peer);
        debug_assert!(ended.is_some(), "{IS_ACTIVE}");
        ended.ok_or_else(|| InternalError::broken(IS_ACTIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_storage::ApplyContext;
    use syncline_store::MemoryStore;
    use syncline_sync::{DeltaLog, SyncProtocolKind, build_handshake};
    use syncline_types::{ContextId, Moment, ReplicaId};

    const A: PeerId = PeerId(1);
    const PATIENCE: SimDuration = SimDuration::from_secs(10);

    fn handshake() -> SyncHandshake {
        let context = ApplyContext::new(Moment::at(SimTime::ZERO));
        let mut work = Transaction::begin(MemoryStore::default(), DeltaLog::default(), context).unwrap();
        let protocols = SyncProtocolKind::EXECUTABLE;
        let described = work.describe(ContextId::default(), ReplicaId::from_u64(1), &protocols).unwrap();
        build_handshake(&described)
    }

    #[test]
    fn session_ids_differ_across_incarnations() {
        let mut table = SessionTable::default();
        let (first, ..) = table.start(A, 1, handshake(), false, PATIENCE, SimTime::ZERO);
        assert!(table.is_current(A, first) && !table.is_current(PeerId(2), first));
        assert!(table.end(A).is_ok_and(|ended| !ended.is_forced()));
        assert!(!table.is_current(A, first));
        let (second, ..) = table.start(A, 1, handshake(), true, PATIENCE, SimTime::ZERO);
        let mut restarted = SessionTable::default();
        let (third, ..) = restarted.start(A, 2, handshake(), false, PATIENCE, SimTime::ZERO);
        assert!(first < second && second < third, "later sessions have higher ids");
        assert!(table.end(A).is_ok_and(|ended| ended.is_forced()));
    }

    #[test]
    fn unanswered_session_times_out() {
        let mut table = SessionTable::default();
        assert_eq!(table.on_timeout(A), None);
        table.start(A, 1, handshake(), false, PATIENCE, SimTime::ZERO);
        assert_eq!((table.attempts(A), table.is_in_handshake(A)), (1, Some(true)));
        assert!(matches!(table.on_timeout(A), Some(SessionProgress::Send(..))));
        assert_eq!(table.attempts(A), 2);
        assert!(!table.is_overdue(A, SimTime::from_secs(9)) && table.is_overdue(A, SimTime::from_secs(10)));
    }

    #[test]
    fn overtime_leaves_places_and_ends() {
        let mut table = SessionTable::default();
        let late = SimTime::from_secs(10);
        for number in 0..=4 {
            let peer = PeerId(number);
            table.start(peer, 1, handshake(), false, PATIENCE, SimTime::ZERO);
            assert_eq!((table.len(), table.in_time()), (number as usize + 1, 1));
            assert!(table.is_overdue(peer, late));
            assert_eq!(table.in_time(), 0);
            assert!(table.has_overtime(peer, late));
        }
        assert!(!table.has_overtime(PeerId(0), late), "five at once are too many");
        assert!(table.end(PeerId(0)).is_ok());
        assert!(
            table.has_overtime(A, late + PATIENCE.times(63))
                && !table.has_overtime(A, late + PATIENCE.times(64))
        );
    }
}
