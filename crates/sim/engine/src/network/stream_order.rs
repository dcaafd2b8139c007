//! In-order delivery over a connection.
//!
//! A connection numbers the frames of each direction and delivers them in that order, as TCP does. The
//! network below it delivers datagrams, so a frame may arrive before one that was sent earlier. Such a frame
//! waits: it is scheduled again behind the frame that it waits for. A direction that is blocked (by a
//! partition, or by a link that is down) retransmits its first frame until the block is gone or the
//! connection times out.

use crate::node_id::NodeId;
use syncline_types::{SimDuration, SimTime};

/// The position of a frame in the stream of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamPosition {
    /// The id of the connection. A frame of a connection that broke does not belong to its successor.
    pub(super) connection: u64,
    /// The number of frames that were sent in the same direction before.
    pub(super) sequence: u64,
}

/// What becomes of a frame that arrives on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryDecision {
    /// It is delivered now.
    Deliver,
    /// It arrives again at this time, behind the frame before it.
    WaitUntil(SimTime),
    /// It arrives again at this time: the direction is blocked.
    StallUntil(SimTime),
    /// It is dropped: the direction was blocked for so long that the connection breaks.
    TimedOut,
    /// It is dropped: its connection broke before.
    Broken,
}

/// One direction of a connection.
///
/// Invariant: `delivered <= sent`, and every frame with a sequence number in `delivered..sent` is scheduled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct StreamDirection {
    sent: u64,
    delivered: u64,
    /// When the last frame that was sent arrives, if nothing blocks it.
    last_arrival: SimTime,
    /// Since when the direction is blocked, if it is.
    stalled_since: Option<SimTime>,
    /// When the first waiting frame is tried again.
    retry_at: SimTime,
}

/// A connection between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Connection {
    id: u64,
    /// When the handshake is done.
    pub(super) ready_at: SimTime,
    /// From the lower node to the higher, and back.
    directions: [StreamDirection; 2],
}

impl Connection {
    pub(crate) fn new(id: u64, ready_at: SimTime) -> Self {
        Self { id, ready_at, directions: [StreamDirection::default(); 2] }
    }

    fn direction(&mut self, from: NodeId, to: NodeId) -> &mut StreamDirection {
        let [up, down] = &mut self.directions;
        if from < to { up } else { down }
    }

    /// Gives a frame its position. `arrival` is when it would arrive as a datagram; the result is when it
    /// arrives behind the frames before it.
    pub(super) fn enqueue(
        &mut self,
        from: NodeId,
        to: NodeId,
        arrival: SimTime,
    ) -> (SimTime, StreamPosition) {
        let connection = self.id;
        let direction = self.direction(from, to);
        let position = StreamPosition { connection, sequence: direction.sent };
        direction.sent += 1;
        // Arrivals are monotone per direction. At equal times the event queue keeps the order of sending, so
        // on an open link frames arrive in order without ever waiting.
        direction.last_arrival = direction.last_arrival.max(arrival);
        (direction.last_arrival, position)
    }

    /// Decides about a frame that arrives. `retransmit` is the time between tries while the direction is
    /// blocked, `timeout` the time after which the connection breaks.
    ///
    /// All frames that wait are scheduled for the same time, that of the next try, in the order of their
    /// sequence numbers: a frame that waits is scheduled after the one it waits for, and the queue keeps that
    /// order. So one pass delivers them all once the block is gone.
    pub(crate) fn decide(
        &mut self,
        now: SimTime,
        (from, to): (NodeId, NodeId),
        position: StreamPosition,
        is_blocked: bool,
        (retransmit, timeout): (SimDuration, SimDuration),
    ) -> DeliveryDecision {
        if position.connection != self.id {
            return DeliveryDecision::Broken;
        }
        let direction = self.direction(from, to);
        assert!(position.sequence >= direction.delivered, "each frame of a connection is delivered once");
        assert!(position.sequence < direction.sent, "a frame that arrives was sent");
        // The first frame was scheduled for `retry_at` before, and at equal times the queue is FIFO. So this
        // frame comes behind it, and the two cannot defer each other forever.
        if position.sequence != direction.delivered {
            return DeliveryDecision::WaitUntil(direction.retry_at.max(now));
        }
        if is_blocked {
            let since = *direction.stalled_since.get_or_insert(now);
            if now.since(since) >= timeout {
                return DeliveryDecision::TimedOut;
            }
            direction.retry_at = now + retransmit;
            return DeliveryDecision::StallUntil(direction.retry_at);
        }
        // A delivery is progress: the next block gets the whole timeout.
        direction.stalled_since = None;
        direction.delivered += 1;
        DeliveryDecision::Deliver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const TIMES: (SimDuration, SimDuration) = (SimDuration::from_millis(10), SimDuration::from_millis(30));

    fn decide(
        connection: &mut Connection,
        now: u64,
        position: StreamPosition,
        is_blocked: bool,
    ) -> DeliveryDecision {
        connection.decide(now.into(), (A, B), position, is_blocked, TIMES)
    }

    #[test]
    fn arrivals_are_monotone_per_direction() {
        let mut connection = Connection::new(1, SimTime::ZERO);
        let (late, first) = connection.enqueue(A, B, 50.into());
        let (behind, second) = connection.enqueue(A, B, 20.into());
        assert_eq!((late, behind), (50.into(), 50.into()));
        assert_eq!((first.sequence, second.sequence), (0, 1));
        assert_eq!(connection.enqueue(B, A, 20.into()).0, 20.into(), "directions are independent");
    }

    #[test]
    fn a_block_stalls_then_times_out() {
        let mut connection = Connection::new(1, SimTime::ZERO);
        let (_, first) = connection.enqueue(A, B, 5.into());
        let (_, second) = connection.enqueue(A, B, 5.into());
        assert_eq!(decide(&mut connection, 5, first, true), DeliveryDecision::StallUntil(15.into()));
        assert_eq!(decide(&mut connection, 5, second, false), DeliveryDecision::WaitUntil(15.into()));
        assert_eq!(decide(&mut connection, 35, first, true), DeliveryDecision::TimedOut);
    }

    #[test]
    fn frames_of_another_connection_are_dropped() {
        let mut old = Connection::new(1, SimTime::ZERO);
        let (_, position) = old.enqueue(A, B, 5.into());
        let mut new = Connection::new(2, SimTime::ZERO);
        assert_eq!(decide(&mut new, 5, position, false), DeliveryDecision::Broken);
        assert_eq!(decide(&mut old, 5, position, false), DeliveryDecision::Deliver);
    }
}
