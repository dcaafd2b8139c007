//! What is known of one peer.

use syncline_sync::SessionId;
use syncline_types::{Choice, Digest, Entropy, ReplicaId, SimDuration, SimTime, canary};

/// Speed, health and last known root of a peer. Lost in a crash; nothing depends on it but pace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Peer {
    /// The highest incarnation seen.
    pub(crate) incarnation: u64,
    /// The latest session that it started with us.
    pub(crate) newest_session: SessionId,
    /// Who it said it is, in the last handshake that it began.
    pub(crate) replica: Option<ReplicaId>,
    /// It gave deltas that were refused: until it has converged with us, only states are compared.
    pub(crate) only_states: bool,
    /// The root it last said it had.
    pub(crate) root: Option<Digest>,
    /// Sessions that went wrong in a row.
    failures: u32,
    /// Sessions in a row that ended because it did not answer in time; its answers may just be slow.
    silences: u32,
    /// Sessions in a row that changed nothing here and left another owed, and our root after the last.
    fruitless: (u32, Digest),
    /// No session may start before.
    not_before: SimTime,
    /// The last session ended because it did not answer.
    is_silent: bool,
    /// Smoothed round-trip time and its variation, in microseconds (RFC 6298).
    round_trip: Option<(u64, u64)>,
}

const SHORTEST_TIMEOUT: SimDuration = SimDuration::from_millis(40);
/// Sessions that change nothing here and leave another owed, before a peer is left alone for a while: it
/// says that it was written to, and never shows what.
const MAX_FRUITLESS: u32 = 3;
const LONGEST_TIMEOUT: SimDuration = SimDuration::from_secs(60);

impl Peer {
    /// Takes in a measured round trip. Only of requests sent once: the answer to a repeated one
    /// cannot be told apart (Karn's algorithm).
    pub(crate) fn on_round_trip(&mut self, span: SimDuration) {
        let sample = span.as_micros();
        self.silences = 0;
        self.round_trip = Some(match self.round_trip {
            None => (sample, sample / 2),
            Some((mean, spread)) => ((mean * 7 + sample) / 8, (spread * 3 + mean.abs_diff(sample)) / 4),
        });
    }

    /// The smoothed round-trip time, in microseconds, once one was measured.
    pub(crate) fn round_trip_us(&self) -> Option<u64> {
        self.round_trip.map(|(mean, _)| mean)
    }

    /// How long to wait for the answer to the `attempt`-th sending of a request. Until an answer has
    /// been timed, each session that ended in silence doubles it: a far peer is found in the end.
    pub(crate) fn timeout(&self, attempt: u32, first: SimDuration, entropy: &mut dyn Entropy) -> SimDuration {
        let base = match self.round_trip {
            Some((mean, spread)) => SimDuration::from_micros(mean + 4 * spread),
            None => first.times(1 << self.silences.min(8)),
        };
        let repeated = base.max(SHORTEST_TIMEOUT).times(1 << attempt.saturating_sub(1).min(3));
        jittered(repeated.min(LONGEST_TIMEOUT), entropy)
    }

    /// The peer can be reached now, and could not before: how long it was silent says nothing any more.
    pub(crate) const fn on_reachable(&mut self) {
        self.on_heard();
        self.silences = 0;
    }

    /// The peer said something. If it was thought gone, it is back.
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
        self.fruitless = (0, Digest::ZERO);
        self.not_before = SimTime::ZERO;
    }

    /// A session ended with another owed, and `root` is ours now. Says whether that happens so often,
    /// without anything coming of it, that it is a failure.
    pub(crate) fn on_owed(&mut self, root: Digest) -> bool {
        let (times, before) = self.fruitless;
        let times = if root == before { times.saturating_add(1) } else { 0 };
        let failed = times > MAX_FRUITLESS;
        if !failed {
            self.on_success();
        }
        self.fruitless = (times, root);
        failed
    }

    /// A session ended without an answer: what was known of the peer's speed is not to be trusted.
    pub(crate) const fn on_silence(&mut self) {
        self.is_silent = true;
        self.silences = self.silences.saturating_add(1);
        self.round_trip = None;
    }

    /// A session went wrong. Gives the pause before the next: twice the last one.
    pub(crate) fn on_failure(
        &mut self,
        min: SimDuration,
        max: SimDuration,
        entropy: &mut dyn Entropy,
    ) -> SimDuration {
        let pause = min.times(1 << self.failures.min(16)).min(max);
        self.failures = if canary!(FailuresForgiven) { 0 } else { self.failures.saturating_add(1) };
        jittered(pause, entropy)
    }

    /// Nothing may start before `time`, whatever else is heard meanwhile.
    pub(crate) const fn rest_until(&mut self, time: SimTime) {
        self.not_before = time;
    }

    /// When a session may start.
    pub(crate) const fn not_before(&self) -> SimTime {
        self.not_before
    }
}

/// `span`, up to a quarter longer, so that replicas do not act in step.
pub(crate) fn jittered(span: SimDuration, entropy: &mut dyn Entropy) -> SimDuration {
    span + SimDuration::from_micros(entropy.below(Choice::TimerJitter, span.as_micros() / 4))
}

/// A time between `low` and `high` from `now`.
pub(crate) fn within(
    now: SimTime,
    low: SimDuration,
    high: SimDuration,
    entropy: &mut dyn Entropy,
) -> SimTime {
    now + SimDuration::from_micros(entropy.between(Choice::TimerJitter, low.as_micros(), high.as_micros()))
}
