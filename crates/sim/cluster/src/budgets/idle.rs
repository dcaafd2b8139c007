//! The traffic of nodes that have nothing to say to each other.

use crate::budgets::{Budget, OverBudget};
use syncline_types::{SimDuration, SimTime};

/// The most peers that count.
const PEERS: u64 = 64;
/// Bytes that each node may send to each peer in each of the longest pauses of replicas, while states differ and nothing
/// can be done about it: heartbeats, and sessions that are tried less and less often.
const DIFFERING: u64 = 16 << 10;
/// Sessions are tried less and less often for so long. Then pauses between them are as long as they get.
const SETTLING: SimDuration = SimDuration::from_secs(600);
/// Bytes that each node may send to each peer in each pause between heartbeats after that: heartbeats.
const HEARTBEATS: u64 = 256;
/// Bytes that each node may send to each peer in each pause between sessions after that: a session of either side that
/// finds out that nothing can be done. With the default pauses this is about a kilobyte a minute, with the heartbeats.
const SESSIONS: u64 = 5 << 10;
/// Bytes that each node may send to each peer in each of the longest pauses of replicas, while all states are equal:
/// heartbeats.
const EQUAL: u64 = 2 << 10;
/// Pauses are shorter at first: as many more count.
const SHORTER: u64 = 2;

/// The longest pauses that replicas make while nothing changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdlePauses {
    /// The longest pause between heartbeats.
    pub heartbeat: SimDuration,
    /// The longest pause between sessions with a peer that have failed.
    pub backoff: SimDuration,
}

impl IdlePauses {
    /// The bytes that each node may send to each peer within `span`, at `rate` bytes in each of the shorter pauses until
    /// the pauses are as long as they get.
    fn allowance(self, span: SimDuration, rate: u64) -> u64 {
        let shorter = self.heartbeat.min(self.backoff);
        let at_first = rate * (SHORTER + count(span.min(SETTLING), shorter));
        let later = span - SETTLING;
        at_first + HEARTBEATS * count(later, self.heartbeat) + SESSIONS * count(later, self.backoff)
    }
}

/// The number of pauses in a span.
fn count(span: SimDuration, pause: SimDuration) -> u64 {
    span.as_millis() / pause.as_millis().max(1)
}

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

    /// Checks the traffic since the last progress, while states differ. `stored` are the bytes that all nodes have stored so far: a session may have to compare all of them before it
    /// finds out that nothing can be done.
    pub(crate) fn check(
        &self,
        now: SimTime,
        sent: u64,
        replicas: u64,
        pauses: IdlePauses,
        stored: u64,
    ) -> Option<OverBudget> {
        self.check_at(DIFFERING, (now, sent), replicas, pauses, stored)
    }

    /// Checks the traffic since the last progress, while all states are equal: no node has a reason to compare them.
    pub(crate) fn check_equal(
        &self,
        now: SimTime,
        sent: u64,
        replicas: u64,
        pauses: IdlePauses,
    ) -> Option<OverBudget> {
        self.check_at(EQUAL, (now, sent), replicas, pauses, 0)
    }

    fn check_at(
        &self,
        rate: u64,
        (now, sent): (SimTime, u64),
        replicas: u64,
        pauses: IdlePauses,
        stored: u64,
    ) -> Option<OverBudget> {
        let found = sent - self.sent_before;
        let span = now.since(self.since);
        let pairs = replicas * replicas.min(PEERS);
        let by_time = pairs * pauses.allowance(span, rate) / Budget::IdleBytes.proportion().per_unit;
        let of = || {
            format!("{replicas} replicas in {span} in which no state has changed, with {stored} bytes stored")
        };
        Budget::IdleBytes.check(found, by_time + stored, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: IdlePauses =
        IdlePauses { heartbeat: SimDuration::from_secs(30), backoff: SimDuration::from_secs(600) };

    #[test]
    fn allowance_falls_to_a_kilobyte_a_minute() {
        let allowed = |minutes: u64| PAUSES.allowance(SimDuration::from_secs(60 * minutes), DIFFERING);
        assert_eq!(allowed(10), 22 * DIFFERING);
        assert_eq!(allowed(70) - allowed(10), 60 * (2 * HEARTBEATS + SESSIONS / 10));
        const { assert!(2 * HEARTBEATS + SESSIONS / 10 <= 1 << 10) };
    }

    #[test]
    fn progress_starts_the_allowance_anew() {
        let mut traffic = IdleTraffic::default();
        let pause = PAUSES;
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
