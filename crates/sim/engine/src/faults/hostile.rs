//! Adversaries: which nodes of a run are hostile, and how often they attack.

use super::attack::{Lie, Lies};
use super::config::{ConfigError, FaultConfig, Rate};
use serde::{Deserialize, Serialize};

/// The default of [`HostileFaults::rate`].
const DEFAULT_RATE: Rate = Rate::ppm(200_000);

/// The most hostile nodes of a run.
pub const MOST_HOSTILE: u64 = 10_000;

/// Which nodes of a run are hostile, and which attacks they make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostileFaults {
    /// The number of hostile nodes: the last ones of those that the run begins with.
    pub nodes: usize,
    /// The number of hostile nodes that are not members: the last ones again.
    pub outsiders: usize,
    /// The probability that a hostile node alters a frame that it sends.
    pub rate: Rate,
    /// The kinds of attacks. An empty set means all.
    pub lies: Lies,
    /// Whether the members share one key, which hostile nodes do not know. Otherwise each node has its own.
    pub group_key: bool,
}

impl Default for HostileFaults {
    fn default() -> Self {
        Self::none()
    }
}

impl HostileFaults {
    /// No node is hostile.
    pub const fn none() -> Self {
        Self { nodes: 0, outsiders: 0, rate: DEFAULT_RATE, lies: Lies::NONE, group_key: false }
    }

    /// The kinds of attacks that hostile nodes make.
    pub fn kinds(&self) -> Lies {
        if self.lies.is_none() { Lies::all() } else { self.lies }
    }

    /// Checks every setting. The error names the first invalid one.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let found = self.outsiders as u64;
        let max = self.nodes as u64;
        for (field, found) in [("the number of hostile nodes", max), ("the number of outsiders", found)] {
            if found > MOST_HOSTILE {
                return Err(ConfigError::OutOfBounds { field, found, min: 0, max: MOST_HOSTILE });
            }
        }
        if max > 0 && found > max {
            return Err(ConfigError::OutOfBounds { field: "the number of outsiders", found, min: 0, max });
        }
        if self.group_key && found < max {
            let field = "the number of outsiders (a hostile member would have the group key)";
            return Err(ConfigError::OutOfBounds { field, found, min: max, max });
        }
        Ok(())
    }
}

impl FaultConfig {
    /// Makes the last `nodes` of the nodes that a run begins with hostile.
    pub const fn with_hostile(mut self, nodes: usize) -> Self {
        self.hostile.nodes = nodes;
        self
    }

    /// Makes the last `nodes` of the hostile nodes outsiders: they are not members.
    pub const fn with_outsiders(mut self, nodes: usize) -> Self {
        self.hostile.outsiders = nodes;
        self
    }

    /// Makes all hostile nodes outsiders that do not know the one key of the members.
    pub const fn with_group_key(mut self) -> Self {
        self.hostile.outsiders = self.hostile.nodes;
        self.hostile.group_key = true;
        self
    }

    /// Sets the probability that a hostile node alters a frame that it sends.
    pub fn with_lie_rate(mut self, probability: f64) -> Self {
        self.hostile.rate = self.rate("the rate of lies", probability);
        self
    }

    /// Sets the kinds of attacks.
    pub fn with_lies(mut self, lies: impl IntoIterator<Item = Lie>) -> Self {
        self.hostile.lies = lies.into_iter().collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_members_have_keys_of_their_own() {
        let keyed = FaultConfig::none().with_hostile(2).with_group_key();
        assert_eq!(keyed.hostile.validate(), Ok(()));
        let member = keyed.with_outsiders(1).hostile.validate();
        assert!(matches!(member, Err(ConfigError::OutOfBounds { found: 1, min: 2, .. })), "{member:?}");
    }
}
