//! What hostile nodes did, and what came of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim_engine::faults::Lie;

/// What hostile nodes did, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostileMetrics {
    /// How often each lie was told.
    pub told: BTreeMap<Lie, u64>,
    /// How many of them outsiders told.
    pub told_by_outsiders: u64,
    /// Frames of hostile nodes that honest ones refused for what they were: no frame, against the rules, of a
    /// stranger, or not signed by its author.
    pub frames_refused: u64,
    /// Deltas that honest nodes refused because their authors may not write or did not sign them.
    pub deltas_refused: u64,
    /// Sessions that honest nodes began with hostile ones.
    pub sessions_started: u64,
    /// Of these, the ones that failed; after each, the hostile node is left alone for a while.
    pub sessions_failed: u64,
}

impl HostileMetrics {
    /// How many lies were told.
    pub fn told_in_all(&self) -> u64 {
        self.told.values().sum()
    }

    /// Adds what was counted over other runs.
    pub fn add(&mut self, other: &Self) {
        let Self {
            told,
            told_by_outsiders,
            frames_refused,
            deltas_refused,
            sessions_started,
            sessions_failed,
        } = other;
        for (lie, count) in told {
            *self.told.entry(*lie).or_default() += count;
        }
        self.told_by_outsiders += told_by_outsiders;
        self.frames_refused += frames_refused;
        self.deltas_refused += deltas_refused;
        self.sessions_started += sessions_started;
        self.sessions_failed += sessions_failed;
    }
}
