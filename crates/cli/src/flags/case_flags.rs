//! The flags of the commands about case files: `replay`, `shrink` and `scenarios`.

use crate::flags::choices::scenario;
use crate::flags::limit_flags::ProcessLimits;
use crate::flags::values::{self, TimeSpan};
use clap::Args;
use std::path::PathBuf;
use sync_sim::prelude::SimDuration;
use sync_sim::scenarios::NamedScenario;

/// The flags of `replay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// The case file, as a finding leaves it or written by hand.
    #[arg(value_name = "CASE")]
    pub(crate) file: PathBuf,

    /// Write an equivalent case without randomness to this file: every write, crash, partition and changed
    /// frame is a line of its own, which can be edited or removed.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin: Option<PathBuf>,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,

    /// Run the case under the limits and print its outcome for a parent process.
    #[arg(long, hide = true)]
    pub(crate) outcome: bool,

    /// Pin the case on a thread with a stack of so many MiB, and print it.
    #[arg(long, value_name = "MIB", hide = true)]
    pub(crate) pinned_on_mib: Option<usize>,

    #[command(flatten)]
    pub(crate) limits: ProcessLimits,
}

/// The flags of `shrink`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShrinkArgs {
    /// The case file, as a finding leaves it.
    #[arg(value_name = "CASE")]
    pub(crate) file: PathBuf,

    /// The file for the minimized case; NAME.small.toml beside the original by default.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Stop after this many runs with the smallest case so far.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RUNS, value_parser = clap::value_parser!(u64).range(4..))]
    pub(crate) runs: u64,

    /// Stop after this much real time with the smallest case so far. The report lists the reductions that were not done.
    /// A bare number is in milliseconds.
    #[arg(long, visible_alias = "for", value_name = "TIME", default_value_t = DEFAULT_TIME, value_parser = values::time_span)]
    pub(crate) time: TimeSpan,

    /// Print the case as a Rust test, and nothing else.
    #[arg(long, conflicts_with = "json")]
    pub(crate) rust: bool,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) limits: ProcessLimits,
}

const DEFAULT_RUNS: u64 = 20_000;
/// Long enough for most cases, and short enough to wait for.
const DEFAULT_TIME: TimeSpan = TimeSpan(SimDuration::from_secs(60));

impl ShrinkArgs {
    /// The defaults for a case file.
    pub(crate) fn of(file: PathBuf, json: bool) -> Self {
        let limits = ProcessLimits::default();
        Self { file, output: None, runs: DEFAULT_RUNS, time: DEFAULT_TIME, rust: false, json, limits }
    }
}

/// The flags of `scenarios`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScenariosArgs {
    /// Print one scenario as a case file to edit, or with `swarm:SEED` the case that is drawn from a seed. Run
    /// the file with `syncline run FILE`.
    #[arg(long, value_name = "NAME", conflicts_with = "json", value_parser = scenario_or_seed)]
    pub(crate) show: Option<ScenarioOrSeed>,

    /// Print the list as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `--show` prints as a case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScenarioOrSeed {
    Scenario(NamedScenario),
    /// The case that `--swarm` draws from this seed.
    Swarm(u64),
}

fn scenario_or_seed(text: &str) -> Result<ScenarioOrSeed, String> {
    let Some(seed) = text.strip_prefix("swarm:") else {
        return scenario(text).map(ScenarioOrSeed::Scenario);
    };
    let seed = seed.parse().map_err(|_| format!("{seed:?} is not a seed; an example is swarm:7"));
    seed.map(ScenarioOrSeed::Swarm)
}
