//! The success rate of each sync protocol.
//!
//! A fallback can hide a protocol that always fails: it repairs the remaining difference, and every single
//! run converges. Over many runs the bug shows: the protocol is chosen again and again, and hardly ever makes
//! the roots equal by itself.

use crate::runtime::EndedSession;
use serde::Serialize;
use std::collections::BTreeMap;
use syncline_sync::{Outcome, SyncProtocolKind};

/// How often sessions chose one protocol, and how often it succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProtocolSuccess {
    /// Sessions that chose the protocol and did not fail, for example by a timeout.
    #[serde(rename = "tried")]
    pub attempts: u64,
    /// Of these, the sessions that ended with equal roots and did not fall back to a walk of the index.
    #[serde(rename = "led")]
    pub successes: u64,
}

/// The success rate of each protocol over any number of runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SuccessRates(BTreeMap<String, ProtocolSuccess>);

impl SuccessRates {
    /// The number of attempts from which on a low success rate indicates a broken protocol and not bad luck.
    pub const MIN_ATTEMPTS: u64 = 100;

    /// A protocol is failing if fewer than one in this many attempts succeed. The rate of a broken protocol
    /// is not 0, since gossip may bring what a session failed to transfer.
    pub const FAILING_BELOW_ONE_IN: u64 = 10;

    /// Counts the sessions of a run. O(sessions).
    pub fn record(&mut self, sessions: &[EndedSession]) {
        for session in sessions {
            // The session ended before a protocol was chosen.
            let Some(protocol) = session.protocol else { continue };
            let fell_back = session.stats.walks > 0 && protocol != SyncProtocolKind::HashComparison;
            let rate = self.0.entry(protocol.to_string()).or_default();
            match session.outcome {
                Outcome::Converged { .. } if !fell_back => {
                    rate.attempts += 1;
                    rate.successes += 1;
                }
                Outcome::Converged { .. } | Outcome::SyncPending(_) => rate.attempts += 1,
                Outcome::Failed(_) => {}
            }
            assert!(rate.successes <= rate.attempts, "every success is an attempt");
        }
    }

    /// Adds the counts of other runs.
    pub fn merge(&mut self, other: &Self) {
        for (protocol, rate) in &other.0 {
            let own = self.0.entry(protocol.clone()).or_default();
            own.attempts += rate.attempts;
            own.successes += rate.successes;
        }
    }

    /// The protocols that sessions chose, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ProtocolSuccess)> {
        self.0.iter().map(|(protocol, rate)| (protocol.as_str(), *rate))
    }

    /// The protocols with at least `min_attempts` attempts of which fewer than one in
    /// [`FAILING_BELOW_ONE_IN`](Self::FAILING_BELOW_ONE_IN) succeeded. DeltaSync is never among them: it
    /// transfers deltas only, and a walk after it is no fault of its own where states differ in more than deltas.
    pub fn failing(&self, min_attempts: u64) -> impl Iterator<Item = (&str, ProtocolSuccess)> {
        let compares = |protocol: &str| protocol != SyncProtocolKind::DeltaSync.to_string();
        self.iter().filter(move |(protocol, rate)| {
            compares(protocol)
                && rate.attempts >= min_attempts
                && rate.successes * Self::FAILING_BELOW_ONE_IN < rate.attempts
        })
    }
}
