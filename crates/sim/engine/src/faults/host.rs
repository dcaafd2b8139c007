//! The faults within nodes: clocks, disks, pace.

use crate::faults::config::{ConfigError, FaultConfig, Rate};
use crate::faults::serde_units;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use syncline_types::SimDuration;

/// The faults of the hosts of a run. All of them end with chaos: clocks are then within half a second of the
/// right time, as with a time service, and disks and pace are sound.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostFaults {
    /// The maximum initial error of a wall clock, in either direction, in milliseconds.
    pub clock_skew_ms: u64,
    /// The maximum drift of a wall clock, fast or slow, in parts per million.
    pub clock_drift_ppm: u64,
    /// The maximum error of the timers of a node, late or early, in parts per million.
    pub timer_drift_ppm: u64,
    /// The probability, per chaos tick, that a node's wall clock jumps.
    pub clock_jump_probability: Rate,
    /// The size of a jump, forward or back, in milliseconds.
    #[serde(with = "serde_units::range")]
    pub clock_jump_ms: Range<u64>,
    /// The probability, per chaos tick, that a node's wall clock stands still.
    pub clock_freeze_probability: Rate,
    /// How long a clock stands still, in milliseconds. It then continues from where it stood.
    #[serde(with = "serde_units::range")]
    pub clock_freeze_ms: Range<u64>,
    /// The probability, per chaos tick, that a node pauses. Its clocks go on.
    pub pause_probability: Rate,
    /// The length of a pause, in milliseconds.
    #[serde(with = "serde_units::range")]
    pub pause_ms: Range<u64>,
    /// How long a node works on each input. Later inputs wait in its inbox.
    #[serde(with = "serde_units::time")]
    pub processing: SimDuration,
    /// The factor of the processing time of slow hosts, in thousandths. Above 1000, each host is slow with a
    /// probability of one in four.
    pub slow_host_permille: u64,
    /// The probability that the write of a step fails. The node crashes and restarts from its disk.
    pub failed_write_rate: Rate,
    /// The probability that a disk lies about a sync: a crash before the next true sync loses the commits
    /// since the last one.
    pub lying_sync_rate: Rate,
    /// Whether such a loss goes unnoticed. Otherwise the node detects it when it restarts, as a store does
    /// that counts its commits elsewhere, and starts over as a new replica.
    pub lies_unnoticed: bool,
    /// The probability, per chaos tick, that a node loses power in the middle of its next commit.
    pub torn_write_probability: Rate,
    /// The probability, per chaos tick, that a bit of a stored row flips. The store detects it when it reads
    /// the row, or by a scrub of all rows some time later, and the node starts over as a new replica.
    pub rot_probability: Rate,
    /// The probability, per chaos tick, that the disk of a node is backed up, or that the node comes back with its last
    /// backup, each half of the times. What it has acknowledged since is gone from it, and it does not know.
    #[serde(skip_serializing_if = "is_never")]
    pub restore_probability: Rate,
    /// The probability, per chaos tick, that the disk of a node is replaced by a copy of another node's: there are two
    /// nodes of one name then.
    #[serde(skip_serializing_if = "is_never")]
    pub clone_probability: Rate,
    /// The probability, per chaos tick, that a node loses its disk and goes on under its name. Half of the times its
    /// host has counted its starts elsewhere.
    #[serde(skip_serializing_if = "is_never")]
    pub lost_disk_probability: Rate,
    /// The probability, per chaos tick, that a wall clock is far ahead for a while.
    #[serde(skip_serializing_if = "is_never")]
    pub clock_ahead_probability: Rate,
    /// How far it is ahead, in milliseconds: an hour, a day or years.
    #[serde(with = "serde_units::range", skip_serializing_if = "Range::is_empty")]
    pub clock_ahead_ms: Range<u64>,
    /// For how long it is ahead, in milliseconds.
    #[serde(with = "serde_units::range", skip_serializing_if = "Range::is_empty")]
    pub clock_ahead_for_ms: Range<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_never(rate: &Rate) -> bool {
    *rate == Rate::ZERO
}

impl Default for HostFaults {
    fn default() -> Self {
        Self::none()
    }
}

impl HostFaults {
    /// Hosts without faults.
    pub const fn none() -> Self {
        Self {
            clock_skew_ms: 0,
            clock_drift_ppm: 0,
            timer_drift_ppm: 0,
            clock_jump_probability: Rate::ZERO,
            clock_jump_ms: 0..0,
            clock_freeze_probability: Rate::ZERO,
            clock_freeze_ms: 0..0,
            pause_probability: Rate::ZERO,
            pause_ms: 0..0,
            processing: SimDuration::ZERO,
            slow_host_permille: 1_000,
            failed_write_rate: Rate::ZERO,
            lying_sync_rate: Rate::ZERO,
            lies_unnoticed: false,
            torn_write_probability: Rate::ZERO,
            rot_probability: Rate::ZERO,
            restore_probability: Rate::ZERO,
            clone_probability: Rate::ZERO,
            lost_disk_probability: Rate::ZERO,
            clock_ahead_probability: Rate::ZERO,
            clock_ahead_ms: 0..0,
            clock_ahead_for_ms: 0..0,
        }
    }

    /// Whether any wall clock may be wrong at random.
    pub fn skews_clocks(&self) -> bool {
        self.clock_skew_ms > 0
            || self.clock_drift_ppm > 0
            || self.clock_jump_probability > Rate::ZERO
            || self.clock_freeze_probability > Rate::ZERO
    }

    /// The maximum error of a wall clock, in milliseconds.
    pub(crate) const fn clock_bound_ms(&self) -> u64 {
        let jump = if self.clock_jump_probability.as_ppm() > 0 { self.clock_jump_ms.end } else { 0 };
        let freeze = if self.clock_freeze_probability.as_ppm() > 0 { self.clock_freeze_ms.end } else { 0 };
        let drift = if self.clock_drift_ppm > 0 { 60_000 } else { 0 };
        self.clock_skew_ms + jump + freeze + drift
    }

    /// Checks every setting. The error names the first invalid one.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        /// Replicas reject timestamps that are off by more than a day. Two clocks may be off in opposite
        /// directions, each by its skew and by a jump.
        const QUARTER_DAY_MS: u64 = 86_400_000 / 4;
        for (field, found, max) in [
            ("the clock skew", self.clock_skew_ms, QUARTER_DAY_MS),
            ("the clock drift", self.clock_drift_ppm, 500_000),
            ("the timer drift", self.timer_drift_ppm, 500_000),
            ("the processing time", self.processing.as_micros(), 10_000_000),
        ] {
            if found > max {
                return Err(ConfigError::OutOfBounds { field, found, min: 0, max });
            }
        }
        if !(1_000..=1_000_000).contains(&self.slow_host_permille) {
            return Err(ConfigError::OutOfBounds {
                field: "the slow host factor in thousandths",
                found: self.slow_host_permille,
                min: 1_000,
                max: 1_000_000,
            });
        }
        for (field, rate, range) in [
            ("the length of clock jumps", self.clock_jump_probability, &self.clock_jump_ms),
            ("the length of clock freezes", self.clock_freeze_probability, &self.clock_freeze_ms),
            ("the length of pauses", self.pause_probability, &self.pause_ms),
        ] {
            if range.end > QUARTER_DAY_MS {
                return Err(ConfigError::OutOfBounds {
                    field,
                    found: range.end,
                    min: 0,
                    max: QUARTER_DAY_MS,
                });
            }
            if rate > Rate::ZERO && range.start >= range.end {
                return Err(ConfigError::Range { field, found: range.clone() });
            }
        }
        const CENTURY_MS: u64 = 100 * 365 * 4 * QUARTER_DAY_MS;
        for (field, range) in [
            ("how far clocks are ahead", &self.clock_ahead_ms),
            ("how long clocks are ahead", &self.clock_ahead_for_ms),
        ] {
            if range.end > CENTURY_MS {
                return Err(ConfigError::OutOfBounds { field, found: range.end, min: 0, max: CENTURY_MS });
            }
            if self.clock_ahead_probability > Rate::ZERO && range.start >= range.end {
                return Err(ConfigError::Range { field, found: range.clone() });
            }
        }
        Ok(())
    }
}

impl FaultConfig {
    /// Sets the maximum initial error of wall clocks, in milliseconds.
    pub const fn with_clock_skew(mut self, most_ms: u64) -> Self {
        self.hosts.clock_skew_ms = most_ms;
        self
    }

    /// Sets the maximum drift of wall clocks, in parts per million.
    pub const fn with_clock_drift(mut self, most_ppm: u64) -> Self {
        self.hosts.clock_drift_ppm = most_ppm;
        self
    }

    /// Sets the maximum error of timers, in parts per million.
    pub const fn with_timer_drift(mut self, most_ppm: u64) -> Self {
        self.hosts.timer_drift_ppm = most_ppm;
        self
    }

    /// Sets the probability, per chaos tick, that a wall clock jumps, and by how many milliseconds.
    pub fn with_clock_jumps(mut self, probability: f64, by_ms: Range<u64>) -> Self {
        self.hosts.clock_jump_probability = self.rate("the clock jump probability", probability);
        self.hosts.clock_jump_ms = by_ms;
        self
    }

    /// Sets the probability, per chaos tick, that a wall clock stands still, and for how many milliseconds.
    pub fn with_clock_freezes(mut self, probability: f64, for_ms: Range<u64>) -> Self {
        self.hosts.clock_freeze_probability = self.rate("the clock freeze probability", probability);
        self.hosts.clock_freeze_ms = for_ms;
        self
    }

    /// Sets the probability, per chaos tick, that a node pauses, and for how many milliseconds.
    pub fn with_pauses(mut self, probability: f64, for_ms: Range<u64>) -> Self {
        self.hosts.pause_probability = self.rate("the pause probability", probability);
        self.hosts.pause_ms = for_ms;
        self
    }

    /// Sets how long a node works on each input.
    pub const fn with_processing(mut self, each: SimDuration) -> Self {
        self.hosts.processing = each;
        self
    }

    /// Sets the factor of the processing time of slow hosts. Above one, each host is slow with a probability
    /// of one in four.
    #[allow(clippy::float_arithmetic, reason = "read once, at the edge, and rounded to an integer")]
    pub fn with_slow_hosts(mut self, factor: f64) -> Self {
        if (1.0..=1000.0).contains(&factor) {
            self.hosts.slow_host_permille = (factor * 1e3).round() as u64;
        } else {
            self.refuse(ConfigError::Factor { field: "the slow host factor", found: factor });
        }
        self
    }

    /// Sets the probability that the write of a step fails.
    pub fn with_failed_writes(mut self, probability: f64) -> Self {
        self.hosts.failed_write_rate = self.rate("the rate of failed writes", probability);
        self
    }

    /// Sets the probability that a disk lies about a sync. The node detects the loss when it restarts.
    pub fn with_lying_syncs(mut self, probability: f64) -> Self {
        self.hosts.lying_sync_rate = self.rate("the rate of lying syncs", probability);
        self
    }

    /// Makes losses by lying disks go unnoticed. This is beyond what replicas promise: they converge, but a
    /// counter that continues from the old state of its disk may be lower than what was acknowledged, and
    /// tombstones are not collected, since a member may lack what it reported as seen.
    pub const fn without_noticing_lies(mut self) -> Self {
        self.hosts.lies_unnoticed = true;
        self
    }

    /// Sets the probability, per chaos tick, that a node loses power in the middle of a commit.
    pub fn with_torn_writes(mut self, probability: f64) -> Self {
        self.hosts.torn_write_probability = self.rate("the probability of torn writes", probability);
        self
    }

    /// Sets the probability, per chaos tick, that a bit of a stored row flips.
    pub fn with_rot(mut self, probability: f64) -> Self {
        self.hosts.rot_probability = self.rate("the rot probability", probability);
        self
    }

    /// Sets the probability, per chaos tick, that a disk is backed up or restored.
    pub fn with_restored_disks(mut self, probability: f64) -> Self {
        self.hosts.restore_probability = self.rate("the probability of restored disks", probability);
        self
    }

    /// Sets the probability, per chaos tick, that a disk is replaced by a copy of another node's.
    pub fn with_cloned_disks(mut self, probability: f64) -> Self {
        self.hosts.clone_probability = self.rate("the probability of cloned disks", probability);
        self
    }

    /// Sets the probability, per chaos tick, that a node loses its disk and keeps its name.
    pub fn with_lost_disks(mut self, probability: f64) -> Self {
        self.hosts.lost_disk_probability = self.rate("the probability of lost disks", probability);
        self
    }

    /// Sets the probability, per chaos tick, that a clock is far ahead, by how many milliseconds, and for how many.
    pub fn with_clocks_ahead(mut self, probability: f64, by_ms: Range<u64>, for_ms: Range<u64>) -> Self {
        self.hosts.clock_ahead_probability = self.rate("the probability of clocks ahead", probability);
        self.hosts.clock_ahead_ms = by_ms;
        self.hosts.clock_ahead_for_ms = for_ms;
        self
    }

    /// Sets all faults of disks except for unnoticed losses: writes fail and syncs lie with this probability,
    /// and with a tenth of it, per chaos tick, power fails within a commit or a bit flips.
    #[allow(clippy::float_arithmetic, reason = "read once, at the edge, and rounded to an integer")]
    pub fn with_disk_faults(self, probability: f64) -> Self {
        let tenth = probability / 10.0;
        self.with_failed_writes(probability)
            .with_lying_syncs(probability)
            .with_torn_writes(tenth)
            .with_rot(tenth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_invalid_host_settings() {
        let base = FaultConfig::none;
        for (faults, named) in [
            (base().with_clock_skew(1 << 40), "the clock skew"),
            (base().with_clock_drift(600_000), "the clock drift"),
            (base().with_timer_drift(600_000), "the timer drift"),
            (base().with_clock_jumps(0.1, 5..5), "the length of clock jumps"),
            (base().with_clock_freezes(0.1, 0..0), "the length of clock freezes"),
            (base().with_pauses(2.0, 1..9), "the pause probability"),
            (base().with_pauses(0.1, 9..9), "the length of pauses"),
            (base().with_processing(SimDuration::from_secs(60)), "the processing time"),
            (base().with_slow_hosts(0.5), "the slow host factor"),
            (base().with_failed_writes(-1.0), "the rate of failed writes"),
            (base().with_lying_syncs(7.0), "the rate of lying syncs"),
            (base().with_torn_writes(7.0), "the probability of torn writes"),
            (base().with_rot(7.0), "the rot probability"),
            (base().with_restored_disks(7.0), "the probability of restored disks"),
            (base().with_cloned_disks(7.0), "the probability of cloned disks"),
            (base().with_lost_disks(7.0), "the probability of lost disks"),
            (base().with_clocks_ahead(0.1, 5..5, 1..2), "how far clocks are ahead"),
            (base().with_clocks_ahead(0.1, 1..5, 2..2), "how long clocks are ahead"),
        ] {
            let error = faults.validate().unwrap_err().to_string();
            assert!(error.contains(named), "{error} does not name {named}");
        }
        assert_eq!(base().with_disk_faults(0.1).with_pauses(0.1, 1..2).validate(), Ok(()));
        assert!(
            !base().with_disk_faults(0.1).hosts.skews_clocks()
                && base().with_clock_skew(1).hosts.skews_clocks()
        );
    }
}
