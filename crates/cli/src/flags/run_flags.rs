//! The flags of `syncline run`.

use crate::case_files;
use crate::flags::SimArgs;
use clap::Args;
use std::path::PathBuf;

/// The flags of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// A case file to start from; flags override what the file says.
    #[arg(value_name = "CASE", conflicts_with = "case")]
    pub(crate) file: Option<PathBuf>,

    /// The seed of all randomness in the run. Without it, the seed of the case file; without a case file, one
    /// drawn from the clock and printed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(crate) seed: Option<u64>,

    /// Run one seed after another until one fails.
    #[arg(long, conflicts_with_all = ["seed", "keep"])]
    pub(crate) until_failure: bool,

    /// The first seed of --until-failure.
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "until_failure")]
    #[arg(value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(crate) from: u64,

    /// Minimize the case if the run fails; see `syncline shrink`.
    #[arg(long)]
    pub(crate) shrink: bool,

    /// The folder for the case file of a run that fails.
    #[arg(long, value_name = "FOLDER", default_value = case_files::FOLDER)]
    pub(crate) cases: PathBuf,

    /// Print the trace digest of the run, and nothing else; write no files.
    #[arg(long, hide = true)]
    pub(crate) trace_only: bool,

    /// Save the final state of each replica as a store in this folder (`alice`; `alice.1` for its second
    /// context); see `syncline inspect`.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the events of the run before the result, with a column for each replica.
    #[arg(long, conflicts_with = "json")]
    pub(crate) trace: bool,

    /// As --trace, but print each event while the run is under way.
    #[arg(long, conflicts_with_all = ["json", "trace"])]
    pub(crate) follow: bool,

    // Last, because its groups have headings in the help.
    #[command(flatten)]
    pub(crate) sim: SimArgs,
}
