//! How long a session may last, for what it transfers.

use syncline_sync::SessionStats;
use syncline_types::{SimDuration, SimTime, limits};

/// The time that each transferred record or delta is worth, either way.
const PER_ITEM: SimDuration = SimDuration::from_millis(10);
/// The time that each transferred KiB is worth: the slowest link that is supported carries it in that time.
const PER_KIB: SimDuration = SimDuration::from_millis(100);
/// The time that an answered request is worth even if it brought nothing, as on the way down a deep tree.
const PER_ROUND: SimDuration = SimDuration::from_millis(100);
/// How many answered requests count: as many as the deepest tree needs.
const ROUNDS: u64 = limits::MAX_ANCESTORS as u64 + 256;

/// The time that a session has left. It runs out by itself and is renewed, up to its full length, by what
/// the session transfers. A long transfer may thus take as long as it needs, while a peer that answers each
/// request at the last moment with next to nothing cannot hold a session place for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deadline {
    full: SimDuration,
    left: SimDuration,
    /// The time of the last account.
    at: SimTime,
    /// What had been transferred by then: items, KiB and rounds.
    items: u64,
    kib: u64,
    rounds: u64,
}

impl Deadline {
    /// The deadline of a session that starts at `now` and may stand still for `full`.
    pub(crate) const fn new(full: SimDuration, now: SimTime) -> Self {
        Self { full, left: full, at: now, items: 0, kib: 0, rounds: 0 }
    }

    /// Takes in the time and what the session has transferred so far. Says whether time is left.
    pub(crate) fn has_time_left(&mut self, now: SimTime, stats: &SessionStats) -> bool {
        self.left = self.left - now.since(self.at);
        self.at = now;
        // Charged before credited: what was transferred early does not pay for a standstill after it.
        if self.left == SimDuration::ZERO {
            return false;
        }
        let items =
            stats.records_received + stats.records_pushed + stats.deltas_received + stats.deltas_pushed;
        let kib = stats.bytes >> 10;
        let rounds = stats.round_trips.min(ROUNDS);
        let worth = PER_ITEM.times(items.saturating_sub(self.items))
            + PER_KIB.times(kib.saturating_sub(self.kib))
            + PER_ROUND.times(rounds.saturating_sub(self.rounds));
        self.items = items;
        self.kib = kib;
        self.rounds = rounds;
        self.left = (self.left + worth).min(self.full);
        debug_assert!(self.left <= self.full, "no transfer buys more than the full time");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: SimDuration = SimDuration::from_secs(60);

    /// How long a session lasts in which every round takes `pause` and transfers `items` of `bytes` each;
    /// `None` if longer than a day.
    fn lasts(pause: SimDuration, items: u64, bytes: u64) -> Option<SimDuration> {
        let mut deadline = Deadline::new(FULL, SimTime::ZERO);
        let mut now = SimTime::ZERO;
        let mut stats = SessionStats::default();
        while now < SimTime::from_secs(24 * 60 * 60) {
            now += pause;
            stats.round_trips += 1;
            stats.records_received += items;
            stats.bytes += items * bytes;
            if !deadline.has_time_left(now, &stats) {
                return Some(now.since(SimTime::ZERO));
            }
        }
        None
    }

    #[test]
    fn dripping_peer_runs_out_of_time() {
        let drip = lasts(SimDuration::from_millis(400), 1, 100).unwrap();
        assert!(drip < SimDuration::from_secs(120), "{drip}");
        assert!(lasts(SimDuration::from_millis(100), 0, 0).unwrap() < SimDuration::from_secs(600));
    }

    #[test]
    fn moving_transfer_never_runs_out() {
        assert_eq!(lasts(SimDuration::from_secs(5), 500, 100), None);
    }

    #[test]
    fn large_values_on_slow_link_count() {
        // 250 kB every twenty seconds.
        assert_eq!(lasts(SimDuration::from_secs(20), 1, 250_000), None);
        assert!(lasts(SimDuration::from_secs(20), 1, 25_000).is_some(), "a tenth of it is a drip");
    }

    #[test]
    fn fast_start_buys_no_standstill() {
        let mut deadline = Deadline::new(FULL, SimTime::ZERO);
        let stats = SessionStats { records_received: 1_000_000, ..SessionStats::default() };
        assert!(deadline.has_time_left(SimTime::from_secs(1), &stats));
        assert!(!deadline.has_time_left(SimTime::from_secs(61), &stats));
    }
}
