//! Which nodes of a run are hostile, and how often they attack.

use super::attack::{Lie, Lies};
use super::config::{ConfigError, FaultConfig, Rate};
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
