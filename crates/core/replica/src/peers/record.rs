//! What is known of one peer.

use super::jittered;
use syncline_sync::SessionId;
use syncline_types::{Digest, Entropy, ReplicaId, SimDuration, SimTime, canary};

/// Speed, health and last announced root of a peer. Lost in a crash; nothing but the pace depends on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PeerRecord {
    /// The highest incarnation seen.
    incarnation: u64,
    /// The latest session that the peer started with this replica.
    newest_session: SessionId,
    /// The replica that the peer said it is, in the last handshake that it started.
    replica: Option<ReplicaId>,
    /// The peer gave deltas that were refused: until it has converged with this replica, only states are
    /// compared with it.
    only_states: bool,
    /// The root that the peer last announced.
    root: Option<Digest>,
    /// Failed sessions in a row.
    failures: u32,
    /// Sessions in a row that ended without an answer in time; the peer may just be slow.
    silences: u32,
    /// Sessions in a row that changed nothing here and left another sync pending.
    fruitless: u32,
    /// The root of this replica after the last session that left another sync pending.
    root_when_fruitless: Digest,
    /// No session may start before this time.
    not_before: SimTime,
    /// The last session ended because the peer did not answer.
    is_silent: bool,
    /// Smoothed round-trip time and its variation, in microseconds (RFC 6298).
    round_trip: Option<(u64, u64)>,
}

const SHORTEST_TIMEOUT: SimDuration = SimDuration::from_millis(40);
const LONGEST_TIMEOUT: SimDuration = SimDuration::from_secs(60);
/// Sessions in a row that may change nothing here and leave another sync pending. A peer that goes on like
/// that announces writes and never shows them: this replica backs off from it.
const MAX_FRUITLESS: u32 = 3;

impl PeerRecord {
    /// Takes in the incarnation of a frame. Says whether the frame may be handled: one from before the last
    /// restart of its sender may contradict what the sender knows now.
    pub(crate) fn accept_incarnation(&mut self, incarnation: u64) -> bool {
        if incarnation < self.incarnation && !canary!(StaleFrameAccepted) {
            return false;
        }
        self.incarnation = incarnation;
        true
    }

    /// Takes in a handshake of `session`. Says whether it is the newest: an older one is a late copy of a
    /// handshake that its sender has given up.
    pub(crate) fn accept_session(&mut self, session: SessionId) -> bool {
        if session < self.newest_session {
            return false;
        }
        self.newest_session = session;
        true
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

    /// Takes in a measured round trip of a request that was sent once. The answer to a repeated request
    /// may belong to either sending (Karn's algorithm).
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

    /// How long to wait for the answer to the `attempt`-th sending of a request. Until a round trip was
    /// measured, each session that ended in silence doubles the time, so that a far peer is reached in the end.
    pub(crate) fn timeout(&self, attempt: u32, first: SimDuration, entropy: &mut dyn Entropy) -> SimDuration {
        let base = match self.round_trip {
            Some((mean, spread)) => SimDuration::from_micros(mean + 4 * spread),
            None => first.times(1 << self.silences.min(8)),
        };
        debug_assert!(attempt > 0, "attempts count from 1");
        let repeated = base.max(SHORTEST_TIMEOUT).times(1 << attempt.saturating_sub(1).min(3));
        jittered(repeated.min(LONGEST_TIMEOUT), entropy)
    }

    /// The peer can be reached now and could not before: its earlier silences say nothing any more.
    pub(crate) const fn on_reachable(&mut self) {
        self.on_heard();
        self.silences = 0;
    }

    /// A frame of the peer arrived. A peer that seemed gone is back, and may be asked at once.
    pub(crate) const fn on_heard(&mut self) {
        if self.is_silent {
            self.is_silent = false;
            self.failures = 0;
            self.not_before = SimTime::ZERO;
        }
    }

    /// A session went well.
    pub(crate) const fn on_success(&mut self) {
        self.failures = 0;
        self.fruitless = 0;
        self.root_when_fruitless = Digest::ZERO;
        self.not_before = SimTime::ZERO;
    }

    /// A session ended with equal states, whose root is `root`.
    pub(crate) const fn on_converged(&mut self, root: Digest) {
        self.root = Some(root);
        self.only_states = false;
        self.on_success();
    }

    /// Deltas of the peer did not pass the gate.
    pub(crate) const fn on_unauthorized_deltas(&mut self) {
        self.only_states = true;
    }

    /// A session ended with another sync pending, and `root` is ours now. Says whether that happens so
    /// often without an effect that it is a failure.
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

    /// A session ended without an answer: the measured round-trip time cannot be trusted any more.
    pub(crate) const fn on_silence(&mut self) {
        self.is_silent = true;
        self.silences = self.silences.saturating_add(1);
        self.round_trip = None;
    }

    /// A session failed. Gives the pause before the next one, which is twice the last pause.
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

    /// No session may start before `time`, whatever the peer announces meanwhile.
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
    use syncline_types::Choice;

    struct Lowest;

    impl Entropy for Lowest {
        fn below(&mut self, _: Choice, _: u64) -> u64 {
            0
        }
    }

    const FIRST: SimDuration = SimDuration::from_millis(400);

    #[test]
    fn rejects_stale_incarnation_and_session() {
        let mut peer = PeerRecord::default();
        assert!(peer.accept_incarnation(3) && peer.accept_incarnation(3) && !peer.accept_incarnation(2));
        assert!(peer.accept_session(SessionId(9)) && !peer.accept_session(SessionId(8)));
    }

    #[test]
    fn timeout_doubles_and_follows_round_trips() {
        let mut peer = PeerRecord::default();
        let timeout = |peer: &PeerRecord, attempt| peer.timeout(attempt, FIRST, &mut Lowest).as_millis();
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
        // The count goes back to zero with each success, so that the first four are no failures.
        assert_eq!(failed, [false, false, false, false, true, true]);
        assert!(!peer.on_sync_pending(Digest([2; 32])), "the state has changed");
    }
}
