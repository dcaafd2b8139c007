//! Counts of what hostile nodes did and how honest nodes reacted.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim_engine::faults::Lie;

/// Counts of what hostile nodes did and how honest nodes reacted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostileMetrics {
    /// Frames altered, by the kind of lie.
    pub lies: BTreeMap<Lie, u64>,
    /// Frames altered by outsiders; part of `lies`.
    pub lies_by_outsiders: u64,
    /// Hostile nodes that do not know the key of the group.
    pub keyless: u64,
    /// Frames of hostile nodes that honest nodes refused as corrupt, malformed, from a stranger, or not signed by
    /// their author.
    pub frames_refused: u64,
    /// Deltas that honest nodes refused because their authors may not write or did not sign them.
    pub deltas_refused: u64,
    /// Sessions that honest nodes started with hostile nodes.
    pub sessions_started: u64,
    /// Of these, the sessions that failed. After each failure the honest node backs off from the hostile one.
    pub sessions_failed: u64,
}

impl HostileMetrics {
    /// Frames altered by any kind of lie.
    pub fn total_lies(&self) -> u64 {
        self.lies.values().sum()
    }

    /// Adds the counts of other runs.
    pub fn add(&mut self, other: &Self) {
        let Self {
            lies,
            lies_by_outsiders,
            keyless,
            frames_refused,
            deltas_refused,
            sessions_started,
            sessions_failed,
        } = other;
        for (lie, count) in lies {
            *self.lies.entry(*lie).or_default() += count;
        }
        self.lies_by_outsiders += lies_by_outsiders;
        self.keyless += keyless;
        self.frames_refused += frames_refused;
        self.deltas_refused += deltas_refused;
        self.sessions_started += sessions_started;
        self.sessions_failed += sessions_failed;
    }
}
