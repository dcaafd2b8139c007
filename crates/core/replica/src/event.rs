//! What goes into a replica, and its timers.

use crate::writes::Operation;
use std::sync::Arc;
use syncline_store::Bytes;
use syncline_types::{PeerId, SimTime};

/// Something that happened, for the replica to react to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The replica has started, for the first time or again.
    Start,
    /// These peers can be reached from now on, and no others.
    Peers(Arc<[PeerId]>),
    /// The application writes. The operations take effect together.
    Write(Vec<Operation>),
    /// A frame of a peer arrived.
    Frame {
        /// The peer that sent the frame, as the host knows it.
        from: PeerId,
        /// The frame as it came off the wire.
        bytes: Bytes,
    },
    /// A timer that the replica had set fired.
    Timer(Timer),
}

/// A timer of a replica. There is one of each name: to set it again moves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The root is due to be announced.
    Heartbeat,
    /// The request of the session with this peer was not answered in time.
    Session(PeerId),
    /// A pending sync is due.
    PendingSync,
    /// Missing deltas did not come in time.
    Fetch,
}

/// Whether work waits for a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerKind {
    /// A sync waits for the timer (**C4**).
    Sync,
    /// The timer recurs for ever, and nothing waits for it.
    Housekeeping,
}

impl Timer {
    /// Whether work waits for the timer.
    pub const fn kind(self) -> TimerKind {
        match self {
            Self::Heartbeat => TimerKind::Housekeeping,
            Self::Session(_) | Self::PendingSync | Self::Fetch => TimerKind::Sync,
        }
    }
}

/// A change to the timers of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum TimerOp {
    /// `timer` fires at `at`, instead of at any time set before.
    Set { timer: Timer, at: SimTime },
    /// `timer` does not fire.
    Cancel { timer: Timer },
}
