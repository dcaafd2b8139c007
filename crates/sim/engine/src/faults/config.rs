//! The settings of all faults: what goes wrong, how often and how badly.

use crate::faults::host::HostFaults;
use crate::faults::hostile::HostileFaults;
use crate::faults::link::LinkFaults;
use crate::faults::serde_units;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// A setting that is invalid. `field` names it, `found` is its value.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields' names say what they hold")]
pub enum ConfigError {
    /// A probability outside `0..=1`.
    #[error("{field} is {found}; a probability lies between 0 and 1")]
    Probability { field: &'static str, found: f64 },
    /// A probability that would be rounded to zero.
    #[error("{field} is {found}; the smallest is 0.000001, or 0 for never")]
    TooRare { field: &'static str, found: f64 },
    /// A factor below 1 or above 1000.
    #[error("{field} is {found}; a factor lies between 1 and 1000")]
    Factor { field: &'static str, found: f64 },
    /// A range that is empty.
    #[error("{field} is {}..{}; the end must lie above the start", .found.start, .found.end)]
    Range { field: &'static str, found: Range<u64> },
    /// Hostile nodes in a run whose members do not know each other.
    #[error(
        "hostile nodes need members that know each other, and so forget what is dead: neither keep tombstones nor have disks lose unnoticed"
    )]
    HostileWithoutMembers,
    /// A number of contexts that no node can have.
    #[error("{found} contexts; a node keeps from 1 to {}", MOST_CONTEXTS)]
    Contexts { found: usize },
    /// A number outside the bounds of the simulator.
    #[error("{field} is {found}; it must lie between {min} and {max}")]
    OutOfBounds { field: &'static str, found: u64, min: u64, max: u64 },
}

/// A probability in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Rate(u32);

impl Rate {
    /// The rate of what never happens.
    pub const ZERO: Self = Self(0);

    /// From parts per million. Values above a million count as a million.
    pub const fn ppm(ppm: u32) -> Self {
        Self(if ppm > 1_000_000 { 1_000_000 } else { ppm })
    }

    /// From a probability, rounded to parts per million. `field` names the setting in the error.
    #[allow(clippy::float_arithmetic, reason = "read once, at the edge, and rounded to an integer")]
    pub fn from_probability(field: &'static str, found: f64) -> Result<Self, ConfigError> {
        if !(0.0..=1.0).contains(&found) {
            return Err(ConfigError::Probability { field, found });
        }
        let ppm = (found * 1e6).round() as u32;
        // Rounding to zero would silently turn a rare fault off.
        if ppm == 0 && found > 0.0 {
            return Err(ConfigError::TooRare { field, found });
        }
        Ok(Self(ppm))
    }

    /// The rate in parts per million.
    pub const fn as_ppm(self) -> u32 {
        self.0
    }

    /// The largest gap between two events of this rate, in trials: gaps are uniform from one to this number,
    /// with a mean of one over the rate. `None` if the rate is zero.
    pub(crate) fn longest_gap(self) -> Option<u64> {
        // A uniform gap over `1..=2/p - 1` ticks has the mean 1/p. For a p of one, each gap is one tick.
        Some(2_000_000u64.checked_div(u64::from(self.0))?.saturating_sub(1).max(1))
    }
}

impl fmt::Display for Rate {
    /// In percent, with as many digits as it has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0 / 10_000;
        let rest = format!("{:04}", self.0 % 10_000);
        match rest.trim_end_matches('0') {
            "" => write!(f, "{whole} %"),
            digits => write!(f, "{whole}.{digits} %"),
        }
    }
}

/// The maximum number of contexts of a node.
pub const MOST_CONTEXTS: usize = 8;

/// The most nodes that join a run after it has begun.
pub const MOST_JOINERS: u64 = 10_000;

/// The length of a chaos tick in milliseconds. The probabilities of random partitions, crashes and departures
/// are per tick.
pub const CHAOS_TICK_MS: u64 = 10;

/// The faults of a run. The builder methods accept every value; [`FaultConfig::validate`] reports the first
/// invalid one, and so does the start of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultConfig {
    /// The mean latency of a frame, in milliseconds.
    pub base_latency_ms: u64,
    /// How much the latency may differ from the mean, in milliseconds.
    pub latency_jitter_ms: u64,
    /// The probability that a frame is lost.
    pub message_loss_rate: Rate,
    /// The maximum additional latency of a frame, in milliseconds, so that later frames overtake it.
    pub reorder_window_ms: u64,
    /// The probability that a frame is duplicated.
    pub duplicate_rate: Rate,
    /// The probability that a bit of a frame is flipped in transit.
    pub corruption_rate: Rate,
    /// The probability, per chaos tick, that the network splits.
    pub partition_probability: Rate,
    /// How long a random partition lasts.
    #[serde(with = "serde_units::range")]
    pub partition_duration_ms: Range<u64>,
    /// The probability, per chaos tick, that a node crashes.
    pub crash_probability: Rate,
    /// How long a node is down after a random crash.
    #[serde(with = "serde_units::range")]
    pub restart_delay_ms: Range<u64>,
    /// The factor of the latency to slow nodes, in thousandths. Above 1000, each node is slow with a
    /// probability of one in four.
    pub slow_node_permille: u64,
    /// The probability that a sync is followed by a write while it runs.
    pub write_during_sync_rate: Rate,
    /// The probability, per chaos tick, that a node leaves.
    pub churn_probability: Rate,
    /// How long a node that left at random is away.
    #[serde(with = "serde_units::range")]
    pub away_duration_ms: Range<u64>,
    /// How many nodes without state join after the run has begun.
    pub late_joiners: u64,
    /// When late joiners join, after the beginning of the run.
    #[serde(with = "serde_units::range")]
    pub join_ms: Range<u64>,
    /// The faults of single links.
    pub links: LinkFaults,
    /// The faults within nodes.
    pub hosts: HostFaults,
    /// The adversaries among the nodes.
    pub hostile: HostileFaults,
    /// The first invalid value that a builder method got. [`FaultConfig::validate`] reports it.
    #[serde(skip)]
    pub invalid: Option<ConfigError>,
}

impl Default for FaultConfig {
    /// A network without faults but with latency: 10 ± 5 ms.
    fn default() -> Self {
        Self { base_latency_ms: 10, latency_jitter_ms: 5, ..Self::none() }
    }
}

impl FaultConfig {
    /// A perfect network: no delay, no faults.
    pub const fn none() -> Self {
        Self {
            base_latency_ms: 0,
            latency_jitter_ms: 0,
            message_loss_rate: Rate::ZERO,
            reorder_window_ms: 0,
            duplicate_rate: Rate::ZERO,
            corruption_rate: Rate::ZERO,
            partition_probability: Rate::ZERO,
            partition_duration_ms: 0..0,
            crash_probability: Rate::ZERO,
            restart_delay_ms: 0..0,
            slow_node_permille: 1_000,
            write_during_sync_rate: Rate::ZERO,
            churn_probability: Rate::ZERO,
            away_duration_ms: 0..0,
            late_joiners: 0,
            join_ms: 0..0,
            links: LinkFaults::none(),
            hosts: HostFaults::none(),
            hostile: HostileFaults::none(),
            invalid: None,
        }
    }

    /// A realistic network: 10 ± 5 ms, 1 % loss, 20 ms reordering, 1 % duplication.
    pub const fn light_chaos() -> Self {
        Self {
            base_latency_ms: 10,
            latency_jitter_ms: 5,
            message_loss_rate: Rate::ppm(10_000),
            reorder_window_ms: 20,
            duplicate_rate: Rate::ppm(10_000),
            ..Self::none()
        }
    }

    /// A stress test: 50 ± 25 ms, 10 % loss, 100 ms reordering, 5 % duplication, partitions of
    /// 100 to 500 ms and crashes of 100 to 1000 ms.
    pub const fn heavy_chaos() -> Self {
        Self {
            base_latency_ms: 50,
            latency_jitter_ms: 25,
            message_loss_rate: Rate::ppm(100_000),
            reorder_window_ms: 100,
            duplicate_rate: Rate::ppm(50_000),
            partition_probability: Rate::ppm(10_000),
            partition_duration_ms: 100..500,
            crash_probability: Rate::ppm(1_000),
            restart_delay_ms: 100..1_000,
            ..Self::none()
        }
    }

    /// A network that splits all the time: a partition of 200 to 1000 ms every tenth tick.
    pub const fn partition_heavy() -> Self {
        Self {
            base_latency_ms: 10,
            latency_jitter_ms: 5,
            partition_probability: Rate::ppm(100_000),
            partition_duration_ms: 200..1_000,
            ..Self::none()
        }
    }

    /// Sets the latency of frames: `base_ms` ± `jitter_ms`.
    pub const fn with_latency(mut self, base_ms: u64, jitter_ms: u64) -> Self {
        self.base_latency_ms = base_ms;
        self.latency_jitter_ms = jitter_ms;
        self
    }

    /// Sets the probability that a frame is lost.
    pub fn with_loss(mut self, probability: f64) -> Self {
        self.message_loss_rate = self.rate("the loss rate", probability);
        self
    }

    /// Sets the maximum additional latency of a frame, in milliseconds.
    pub const fn with_reorder_window(mut self, window_ms: u64) -> Self {
        self.reorder_window_ms = window_ms;
        self
    }

    /// Another spelling of [`FaultConfig::with_reorder_window`].
    pub const fn with_reorder(self, window_ms: u64) -> Self {
        self.with_reorder_window(window_ms)
    }

    /// Sets the probability that a frame is duplicated.
    pub fn with_duplicates(mut self, probability: f64) -> Self {
        self.duplicate_rate = self.rate("the duplicate rate", probability);
        self
    }

    /// Another spelling of [`FaultConfig::with_duplicates`].
    pub fn with_duplicate(self, probability: f64) -> Self {
        self.with_duplicates(probability)
    }

    /// Sets the probability that a bit of a frame is flipped in transit. The frame arrives, and its receiver
    /// has to detect the corruption.
    pub fn with_corruption(mut self, probability: f64) -> Self {
        self.corruption_rate = self.rate("the corruption rate", probability);
        self
    }

    /// Sets the probability, per chaos tick, that the network splits, and for how long in milliseconds.
    pub fn with_partitions(mut self, probability: f64, duration_ms: Range<u64>) -> Self {
        self.partition_probability = self.rate("the partition probability", probability);
        self.partition_duration_ms = duration_ms;
        self
    }

    /// Sets the probability, per chaos tick, that a node crashes, and for how long in milliseconds.
    pub fn with_crashes(mut self, probability: f64, delay_ms: Range<u64>) -> Self {
        self.crash_probability = self.rate("the crash probability", probability);
        self.restart_delay_ms = delay_ms;
        self
    }

    /// Sets the factor of the latency to slow nodes. Above one, each node is slow with a probability of one
    /// in four.
    #[allow(clippy::float_arithmetic, reason = "read once, at the edge, and rounded to an integer")]
    pub fn with_slow_nodes(mut self, factor: f64) -> Self {
        if (1.0..=1000.0).contains(&factor) {
            self.slow_node_permille = (factor * 1e3).round() as u64;
        } else {
            let error = ConfigError::Factor { field: "the slow node factor", found: factor };
            self.invalid.get_or_insert(error);
        }
        self
    }

    /// Sets the probability that a sync is followed by a write while it runs.
    pub fn with_writes_during_sync(mut self, probability: f64) -> Self {
        self.write_during_sync_rate = self.rate("the rate of writes during sync", probability);
        self
    }

    /// Sets the probability, per chaos tick, that a node leaves, and for how long in milliseconds. Unlike a
    /// node that crashed, a node that is away keeps its memory, and its application goes on writing. But it
    /// has no link, and the node and its neighbours learn that.
    pub fn with_churn(mut self, probability: f64, away_ms: Range<u64>) -> Self {
        self.churn_probability = self.rate("the churn rate", probability);
        self.away_duration_ms = away_ms;
        self
    }

    /// Adds nodes without state that join at times in `join_ms`, in milliseconds after the run began.
    pub const fn with_late_joiners(mut self, nodes: u64, join_ms: Range<u64>) -> Self {
        self.late_joiners = nodes;
        self.join_ms = join_ms;
        self
    }

    pub(super) fn refuse(&mut self, error: ConfigError) {
        self.invalid.get_or_insert(error);
    }

    pub(crate) fn rate(&mut self, field: &'static str, probability: f64) -> Rate {
        Rate::from_probability(field, probability).unwrap_or_else(|error| {
            self.invalid.get_or_insert(error);
            Rate::ZERO
        })
    }

    /// Checks every setting. The error names the first invalid one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(error) = &self.invalid {
            return Err(error.clone());
        }
        self.links.validate()?;
        self.hostile.validate()?;
        const DAY_MS: u64 = 86_400_000;
        for (field, found) in [
            ("the latency", self.base_latency_ms),
            ("the jitter", self.latency_jitter_ms),
            ("the reorder window", self.reorder_window_ms),
        ] {
            if found > DAY_MS {
                return Err(ConfigError::OutOfBounds { field, found, min: 0, max: DAY_MS });
            }
        }
        if !(1_000..=1_000_000).contains(&self.slow_node_permille) {
            return Err(ConfigError::OutOfBounds {
                field: "the slow node factor in thousandths",
                found: self.slow_node_permille,
                min: 1_000,
                max: 1_000_000,
            });
        }
        if self.late_joiners > MOST_JOINERS {
            return Err(ConfigError::OutOfBounds {
                field: "the number of late joiners",
                found: self.late_joiners,
                min: 0,
                max: MOST_JOINERS,
            });
        }
        let partitions = self.partition_probability;
        let crashes = self.crash_probability;
        for (field, happens, range) in [
            ("the length of partitions", partitions > Rate::ZERO, &self.partition_duration_ms),
            ("the length of crashes", crashes > Rate::ZERO, &self.restart_delay_ms),
            ("the length of departures", self.churn_probability > Rate::ZERO, &self.away_duration_ms),
            ("the time of late joiners", self.late_joiners > 0, &self.join_ms),
        ] {
            if range.end > DAY_MS {
                return Err(ConfigError::OutOfBounds { field, found: range.end, min: 0, max: DAY_MS });
            }
            if happens && range.start >= range.end {
                return Err(ConfigError::Range { field, found: range.clone() });
            }
        }
        self.hosts.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_reads_in_percent() {
        let read = [1_000_000, 990_000, 12_345, 500, 1].map(|ppm| Rate::ppm(ppm).to_string());
        assert_eq!(read, ["100 %", "99 %", "1.2345 %", "0.05 %", "0.0001 %"]);
    }

    #[test]
    fn names_an_invalid_probability() {
        let error = FaultConfig::none().with_loss(1.5).with_duplicates(-1.0).validate().unwrap_err();
        assert_eq!(error.to_string(), "the loss rate is 1.5; a probability lies between 0 and 1");
        assert!(FaultConfig::none().with_loss(f64::NAN).validate().is_err());
        assert!(FaultConfig::none().with_slow_nodes(0.5).validate().is_err());
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "the point of the test")]
    fn rejects_empty_ranges_in_use() {
        assert!(FaultConfig::none().with_partitions(0.1, 5..5).validate().is_err());
        assert!(FaultConfig::none().with_crashes(0.1, 9..3).validate().is_err());
        assert!(FaultConfig::none().with_partitions(0.0, 5..5).validate().is_ok());
        assert!(FaultConfig::none().with_churn(0.1, 7..7).validate().is_err());
        assert!(FaultConfig::none().with_late_joiners(1, 7..7).validate().is_err());
        assert!(FaultConfig::none().with_late_joiners(0, 7..7).validate().is_ok());
        assert!(FaultConfig::none().with_late_joiners(1_000_000, 0..9).validate().is_err());
    }

    #[test]
    fn presets_are_valid() {
        for preset in [
            FaultConfig::none(),
            FaultConfig::default(),
            FaultConfig::light_chaos(),
            FaultConfig::heavy_chaos(),
            FaultConfig::partition_heavy(),
        ] {
            assert_eq!(preset.validate(), Ok(()));
        }
        let base = FaultConfig::none;
        assert_eq!(base().with_reorder(9), base().with_reorder_window(9));
        assert_eq!(base().with_duplicate(0.2), base().with_duplicates(0.2));
        assert_eq!(base().with_loss(0.2).message_loss_rate.as_ppm(), 200_000);
    }
}
