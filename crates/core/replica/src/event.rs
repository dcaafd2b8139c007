//! The inputs of a replica, and its timers.

use crate::writes::Operation;
use std::sync::Arc;
use syncline_store::Bytes;
use syncline_types::{PeerId, SimTime};

/// An input of a replica.
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
        /// The received bytes of the frame.
        bytes: Bytes,
    },
    /// A timer that the replica had set fired.
    Timer(Timer),
    /// The host vouches for its wall clock: the replica makes stamps from it although it is implausible, until the
    /// clock jumps ahead again or the replica restarts.
    TrustClock,
}

/// A timer of a replica. Setting a timer that is set already moves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The next heartbeat is due.
    Heartbeat,
    /// The request of the session with this peer was not answered in time.
    Session(PeerId),
    /// A pending sync is due.
    PendingSync,
    /// Missing deltas did not arrive in time.
    Fetch,
    /// The recovery of a former id's writes goes on.
    Recovery,
    /// A collection of tombstones goes on that takes more than one step.
    Collection,
}

/// Whether work waits for a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerKind {
    /// A session, a pending sync or a request for deltas waits for the timer (**C4**).
    Sync,
    /// The timer recurs for ever, and no work waits for it.
    Housekeeping,
}

impl Timer {
    /// Whether work waits for the timer.
    pub const fn kind(self) -> TimerKind {
        match self {
            Self::Heartbeat => TimerKind::Housekeeping,
            Self::Session(_) | Self::PendingSync | Self::Fetch | Self::Recovery | Self::Collection => {
                TimerKind::Sync
            }
        }
    }
}

/// A change to the timers of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum TimerOp {
    /// Sets `timer` to fire at `at`, and replaces a time that was set before.
    Set { timer: Timer, at: SimTime },
    /// Cancels `timer`.
    Cancel { timer: Timer },
}
