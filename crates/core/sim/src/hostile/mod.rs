//! Hostile peers: nodes of a run whose frames are not what an honest replica would send.
//!
//! A hostile node is a real replica on a simulated host, and everything that goes wrong with the others goes
//! wrong with it. Of what its replica sends, some is bent on the way out by a [`Lie`]: by chance
//! ([`HostileFaults`]) or by script ([`SimRuntime::lie_at`]). An *insider* is a member and signs with the key
//! of a member, its own; an *outsider* is known to nobody as one. Hostile nodes do not stop to lie when the
//! network calms.
//!
//! A run with hostile nodes ends when those that are honest have converged *with each other*. Frames to and
//! from hostile nodes, sessions and debts with them, and what they wrote themselves are not waited for. Then
//!
//! - what the honest show is what their acknowledged writes imply, and of what hostile nodes wrote the part
//!   that arrived, which is the same everywhere;
//! - of outsiders nothing is there;
//! - if an insider may tell a lie that [members are believed](Lie::is_taken_on_trust), the honest agree, and on
//!   what is not promised. A record bears no signature, so that no member can tell.
//!
//! ```
//! use sync_sim::prelude::*;
//!
//! let faults = FaultConfig::heavy_chaos().with_hostile(1).with_lies([Lie::LyingRoot, Lie::WithheldDeltas]);
//! let mut rt = SimRuntime::with_config(SimConfig::with_seed(7).with_faults(faults));
//! let [alice, bob, mallory] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 10));
//! assert_eq!(rt.run(), StopCondition::Converged);
//! assert_eq!(rt.digest(alice), rt.digest(bob));
//! assert!(rt.is_hostile(mallory) && rt.metrics().hostile.told_in_all() > 0);
//! ```
//!
//! [`SimRuntime::lie_at`]: crate::SimRuntime::lie_at

mod cast;
mod changes;
mod claims;
mod craft;
mod deltas;
mod keys;
mod liar;
mod lie;
mod metrics;
mod states;

pub(crate) use cast::Cast;
pub(crate) use keys::{authority, membership};
pub(crate) use liar::{Identity, Liar, Manner};
pub use lie::{Lie, Lies};
pub use metrics::HostileMetrics;

use crate::network::{ConfigError, FaultConfig, Rate};
use serde::{Deserialize, Serialize};

/// How often a hostile node bends a frame, unless it is said.
const USUALLY: Rate = Rate::ppm(200_000);

/// Which nodes of a run are hostile, and how they lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostileFaults {
    /// How many of the nodes that the run begins with are hostile: the last ones.
    pub nodes: usize,
    /// How many of these are no members: the last ones again.
    pub outsiders: usize,
    /// How often a hostile node bends a frame that it sends.
    pub rate: Rate,
    /// What they say; every kind if none is named.
    pub lies: Lies,
}

impl Default for HostileFaults {
    fn default() -> Self {
        Self::none()
    }
}

impl HostileFaults {
    /// Nobody is hostile.
    pub const fn none() -> Self {
        Self { nodes: 0, outsiders: 0, rate: USUALLY, lies: Lies::NONE }
    }

    /// What hostile nodes say.
    pub fn kinds(&self) -> Lies {
        if self.lies.is_none() { Lies::all() } else { self.lies }
    }

    /// Whether every setting makes sense; the first that does not is named.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let (found, max) = (self.outsiders as u64, self.nodes as u64);
        if max > 0 && found > max {
            return Err(ConfigError::OutOfBounds { field: "the number of outsiders", found, min: 0, max });
        }
        Ok(())
    }
}

impl FaultConfig {
    /// Has the last so many of the nodes that a run begins with be hostile members.
    pub const fn with_hostile(mut self, nodes: usize) -> Self {
        self.hostile.nodes = nodes;
        self
    }

    /// Has the last so many of the hostile nodes be no members.
    pub const fn with_outsiders(mut self, nodes: usize) -> Self {
        self.hostile.outsiders = nodes;
        self
    }

    /// Sets how often a hostile node bends a frame that it sends.
    pub fn with_lie_rate(mut self, probability: f64) -> Self {
        self.hostile.rate = self.rate("the rate of lies", probability);
        self
    }

    /// Sets what hostile nodes say.
    pub fn with_lies(mut self, lies: impl IntoIterator<Item = Lie>) -> Self {
        self.hostile.lies = lies.into_iter().collect();
        self
    }
}
