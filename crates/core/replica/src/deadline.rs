//! How long a session may last, for what it brings.

use syncline_sync::SessionStats;
use syncline_types::{SimDuration, SimTime, limits};

/// What a record or a delta, either way, is worth.
const PER_ITEM: SimDuration = SimDuration::from_millis(10);
/// And each KiB of it: what a link carries that is as slow as a link may be.
const PER_KIB: SimDuration = SimDuration::from_millis(100);
/// What an answered request is worth that brought nothing, as on the way down a deep tree.
const PER_ROUND: SimDuration = SimDuration::from_millis(100);
/// How many of those count: as many as the deepest tree needs.
const ROUNDS: u64 = limits::MAX_ANCESTORS as u64 + 256;

/// The time that a session has left. It runs out by itself, and is renewed, up to where it began, by
/// what the session moves. So a long transfer may take as long as it needs, and a peer that answers
/// each request at the last moment, with next to nothing, does not hold its place for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deadline {
    full: SimDuration,
    left: SimDuration,
    at: SimTime,
    items: u64,
    kib: u64,
    rounds: u64,
}

impl Deadline {
    /// The deadline of a session that begins now and may stand still for `full`.
    pub(crate) const fn new(full: SimDuration, now: SimTime) -> Self {
        Self { full, left: full, at: now, items: 0, kib: 0, rounds: 0 }
    }

    /// Takes note of the time and of what the session has moved so far. Says whether time is left.
    pub(crate) fn holds(&mut self, now: SimTime, stats: &SessionStats) -> bool {
        self.left = self.left - now.since(self.at);
        self.at = now;
        if self.left == SimDuration::ZERO {
            return false;
        }
        let items =
            stats.records_received + stats.records_pushed + stats.deltas_received + stats.deltas_pushed;
        let (kib, rounds) = (stats.bytes >> 10, stats.round_trips.min(ROUNDS));
        let worth = PER_ITEM.times(items.saturating_sub(self.items))
            + PER_KIB.times(kib.saturating_sub(self.kib))
            + PER_ROUND.times(rounds.saturating_sub(self.rounds));
        (self.items, self.kib, self.rounds) = (items, kib, rounds);
        self.left = (self.left + worth).min(self.full);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: SimDuration = SimDuration::from_secs(60);

    /// How long a session lasts in which every round takes `pause` and moves `items` of so many bytes;
    /// `None` if longer than a day.
    fn lasts(pause: SimDuration, items: u64, bytes: u64) -> Option<SimDuration> {
        let mut deadline = Deadline::new(FULL, SimTime::ZERO);
        let (mut now, mut stats) = (SimTime::ZERO, SessionStats::default());
        while now < SimTime::from_secs(24 * 60 * 60) {
            now += pause;
            stats.round_trips += 1;
            stats.records_received += items;
            stats.bytes += items * bytes;
            if !deadline.holds(now, &stats) {
                return Some(now.since(SimTime::ZERO));
            }
        }
        None
    }

    #[test]
    fn a_peer_that_drips_runs_out_of_time() {
        let drip = lasts(SimDuration::from_millis(400), 1, 100).unwrap();
        assert!(drip < SimDuration::from_secs(120), "{drip}");
        assert!(lasts(SimDuration::from_millis(100), 0, 0).unwrap() < SimDuration::from_secs(600));
    }

    #[test]
    fn a_transfer_that_moves_lasts_as_long_as_it_needs() {
        assert_eq!(lasts(SimDuration::from_secs(5), 500, 100), None);
    }

    #[test]
    fn a_transfer_of_few_large_values_over_a_slow_link_lasts_as_long_as_it_needs() {
        // 250 kB every twenty seconds.
        assert_eq!(lasts(SimDuration::from_secs(20), 1, 250_000), None);
        assert!(lasts(SimDuration::from_secs(20), 1, 25_000).is_some(), "a tenth of it is a drip");
    }

    #[test]
    fn what_was_moved_quickly_does_not_buy_a_long_standstill() {
        let mut deadline = Deadline::new(FULL, SimTime::ZERO);
        let stats = SessionStats { records_received: 1_000_000, ..SessionStats::default() };
        assert!(deadline.holds(SimTime::from_secs(1), &stats));
        assert!(!deadline.holds(SimTime::from_secs(61), &stats));
    }
}
