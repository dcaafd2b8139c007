//! The traffic of nodes that have nothing to say to each other.

use crate::budgets::{Budget, OverBudget};
use syncline_types::{SimDuration, SimTime};

/// How long a run that has converged goes on to measure its traffic.
pub(crate) const AFTER_CONVERGENCE: SimDuration = SimDuration::from_secs(120);

/// The most peers that count.
const PEERS: u64 = 64;
/// Bytes that each node may send to each peer in each begun minute while states differ and nothing can be done about it:
/// heartbeats, and sessions that are tried less and less often.
const DIFFERING: u64 = 32 << 10;
/// Bytes that each node may send to each peer in each begun minute while all states are equal: heartbeats.
const EQUAL: u64 = 4 << 10;

/// The bytes that all nodes have sent since the last progress.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdleTraffic {
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

    /// Checks the traffic since the last progress, while states differ. `stored` are the bytes that all nodes have
    /// stored so far: a session may have to compare all of them before it finds out that nothing can be done.
    pub(crate) fn check(&self, now: SimTime, sent: u64, nodes: u64, stored: u64) -> Option<OverBudget> {
        self.check_at(DIFFERING, now, sent, nodes, stored)
    }

    /// Checks the traffic since the last progress, while all states are equal: no node has a reason to compare them.
    pub(crate) fn check_equal(&self, now: SimTime, sent: u64, nodes: u64) -> Option<OverBudget> {
        self.check_at(EQUAL, now, sent, nodes, 0)
    }

    fn check_at(&self, rate: u64, now: SimTime, sent: u64, nodes: u64, stored: u64) -> Option<OverBudget> {
        let found = sent - self.sent_before;
        let span = now.since(self.since);
        let minutes = 1 + span.as_millis() / 60_000;
        let by_time = nodes * nodes.min(PEERS) * minutes * rate / Budget::IdleBytes.proportion().per_unit;
        let of =
            || format!("{nodes} nodes in {span} in which no state has changed, with {stored} bytes stored");
        Budget::IdleBytes.check(found, by_time + stored, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_starts_the_allowance_anew() {
        let mut traffic = IdleTraffic::default();
        let after = SimTime::from_secs(30);
        let most = Budget::IdleBytes.proportion().base + 4 * DIFFERING;
        assert_eq!(traffic.check(after, most, 2, 0), None);
        let over = traffic.check(after, most + 1, 2, 0).unwrap();
        assert_eq!((over.found, over.allowed), (most + 1, most));
        assert_eq!(traffic.check(SimTime::from_secs(61), most + 1, 2, 0), None);
        assert!(traffic.is_heavy(most));
        assert!(traffic.check_equal(after, most, 2).is_some());
        traffic.on_progress(after, most);
        assert!(!traffic.is_heavy(most + 1));
        assert_eq!(traffic.check(after, most + 1, 2, 0), None);
    }
}
