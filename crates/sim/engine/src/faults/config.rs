//! What goes wrong, how often and how badly.

use crate::faults::host::HostFaults;
use crate::faults::hostile::HostileFaults;
use crate::faults::link::LinkFaults;
use crate::faults::serde_units;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A setting that makes no sense.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A probability outside `0..=1`.
    #[error("{field} is {found}; a probability lies between 0 and 1")]
    Probability {
        /// Which setting.
        field: &'static str,
        /// Its value.
        found: f64,
    },
    /// A probability too small to be told from never.
    #[error("{field} is {found}; the smallest is 0.000001, or 0 for never")]
    TooRare {
        /// Which setting.
        field: &'static str,
        /// Its value.
        found: f64,
    },
    /// A factor below one or beyond reason.
    #[error("{field} is {found}; a factor lies between 1 and 1000")]
    Factor {
        /// Which setting.
        field: &'static str,
        /// Its value.
        found: f64,
    },
    /// A range whose end is not above its start.
    #[error("{field} is {}..{}; the end must lie above the start", .found.start, .found.end)]
    Range {
        /// Which setting.
        field: &'static str,
        /// Its value.
        found: Range<u64>,
    },
    /// Hostile nodes where nobody knows who is a member.
    #[error(
        "hostile nodes need members that know each other, and so forget what is dead: neither keep tombstones nor have disks lose unnoticed"
    )]
    HostileWithoutMembers,
    /// A number of contexts that no node keeps.
    #[error("{found} contexts; a node keeps from 1 to {}", MOST_CONTEXTS)]
    Contexts {
        /// The number.
        found: usize,
    },
    /// Something beyond what the simulator can hold.
    #[error("{field} is {found}; it must lie between {min} and {max}")]
    OutOfBounds {
        /// Which setting.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The least that works.
        min: u64,
        /// The most that works.
        max: u64,
    },
}

/// A probability in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Rate(u32);

impl Rate {
    /// Never.
    pub const ZERO: Self = Self(0);

    /// From parts per million; more than a million counts as always.
    pub const fn ppm(ppm: u32) -> Self {
        Self(if ppm > 1_000_000 { 1_000_000 } else { ppm })
    }

    /// From a probability; `field` names it in the error.
    #[allow(clippy::float_arithmetic, reason = "read once, at the edge, and rounded to an integer")]
    pub fn from_probability(field: &'static str, found: f64) -> Result<Self, ConfigError> {
        if !(0.0..=1.0).contains(&found) {
            return Err(ConfigError::Probability { field, found });
        }
        let ppm = (found * 1e6).round() as u32;
        if ppm == 0 && found > 0.0 {
            return Err(ConfigError::TooRare { field, found });
        }
        Ok(Self(ppm))
    }

    /// In parts per million.
    pub const fn as_ppm(self) -> u32 {
        self.0
    }

    /// The most trials from one success to the next, if gaps are uniform from one to this with the
    /// mean that the rate asks for; `None` if it never happens.
    pub(crate) fn longest_gap(self) -> Option<u64> {
        Some(2_000_000u64.checked_div(u64::from(self.0))?.saturating_sub(1).max(1))
    }
}

/// The most contexts that a node may keep.
pub const MOST_CONTEXTS: usize = 8;

/// The length of a chaos tick: the chances of spontaneous partitions, crashes and departures are per tick.
pub const CHAOS_TICK_MS: u64 = 10;

/// The faults of a run. Builders take what the guide shows; a value that makes no sense is
/// reported by [`FaultConfig::validate`], and by whatever starts a run with it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultConfig {
    /// How long a frame takes, at the middle.
    pub base_latency_ms: u64,
    /// How much more or less it may take.
    pub latency_jitter_ms: u64,
    /// How often a frame is lost.
    pub message_loss_rate: Rate,
    /// Up to how much longer a frame may take, so that later ones overtake it.
    pub reorder_window_ms: u64,
    /// How often a frame arrives twice.
    pub duplicate_rate: Rate,
    /// How often a bit of a frame is flipped on its way.
    pub corruption_rate: Rate,
    /// How often, per chaos tick, the network splits in two.
    pub partition_probability: Rate,
    /// For how long.
    #[serde(with = "serde_units::range")]
    pub partition_duration_ms: Range<u64>,
    /// How often, per chaos tick, a node crashes.
    pub crash_probability: Rate,
    /// How long it is down.
    #[serde(with = "serde_units::range")]
    pub restart_delay_ms: Range<u64>,
    /// How many thousandths of the usual delay frames to a slow node take. Above 1000, each node is
    /// slow with a chance of one in four.
    pub slow_node_permille: u64,
    /// How often a write falls into a sync that has just begun.
    pub write_during_sync_rate: Rate,
    /// How often, per chaos tick, a node leaves.
    pub churn_probability: Rate,
    /// For how long.
    #[serde(with = "serde_units::range")]
    pub away_duration_ms: Range<u64>,
    /// How many nodes without any state join after the run has begun.
    pub late_joiners: u64,
    /// When they do.
    #[serde(with = "serde_units::range")]
    pub join_ms: Range<u64>,
    /// What goes wrong with single links.
    pub links: LinkFaults,
    /// What goes wrong within nodes.
    pub hosts: HostFaults,
    /// Which nodes lie, and how.
    pub hostile: HostileFaults,
    /// The first setting that a builder was given and could not take; [`FaultConfig::validate`] reports it.
    #[serde(skip)]
    pub invalid: Option<ConfigError>,
}

impl Default for FaultConfig {
    /// A network without faults but with distance: 10 ± 5 ms.
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

    /// A network that falls apart all the time: a partition of 200 to 1000 ms every tenth tick.
    pub const fn partition_heavy() -> Self {
        Self {
            base_latency_ms: 10,
            latency_jitter_ms: 5,
            partition_probability: Rate::ppm(100_000),
            partition_duration_ms: 200..1_000,
            ..Self::none()
        }
    }

    /// Sets the delay of frames: `base_ms`, more or less `jitter_ms`.
    pub const fn with_latency(mut self, base_ms: u64, jitter_ms: u64) -> Self {
        (self.base_latency_ms, self.latency_jitter_ms) = (base_ms, jitter_ms);
        self
    }

    /// Sets how often a frame is lost.
    pub fn with_loss(mut self, probability: f64) -> Self {
        self.message_loss_rate = self.rate("the loss rate", probability);
        self
    }

    /// Sets up to how much longer a frame may take, in milliseconds.
    pub const fn with_reorder_window(mut self, window_ms: u64) -> Self {
        self.reorder_window_ms = window_ms;
        self
    }

    /// Another spelling of [`FaultConfig::with_reorder_window`].
    pub const fn with_reorder(self, window_ms: u64) -> Self {
        self.with_reorder_window(window_ms)
    }

    /// Sets how often a frame arrives twice.
    pub fn with_duplicates(mut self, probability: f64) -> Self {
        self.duplicate_rate = self.rate("the duplicate rate", probability);
        self
    }

    /// Another spelling of [`FaultConfig::with_duplicates`].
    pub fn with_duplicate(self, probability: f64) -> Self {
        self.with_duplicates(probability)
    }

    /// Sets how often a bit of a frame is flipped on its way. It still arrives, and its receiver must
    /// notice.
    pub fn with_corruption(mut self, probability: f64) -> Self {
        self.corruption_rate = self.rate("the corruption rate", probability);
        self
    }

    /// Sets how often, per chaos tick, the network splits, and for how long in milliseconds.
    pub fn with_partitions(mut self, probability: f64, duration_ms: Range<u64>) -> Self {
        self.partition_probability = self.rate("the partition probability", probability);
        self.partition_duration_ms = duration_ms;
        self
    }

    /// Sets how often, per chaos tick, a node crashes, and for how long in milliseconds.
    pub fn with_crashes(mut self, probability: f64, delay_ms: Range<u64>) -> Self {
        self.crash_probability = self.rate("the crash probability", probability);
        self.restart_delay_ms = delay_ms;
        self
    }

    /// Sets how many times the usual delay frames to a slow node take. Above one, each node is slow
    /// with a chance of one in four.
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

    /// Sets how often a write falls into a sync that has just begun.
    pub fn with_writes_during_sync(mut self, probability: f64) -> Self {
        self.write_during_sync_rate = self.rate("the rate of writes during sync", probability);
        self
    }

    /// Sets how often, per chaos tick, a node leaves, and for how long in milliseconds. One that is away
    /// keeps its memory and its application goes on writing, unlike one that crashed; but it reaches
    /// nobody, and it and its neighbours know.
    pub fn with_churn(mut self, probability: f64, away_ms: Range<u64>) -> Self {
        self.churn_probability = self.rate("the churn rate", probability);
        self.away_duration_ms = away_ms;
        self
    }

    /// Has nodes without any state join, each at a time in `join_ms` after the run began.
    pub const fn with_late_joiners(mut self, nodes: u64, join_ms: Range<u64>) -> Self {
        (self.late_joiners, self.join_ms) = (nodes, join_ms);
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

    /// Whether every setting makes sense; the first that does not is named.
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
        const MOST_JOINERS: u64 = 10_000;
        if self.late_joiners > MOST_JOINERS {
            let (field, found) = ("the number of late joiners", self.late_joiners);
            return Err(ConfigError::OutOfBounds { field, found, min: 0, max: MOST_JOINERS });
        }
        let (partitions, crashes) = (self.partition_probability, self.crash_probability);
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
    fn a_probability_outside_zero_to_one_is_named() {
        let error = FaultConfig::none().with_loss(1.5).with_duplicates(-1.0).validate().unwrap_err();
        assert_eq!(error.to_string(), "the loss rate is 1.5; a probability lies between 0 and 1");
        assert!(FaultConfig::none().with_loss(f64::NAN).validate().is_err());
        assert!(FaultConfig::none().with_slow_nodes(0.5).validate().is_err());
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "the point of the test")]
    fn an_empty_range_is_refused_only_where_it_would_be_used() {
        assert!(FaultConfig::none().with_partitions(0.1, 5..5).validate().is_err());
        assert!(FaultConfig::none().with_crashes(0.1, 9..3).validate().is_err());
        assert!(FaultConfig::none().with_partitions(0.0, 5..5).validate().is_ok());
        assert!(FaultConfig::none().with_churn(0.1, 7..7).validate().is_err());
        assert!(FaultConfig::none().with_late_joiners(1, 7..7).validate().is_err());
        assert!(FaultConfig::none().with_late_joiners(0, 7..7).validate().is_ok());
        assert!(FaultConfig::none().with_late_joiners(1_000_000, 0..9).validate().is_err());
    }

    #[test]
    fn presets_are_valid_and_both_spellings_agree() {
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
