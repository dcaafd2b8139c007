//! The flags of `syncline hunt`.

use crate::case_files;
use crate::flags::values::{self, TimeSpan};
use clap::Args;
use std::path::PathBuf;

/// The flags of `hunt`.
#[derive(Args, Clone, Debug)]
pub(crate) struct HuntArgs {
    /// How many runs to make.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) runs: u64,

    /// Decides which worlds are drawn and how they are mutated.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Stop after this time, as in 10m, with what was found so far. A bare number is in milliseconds.
    #[arg(long, value_name = "TIME", value_parser = values::time_span)]
    pub(crate) time: Option<TimeSpan>,

    /// Stop at the first failure that no known finding explains.
    #[arg(long)]
    pub(crate) until_failure: bool,

    /// How many runs to execute in parallel; the number of cores by default. The result does not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) jobs: Option<u32>,

    /// The folder for the case files of runs that fail.
    #[arg(long, value_name = "FOLDER", default_value = case_files::FOLDER)]
    pub(crate) cases: PathBuf,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}
