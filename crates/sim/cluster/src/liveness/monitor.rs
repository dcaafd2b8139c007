//! Detects livelocks: runs in which nodes are busy for ever and make no progress.
//!
//! A run makes *progress* when a state digest changes, when a page of a snapshot arrives, and on every event from
//! outside: a write, a fault, a node that joins or leaves. Without progress a few sessions may be needed to find
//! out what to do; a [`LivenessMonitor`] counts sessions, frames and session endings since the last progress and
//! reports when they exceed an allowance. Frames that were in flight at the last progress may describe an earlier
//! state, so session endings and heartbeats count only after all of these frames have arrived.
//!
//! O(1) for each event, integers only. The monitor observes a run and never steers it.

use std::collections::BTreeMap;
use std::fmt;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::ProgressCount;
use syncline_sync::{Outcome, RetryReason};
use syncline_types::{SimDuration, SimTime};

/// The most consecutive sessions between the same two nodes that may have the same ending without progress. A
/// replica backs off from a peer after four.
const SAME_ENDINGS: u32 = 8;
/// Sessions that the nodes may start without progress. A peer that keeps failing costs four sessions before a
/// replica backs off from it.
const SESSIONS: Allowance = Allowance { once: 32, a_peer: 4, a_second: 16 };
/// Deltas, delta requests and handshakes that the nodes may receive without progress.
const CHATTER: Allowance = Allowance { once: 256, a_peer: 32, a_second: 128 };
/// The most peers that an allowance counts.
const PEERS: u64 = 64;
/// How often the digest of a node may change for each record of the run without an event from outside.
const CHANGES_A_RECORD: u64 = 8;
/// How often the digest of a node may change without an event from outside, whatever the number of records.
const CHANGES: u64 = 64;

/// How much of one kind of event each node may cause without progress: a constant part, a part for each peer, and a
/// part for each whole second.
struct Allowance {
    once: u64,
    a_peer: u64,
    a_second: u64,
}

impl Allowance {
    const fn of(&self, nodes: u64, span: SimDuration) -> u64 {
        let peers = if nodes < PEERS { nodes } else { PEERS };
        nodes * (self.once + self.a_peer * peers + self.a_second * (span.as_micros() / 1_000_000))
    }
}

/// The kind of event that exceeded its allowance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StormKind {
    /// Sessions were started without progress.
    Sessions,
    /// Deltas, delta requests and handshakes arrived without progress.
    Chatter,
    /// Digests changed more often than the records of the run explain.
    RootChanges,
}

impl fmt::Display for StormKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions",
            Self::Chatter => "deltas and handshakes",
            Self::RootChanges => "changes of roots",
        })
    }
}

/// A count of one kind of event that far exceeds its allowance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Storm {
    /// The kind of event.
    pub of: StormKind,
    /// Number of events counted.
    pub count: u64,
    /// The time over which they were counted.
    pub span: SimDuration,
}

/// How a session ended, if sessions that always end this way are a livelock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionEnding {
    /// It converged, and the roots of the two sides differ.
    ConvergedApart,
    /// Another session is needed for this reason.
    Pending(RetryReason),
}

impl SessionEnding {
    /// The ending to watch for; `None` if repetition is no livelock. A timeout is caused by the network, and
    /// clock drift ends as the clocks converge; in both cases replicas back off for longer and longer.
    pub(crate) const fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Converged { .. } => Some(Self::ConvergedApart),
            Outcome::SyncPending(RetryReason::ClockDrift) | Outcome::Failed(_) => None,
            Outcome::SyncPending(reason) => Some(Self::Pending(*reason)),
        }
    }

    /// Whether the initiator gave way to a session of the peer.
    const fn is_yielded(self) -> bool {
        matches!(self, Self::Pending(RetryReason::Yielded))
    }
}

impl fmt::Display for SessionEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConvergedApart => "converged, although their roots differ",
            Self::Pending(RetryReason::NewerWrites) => "one side was written to",
            Self::Pending(RetryReason::PeerRestarted) => "the peer has restarted",
            Self::Pending(RetryReason::Yielded) => "the peer goes first",
            Self::Pending(RetryReason::PeerBehind) => "the peer has far less than was promised",
            Self::Pending(RetryReason::ClockDrift) => "the clocks are too far apart",
        })
    }
}

/// Counts the events since the last progress of a run.
#[derive(Clone, Debug, Default)]
pub struct LivenessMonitor {
    moves: ProgressCount,
    /// Digest changes before the last event from outside, and the time of that event.
    outside: (u64, SimTime),
    /// The time of the last progress.
    still_since: SimTime,
    /// When the last frame that was in flight at the last progress arrives.
    settled_at: SimTime,
    /// Sessions started since the last progress.
    sessions: u64,
    /// Deltas, delta requests and handshakes received since the last progress.
    chatter: u64,
    /// Whether no work was unfinished after the previous event.
    quiet: bool,
    /// Heartbeats with another root that arrived while no work was unfinished, since the last session began.
    unheeded: u64,
    /// The last ending and its repetitions in a row, by context, initiator and responder.
    endings: BTreeMap<(u8, NodeId, NodeId), (SessionEnding, u32)>,
}

impl LivenessMonitor {
    /// The progress counters of the run at its last progress.
    pub const fn moves(&self) -> ProgressCount {
        self.moves
    }

    /// Records progress of the run and resets the counts. All frames now in flight arrive by `arrived_by`.
    pub fn on_move(&mut self, moves: ProgressCount, now: SimTime, arrived_by: SimTime) {
        assert!(now >= self.still_since, "time never runs backwards");
        assert!(moves.changes >= self.moves.changes, "digest changes are never uncounted");
        let outside = if moves.outside == self.moves.outside { self.outside } else { (moves.changes, now) };
        let mut endings = std::mem::take(&mut self.endings);
        endings.clear();
        *self = Self { moves, outside, still_since: now, settled_at: arrived_by, endings, ..Self::default() };
    }

    /// Whether all frames that were in flight at the last progress have arrived.
    pub(crate) fn is_settled(&self, now: SimTime) -> bool {
        now > self.settled_at
    }

    /// Counts a started session. Returns a storm if there are too many since the last progress.
    pub(crate) fn on_start(&mut self, now: SimTime, nodes: u64) -> Option<Storm> {
        self.sessions += 1;
        self.unheeded = 0;
        let count = self.sessions;
        let span = now.since(self.still_since);
        (count > SESSIONS.of(nodes, span)).then_some(Storm { of: StormKind::Sessions, count, span })
    }

    /// Counts a delta, a delta request or a handshake that arrived, accepted or not.
    pub(crate) fn on_chatter(&mut self, now: SimTime, nodes: u64) -> Option<Storm> {
        self.chatter += 1;
        let count = self.chatter;
        let span = now.since(self.still_since);
        (count > CHATTER.of(nodes, span)).then_some(Storm { of: StormKind::Chatter, count, span })
    }

    /// Records the end of a session between two nodes in one of their contexts. Returns the number of
    /// consecutive sessions with the same ending, if it is too high.
    pub(crate) fn on_end(
        &mut self,
        context: u8,
        (node, peer): (NodeId, NodeId),
        started_at: SimTime,
        ending: SessionEnding,
    ) -> Option<u32> {
        if started_at < self.still_since {
            // The session started before the last progress, and its ending may reflect the state of that
            // time.
            return None;
        }
        let (last, times) = self.endings.entry((context, node, peer)).or_insert((ending, 0));
        *times = if *last == ending { *times + 1 } else { 1 };
        *last = ending;
        let times = *times;
        // Yielding to the peer is a livelock only if the peer yields too.
        let waits = |(last, times): &(SessionEnding, u32)| last.is_yielded() && *times >= SAME_ENDINGS;
        let alone = ending.is_yielded() && !self.endings.get(&(context, peer, node)).is_some_and(waits);
        (times >= SAME_ENDINGS && !alone).then_some(times)
    }

    /// Records that a heartbeat showed a node a different root. If no node had work before, this node should
    /// have work now.
    pub(crate) fn on_difference(&mut self) {
        self.unheeded += u64::from(self.quiet);
    }

    /// Records the end of an event. `quiet` says whether no work is unfinished after it.
    pub(crate) const fn on_over(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Whether `nodes` nodes have received so many heartbeats with a different root that they should have
    /// acted on the difference.
    pub(crate) const fn is_idle(&self, nodes: u64) -> bool {
        self.unheeded > nodes + 2
    }

    /// Whether digests have changed more often than `records`, the number of records in all states together,
    /// explains. Callers ask when the number of changes is a power of two, since counting records costs more than
    /// an event may.
    pub fn changes_without_end(&self, now: SimTime, nodes: u64, records: u64) -> Option<Storm> {
        let count = self.changes();
        let most = nodes * (CHANGES + CHANGES_A_RECORD * records);
        let span = now.since(self.outside.1);
        (count > most).then_some(Storm { of: StormKind::RootChanges, count, span })
    }

    /// Digest changes since the last event from outside.
    pub(crate) const fn changes(&self) -> u64 {
        self.moves.changes - self.outside.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: (NodeId, NodeId) = (NodeId(0), NodeId(1));

    const A: SessionEnding = SessionEnding::ConvergedApart;
    const B: SessionEnding = SessionEnding::Pending(RetryReason::NewerWrites);
    const YIELDED: SessionEnding = SessionEnding::Pending(RetryReason::Yielded);

    /// A monitor of a run that made progress at 10 ms, with frames in flight until 60 ms.
    fn still() -> LivenessMonitor {
        let mut monitor = LivenessMonitor::default();
        monitor.on_move(ProgressCount { outside: 1, changes: 5 }, 10.into(), 60.into());
        monitor
    }

    #[test]
    fn repeated_endings_are_a_livelock() {
        let mut monitor = still();
        assert!((1..SAME_ENDINGS).all(|_| monitor.on_end(0, PAIR, 20.into(), A).is_none()));
        assert_eq!(monitor.on_end(0, PAIR, 20.into(), B), None);
        assert!((1..SAME_ENDINGS).all(|_| monitor.on_end(0, PAIR, 20.into(), A).is_none()));
        assert_eq!(monitor.on_end(0, (PAIR.1, PAIR.0), 20.into(), A), None);
        assert_eq!(monitor.on_end(0, PAIR, 20.into(), A), Some(SAME_ENDINGS));
        monitor.on_move(ProgressCount { outside: 1, changes: 6 }, 30.into(), 60.into());
        assert_eq!(monitor.on_end(0, PAIR, 30.into(), A), None);
        let before = (0..20).all(|_| monitor.on_end(0, PAIR, 29.into(), A).is_none());
        assert!(before, "sessions from before the last move count");
    }

    #[test]
    fn yielding_is_a_livelock_if_mutual() {
        let mut monitor = still();
        assert!((0..50).all(|_| monitor.on_end(0, PAIR, 20.into(), YIELDED).is_none()));
        let other = (PAIR.1, PAIR.0);
        assert!((1..SAME_ENDINGS).all(|_| monitor.on_end(0, other, 20.into(), YIELDED).is_none()));
        assert_eq!(monitor.on_end(0, other, 20.into(), YIELDED), Some(SAME_ENDINGS));
    }

    #[test]
    fn allowances_grow_with_time_and_peers() {
        let allowed = |nodes, at: u64| {
            let mut monitor = still();
            (1..).find(|_| monitor.on_chatter(at.into(), nodes).is_some())
        };
        assert_eq!(allowed(3, 10), Some(3 * (256 + 96) + 1));
        assert_eq!(allowed(3, 2_010), Some(3 * (256 + 96 + 256) + 1));
        let mut monitor = still();
        let storm = (0..).find_map(|_| monitor.on_start(10.into(), 3)).unwrap();
        assert_eq!((storm.of, storm.count), (StormKind::Sessions, 3 * (32 + 12) + 1));
    }

    #[test]
    fn unheeded_heartbeats_make_idle() {
        let mut monitor = still();
        assert!(!monitor.is_settled(60.into()) && monitor.is_settled(61.into()));
        (0..6).for_each(|_| monitor.on_difference());
        assert!(!monitor.is_idle(3), "somebody has something to do");
        monitor.on_over(true);
        (0..6).for_each(|_| monitor.on_difference());
        assert!(monitor.is_idle(3) && !monitor.is_idle(4));
        monitor.on_start(70.into(), 3);
        assert!(!monitor.is_idle(3));
    }

    #[test]
    fn endless_root_changes_are_a_storm() {
        let mut monitor = still();
        monitor.on_move(ProgressCount { outside: 1, changes: 5 + 2 * 64 }, 20.into(), 20.into());
        assert_eq!(monitor.changes_without_end(20.into(), 2, 0), None);
        monitor.on_move(ProgressCount { outside: 1, changes: 6 + 2 * 64 }, 20.into(), 20.into());
        assert!(monitor.changes_without_end(20.into(), 2, 0).is_some());
        assert_eq!(monitor.changes_without_end(20.into(), 2, 1), None);
        monitor.on_move(ProgressCount { outside: 2, changes: 7 + 2 * 64 }, 20.into(), 20.into());
        assert_eq!(monitor.changes(), 0);
    }
}
