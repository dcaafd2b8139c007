//! The flags for what goes wrong within replicas' hosts.

use crate::report::grouped;
use crate::values::{self, Spell};
use clap::Args;
use sync_sim::prelude::{FaultConfig, HostEffects, SimDuration};

/// Clocks, pace and disks. Each of these faults ends when chaos does, after 20 s.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Faults within hosts")]
pub(crate) struct HostArgs {
    /// How far at most each replica's wall clock is off from the start, either way. Stamps of more than 5 s
    /// ahead of a receiver's clock wait until that has come so far.
    #[arg(long, value_name = "TIME", value_parser = values::span)]
    clock_skew: Option<SimDuration>,

    /// By how many parts per million at most wall clocks run too fast or too slow.
    #[arg(long, value_name = "PPM", value_parser = clap::value_parser!(u64).range(1..=500_000))]
    clock_drift: Option<u64>,

    /// How often, per tick of 10 ms, each wall clock jumps, and by how many milliseconds (1..4000 if not
    /// said), forward or back.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::spell)]
    clock_jump: Option<Spell>,

    /// How often, per tick of 10 ms, each wall clock stands still, and for how many milliseconds (100..2000
    /// if not said); it goes on from where it stood.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::spell)]
    clock_freeze: Option<Spell>,

    /// By how many parts per million at most each replica's timers are too long or too short.
    #[arg(long, value_name = "PPM", value_parser = clap::value_parser!(u64).range(1..=500_000))]
    timer_drift: Option<u64>,

    /// How often, per tick of 10 ms, each replica stops to work, as in a pause of a garbage collector or a
    /// virtual machine, and for how many milliseconds (50..1000 if not said). What comes waits.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::spell)]
    pause: Option<Spell>,

    /// How long each replica works on one frame, timer or write, in microseconds; the next waits.
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    processing: Option<u64>,

    /// How many times as long a slow host needs for that; each replica's is slow with a chance of 1 in 4.
    #[arg(long, value_name = "FACTOR", requires = "processing")]
    slow_host: Option<f64>,

    /// How often a replica's write to its disk fails, from 0 to 1. It stops and starts again from the disk.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    failed_write: Option<f64>,

    /// How often, per tick of 10 ms, power fails in the middle of a replica's next commit.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    torn_write: Option<f64>,

    /// How often a disk says that it has synced and has not, from 0 to 1: a crash then loses what was
    /// acknowledged (see --crash). The replica notices when it starts, and begins afresh under a new name;
    /// what had reached nobody else is lost, and that is no finding.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    lying_sync: Option<f64>,

    /// Replicas do not notice what a lying disk has lost, and go on under their names.
    #[arg(long, requires = "lying_sync")]
    lies_unnoticed: bool,

    /// How often, per tick of 10 ms, a bit of a stored row flips on each replica's disk. Its store notices
    /// when it reads the row, or some time later; the replica begins afresh under a new name.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    rot: Option<f64>,
}

impl HostArgs {
    /// The faults with those that are asked for.
    pub(crate) fn add_to(&self, mut faults: FaultConfig) -> FaultConfig {
        if let Some(skew) = self.clock_skew {
            faults = faults.with_clock_skew(skew.as_millis());
        }
        if let Some(ppm) = self.clock_drift {
            faults = faults.with_clock_drift(ppm);
        }
        if let Some(Spell { probability, lasting_ms }) = self.clock_jump.clone() {
            faults = faults.with_clock_jumps(probability, lasting_ms.unwrap_or(1..4_000));
        }
        if let Some(Spell { probability, lasting_ms }) = self.clock_freeze.clone() {
            faults = faults.with_clock_freezes(probability, lasting_ms.unwrap_or(100..2_000));
        }
        if let Some(ppm) = self.timer_drift {
            faults = faults.with_timer_drift(ppm);
        }
        if let Some(Spell { probability, lasting_ms }) = self.pause.clone() {
            faults = faults.with_pauses(probability, lasting_ms.unwrap_or(50..1_000));
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

    /// Whether nobody notices what lying disks have lost.
    pub(crate) const fn lies_unnoticed(&self) -> bool {
        self.lies_unnoticed
    }

    /// The flags that were given with a value, and how.
    pub(crate) fn given(&self) -> Vec<(&'static str, String)> {
        let spell = |spell: &Option<Spell>| {
            spell.as_ref().map(|Spell { probability, lasting_ms }| match lasting_ms {
                Some(range) => format!("{probability},{}..{}", range.start, range.end),
                None => probability.to_string(),
            })
        };
        let shown = [
            ("clock-skew", self.clock_skew.map(|skew| format!("{}ms", skew.as_millis()))),
            ("clock-drift", self.clock_drift.map(|ppm| ppm.to_string())),
            ("clock-jump", spell(&self.clock_jump)),
            ("clock-freeze", spell(&self.clock_freeze)),
            ("timer-drift", self.timer_drift.map(|ppm| ppm.to_string())),
            ("pause", spell(&self.pause)),
            ("processing", self.processing.map(|us| us.to_string())),
            ("slow-host", self.slow_host.map(|factor| factor.to_string())),
            ("failed-write", self.failed_write.map(|p| p.to_string())),
            ("torn-write", self.torn_write.map(|p| p.to_string())),
            ("lying-sync", self.lying_sync.map(|p| p.to_string())),
            ("rot", self.rot.map(|p| p.to_string())),
        ];
        shown.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect()
    }
}

/// What the faults of hosts did, line by line; nothing that did not happen.
pub(crate) fn rows(effects: &HostEffects) -> Vec<(String, String)> {
    let rows = [
        ("clocks off by up to, in milliseconds", effects.clock_error_ms),
        ("clocks that jumped", effects.clock_jumps),
        ("clocks that stood still", effects.clock_freezes),
        ("timers too long or too short", effects.skewed_timers),
        ("pauses", effects.pauses),
        ("frames, timers and writes that waited for a busy host", effects.inputs_delayed),
        ("writes lost in a crash while they waited", effects.writes_lost_waiting),
        ("writes to disk that failed", effects.failed_writes),
        ("commits torn by a crash", effects.torn_writes),
        ("syncs that were none", effects.lying_syncs),
        ("… and commits lost for that", effects.lost_commits),
        ("rows on disk that rotted", effects.rotten_rows),
        ("replicas that began afresh under a new name", effects.fresh_starts),
    ];
    let happened = rows.into_iter().filter(|(_, count)| *count > 0);
    happened.map(|(name, count)| (name.to_owned(), grouped(count))).collect()
}
