//! The bounds of a search.

use syncline_types::SimDuration;

/// What may happen in a search, and when it stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The number of frames that may be lost.
    pub drops: u8,
    /// The number of frames that may arrive while a copy stays in flight.
    pub duplicates: u8,
    /// The number of crashes, over all nodes.
    pub crashes: u8,
    /// The number of times that a link may be cut, in both directions, until it is repaired.
    pub partitions: u8,
    /// The number of times that the disk of a node is replaced: by a backup of it, by a copy of the disk of another
    /// node, or by an empty one. The node is then down until it restarts.
    pub disks: u8,
    /// The number of timers that may fire although frames are in flight, a node is down or a link is cut.
    pub early: u8,
    /// The number of times that housekeeping timers may fire on each node.
    pub ticks: u8,
    /// Whether the frames of one link arrive in the order in which they were sent.
    pub fifo: bool,
    /// The number of moves after which a path is not followed any further.
    pub depth: u32,
    /// The number of states after which the search stops.
    pub states: u32,
    /// Whether each step that is looked up is also run again and compared. The second run starts from the node
    /// that reached the same state last, by another path. A difference shows that
    /// [`Explorable::write_state`](super::Explorable::write_state) omits something. Several times slower.
    pub verify_determinism: bool,
    /// The longest virtual time that convergence may take once no more faults occur.
    pub patience: SimDuration,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            drops: 0,
            duplicates: 0,
            crashes: 0,
            partitions: 0,
            disks: 0,
            early: 0,
            ticks: 1,
            fifo: false,
            depth: u32::MAX,
            // One less than the largest number, which the hash table uses for an empty slot.
            states: u32::MAX - 1,
            verify_determinism: false,
            patience: SimDuration::from_secs(600),
        }
    }
}
