//! How much is explored.

use syncline_types::SimDuration;

/// What may happen, and when to stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Frames that may be lost.
    pub drops: u8,
    /// Frames that may arrive and stay on their way.
    pub duplicates: u8,
    /// Times that a node may go down.
    pub crashes: u8,
    /// Times that a link may be cut, both ways, until it is mended.
    pub partitions: u8,
    /// Times that a timer may run out although frames are on their way, a node is down or a link is cut.
    pub early: u8,
    /// Times that housekeeping timers may run out on each node.
    pub ticks: u8,
    /// Whether frames of one link arrive in the order in which they were sent.
    pub fifo: bool,
    /// Moves after which nothing is followed any further.
    pub depth: u32,
    /// States after which the search stops.
    pub states: u32,
    /// Whether steps are run again whenever they are looked up, on the node that came to its state last and
    /// by another way, and compared: so it is seen whether what nodes write of themselves tells them apart.
    /// Slow.
    pub doubt: bool,
    /// How long, in virtual time, all may take to converge once nothing goes wrong any more.
    pub patience: SimDuration,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            drops: 0,
            duplicates: 0,
            crashes: 0,
            partitions: 0,
            early: 0,
            ticks: 1,
            fifo: false,
            depth: u32::MAX,
            states: u32::MAX - 1,
            doubt: false,
            patience: SimDuration::from_secs(600),
        }
    }
}
