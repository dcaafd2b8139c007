//! What hostile nodes did, and what came of it.

use super::Lie;
use serde::Serialize;
use std::collections::BTreeMap;

/// What hostile nodes did, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct HostileMetrics {
    /// How often each lie was told.
    pub told: BTreeMap<Lie, u64>,
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
}
