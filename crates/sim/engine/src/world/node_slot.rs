//! One node's place in the world.

use crate::actor::Unfinished;
use crate::event::CrashPoint;
use crate::node_id::NodeId;
use crate::world::pending_work::Standing;
use crate::world::timers::Timers;
use std::collections::BTreeMap;
use syncline_types::{Digest, SimDuration, SimTime};

#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    pub(super) point: CrashPoint,
    pub(super) down_for: Option<SimDuration>,
    pub(super) by_chance: bool,
    /// Whether it goes into the chronicle.
    pub(super) is_kept: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Slot<A> {
    pub(super) actor: A,
    pub(super) started: bool,
    pub(super) up: bool,
    /// It comes up later; until then nothing happens to it.
    pub(super) late: bool,
    /// It is gone for good: it takes no part any more.
    pub(super) retired: bool,
    /// The run does not wait for it.
    pub(super) aside: bool,
    /// It has left and is not back.
    pub(super) away: bool,
    /// How often it left, or was told to while it was away.
    pub(super) departures: u64,
    /// A crash that waits for the node's next step.
    pub(super) armed: Option<Armed>,
    /// How often it went down, or was told to while it was down.
    pub(super) crashes: u64,
    pub(super) timers: Timers,
    pub(super) unfinished: Unfinished,
    /// The latest life of each sender from which a frame was accepted in this life, per lane.
    pub(super) lives_heard: BTreeMap<(NodeId, u8), u64>,
    pub(super) digest: Digest,
    pub(super) traffic: Traffic,
    /// Every digest the node had, and from when.
    pub(super) history: Vec<(SimTime, Digest)>,
}

impl<A> Slot<A> {
    /// Whether the run waits for it.
    pub(super) const fn counts(&self) -> bool {
        !self.retired && !self.aside
    }

    pub(super) const fn standing(&self) -> Standing {
        Standing::of(self.up, self.away, self.unfinished, self.timers.awaited())
    }
}

/// What one node sent and received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Frames it sent.
    pub sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames that took effect on it.
    pub received: u64,
    /// Their bytes.
    pub bytes_received: u64,
}
