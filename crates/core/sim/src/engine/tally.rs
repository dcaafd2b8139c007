//! What is unfinished, counted as it changes.

use super::actor::Unfinished;
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

/// What one node has not finished, and whether it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    pub(super) up: bool,
    pub(super) away: bool,
    pub(super) sync_timers: u32,
    pub(super) unfinished: Unfinished,
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
        let Standing { up, away, sync_timers, unfinished } = standing;
        let step = |count: &mut u32, applies: bool| {
            if applies {
                *count = if add { *count + 1 } else { *count - 1 };
            }
        };
        step(&mut self.down, !up);
        step(&mut self.away, away);
        step(&mut self.busy, unfinished.sessions > 0);
        step(&mut self.waiting, unfinished.waiting > 0);
        step(&mut self.timers, sync_timers > 0);
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
