//! What goes wrong within nodes: their clocks, their disks, their pace.

use crate::faults::config::{ConfigError, FaultConfig, Rate};
use crate::faults::serde_units;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use syncline_types::SimDuration;

/// The faults of the hosts of a run. All of them end when chaos does: clocks are then within half a second
/// of the right time, as a time service would have them, and disks and pace are sound.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostFaults {
    /// How far at most a node's wall clock is off from the start, either way. Stamps further ahead of the
    /// receiver's clock than its drift limit (five seconds) are taken once that clock has come so far.
    pub clock_skew_ms: u64,
    /// By how many parts per million at most a wall clock runs too fast or too slow.
    pub clock_drift_ppm: u64,
    /// By how many parts per million at most the timers of a node are too long or too short.
    pub timer_drift_ppm: u64,
    /// How often, per chaos tick, a node's wall clock jumps.
    pub clock_jump_probability: Rate,
    /// By how much, forward or back.
    #[serde(with = "serde_units::range")]
    pub clock_jump_ms: Range<u64>,
    /// How often, per chaos tick, a node's wall clock stands still.
    pub clock_freeze_probability: Rate,
    /// For how long. After that it goes on from where it stood.
    #[serde(with = "serde_units::range")]
    pub clock_freeze_ms: Range<u64>,
    /// How often, per chaos tick, a node stops to work. Its clocks go on.
    pub pause_probability: Rate,
    /// For how long.
    #[serde(with = "serde_units::range")]
    pub pause_ms: Range<u64>,
    /// How long a node works on each input. What comes meanwhile waits in its inbox.
    #[serde(with = "serde_units::time")]
    pub processing: SimDuration,
    /// How many thousandths of that a slow host needs. Above 1000, each node is one with a chance of one
    /// in four.
    pub slow_host_permille: u64,
    /// How often the write of a step fails. The node stops and starts again from its disk.
    pub failed_write_rate: Rate,
    /// How often a disk says that it has synced and has not: a crash before the next true sync loses what
    /// was committed since the last.
    pub lying_sync_rate: Rate,
    /// Whether such a loss goes unnoticed. Otherwise the node notices it when it starts, as a store does that
    /// counts its commits elsewhere, and begins afresh under a new name.
    pub lies_unnoticed: bool,
    /// How often, per chaos tick, a node loses power in the middle of its next commit.
    pub torn_write_probability: Rate,
    /// How often, per chaos tick, a bit of a stored row flips. The store notices when it reads the row, or
    /// when it looks through all rows some time later; the node begins afresh under a new name.
    pub rot_probability: Rate,
}

impl Default for HostFaults {
    fn default() -> Self {
        Self::none()
    }
}

impl HostFaults {
    /// Sound hosts.
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
        }
    }

    /// Whether any wall clock may be wrong by chance.
    pub fn bend_clocks(&self) -> bool {
        self.clock_skew_ms > 0
            || self.clock_drift_ppm > 0
            || self.clock_jump_probability > Rate::ZERO
            || self.clock_freeze_probability > Rate::ZERO
    }

    /// How far a wall clock may be off at most.
    pub(crate) const fn clock_bound_ms(&self) -> u64 {
        let jump = if self.clock_jump_probability.as_ppm() > 0 { self.clock_jump_ms.end } else { 0 };
        let freeze = if self.clock_freeze_probability.as_ppm() > 0 { self.clock_freeze_ms.end } else { 0 };
        let drift = if self.clock_drift_ppm > 0 { 60_000 } else { 0 };
        self.clock_skew_ms + jump + freeze + drift
    }

    /// Whether every setting makes sense; the first that does not is named.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        /// Beyond a day a peer's word on time is not believed at all; two may be off in opposite ways.
        const HALF_DAY_MS: u64 = 43_200_000 / 2;
        for (field, found, max) in [
            ("the clock skew", self.clock_skew_ms, HALF_DAY_MS),
            ("the clock drift", self.clock_drift_ppm, 500_000),
            ("the timer drift", self.timer_drift_ppm, 500_000),
            ("the processing time", self.processing.as_micros(), 10_000_000),
        ] {
            if found > max {
                return Err(ConfigError::OutOfBounds { field, found, min: 0, max });
            }
        }
        if !(1_000..=1_000_000).contains(&self.slow_host_permille) {
            let (field, found) = ("the slow host factor in thousandths", self.slow_host_permille);
            return Err(ConfigError::OutOfBounds { field, found, min: 1_000, max: 1_000_000 });
        }
        for (field, rate, range) in [
            ("the length of clock jumps", self.clock_jump_probability, &self.clock_jump_ms),
            ("the length of clock freezes", self.clock_freeze_probability, &self.clock_freeze_ms),
            ("the length of pauses", self.pause_probability, &self.pause_ms),
        ] {
            if range.end > HALF_DAY_MS {
                return Err(ConfigError::OutOfBounds { field, found: range.end, min: 0, max: HALF_DAY_MS });
            }
            if rate > Rate::ZERO && range.start >= range.end {
                return Err(ConfigError::Range { field, found: range.clone() });
            }
        }
        Ok(())
    }
}

impl FaultConfig {
    /// Has every node's wall clock be off by up to `most_ms` from the start, either way.
    pub const fn with_clock_skew(mut self, most_ms: u64) -> Self {
        self.hosts.clock_skew_ms = most_ms;
        self
    }

    /// Has wall clocks run too fast or too slow by up to so many parts per million.
    pub const fn with_clock_drift(mut self, most_ppm: u64) -> Self {
        self.hosts.clock_drift_ppm = most_ppm;
        self
    }

    /// Has timers be too long or too short by up to so many parts per million.
    pub const fn with_timer_drift(mut self, most_ppm: u64) -> Self {
        self.hosts.timer_drift_ppm = most_ppm;
        self
    }

    /// Sets how often, per chaos tick, a wall clock jumps, and by how many milliseconds, either way.
    pub fn with_clock_jumps(mut self, probability: f64, by_ms: Range<u64>) -> Self {
        self.hosts.clock_jump_probability = self.rate("the clock jump probability", probability);
        self.hosts.clock_jump_ms = by_ms;
        self
    }

    /// Sets how often, per chaos tick, a wall clock stands still, and for how many milliseconds.
    pub fn with_clock_freezes(mut self, probability: f64, for_ms: Range<u64>) -> Self {
        self.hosts.clock_freeze_probability = self.rate("the clock freeze probability", probability);
        self.hosts.clock_freeze_ms = for_ms;
        self
    }

    /// Sets how often, per chaos tick, a node stops to work, and for how many milliseconds.
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

    /// Sets how many times as long a slow host works on each input. Above one, each node is one with a
    /// chance of one in four.
    #[allow(clippy::float_arithmetic, reason = "read once, at the edge, and rounded to an integer")]
    pub fn with_slow_hosts(mut self, factor: f64) -> Self {
        if (1.0..=1000.0).contains(&factor) {
            self.hosts.slow_host_permille = (factor * 1e3).round() as u64;
        } else {
            self.refuse(ConfigError::Factor { field: "the slow host factor", found: factor });
        }
        self
    }

    /// Sets how often the write of a step fails.
    pub fn with_failed_writes(mut self, probability: f64) -> Self {
        self.hosts.failed_write_rate = self.rate("the rate of failed writes", probability);
        self
    }

    /// Sets how often a disk lies about a sync. The loss is noticed when the node starts.
    pub fn with_lying_syncs(mut self, probability: f64) -> Self {
        self.hosts.lying_sync_rate = self.rate("the rate of lying syncs", probability);
        self
    }

    /// Nobody notices what a lying disk has lost. Beyond what replicas promise: they agree again, but a
    /// counter that goes on from what its disk still has may count for less than was acknowledged, and
    /// tombstones are kept, since a member may lack what it said that it has seen.
    pub const fn without_noticing_lies(mut self) -> Self {
        self.hosts.lies_unnoticed = true;
        self
    }

    /// Sets how often, per chaos tick, a node loses power in the middle of a commit.
    pub fn with_torn_writes(mut self, probability: f64) -> Self {
        self.hosts.torn_write_probability = self.rate("the probability of torn writes", probability);
        self
    }

    /// Sets how often, per chaos tick, a bit of a row on a node's disk flips.
    pub fn with_rot(mut self, probability: f64) -> Self {
        self.hosts.rot_probability = self.rate("the rot probability", probability);
        self
    }

    /// All faults of disks but unnoticed losses: writes fail and syncs lie with this probability, and with
    /// a tenth of it, per chaos tick, power fails within a commit or a bit flips.
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
    fn settings_of_hosts_that_make_no_sense_are_named() {
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
        ] {
            let error = faults.validate().unwrap_err().to_string();
            assert!(error.contains(named), "{error} does not name {named}");
        }
        assert_eq!(base().with_disk_faults(0.1).with_pauses(0.1, 1..2).validate(), Ok(()));
        assert!(
            !base().with_disk_faults(0.1).hosts.bend_clocks()
                && base().with_clock_skew(1).hosts.bend_clocks()
        );
    }
}
