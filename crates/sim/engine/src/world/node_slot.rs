//! What the world knows about one node.

use crate::actor::Unfinished;
use crate::event::CrashPoint;
use crate::node_id::NodeId;
use crate::world::pending_work::PendingBits;
use crate::world::timers::Timers;
use std::collections::BTreeMap;
use syncline_types::{Digest, SimDuration, SimTime};

/// A crash that waits for the next step of its node.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArmedCrash {
    pub(super) point: CrashPoint,
    pub(super) down_for: Option<SimDuration>,
    pub(super) is_random: bool,
    /// Whether it goes into the event log when it happens.
    pub(super) is_logged: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct NodeSlot<A> {
    pub(super) actor: A,
    pub(super) started: bool,
    pub(super) up: bool,
    /// The node has still to join; nothing happens to it until then.
    pub(super) late: bool,
    /// The node is gone for the rest of the run.
    pub(super) retired: bool,
    /// The run does not wait for the node.
    pub(super) excluded: bool,
    /// The node has left and has not returned.
    pub(super) away: bool,
    /// When the node last left.
    pub(super) left_at: SimTime,
    /// When the node last went down while it was up.
    pub(super) went_down_at: SimTime,
    /// How often the node left. A departure that is scheduled while it is away counts too: the return of the
    /// earlier one is then obsolete.
    pub(super) departures: u64,
    /// A crash that waits for the node's next step.
    pub(super) armed: Option<ArmedCrash>,
    /// How often the node went down, which is its incarnation. A crash that is scheduled while it is down
    /// counts too: the restart of the earlier one is then obsolete.
    pub(super) crashes: u64,
    pub(super) timers: Timers,
    pub(super) unfinished: Unfinished,
    /// The latest incarnation of each sender from which this incarnation accepted a frame, per lane.
    pub(super) lives_heard: BTreeMap<(NodeId, u8), u64>,
    pub(super) digest: Digest,
    pub(super) traffic: Traffic,
    /// Every digest that the node had, with the time from which it had it. Times are ascending.
    pub(super) history: Vec<(SimTime, Digest)>,
}

impl<A> NodeSlot<A> {
    /// Whether the run waits for the node.
    pub(super) const fn counts(&self) -> bool {
        !self.retired && !self.excluded
    }

    /// Whether faults can happen to the node: it has joined and has not retired.
    pub(super) const fn takes_part(&self) -> bool {
        !self.late && !self.retired
    }

    pub(super) const fn pending_bits(&self) -> PendingBits {
        PendingBits::of(self.up, self.away, self.unfinished, self.timers.awaited())
    }
}

/// What one node sent and received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Frames that the node sent.
    pub sent: u64,
    /// Bytes of these frames.
    pub bytes_sent: u64,
    /// Frames that took effect on the node.
    pub received: u64,
    /// Bytes of these frames.
    pub bytes_received: u64,
}
