//! The record of one peer.

use super::jittered;
use crate::clock_guard::AnnouncedClock;
use syncline_sync::{KnownVectors, SessionId};
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
    /// The number of consecutive sessions in which the peer stopped answering in the middle.
    stuck: u32,
    /// When the first of these failed sessions started.
    failing_since: SimTime,
    /// No session may start before this time.
    not_before: SimTime,
    /// Once the peer announces another root, a session may start from this time on.
    not_before_news: SimTime,
    /// Whether the last session ended because the peer did not answer.
    is_silent: bool,
    /// Whether a frame of the peer has ended a backoff since a session with it last succeeded.
    was_forgiven: bool,
    /// The clocks that the peer has announced.
    clock: Option<AnnouncedClock>,
    /// Whether the last session ended because a stamp was ahead of a clock.
    waits_for_clocks: bool,
    /// Smoothed round-trip time and its variation, in microseconds (RFC 6298).
    round_trip: Option<(u64, u64)>,
    /// The version vectors that both sides know.
    vectors: KnownVectors,
}

const SHORTEST_TIMEOUT: SimDuration = SimDuration::from_millis(40);
/// The most consecutive sessions that may change nothing here and leave another sync pending. A peer that
/// exceeds this announces writes and never sends them, so this replica backs off from it.
const MAX_FRUITLESS: u32 = 3;
/// The number of consecutive failed sessions after which nothing is expected from a peer.
const GIVEN_UP: u32 = 4;
/// The most bytes that sessions may cost without progress in [`SETTLING`] after they have failed for that long.
const WASTED_BYTES: u64 = 4 << 10;
/// The number of consecutive sessions in which the peer stops answering in the middle after which it is not the link
/// that loses its answers: it does not take the request, or this replica does not take the answer.
const STUCK: u32 = 3;
/// How long sessions may cost more, less and less.
const SETTLING: SimDuration = SimDuration::from_secs(600);
/// The most doublings of a pause.
const MAX_DOUBLINGS: u32 = 16;

/// How long a replica does not start a session with a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Backoff {
    /// The pause, while the peer announces no other root.
    pub(crate) pause: SimDuration,
    /// The pause if the peer does, which is not longer.
    pub(crate) if_news: SimDuration,
}

impl Backoff {
    /// The same pause, whatever the peer announces.
    pub(crate) const fn of(pause: SimDuration) -> Self {
        Self { pause, if_news: pause }
    }
}

/// A session that has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FailedSession {
    pub(crate) started_at: SimTime,
    pub(crate) ended_at: SimTime,
    /// The bytes that it has cost without progress, for a reason that is not in the link.
    pub(crate) wasted: u64,
    /// The bytes that it has cost without progress because the peer stopped answering in the middle.
    pub(crate) stuck: u64,
}

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

    /// The version vectors that this replica and the peer both know.
    pub(crate) const fn vectors_mut(&mut self) -> &mut KnownVectors {
        &mut self.vectors
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

    /// Records the root that the peer announces.
    pub(crate) fn set_root(&mut self, root: Digest) {
        if self.root.replace(root) != Some(root) {
            self.not_before = self.not_before.min(self.not_before_news);
        }
    }

    /// The clocks that the peer has announced, once it has.
    pub(crate) const fn clock(&self) -> Option<AnnouncedClock> {
        self.clock
    }

    pub(crate) fn set_clock(&mut self, announced: AnnouncedClock) {
        self.clock = Some(self.clock.map_or(announced, |known| known.joined(announced)));
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
    pub(crate) fn on_reachable(&mut self) {
        self.was_forgiven = false;
        self.not_before = self.not_before.min(self.not_before_news);
        self.on_heard();
        self.silences = 0;
    }

    /// Handles the arrival of a frame of the peer. A session with a peer that had not answered may start at
    /// once. A peer that is heard and answers nothing gets this chance only once, until a session with it succeeds.
    pub(crate) const fn on_heard(&mut self) {
        if self.is_silent {
            self.forgive();
        }
        self.is_silent = false;
    }

    /// Ends the backoff, once until a session with the peer succeeds. Returns whether it did.
    const fn forgive(&mut self) -> bool {
        let is_first = !self.was_forgiven;
        if is_first {
            self.was_forgiven = true;
            self.failures = 0;
            self.not_before = SimTime::ZERO;
        }
        is_first
    }

    /// Handles a session that ended because a stamp was ahead of a clock.
    pub(crate) const fn on_drift(&mut self) {
        self.waits_for_clocks = true;
    }

    /// Handles clocks of which one was set: no stamp is ahead of them any more. Returns whether a session may start at
    /// once that had to wait for that.
    pub(crate) const fn on_clocks_agree(&mut self) -> bool {
        let waited = self.waits_for_clocks;
        self.waits_for_clocks = false;
        waited && self.forgive()
    }

    /// Handles a session that ended without a failure.
    pub(crate) const fn on_success(&mut self) {
        self.failures = 0;
        self.was_forgiven = false;
        self.waits_for_clocks = false;
        self.fruitless = 0;
        self.root_when_fruitless = Digest::ZERO;
        self.not_before = SimTime::ZERO;
    }

    /// Handles a session that ended with equal states, whose root is `root`.
    pub(crate) const fn on_converged(&mut self, root: Digest) {
        self.root = Some(root);
        self.only_states = false;
        self.on_answered();
        self.on_success();
    }

    /// Handles a session in which the peer has answered every request.
    pub(crate) const fn on_answered(&mut self) {
        self.stuck = 0;
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
    pub(crate) fn on_silence(&mut self) {
        // The peer may run another version now: the next handshake is one that every version can read.
        self.vectors = KnownVectors::default();
        self.is_silent = true;
        self.silences = self.silences.saturating_add(1);
        self.round_trip = None;
    }

    /// Handles a failed session. Returns the pause before the next session, which is twice the previous pause.
    ///
    /// After a session that has cost much without progress the pause is longer, unless the peer announces another root: in
    /// proportion to these bytes, and to the time for which sessions have failed. Whatever they cost, they thus cost
    /// less and less, and a peer that fails for a short while is asked again soon.
    pub(crate) fn on_failure(
        &mut self,
        min: SimDuration,
        max: SimDuration,
        failed: FailedSession,
        entropy: &mut dyn Entropy,
    ) -> Backoff {
        let FailedSession { started_at, ended_at, wasted, stuck } = failed;
        self.stuck = if stuck > 0 { self.stuck.saturating_add(1) } else { 0 };
        let wasted = wasted + if self.stuck >= STUCK { stuck } else { 0 };
        if self.failures == 0 {
            self.failing_since = started_at;
        }
        let pause = min.times(1 << self.failures.min(MAX_DOUBLINGS)).min(max);
        debug_assert!(pause <= max, "the backoff is bounded");
        self.failures = if canary!(FailuresForgiven) { 0 } else { self.failures.saturating_add(1) };
        let if_news = jittered(pause, entropy);
        let failing = ended_at.since(self.failing_since).min(SETTLING);
        let in_proportion = SimDuration::from_micros(failing.times(wasted).as_micros() / WASTED_BYTES);
        Backoff { pause: if_news.max(in_proportion), if_news }
    }

    /// Whether so many sessions in a row have failed that nothing is expected from the peer now.
    pub(crate) const fn is_given_up(&self) -> bool {
        self.failures >= GIVEN_UP
    }

    /// Whether the pause after the last failure was the longest one, after shorter ones.
    pub(crate) fn is_at_longest_backoff(&self, min: SimDuration, max: SimDuration) -> bool {
        self.failures > 1 && min.times(1 << (self.failures - 1).min(MAX_DOUBLINGS)) >= max
    }

    /// Delays the next session from `now` on.
    pub(crate) fn rest(&mut self, now: SimTime, Backoff { pause, if_news }: Backoff) {
        debug_assert!(if_news <= pause, "news do not delay a session");
        self.not_before = now + pause;
        self.not_before_news = now + if_news;
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
    const NINE: Backoff = Backoff::of(SimDuration::from_secs(9));

    /// Draws the lowest number.
    struct Lowest;

    impl Entropy for Lowest {
        fn below(&mut self, _: syncline_types::Choice, _: u64) -> u64 {
            0
        }
    }

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
        peer.rest(SimTime::ZERO, NINE);
        peer.on_heard();
        assert_eq!(peer.not_before(), SimTime::from_secs(9), "it was not silent");
        peer.on_silence();
        peer.on_heard();
        assert_eq!(peer.not_before(), SimTime::ZERO);
    }

    #[test]
    fn hearing_ends_backoff_once_until_success() {
        let mut peer = PeerRecord::default();
        let silent = |peer: &mut PeerRecord| {
            peer.on_silence();
            peer.rest(SimTime::ZERO, NINE);
            peer.on_heard();
            peer.not_before() == SimTime::ZERO
        };
        assert!(silent(&mut peer) && !silent(&mut peer), "it is heard, and answers nothing");
        peer.on_success();
        assert!(silent(&mut peer) && !silent(&mut peer));
        peer.on_reachable();
        assert!(silent(&mut peer), "it was away");
    }

    #[test]
    fn clocks_that_agree_end_backoff_once() {
        let mut peer = PeerRecord::default();
        peer.rest(SimTime::ZERO, NINE);
        assert!(!peer.on_clocks_agree(), "it did not wait for clocks");
        peer.on_drift();
        assert!(peer.on_clocks_agree() && peer.not_before() == SimTime::ZERO);
        peer.on_drift();
        assert!(!peer.on_clocks_agree(), "its clocks go back and forth");
    }

    /// The pauses in milliseconds after a session of a second that ends at `ended_at`.
    fn pauses(peer: &mut PeerRecord, ended_at: u64, (wasted, stuck): (u64, u64)) -> (u64, u64) {
        let [min, max] = [SimDuration::from_millis(250), SimDuration::from_secs(600)];
        let ended_at = SimTime::from_secs(ended_at);
        let started_at = SimTime::from_secs(ended_at.as_millis() / 1_000 - 1);
        let failed = FailedSession { started_at, ended_at, wasted, stuck };
        let backoff = peer.on_failure(min, max, failed, &mut Lowest);
        (backoff.pause.as_millis(), backoff.if_news.as_millis())
    }

    #[test]
    fn pauses_grow_with_failures() {
        let mut peer = PeerRecord::default();
        let found = [2, 4, 6].map(|ended_at| pauses(&mut peer, ended_at, (0, 0)));
        assert_eq!(found, [(250, 250), (500, 500), (1_000, 1_000)]);
        assert!(!peer.is_given_up());
        pauses(&mut peer, 8, (0, 0));
        assert!(peer.is_given_up());
        assert_eq!((0..20).map(|_| pauses(&mut peer, 9, (0, 0))).last(), Some((600_000, 600_000)));
        peer.on_success();
        assert!(!peer.is_given_up());
        assert_eq!(pauses(&mut peer, 99, (0, 0)), (250, 250));
    }

    #[test]
    fn link_that_loses_answers_is_tried_again_soon() {
        let mut peer = PeerRecord::default();
        let mut after = |ended_at, stuck| pauses(&mut peer, ended_at, (0, stuck)).0;
        assert_eq!([2, 4].map(|ended_at| after(ended_at, 1 << 20)), [250, 500]);
        assert_eq!(after(6, 0), 1_000, "the handshake was lost");
        assert_eq!([8, 10].map(|ended_at| after(ended_at, 1 << 20)), [2_000, 4_000]);
        assert_eq!(after(12, 4 << 10), 11_000, "it is not the link");
    }

    #[test]
    fn costly_failures_are_rarer_until_peer_has_news() {
        let mut peer = PeerRecord::default();
        assert_eq!(pauses(&mut peer, 2, (1 << 20, 0)), (256_000, 250), "a second, and 256 times 4 KiB");
        assert_eq!(pauses(&mut peer, 602, (8 << 10, 0)), (2 * 600_000, 500), "4 KiB in ten minutes");
        peer.set_root(Digest([1; 32]));
        peer.rest(SimTime::ZERO, Backoff { pause: NINE.pause, if_news: SimDuration::from_secs(2) });
        let mut heard = |root| {
            peer.set_root(Digest([root; 32]));
            peer.not_before()
        };
        assert_eq!([1, 2].map(&mut heard), [9, 2].map(SimTime::from_secs));
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
