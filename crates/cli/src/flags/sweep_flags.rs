//! The flags of `syncline sweep` and `syncline merge`.

use crate::case_files;
use crate::flags::SimArgs;
use crate::flags::limit_flags::ProcessLimits;
use crate::flags::seed_set::{MAX_SEEDS, SeedSet, seed_set};
use crate::sweeping::shard::{Shard, shard};
use clap::Args;
use std::path::PathBuf;

/// The flags of `sweep`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SweepArgs {
    /// The seeds to run: 0..1000, or 3,7,9, or @FILE with one seed or range a line.
    #[arg(long, value_name = "SEEDS", default_value = "0..1000", value_parser = seed_set)]
    pub(crate) seeds: SeedSet,

    /// How many runs to execute in parallel; the number of cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) jobs: Option<u32>,

    /// Run every N-th seed a second time in a fresh process and compare the trace digests; 0 compares none.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) check_every: u64,

    /// Stop at the first failure. Seeds after it are not counted, even if another thread has run them.
    #[arg(long, conflicts_with_all = ["resume", "report"])]
    pub(crate) fail_fast: bool,

    /// Save the sweep's progress in this file. If the file exists, continue from the progress it records.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Run one part of the seeds, as in 2/4. In array jobs of Kubernetes and SLURM the task's index is used by
    /// default.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(crate) shard: Option<Shard>,

    /// How many shards the sweep has, if the batch system supplies only this task's index; the variable
    /// SYNCLINE_SHARDS has the same meaning.
    #[arg(long, value_name = "N", conflicts_with = "shard", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) shards: Option<u64>,

    /// Write the results to this file, for `syncline merge`.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// The folder for the case files of runs that fail.
    #[arg(long, value_name = "FOLDER", default_value = case_files::FOLDER)]
    pub(crate) cases: PathBuf,

    /// Fail if the sweep misses something that large sweeps reach, such as a fault without effect or a protocol
    /// that no session ran. By default on from 10000 drawn seeds, unless a flag narrows what is drawn.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) demand_coverage: Option<bool>,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,

    /// Run seeds in child processes with limits, so that a run that ends its process is a finding and not the end of
    /// the sweep. By default on for drawn seeds and with limits. Unix only.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) isolate: Option<bool>,

    /// The seeds are a part of those of a parent process, from this index on: report to it.
    #[arg(long, value_name = "INDEX", hide = true, value_parser = clap::value_parser!(u64).range(..=MAX_SEEDS))]
    pub(crate) part: Option<u64>,

    #[command(flatten)]
    pub(crate) limits: ProcessLimits,

    // Last, because its groups have headings in the help.
    #[command(flatten)]
    pub(crate) sim: SimArgs,
}

/// The flags of `merge`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MergeArgs {
    /// The reports, one for each shard, in any order.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Merge even if shards are missing, and name the missing ones.
    #[arg(long)]
    pub(crate) partial: bool,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}
