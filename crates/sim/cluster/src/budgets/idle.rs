//! The traffic of nodes that have nothing to say to each other.

use crate::budgets::{Budget, OverBudget};
use syncline_types::{SimDuration, SimTime};

/// The most peers that count.
const PEERS: u64 = 64;
/// Bytes that each node may send to each peer in each of the longest pauses of replicas, while states differ and nothing
/// can be done about it: heartbeats, and sessions that are tried less and less often.
const DIFFERING: u64 = 16 << 10;
/// Bytes that each node may send to each peer in each of the longest pauses of replicas, while all states are equal:
/// heartbeats.
const EQUAL: u64 = 2 << 10;
/// Pauses are shorter at first: as many more count.
const SHORTER: u64 = 2;

/// The bytes that all nodes have sent since the last progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdleTraffic {
    since: SimTime,
    /// The bytes that had been sent by then.
    sent_before: u64,
}

impl IdleTraffic {
    /// The run makes progress, with so many bytes sent so far.
    pub(crate) const fn on_progress(&mut self, now: SimTime, sent: u64) {
        *self = Self { since: now, sent_before: sent };
    }

    /// Whether so many bytes may be too many: a quick test before [`IdleTraffic::check`].
    pub(crate) const fn is_heavy(&self, sent: u64) -> bool {
        sent - self.sent_before > DIFFERING
    }

    /// Checks the traffic since the last progress, while states differ. `pause` is the longest pause of replicas, and
    /// `stored` are the bytes that all nodes have stored so far: a session may have to compare all of them before it
    /// finds out that nothing can be done.
    pub(crate) fn check(
        &self,
        now: SimTime,
        sent: u64,
        replicas: u64,
        pause: SimDuration,
        stored: u64,
    ) -> Option<OverBudget> {
        self.check_at(DIFFERING, (now, sent), replicas, pause, stored)
    }

    /// Checks the traffic since the last progress, while all states are equal: no node has a reason to compare them.
    pub(crate) fn check_equal(
        &self,
        now: SimTime,
        sent: u64,
        replicas: u64,
        pause: SimDuration,
    ) -> Option<OverBudget> {
        self.check_at(EQUAL, (now, sent), replicas, pause, 0)
    }

    fn check_at(
        &self,
        rate: u64,
        (now, sent): (SimTime, u64),
        replicas: u64,
        pause: SimDuration,
        stored: u64,
    ) -> Option<OverBudget> {
        let found = sent - self.sent_before;
        let span = now.since(self.since);
        let pauses = SHORTER + span.as_millis() / pause.as_millis().max(1);
        let by_time =
            replicas * replicas.min(PEERS) * pauses * rate / Budget::IdleBytes.proportion().per_unit;
        let of = || {
            format!("{replicas} replicas in {span} in which no state has changed, with {stored} bytes stored")
        };
        Budget::IdleBytes.check(found, by_time + stored, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_starts_the_allowance_anew() {
        let mut traffic = IdleTraffic::default();
        let pause = SimDuration::from_secs(30);
        let after = SimTime::from_secs(29);
        let most = Budget::IdleBytes.proportion().base + 4 * SHORTER * DIFFERING;
        assert_eq!(traffic.check(after, most, 2, pause, 0), None);
        let over = traffic.check(after, most + 1, 2, pause, 0).unwrap();
        assert_eq!((over.found, over.allowed), (most + 1, most));
        assert_eq!(traffic.check(SimTime::from_secs(31), most + 1, 2, pause, 0), None);
        assert!(traffic.is_heavy(most));
        assert!(traffic.check_equal(after, most, 2, pause).is_some());
        traffic.on_progress(after, most);
        assert!(!traffic.is_heavy(most + 1));
        assert_eq!(traffic.check(after, most + 1, 2, pause, 0), None);
    }
}
