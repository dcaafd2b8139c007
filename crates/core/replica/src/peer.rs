//! What is known of one peer.

use syncline_sync::SessionId;
use syncline_types::{Choice, Digest, Entropy, SimDuration, SimTime};

/// Speed, health and last known root of a peer. Lost in a crash; nothing depends on it but pace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Peer {
    /// The highest incarnation seen.
    pub(crate) incarnation: u64,
    /// The latest session that it started with us.
    pub(crate) newest_session: SessionId,
    /// The root it last said it had.
    pub(crate) root: Option<Digest>,
    /// Sessions failed in a row.
    failures: u32,
    /// Smoothed round-trip time and its variation, in microseconds (RFC 6298).
    round_trip: Option<(u64, u64)>,
}

const SHORTEST_TIMEOUT: SimDuration = SimDuration::from_millis(40);
const LONGEST_TIMEOUT: SimDuration = SimDuration::from_secs(5);

impl Peer {
    /// Takes in a measured round trip. Only of requests sent once: the answer to a repeated one
    /// cannot be told apart (Karn's algorithm).
    pub(crate) fn on_round_trip(&mut self, span: SimDuration) {
        let sample = span.as_micros();
        self.round_trip = Some(match self.round_trip {
            None => (sample, sample / 2),
            Some((mean, spread)) => ((mean * 7 + sample) / 8, (spread * 3 + mean.abs_diff(sample)) / 4),
        });
    }

    /// How long to wait for the answer to the `attempt`-th sending of a request.
    pub(crate) fn timeout(&self, attempt: u32, first: SimDuration, entropy: &mut dyn Entropy) -> SimDuration {
        let base =
            self.round_trip.map_or(first, |(mean, spread)| SimDuration::from_micros(mean + 4 * spread));
        let base = base.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT).times(1 << attempt.saturating_sub(1).min(3));
        jittered(base, entropy)
    }

    /// The peer said something: it is alive.
    pub(crate) const fn on_heard(&mut self) {
        self.failures = 0;
    }

    /// A session failed. Gives the pause before the next.
    pub(crate) fn on_failure(
        &mut self,
        min: SimDuration,
        max: SimDuration,
        entropy: &mut dyn Entropy,
    ) -> SimDuration {
        let pause = min.times(1 << self.failures.min(8)).min(max);
        self.failures = self.failures.saturating_add(1);
        jittered(pause, entropy)
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
