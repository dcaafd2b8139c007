//! Deltas that leave the buffer of a replica: each is covered then, or the replica reports what became of it (**I6**).

use super::SimReplica;
use std::collections::BTreeSet;
use syncline_replica::Notice;
use syncline_sync::{BufferLedger, Dot};

/// The deltas that waited in the buffer after the last step.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingDeltas {
    waiting: BTreeSet<Dot>,
    ledger: BufferLedger,
    /// A delta that left the buffer for no reason.
    lost: Option<Dot>,
}

impl WaitingDeltas {
    /// Forgets what waited: a replica that starts again has an empty buffer.
    pub(super) fn restart(&mut self) {
        self.waiting.clear();
        self.ledger = BufferLedger::default();
    }

    /// Takes in what waits `now`. `covers` says whether the log covers a delta, if that is known.
    fn update(
        &mut self,
        now: BTreeSet<Dot>,
        ledger: BufferLedger,
        notices: &[Notice],
        covers: Option<impl Fn(Dot) -> bool>,
    ) {
        // Deltas of authors that are no members any more leave without a report.
        let is_reported = ledger.unauthorized == self.ledger.unauthorized;
        if let Some(covers) = covers.filter(|_| is_reported && self.lost.is_none()) {
            let mut left = self.waiting.difference(&now).copied();
            self.lost = left.find(|dot| !covers(*dot) && !notices.iter().any(|notice| names(notice, *dot)));
        }
        self.waiting = now;
        self.ledger = ledger;
    }
}

/// Whether a notice says what became of a waiting delta.
fn names(notice: &Notice, dot: Dot) -> bool {
    match notice {
        Notice::DeltaDiscarded { delta, .. } | Notice::DeltaOverflowed { delta } => *delta == dot,
        Notice::PendingDeltasDropped { deltas } => deltas.contains(&dot),
        _ => false,
    }
}

impl SimReplica {
    /// Looks at the buffer after a step with these notices, whose batch is on disk if it `is_durable`. O(waiting), and
    /// O(authors) if a delta has left the buffer.
    pub(super) fn watch_buffer(&mut self, notices: &[Notice], is_durable: bool) {
        let Some(replica) = &self.replica else { return };
        let ledger = replica.buffer_ledger();
        if ledger == self.waiting.ledger {
            return;
        }
        let now: BTreeSet<Dot> = replica.waiting_deltas().collect();
        let has_left = self.waiting.waiting.iter().any(|dot| !now.contains(dot));
        // What a damaged disk or a crash leaves of the log says nothing about the step.
        let log = (has_left && is_durable && !self.is_corrupt()).then(|| self.log());
        let covers = log.as_ref().map(|log| |dot| log.covered().covers(dot));
        self.waiting.update(now, ledger, notices, covers);
    }

    /// A delta that left the buffer although its effect was in no state, and without a report.
    pub(crate) const fn lost_from_buffer(&self) -> Option<Dot> {
        self.waiting.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::ReplicaId;

    fn dot(seq: u64) -> Dot {
        Dot { author: ReplicaId::from_u64(1), seq }
    }

    #[test]
    fn delta_leaves_with_a_reason() {
        let waiting = || WaitingDeltas { waiting: [dot(2), dot(3)].into(), ..WaitingDeltas::default() };
        let lost = |now: &[u64], notices: &[Notice], covered: u64, unauthorized: u64| {
            let mut watched = waiting();
            let ledger = BufferLedger { unauthorized, ..BufferLedger::default() };
            let now = now.iter().map(|seq| dot(*seq)).collect();
            watched.update(now, ledger, notices, Some(|dot: Dot| dot.seq <= covered));
            watched.lost
        };
        let dropped = [Notice::PendingDeltasDropped { deltas: vec![dot(2), dot(3)] }];
        assert_eq!(lost(&[2, 3], &[], 0, 0), None);
        assert_eq!(lost(&[3], &[], 2, 0), None);
        assert_eq!(lost(&[3], &[], 1, 0), Some(dot(2)));
        assert_eq!(lost(&[], &dropped, 1, 0), None);
        let evicted = [Notice::DeltaOverflowed { delta: dot(3) }];
        assert_eq!(lost(&[2], &evicted, 1, 0), None, "it made room for another one");
        assert_eq!(lost(&[], &[], 1, 2), None, "its author is no member any more");
        let mut unknown = waiting();
        unknown.update(BTreeSet::new(), BufferLedger::default(), &[], None::<fn(Dot) -> bool>);
        assert_eq!(unknown.lost, None);
    }
}
