//! The flags for faults within the hosts of replicas: clocks, speed, disks.

use crate::flags::values::{self, Occurrence, TimeSpan};
use clap::Args;
use std::ops::Range;
use sync_sim::prelude::{FaultConfig, SimDuration};

/// How far a clock jumps if `--clock-jump` gives no range, in milliseconds.
pub(super) const DEFAULT_JUMP_MS: Range<u64> = 1..4_000;

/// How long a clock stands still if `--clock-freeze` gives no range, in milliseconds.
pub(super) const DEFAULT_FREEZE_MS: Range<u64> = 100..2_000;

/// How long a replica pauses if `--pause` gives no range, in milliseconds.
pub(super) const DEFAULT_PAUSE_MS: Range<u64> = 50..1_000;

/// Faults of clocks, of speed and of disks. All of them end when chaos ends, after 20 s.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Faults within hosts")]
pub(super) struct HostArgs {
    /// The largest error of a replica's wall clock at the start, in either direction. A receiver holds back
    /// timestamps more than 5 s ahead of its clock until its clock has caught up. A bare number is in milliseconds.
    #[arg(long, value_name = "TIME", value_parser = values::time_span)]
    clock_skew: Option<TimeSpan>,

    /// The largest rate at which wall clocks run too fast or too slow, in parts per million.
    #[arg(long, value_name = "PPM", value_parser = clap::value_parser!(u64).range(1..=500_000))]
    clock_drift: Option<u64>,

    /// The probability, per tick of 10 ms, that a replica's wall clock jumps, and by how many milliseconds
    /// (1..4000 by default), forward or back.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::occurrence)]
    clock_jump: Option<Occurrence>,

    /// The probability, per tick of 10 ms, that a replica's wall clock freezes, and for how many milliseconds
    /// (100..2000 by default). Afterwards it continues from the time at which it froze.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::occurrence)]
    clock_freeze: Option<Occurrence>,

    /// The largest error of a replica's timers, in either direction, in parts per million.
    #[arg(long, value_name = "PPM", value_parser = clap::value_parser!(u64).range(1..=500_000))]
    timer_drift: Option<u64>,

    /// The probability, per tick of 10 ms, that a replica pauses, as during garbage collection or when its
    /// virtual machine is suspended, and for how many milliseconds (50..1000 by default). Its inputs wait.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::occurrence)]
    pause: Option<Occurrence>,

    /// How long a replica needs to process one frame, timer or write, in microseconds; the next input waits.
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    processing: Option<u64>,

    /// By what factor a slow host needs longer for that; each host is slow with probability 1/4.
    #[arg(long, value_name = "FACTOR", requires = "processing")]
    slow_host: Option<f64>,

    /// The probability that a replica's write to its disk fails, from 0 to 1. The replica stops and restarts
    /// from its disk.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    failed_write: Option<f64>,

    /// The probability, per tick of 10 ms, that power fails in the middle of a replica's next commit.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    torn_write: Option<f64>,

    /// The probability that a disk reports a sync as done without doing it, from 0 to 1: a crash then loses
    /// acknowledged commits (see --crash). The replica detects the loss when it restarts, and starts empty under
    /// a new identity; writes that had reached no other replica are lost, which is not a finding.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    lying_sync: Option<f64>,

    /// The probability, per tick of 10 ms, that a bit of a stored row flips on a replica's disk. The store
    /// detects it when it reads the row or scrubs its rows; the replica then starts empty under a new identity.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    rot: Option<f64>,

    /// Replicas do not detect what a lying disk has lost, and continue under their old identity.
    #[arg(long, requires = "lying_sync")]
    lies_unnoticed: bool,
}

impl HostArgs {
    /// The faults with the changes that the flags ask for.
    pub(super) fn add_to(&self, mut faults: FaultConfig) -> FaultConfig {
        if let Some(TimeSpan(skew)) = self.clock_skew {
            faults = faults.with_clock_skew(skew.as_millis());
        }
        if let Some(ppm) = self.clock_drift {
            faults = faults.with_clock_drift(ppm);
        }
        if let Some(Occurrence { probability, range_ms }) = self.clock_jump.clone() {
            faults = faults.with_clock_jumps(probability, range_ms.unwrap_or(DEFAULT_JUMP_MS));
        }
        if let Some(Occurrence { probability, range_ms }) = self.clock_freeze.clone() {
            faults = faults.with_clock_freezes(probability, range_ms.unwrap_or(DEFAULT_FREEZE_MS));
        }
        if let Some(ppm) = self.timer_drift {
            faults = faults.with_timer_drift(ppm);
        }
        if let Some(Occurrence { probability, range_ms }) = self.pause.clone() {
            faults = faults.with_pauses(probability, range_ms.unwrap_or(DEFAULT_PAUSE_MS));
        }
        if let Some(us) = self.processing {
            faults = faults.with_processing(SimDuration::from_micros(us));
        }
        if let Some(factor) = self.slow_host {
            faults = faults.with_slow_hosts(factor);
        }
        if let Some(rate) = self.failed_write {
            faults = faults.with_failed_writes(rate);
        }
        if let Some(rate) = self.torn_write {
            faults = faults.with_torn_writes(rate);
        }
        if let Some(rate) = self.lying_sync {
            faults = faults.with_lying_syncs(rate);
        }
        if self.lies_unnoticed {
            faults = faults.without_noticing_lies();
        }
        if let Some(rate) = self.rot {
            faults = faults.with_rot(rate);
        }
        faults
    }
}
