//! Which ways to repair a difference lead anywhere.
//!
//! A protocol that fails every time behind one that mends what it left is a bug that no single run
//! shows: all runs converge. Over many runs it shows as a way that is tried again and again and hardly
//! ever leads to equal roots by itself.

use crate::runtime::EndedSession;
use serde::Serialize;
use std::collections::BTreeMap;
use syncline_sync::{Outcome, SyncProtocolKind};

/// How often one protocol was tried, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Path {
    /// Sessions that chose it and were not cut short by silence.
    pub tried: u64,
    /// Of those, the ones that ended with equal roots and needed no walk after it.
    pub led: u64,
}

/// How often each protocol was tried, over any number of runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Paths(BTreeMap<String, Path>);

impl Paths {
    /// Sessions after which a protocol that hardly ever led anywhere is thought broken, and not unlucky.
    pub const ENOUGH: u64 = 100;

    /// Gossip may bring what a session failed to, so that one that does nothing seems to lead somewhere
    /// now and then.
    pub const RARELY: u64 = 10;

    /// Takes in the sessions of a run. O(sessions).
    pub fn take(&mut self, sessions: &[EndedSession]) {
        for session in sessions {
            let Some(protocol) = session.protocol else { continue };
            let walked = session.stats.walks > 0 && protocol != SyncProtocolKind::HashComparison;
            let path = self.0.entry(protocol.to_string()).or_default();
            match session.outcome {
                Outcome::Converged { .. } if !walked => {
                    (path.tried, path.led) = (path.tried + 1, path.led + 1);
                }
                Outcome::Converged { .. } | Outcome::SyncPending(_) => path.tried += 1,
                Outcome::Failed(_) => {}
            }
        }
    }

    /// Adds those of other runs.
    pub fn merge(&mut self, other: &Self) {
        for (protocol, path) in &other.0 {
            let own = self.0.entry(protocol.clone()).or_default();
            (own.tried, own.led) = (own.tried + path.tried, own.led + path.led);
        }
    }

    /// The protocols that were tried, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Path)> {
        self.0.iter().map(|(protocol, path)| (protocol.as_str(), *path))
    }

    /// The protocols that were tried at least `enough` times and led to equal roots by themselves less often
    /// than one time in [`Paths::RARELY`]. Not DeltaSync, which leads as far as deltas go: where states
    /// began with more than those, a walk after it is no fault of its.
    pub fn leading_nowhere(&self, enough: u64) -> impl Iterator<Item = (&str, Path)> {
        let compares = |protocol: &str| protocol != SyncProtocolKind::DeltaSync.to_string();
        self.iter().filter(move |(protocol, path)| {
            compares(protocol) && path.tried >= enough && path.led * Self::RARELY < path.tried
        })
    }
}
