//! Connections: what makes a stream of frames that would fend for themselves.

use crate::node_id::NodeId;
use syncline_types::{SimDuration, SimTime};

/// The place of a frame in a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Which connection.
    pub(super) connection: u64,
    /// How many frames went the same way before.
    pub(super) place: u64,
}

impl Ticket {
    /// Whether it is one of this connection.
    const fn belongs_to(self, connection: &Connection) -> bool {
        self.connection == connection.id
    }
}

/// What a frame that arrives on a connection may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Be handed over.
    Now,
    /// Come again at this time, behind the one before it.
    Waits(SimTime),
    /// Come again at this time: nothing gets through.
    Stalls(SimTime),
    /// Nothing: nothing got through for so long that its connection breaks.
    GivesUp,
    /// Nothing: its connection broke.
    Broken,
}

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Lane {
    /// Frames that were sent.
    sent: u64,
    /// Frames that were handed over.
    taken: u64,
    /// When the last one sent arrives, if nothing stops it.
    last: SimTime,
    /// Since when nothing gets through, if so.
    stalled_since: Option<SimTime>,
    /// When it is tried again.
    again_at: SimTime,
}

/// A connection between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Connection {
    id: u64,
    /// When it is set up.
    pub(super) ready_at: SimTime,
    /// From the lower node to the higher, and back.
    lanes: [Lane; 2],
}

impl Connection {
    pub(crate) fn new(id: u64, ready_at: SimTime) -> Self {
        Self { id, ready_at, lanes: [Lane::default(); 2] }
    }

    fn lane(&mut self, from: NodeId, to: NodeId) -> &mut Lane {
        let [up, down] = &mut self.lanes;
        if from < to { up } else { down }
    }

    /// Puts a frame in its place that would arrive at `arrival` if it were alone: when it does, behind
    /// those before it.
    pub(super) fn enter(&mut self, from: NodeId, to: NodeId, arrival: SimTime) -> (SimTime, Ticket) {
        let connection = self.id;
        let lane = self.lane(from, to);
        let ticket = Ticket { connection, place: lane.sent };
        lane.sent += 1;
        lane.last = lane.last.max(arrival);
        (lane.last, ticket)
    }

    /// Whose turn it is. Frames that must wait come again at one time, in the order of their places:
    /// each that comes too early goes behind the one it waits for.
    pub(crate) fn turn(
        &mut self,
        now: SimTime,
        (from, to): (NodeId, NodeId),
        ticket: Ticket,
        is_blocked: bool,
        (again, reset): (SimDuration, SimDuration),
    ) -> Turn {
        if !ticket.belongs_to(self) {
            return Turn::Broken;
        }
        let lane = self.lane(from, to);
        if ticket.place != lane.taken {
            return Turn::Waits(lane.again_at.max(now));
        }
        if is_blocked {
            let since = *lane.stalled_since.get_or_insert(now);
            if now.since(since) >= reset {
                return Turn::GivesUp;
            }
            lane.again_at = now + again;
            return Turn::Stalls(lane.again_at);
        }
        lane.stalled_since = None;
        lane.taken += 1;
        Turn::Now
    }
}
