//! What is unfinished, counted as it changes.

use crate::actor::Unfinished;
use std::collections::BTreeMap;
use syncline_types::Digest;

/// Everything that keeps a run from being converged, kept up to date by every event: asking costs
/// O(1).
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Frames on their way that somebody waits for (**C1**).
    pub frames: u64,
    /// Nodes with an exchange under way (**C2**).
    pub busy: u32,
    /// Nodes that are down, or have still to join (**C2**).
    pub down: u32,
    /// Nodes that left and are not back (**C2**).
    pub away: u32,
    /// Nodes with something waiting or owed (**C3**).
    pub waiting: u32,
    /// Nodes with a timer that somebody waits for (**C4**).
    pub timers: u32,
    /// Operations of the workload still to come.
    pub ops: u64,
    digests: BTreeMap<Digest, u32>,
}

/// How often a run moved. A run *moves* when something comes from outside (a write, a fault, a node
/// that joins or leaves) and when the digest of a node changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProgressCount {
    /// Events from outside.
    pub outside: u64,
    /// Changes of digests.
    pub changes: u64,
}

/// What the run waits for one node for, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing(u8);

impl Standing {
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

impl Tally {
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

    /// Whether nothing is unfinished and all digests are equal.
    pub fn is_converged(&self) -> bool {
        self.is_quiet() && self.digests.len() <= 1
    }

    /// Takes in, or out, what one node has not finished.
    pub(super) fn count(&mut self, standing: Standing, add: bool) {
        let step = |count: &mut u32, applies: bool| {
            if applies {
                *count = if add { *count + 1 } else { *count - 1 };
            }
        };
        step(&mut self.down, standing.has(0));
        step(&mut self.away, standing.has(1));
        step(&mut self.busy, standing.has(2));
        step(&mut self.waiting, standing.has(3));
        step(&mut self.timers, standing.has(4));
    }

    /// What one node has not finished changes.
    pub(super) fn shift(&mut self, before: Standing, after: Standing) {
        if before != after {
            self.count(before, false);
            self.count(after, true);
        }
    }

    /// Takes in, or out, one node's digest.
    pub(super) fn count_digest(&mut self, digest: Digest, add: bool) {
        let nodes = self.digests.entry(digest).or_default();
        *nodes = if add { *nodes + 1 } else { *nodes - 1 };
        if *nodes == 0 {
            self.digests.remove(&digest);
        }
    }
}
