//! The work that is pending in a run, counted as it changes.

use crate::actor::Unfinished;
use std::collections::BTreeMap;
use syncline_types::Digest;

/// Everything that keeps a run from being converged. Every event updates it, so that asking costs O(1).
///
/// Invariant: each counter equals the number that a scan over all nodes which take part in convergence would
/// find. [`World`](crate::world::World) adds and removes a node's `PendingBits` and digest in pairs.
#[derive(Clone, Debug, Default)]
pub struct PendingWork {
    /// Frames in flight that are not housekeeping (**C1**).
    pub frames: u64,
    /// Nodes with an exchange in progress (**C2**).
    pub busy: u32,
    /// Nodes that are down, or have still to join (**C2**).
    pub down: u32,
    /// Nodes that left and have not returned (**C2**).
    pub away: u32,
    /// Nodes with items to process or a pending sync (**C3**).
    pub waiting: u32,
    /// Nodes with a timer that is not housekeeping (**C4**).
    pub timers: u32,
    /// Operations of the workload still to come.
    pub ops: u64,
    digests: BTreeMap<Digest, u32>,
}

/// How often a run made progress: by events from outside (a write, a fault, a node that joins or leaves), and
/// by changes of the digest of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProgressCount {
    /// Events from outside the nodes.
    pub outside: u64,
    /// Changes of digests of nodes.
    pub changes: u64,
}

/// What the run waits for at one node, as bits: down, away, busy, waiting, timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PendingBits(u8);

impl PendingBits {
    pub(crate) const fn of(up: bool, away: bool, unfinished: Unfinished, awaited: u32) -> Self {
        Self(
            !up as u8
                | (away as u8) << 1
                | ((unfinished.sessions > 0) as u8) << 2
                | ((unfinished.waiting > 0) as u8) << 3
                | ((awaited > 0) as u8) << 4,
        )
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & 1 << bit != 0
    }
}

impl PendingWork {
    /// How many different digests the nodes have (**C5**).
    pub fn distinct_digests(&self) -> usize {
        self.digests.len()
    }

    /// Whether C1 to C4 hold and the workload is done.
    pub const fn is_quiet(&self) -> bool {
        self.frames == 0
            && self.busy == 0
            && self.down == 0
            && self.away == 0
            && self.waiting == 0
            && self.timers == 0
            && self.ops == 0
    }

    /// Whether no work is pending and all digests are equal.
    pub fn is_converged(&self) -> bool {
        self.is_quiet() && self.digests.len() <= 1
    }

    /// Adds or removes the pending work of one node.
    pub(super) fn count(&mut self, bits: PendingBits, add: bool) {
        let step = |count: &mut u32, applies: bool| {
            if applies {
                debug_assert!(add || *count > 0, "a node's pending work is removed only after it was added");
                *count = if add { *count + 1 } else { *count - 1 };
            }
        };
        step(&mut self.down, bits.has(0));
        step(&mut self.away, bits.has(1));
        step(&mut self.busy, bits.has(2));
        step(&mut self.waiting, bits.has(3));
        step(&mut self.timers, bits.has(4));
    }

    /// Replaces the pending work of one node.
    pub(super) fn shift(&mut self, before: PendingBits, after: PendingBits) {
        if before != after {
            self.count(before, false);
            self.count(after, true);
        }
    }

    /// Adds or removes the digest of one node.
    pub(super) fn count_digest(&mut self, digest: Digest, add: bool) {
        let nodes = self.digests.entry(digest).or_default();
        assert!(add || *nodes > 0, "a digest is removed only after it was added");
        *nodes = if add { *nodes + 1 } else { *nodes - 1 };
        // A digest of no node is removed: the number of keys is the number of different digests (C5).
        if *nodes == 0 {
            self.digests.remove(&digest);
        }
    }
}
