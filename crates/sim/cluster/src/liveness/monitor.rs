//! Whether a run still makes progress.
//!
//! A run *moves* when a digest changes, when a page of a snapshot arrives, and when anything comes from
//! outside: a write, a fault, a node that comes or goes. While it stands still, a few sessions may be
//! needed to find out what to do about it; a [`Watch`] counts what happens meanwhile, and says when it
//! is more than that explains. What was on its way when the run last moved may still tell of how things
//! stood before, so endings and heartbeats count only once all of that has arrived.
//!
//! O(1) an event, integers only. It steers nothing.

use std::collections::BTreeMap;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::ProgressCount;
use syncline_sync::{Outcome, RetryReason};
use syncline_types::{SimDuration, SimTime};

/// Sessions between the same two nodes that may end alike while nothing moves. A replica itself gives a
/// peer up for a while after four.
const SAME_ENDINGS: u32 = 8;
/// What a node may say while nothing moves, before it is a storm: so much at once, so much for each peer,
/// so much for each second. A peer that has something to say costs four sessions before it is left alone.
const SESSIONS: Allowance = Allowance { once: 32, a_peer: 4, a_second: 16 };
const CHATTER: Allowance = Allowance { once: 256, a_peer: 32, a_second: 128 };
/// Peers that count in that.
const PEERS: u64 = 64;
/// How often the state of a node may change for each record of the run, if nothing comes from outside.
const CHANGES_A_RECORD: u64 = 8;
/// How often it may without any.
const CHANGES: u64 = 64;

/// How a session ends that gives way to the peer's.
const YIELDED: &str = "the peer goes first";

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

/// Too much of something happened while nothing moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Storm {
    /// Of what.
    pub of: &'static str,
    /// How much.
    pub count: u64,
    /// In how long.
    pub span: SimDuration,
}

/// What happened since the run last moved.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    moves: ProgressCount,
    /// Changes of digests before anything last came from outside, and when that was.
    outside: (u64, SimTime),
    still_since: SimTime,
    /// When the last frame will have arrived that was on its way then.
    settled_at: SimTime,
    sessions: u64,
    chatter: u64,
    /// Whether nothing was unfinished after the event before.
    quiet: bool,
    /// Heartbeats that told a node of another root while nothing was unfinished, since a session began.
    unheeded: u64,
    /// By context, initiator and responder.
    endings: BTreeMap<(u8, NodeId, NodeId), (&'static str, u32)>,
}

impl Watch {
    /// How often the run had moved when it last did.
    pub const fn moves(&self) -> ProgressCount {
        self.moves
    }

    /// The run has moved; what is on its way will have arrived by `arrived_by`.
    pub fn on_move(&mut self, moves: ProgressCount, now: SimTime, arrived_by: SimTime) {
        let outside = if moves.outside == self.moves.outside { self.outside } else { (moves.changes, now) };
        let mut endings = std::mem::take(&mut self.endings);
        endings.clear();
        *self = Self { moves, outside, still_since: now, settled_at: arrived_by, endings, ..Self::default() };
    }

    /// Whether all that was on its way when the run last moved has arrived.
    pub(crate) fn is_settled(&self, now: SimTime) -> bool {
        now > self.settled_at
    }

    /// A session began.
    pub(crate) fn on_start(&mut self, now: SimTime, nodes: u64) -> Option<Storm> {
        self.sessions += 1;
        self.unheeded = 0;
        let (count, span) = (self.sessions, now.since(self.still_since));
        (count > SESSIONS.of(nodes, span)).then_some(Storm { of: "sessions", count, span })
    }

    /// A frame of gossip or a handshake arrived, whatever came of it.
    pub(crate) fn on_chatter(&mut self, now: SimTime, nodes: u64) -> Option<Storm> {
        self.chatter += 1;
        let (count, span) = (self.chatter, now.since(self.still_since));
        (count > CHATTER.of(nodes, span)).then_some(Storm { of: "deltas and handshakes", count, span })
    }

    /// A session between two nodes ended so in one of their contexts. Gives how often in a row it has, if that
    /// is too often.
    pub(crate) fn on_end(
        &mut self,
        context: u8,
        (node, peer): (NodeId, NodeId),
        started_at: SimTime,
        ending: &'static str,
    ) -> Option<u32> {
        if started_at < self.still_since {
            return None;
        }
        let (last, times) = self.endings.entry((context, node, peer)).or_insert((ending, 0));
        *times = if *last == ending { *times + 1 } else { 1 };
        *last = ending;
        let times = *times;
        // To wait for a peer that goes first is a loop only if that one waits too.
        let waits = |(last, times): &(&str, u32)| *last == YIELDED && *times >= SAME_ENDINGS;
        let alone = ending == YIELDED && !self.endings.get(&(context, peer, node)).is_some_and(waits);
        (times >= SAME_ENDINGS && !alone).then_some(times)
    }

    /// A node has heard of another root. If nobody had anything to do, it should now.
    pub(crate) fn on_difference(&mut self) {
        self.unheeded += u64::from(self.quiet);
    }

    /// An event is over: whether anything is unfinished after it.
    pub(crate) const fn on_over(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Whether so many nodes have heard often enough that they differ.
    pub(crate) const fn is_idle(&self, nodes: u64) -> bool {
        self.unheeded > nodes + 2
    }

    /// Whether digests have changed more often than `records`, in all states together, explain. To be
    /// asked when [`Watch::changes`] is a power of two: counting records costs more than an event may.
    pub fn changes_without_end(&self, now: SimTime, nodes: u64, records: u64) -> Option<Storm> {
        let count = self.changes();
        let most = nodes * (CHANGES + CHANGES_A_RECORD * records);
        let span = now.since(self.outside.1);
        (count > most).then_some(Storm { of: "changes of roots", count, span })
    }

    /// Changes of digests since anything came from outside.
    pub(crate) const fn changes(&self) -> u64 {
        self.moves.changes - self.outside.0
    }
}

/// The end of a session in words, if a session that ends so again and again is a loop. Silence is the
/// network's, and clocks come together with time; both are waited for ever longer.
pub(crate) const fn ending(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Converged { .. } => Some("converged, although their roots differ"),
        Outcome::SyncPending(RetryReason::NewerWrites) => Some("one side was written to"),
        Outcome::SyncPending(RetryReason::PeerRestarted) => Some("the peer has restarted"),
        Outcome::SyncPending(RetryReason::Yielded) => Some(YIELDED),
        Outcome::SyncPending(RetryReason::PeerBehind) => Some("the peer has far less than was promised"),
        Outcome::SyncPending(RetryReason::NoMerge) => Some("a merge function is not registered"),
        Outcome::SyncPending(RetryReason::ClockDrift) | Outcome::Failed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: (NodeId, NodeId) = (NodeId(0), NodeId(1));

    fn still() -> Watch {
        let mut watch = Watch::default();
        watch.on_move(ProgressCount { outside: 1, changes: 5 }, 10.into(), 60.into());
        watch
    }

    #[test]
    fn the_same_ending_again_and_again_is_a_loop_and_a_change_of_it_is_none() {
        let mut watch = still();
        assert!((1..SAME_ENDINGS).all(|_| watch.on_end(0, PAIR, 20.into(), "a").is_none()));
        assert_eq!(watch.on_end(0, PAIR, 20.into(), "b"), None);
        assert!((1..SAME_ENDINGS).all(|_| watch.on_end(0, PAIR, 20.into(), "a").is_none()));
        assert_eq!(watch.on_end(0, (PAIR.1, PAIR.0), 20.into(), "a"), None);
        assert_eq!(watch.on_end(0, PAIR, 20.into(), "a"), Some(SAME_ENDINGS));
        watch.on_move(ProgressCount { outside: 1, changes: 6 }, 30.into(), 60.into());
        assert_eq!(watch.on_end(0, PAIR, 30.into(), "a"), None);
        let before = (0..20).all(|_| watch.on_end(0, PAIR, 29.into(), "a").is_none());
        assert!(before, "sessions from before the last move count");
    }

    #[test]
    fn to_wait_for_a_peer_that_goes_first_is_a_loop_only_if_both_do() {
        let mut watch = still();
        assert!((0..50).all(|_| watch.on_end(0, PAIR, 20.into(), YIELDED).is_none()));
        let other = (PAIR.1, PAIR.0);
        assert!((1..SAME_ENDINGS).all(|_| watch.on_end(0, other, 20.into(), YIELDED).is_none()));
        assert_eq!(watch.on_end(0, other, 20.into(), YIELDED), Some(SAME_ENDINGS));
    }

    #[test]
    fn what_nodes_may_say_grows_with_time_and_with_peers() {
        let allowed = |nodes, at: u64| {
            let mut watch = still();
            (1..).find(|_| watch.on_chatter(at.into(), nodes).is_some())
        };
        assert_eq!(allowed(3, 10), Some(3 * (256 + 96) + 1));
        assert_eq!(allowed(3, 2_010), Some(3 * (256 + 96 + 256) + 1));
        let mut watch = still();
        let storm = (0..).find_map(|_| watch.on_start(10.into(), 3)).unwrap();
        assert_eq!((storm.of, storm.count), ("sessions", 3 * (32 + 12) + 1));
    }

    #[test]
    fn nodes_that_hear_and_do_nothing_are_idle_until_a_session_begins() {
        let mut watch = still();
        assert!(!watch.is_settled(60.into()) && watch.is_settled(61.into()));
        (0..6).for_each(|_| watch.on_difference());
        assert!(!watch.is_idle(3), "somebody has something to do");
        watch.on_over(true);
        (0..6).for_each(|_| watch.on_difference());
        assert!(watch.is_idle(3) && !watch.is_idle(4));
        watch.on_start(70.into(), 3);
        assert!(!watch.is_idle(3));
    }

    #[test]
    fn roots_that_change_for_ever_are_noticed_and_what_comes_from_outside_starts_the_count_anew() {
        let mut watch = still();
        watch.on_move(ProgressCount { outside: 1, changes: 5 + 2 * 64 }, 20.into(), 20.into());
        assert_eq!(watch.changes_without_end(20.into(), 2, 0), None);
        watch.on_move(ProgressCount { outside: 1, changes: 6 + 2 * 64 }, 20.into(), 20.into());
        assert!(watch.changes_without_end(20.into(), 2, 0).is_some());
        assert_eq!(watch.changes_without_end(20.into(), 2, 1), None);
        watch.on_move(ProgressCount { outside: 2, changes: 7 + 2 * 64 }, 20.into(), 20.into());
        assert_eq!(watch.changes(), 0);
    }
}
