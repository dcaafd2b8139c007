//! The record of one peer.

use super::jittered;
use syncline_sync::SessionId;
use syncline_types::{Digest, Entropy, ReplicaId, SimDuration, SimTime, canary};

/// Speed, health and last announced root of a peer. The record is lost in a crash; only the pace of syncs
/// depends on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PeerRecord {
    /// The highest incarnation seen.
    incarnation: u64,
    /// The latest session that the peer started with this replica.
    newest_session: SessionId,
    /// The replica id that the peer claimed in its last handshake.
    replica: Option<ReplicaId>,
    /// The replica id that its gossip suggests, until a handshake says it.
    suggested: Option<ReplicaId>,
    /// The peer sent deltas that were refused. Until a session with it has converged, only states are
    /// compared with it.
    only_states: bool,
    /// The root that the peer last announced.
    root: Option<Digest>,
    /// The number of consecutive failed sessions.
    failures: u32,
    /// The number of consecutive sessions that timed out; the peer may just be slow.
    silences: u32,
    /// The number of consecutive sessions that changed nothing here and left another sync pending.
    fruitless: u32,
    /// The root of this replica after the last session that left another sync pending.
    root_when_fruitless: Digest,
    /// No session may start before this time.
    not_before: SimTime,
    /// Whether the last session ended because the peer did not answer.
    is_silent: bool,
    /// Smoothed round-trip time and its variation, in microseconds (RFC 6298).
    round_trip: Option<(u64, u64)>,
}

const SHORTEST_TIMEOUT: SimDuration = SimDuration::from_millis(40);
/// The most consecutive sessions that may change nothing here and leave another sync pending. A peer that
/// exceeds this announces writes and never sends them, so this replica backs off from it.
const MAX_FRUITLESS: u32 = 3;

impl PeerRecord {
    /// Records the incarnation of a frame. A frame from before the last restart of its sender must not be handled,
    /// because it may contradict the sender's present state: then the newest incarnation is returned.
    pub(crate) fn accept_incarnation(&mut self, incarnation: u64) -> Result<(), u64> {
        if incarnation < self.incarnation && !canary!(StaleFrameAccepted) {
            return Err(self.incarnation);
        }
        self.incarnation = incarnation;
        Ok(())
    }

    /// Records a handshake of `session`, unless it is older than the newest one, which is returned then. An older
    /// handshake is a late copy whose sender has abandoned the session, or its sender has lost count of its starts.
    pub(crate) fn accept_session(&mut self, session: SessionId) -> Result<(), SessionId> {
        if session < self.newest_session {
            return Err(self.newest_session);
        }
        self.newest_session = session;
        Ok(())
    }

    /// The replica id of the peer, as far as anything tells it. No right follows from it.
    pub(crate) fn likely_replica(&self) -> Option<ReplicaId> {
        self.replica.or(self.suggested)
    }

    /// Records the replica id that gossip of the peer suggests.
    pub(crate) const fn suggest_replica(&mut self, replica: ReplicaId) {
        self.suggested = Some(replica);
    }

    pub(crate) const fn replica(&self) -> Option<ReplicaId> {
        self.replica
    }

    pub(crate) const fn set_replica(&mut self, replica: Option<ReplicaId>) {
        self.replica = replica;
    }

    pub(crate) const fn root(&self) -> Option<Digest> {
        self.root
    }

    pub(crate) const fn set_root(&mut self, root: Digest) {
        self.root = Some(root);
    }

    pub(crate) const fn compares_only_states(&self) -> bool {
        self.only_states
    }

    /// Records a measured round trip of a request that was sent once. The response to a retransmitted request
    /// may belong to either transmission (Karn's algorithm).
    pub(crate) fn on_round_trip(&mut self, span: SimDuration) {
        let sample = span.as_micros();
        self.silences = 0;
        // RFC 6298, section 2, with its α = 1/8 and β = 1/4.
        self.round_trip = Some(match self.round_trip {
            None => (sample, sample / 2),
            Some((mean, spread)) => ((mean * 7 + sample) / 8, (spread * 3 + mean.abs_diff(sample)) / 4),
        });
    }

    /// The smoothed round-trip time, in microseconds, once one was measured.
    pub(crate) fn round_trip_us(&self) -> Option<u64> {
        self.round_trip.map(|(mean, _)| mean)
    }

    /// The timeout of the `attempt`-th transmission of a request, before jitter and without an upper bound. Until
    /// a round trip was measured, each session that timed out doubles the timeout, so that a distant peer is
    /// eventually reached.
    pub(crate) fn timeout(&self, attempt: u32, first: SimDuration) -> SimDuration {
        let base = match self.round_trip {
            Some((mean, spread)) => SimDuration::from_micros(mean + 4 * spread),
            None => first.times(1 << self.silences.min(8)),
        };
        debug_assert!(attempt > 0, "attempts count from 1");
        base.max(SHORTEST_TIMEOUT).times(1 << attempt.saturating_sub(1).min(3))
    }

    /// Handles a peer that has become reachable: its earlier timeouts do not count any more.
    pub(crate) const fn on_reachable(&mut self) {
        self.on_heard();
        self.silences = 0;
    }

    /// Handles the arrival of a frame of the peer. A session with a peer that had not answered may start at
    /// once.
    pub(crate) const fn on_heard(&mut self) {
        if self.is_silent {
            self.is_silent = false;
            self.failures = 0;
            self.not_before = SimTime::ZERO;
        }
    }

    /// Handles a session that ended without a failure.
    pub(crate) const fn on_success(&mut self) {
        self.failures = 0;
        self.fruitless = 0;
        self.root_when_fruitless = Digest::ZERO;
        self.not_before = SimTime::ZERO;
    }

    /// Handles a session that ended with equal states, whose root is `root`.
    pub(crate) const fn on_converged(&mut self, root: Digest) {
        self.root = Some(root);
        self.only_states = false;
        self.on_success();
    }

    /// Handles deltas of the peer that did not pass the gate.
    pub(crate) const fn on_unauthorized_deltas(&mut self) {
        self.only_states = true;
    }

    /// Handles a session that left another sync pending; `root` is our root now. Returns whether this has
    /// happened so often without an effect that it counts as a failure.
    pub(crate) fn on_sync_pending(&mut self, root: Digest) -> bool {
        let fruitless = if root == self.root_when_fruitless { self.fruitless.saturating_add(1) } else { 0 };
        let failed = fruitless > MAX_FRUITLESS;
        if !failed {
            self.on_success();
        }
        self.fruitless = fruitless;
        self.root_when_fruitless = root;
        failed
    }

    /// Handles a session that timed out: the measured round-trip time cannot be trusted any more.
    pub(crate) const fn on_silence(&mut self) {
        self.is_silent = true;
        self.silences = self.silences.saturating_add(1);
        self.round_trip = None;
    }

    /// Handles a failed session. Returns the pause before the next session, which is twice the previous
    /// pause.
    pub(crate) fn on_failure(
        &mut self,
        min: SimDuration,
        max: SimDuration,
        entropy: &mut dyn Entropy,
    ) -> SimDuration {
        let pause = min.times(1 << self.failures.min(16)).min(max);
        debug_assert!(pause <= max, "the backoff is bounded");
        self.failures = if canary!(FailuresForgiven) { 0 } else { self.failures.saturating_add(1) };
        jittered(pause, entropy)
    }

    /// Whether the pause after the last failure was the longest one, after shorter ones.
    pub(crate) fn is_at_longest_backoff(&self, min: SimDuration, max: SimDuration) -> bool {
        self.failures > 1 && min.times(1 << (self.failures - 1).min(16)) >= max
    }

    /// Delays the next session until `time`, whatever the peer announces meanwhile.
    pub(crate) const fn rest_until(&mut self, time: SimTime) {
        self.not_before = time;
    }

    /// The time from which a session may start.
    pub(crate) const fn not_before(&self) -> SimTime {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SimDuration = SimDuration::from_millis(400);

    #[test]
    fn rejects_stale_incarnation_and_session() {
        let mut peer = PeerRecord::default();
        assert_eq!(
            [3, 3, 2].map(|incarnation| peer.accept_incarnation(incarnation)),
            [Ok(()), Ok(()), Err(3)]
        );
        assert_eq!(peer.accept_session(SessionId(9)), Ok(()));
        assert_eq!(peer.accept_session(SessionId(8)), Err(SessionId(9)));
    }

    #[test]
    fn timeout_doubles_and_follows_round_trips() {
        let mut peer = PeerRecord::default();
        let timeout = |peer: &PeerRecord, attempt| peer.timeout(attempt, FIRST).as_millis();
        assert_eq!([1, 2, 3].map(|attempt| timeout(&peer, attempt)), [400, 800, 1_600]);
        peer.on_silence();
        assert_eq!(timeout(&peer, 1), 800);
        peer.on_round_trip(SimDuration::from_millis(100));
        assert_eq!(timeout(&peer, 1), 300, "mean and four times the variation");
        assert_eq!(peer.round_trip_us(), Some(100_000));
    }

    #[test]
    fn hearing_silent_peer_ends_backoff() {
        let mut peer = PeerRecord::default();
        peer.rest_until(SimTime::from_secs(9));
        peer.on_heard();
        assert_eq!(peer.not_before(), SimTime::from_secs(9), "it was not silent");
        peer.on_silence();
        peer.on_heard();
        assert_eq!(peer.not_before(), SimTime::ZERO);
    }

    #[test]
    fn fruitless_sessions_become_failure() {
        let mut peer = PeerRecord::default();
        let root = Digest([1; 32]);
        let failed: Vec<bool> = (0..6).map(|_| peer.on_sync_pending(root)).collect();
        // Each success resets the count to zero, so the first four are no failures.
        assert_eq!(failed, [false, false, false, false, true, true]);
        assert!(!peer.on_sync_pending(Digest([2; 32])), "the state has changed");
    }
}
