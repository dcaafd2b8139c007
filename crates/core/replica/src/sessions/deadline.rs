//! How long a session may last, depending on what it transfers.

use syncline_sync::SessionStats;
use syncline_types::{SimDuration, SimTime, limits};

/// The credit for each record or delta that is transferred, in either direction.
const PER_ITEM: SimDuration = SimDuration::from_millis(10);
/// The credit for each transferred KiB: the time that the slowest supported link needs for it.
const PER_KIB: SimDuration = SimDuration::from_millis(100);
/// The credit for each answered request, even one without a transfer, as on the way down a deep tree.
const PER_ROUND: SimDuration = SimDuration::from_millis(100);
/// The most answered requests that are credited: as many as the deepest tree needs.
const ROUNDS: u64 = limits::MAX_ANCESTORS as u64 + 256;

/// How many times its full length a session may last beyond its deadline, where nothing waits for its end: a round trip
/// may take more than a second, and a deep tree needs thousands.
const OVERTIME: u64 = 64;

/// The time that a session has left. It decreases with time and is extended, up to its full length, by what
/// the session transfers. A long transfer may thus take as long as it needs. A peer that answers each request
/// at the last moment with next to nothing cannot occupy a session slot for ever: a session without time left is in
/// *overtime*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deadline {
    full: SimDuration,
    left: SimDuration,
    /// The time of the last update.
    at: SimTime,
    /// When the time ran out.
    overtime: Option<SimTime>,
    /// The items that had been transferred by then; KiB and rounds follow.
    items: u64,
    kib: u64,
    rounds: u64,
}

impl Deadline {
    /// The deadline of a session that starts at `now` and may stall for `full`.
    pub(crate) const fn new(full: SimDuration, now: SimTime) -> Self {
        Self { full, left: full, at: now, overtime: None, items: 0, kib: 0, rounds: 0 }
    }

    /// Updates the deadline with the present time and the statistics of the session. Returns whether time is
    /// left.
    pub(crate) fn has_time_left(&mut self, now: SimTime, stats: &SessionStats) -> bool {
        let ends_at = self.at + self.left;
        self.left = self.left - now.since(self.at);
        self.at = now;
        // The elapsed time is charged before the transfer is credited: a late transfer cannot revive a
        // session whose time has run out.
        if self.left == SimDuration::ZERO {
            // A host that has slept may have used up both at once.
            self.overtime = self.overtime.or(Some(ends_at));
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

    /// Whether the time had run out at the last update.
    pub(crate) const fn is_in_overtime(&self) -> bool {
        self.overtime.is_some()
    }

    /// When the time ran out, if it had at the last update.
    pub(crate) const fn overtime(&self) -> Option<SimTime> {
        self.overtime
    }

    /// Whether the overtime has run out as well.
    pub(crate) fn has_ended(&self, now: SimTime) -> bool {
        self.overtime.is_some_and(|since| now.since(since) >= self.full.times(OVERTIME))
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
