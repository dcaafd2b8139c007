//! The pending syncs of this replica, and the timer of the earliest one.
//!
//! The queue holds at most one entry for each peer. Every change that may move the earliest due time marks
//! the timer as stale. Only [`SyncQueue::update_timer`] sets or cancels the timer, and a step must not end
//! while the timer is stale.

use crate::event::{Timer, TimerOp};
use std::collections::BTreeMap;
use std::fmt;
use syncline_types::{PeerId, SimTime};

/// Why a sync with a peer is pending.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PendingReason {
    /// The peer announced a root that differs from ours.
    RootDiffers,
    /// The peer started a session, but this replica must be the initiator.
    OurTurn,
    /// The peer did not answer the last session.
    NoAnswer,
    /// The peer rejected the last session, or offers no protocol that both can run.
    Rejected,
    /// Deltas of the peer did not pass the gate.
    DeltasRefused,
    /// The last session failed in another way.
    SessionFailed,
    /// One side accepted writes during the last session.
    NewerWrites,
    /// The peer restarted during the last session.
    PeerRestarted,
    /// The peer runs a session of its own with this replica first.
    Yielded,
    /// The peer has much less than another peer that a snapshot was started from.
    PeerBehind,
    /// A stamp in the last session was too far ahead of one of the clocks.
    ClockDrift,
    /// A delta of the peer carried a stamp too far ahead of our clock.
    StampAhead,
    /// The author of a delta had collected tombstones that this replica still has.
    HorizonAhead,
    /// A delta of the peer continues another history of its author than the one known here.
    AnotherHistory,
    /// The buffer had no room for a delta of the peer.
    BufferFull,
    /// This replica has no state that the deltas of the peer could be applied to.
    NoState,
    /// The parents of buffered deltas could not be fetched.
    DeltasMissing,
    /// The progress of the peer is unknown, so that no tombstone can be collected.
    ProgressUnknown,
}

impl fmt::Display for PendingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootDiffers => "its root differs",
            Self::OurTurn => "our session takes precedence",
            Self::NoAnswer => "it did not answer",
            Self::Rejected => "it refused to sync",
            Self::DeltasRefused => "its deltas were refused",
            Self::SessionFailed => "the last session failed",
            Self::NewerWrites => "one side accepted writes meanwhile",
            Self::PeerRestarted => "it has restarted",
            Self::Yielded => "its session takes precedence",
            Self::PeerBehind => "another peer has more",
            Self::ClockDrift => "the clocks disagree",
            Self::StampAhead => "a stamp is ahead of our clock",
            Self::HorizonAhead => "the author of a delta had collected tombstones that are still here",
            Self::AnotherHistory => "an author has two histories",
            Self::BufferFull => "the delta buffer was full",
            Self::NoState => "there is no state yet",
            Self::DeltasMissing => "deltas are missing",
            Self::ProgressUnknown => "its progress is unknown",
        })
    }
}

/// A pending sync with one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PendingSync {
    reason: PendingReason,
    /// When the session may start.
    due: SimTime,
    /// Whether the sync is forced: it needs the peer's handshake even if the roots are equal.
    forced: bool,
}

impl PendingSync {
    /// Whether equal roots do not resolve the sync.
    pub(crate) const fn is_forced(&self) -> bool {
        self.forced
    }
}

/// The pending syncs, by peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyncQueue {
    pending: BTreeMap<PeerId, PendingSync>,
    /// Whether the queue has changed since the timer was last updated.
    timer_is_stale: bool,
}

impl SyncQueue {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The pending syncs, in the order of their peers.
    pub(crate) const fn entries(&self) -> &BTreeMap<PeerId, PendingSync> {
        &self.pending
    }

    /// The peers and the reasons, in the order of the peers.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (PeerId, PendingReason)> {
        self.pending.iter().map(|(&peer, sync)| (peer, sync.reason))
    }

    /// Adds a sync with `peer`. An existing entry retains its reason and moves to the earlier of both times,
    /// but not before `not_before`.
    pub(crate) fn push(&mut self, peer: PeerId, reason: PendingReason, due: SimTime, not_before: SimTime) {
        debug_assert!(due >= not_before, "a sync is not due before its peer may be asked");
        let sync = self.pending.entry(peer).or_insert(PendingSync { reason, due, forced: false });
        sync.due = sync.due.min(due).max(not_before);
        self.timer_is_stale = true;
    }

    /// Forces the sync with `peer`, if one is pending: equal roots do not resolve it any more.
    pub(crate) fn force(&mut self, peer: PeerId) {
        if let Some(sync) = self.pending.get_mut(&peer) {
            sync.forced = true;
        }
    }

    /// Moves the sync with `peer`, if one is pending, to `not_before` or later.
    pub(crate) fn postpone(&mut self, peer: PeerId, not_before: SimTime) {
        if let Some(sync) = self.pending.get_mut(&peer) {
            sync.due = sync.due.max(not_before);
            self.timer_is_stale = true;
        }
    }

    /// Moves the sync with `peer`, if one is pending, to `due` or earlier.
    pub(crate) fn hasten(&mut self, peer: PeerId, due: SimTime) {
        if let Some(sync) = self.pending.get_mut(&peer) {
            sync.due = sync.due.min(due);
            self.timer_is_stale = true;
        }
    }

    pub(crate) fn remove(&mut self, peer: PeerId) -> Option<PendingSync> {
        let removed = self.pending.remove(&peer);
        self.timer_is_stale |= removed.is_some();
        removed
    }

    /// Removes the sync with `peer` if equal roots resolve it. Returns whether a sync was removed.
    pub(crate) fn resolve(&mut self, peer: PeerId) -> bool {
        let settled = self.pending.get(&peer).is_some_and(|sync| !sync.forced);
        if settled {
            self.remove(peer);
        }
        settled
    }

    /// Removes every sync that `has_equal_root` settles.
    pub(crate) fn resolve_all(&mut self, has_equal_root: impl Fn(PeerId) -> bool) {
        self.retain(|peer, sync| sync.forced || !has_equal_root(peer));
    }

    /// Removes the syncs with peers that are not reachable.
    pub(crate) fn keep_reachable(&mut self, is_reachable: impl Fn(PeerId) -> bool) {
        self.retain(|peer, _| is_reachable(peer));
    }

    fn retain(&mut self, keep: impl Fn(PeerId, &PendingSync) -> bool) {
        let before = self.pending.len();
        self.pending.retain(|peer, sync| keep(*peer, sync));
        self.timer_is_stale |= self.pending.len() != before;
    }

    /// The peers whose sync is due at `now`, except those that `is_busy` selects, the longest due first.
    pub(crate) fn due(&self, now: SimTime, is_busy: impl Fn(PeerId) -> bool) -> Vec<PeerId> {
        let mut due: Vec<(SimTime, PeerId)> =
            self.pending.iter().map(|(&peer, sync)| (sync.due, peer)).collect();
        due.retain(|(due, peer)| *due <= now && !is_busy(*peer));
        // Ties go to the lower peer, so that the order does not depend on when entries were added.
        due.sort_unstable();
        due.into_iter().map(|(_, peer)| peer).collect()
    }

    /// The change that updates the timer: it is set to the earliest due time of a peer that has no session,
    /// or cancelled if no session may start. While all session slots are in use the timer is not needed,
    /// because the end of a session starts the next one.
    pub(crate) fn update_timer(
        &mut self,
        now: SimTime,
        has_place: bool,
        is_busy: impl Fn(PeerId) -> bool,
    ) -> TimerOp {
        self.timer_is_stale = false;
        let timer = Timer::PendingSync;
        let idle = self.pending.iter().filter(|(peer, _)| !is_busy(**peer));
        match idle.map(|(_, sync)| sync.due).min() {
            Some(due) if has_place => TimerOp::Set { timer, at: due.max(now) },
            _ => TimerOp::Cancel { timer },
        }
    }

    /// Whether the timer reflects the queue.
    pub(crate) const fn is_timer_current(&self) -> bool {
        !self.timer_is_stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);

    fn at(ms: u64) -> SimTime {
        SimTime::from_millis(ms)
    }

    fn queue(entries: &[(PeerId, u64)]) -> SyncQueue {
        let mut queue = SyncQueue::default();
        for (peer, due) in entries {
            queue.push(*peer, PendingReason::RootDiffers, at(*due), SimTime::ZERO);
        }
        queue
    }

    fn set(due: u64) -> TimerOp {
        TimerOp::Set { timer: Timer::PendingSync, at: at(due) }
    }

    const CANCEL: TimerOp = TimerOp::Cancel { timer: Timer::PendingSync };

    #[test]
    fn timer_follows_earliest_idle_peer() {
        let mut queue = queue(&[(A, 30), (B, 20)]);
        assert_eq!(queue.update_timer(at(0), true, |_| false), set(20));
        assert_eq!(queue.update_timer(at(0), true, |peer| peer == B), set(30));
        assert_eq!(queue.update_timer(at(25), true, |_| false), set(25), "never in the past");
        assert_eq!(queue.update_timer(at(0), false, |_| false), CANCEL);
        assert_eq!(queue.update_timer(at(0), true, |_| true), CANCEL);
    }

    #[test]
    fn every_change_makes_timer_stale() {
        let mut changes: Vec<fn(&mut SyncQueue)> = vec![
            |queue| queue.push(B, PendingReason::OurTurn, at(10), at(0)),
            |queue| queue.postpone(A, at(40)),
            |queue| queue.hasten(A, at(4)),
            |queue| assert!(queue.remove(A).is_some()),
            |queue| assert!(queue.resolve(A)),
            |queue| queue.resolve_all(|_| true),
            |queue| queue.keep_reachable(|_| false),
        ];
        for change in &mut changes {
            let mut queue = queue(&[(A, 20)]);
            queue.update_timer(at(0), true, |_| false);
            assert!(queue.is_timer_current());
            change(&mut queue);
            assert!(!queue.is_timer_current());
        }
    }

    #[test]
    fn later_push_keeps_reason_and_earlier_time() {
        let mut queue = queue(&[(A, 20)]);
        queue.push(A, PendingReason::BufferFull, at(50), at(0));
        assert_eq!(queue.reasons().collect::<Vec<_>>(), [(A, PendingReason::RootDiffers)]);
        assert_eq!(queue.update_timer(at(0), true, |_| false), set(20));
        queue.push(A, PendingReason::BufferFull, at(50), at(40));
        assert_eq!(queue.update_timer(at(0), true, |_| false), set(40), "the peer backs off until then");
    }

    #[test]
    fn equal_roots_settle_unless_forced() {
        let mut queue = queue(&[(A, 20), (B, 20)]);
        queue.force(A);
        assert!(!queue.resolve(A));
        queue.resolve_all(|_| true);
        assert_eq!(queue.entries().keys().copied().collect::<Vec<_>>(), [A]);
        assert!(queue.remove(A).is_some_and(|sync| sync.is_forced()));
    }

    #[test]
    fn due_peers_come_longest_due_first() {
        let queue = queue(&[(A, 20), (B, 10), (PeerId(3), 10), (PeerId(4), 99)]);
        assert_eq!(queue.due(at(20), |peer| peer == PeerId(3)), [B, A]);
        assert_eq!(queue.due(at(10), |_| false), [B, PeerId(3)]);
    }
}
