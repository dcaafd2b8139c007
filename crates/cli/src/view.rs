//! `syncline view`.

use crate::Ending;
use crate::options::SimArgs;
use crate::report::typed;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use sync_sim::forensics::investigate;
use sync_sim::prelude::*;
use sync_sim::timeline::{FailureSummary, Timeline, shiviz};

pub(crate) const HELP: &str = "\
Examples:
  syncline view syncline-cases/FILE.toml                 a failure as a page, with what is known of it on top
  syncline view --seed 42 --faults heavy                 any run: run.html
  syncline view --seed 42 --format perfetto -o run.json  for https://ui.perfetto.dev
  syncline view --seed 42 --format shiviz -o run.log     for ShiViz

The page is one file: it needs no network, and any browser shows it.";

/// What to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// One self-contained page: lanes, messages, states, faults, records.
    Html,
    /// Trace events in JSON, for Perfetto and Chrome's viewer.
    Perfetto,
    /// A log with vector clocks, for ShiViz.
    Shiviz,
}

/// The flags of `view`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ViewArgs {
    /// A case file: what to show, but for what flags say.
    #[arg(value_name = "CASE", conflicts_with = "case")]
    file: Option<PathBuf>,

    /// Decides everything that is left to chance; 0, or what the case says, if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    seed: Option<u64>,

    #[command(flatten)]
    pub(crate) sim: SimArgs,

    /// What to write.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Html)]
    format: Format,

    /// The file to write, or - for the standard output; run.html, run.json or run.log if not given.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The heading of the page; the seed if not given.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,

    /// Keep only the last so many events, for runs that would not fit a page.
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..))]
    keep: u64,
}

/// Longer runs than this are not run again to see where they went wrong.
const MOST_TO_INVESTIGATE: u64 = 1_000_000;

/// Whether it pays to find out where a run went wrong.
pub(crate) fn worth_investigating(rt: &SimRuntime, stop: &StopCondition) -> bool {
    *stop != StopCondition::Converged && rt.events_processed() <= MOST_TO_INVESTIGATE
}

/// Runs a simulation and writes what happened as a picture.
pub(crate) fn view(args: &ViewArgs) -> Result<Ending, String> {
    let mut sim = args.sim.clone();
    sim.case = args.file.clone().or(sim.case);
    let spec = sim.spec()?;
    let seed = args.seed.unwrap_or(spec.case.seed);
    let mut rt = spec.build_with(seed, Some(args.keep as usize));
    let stop = rt.run();
    let text = match args.format {
        Format::Shiviz => rt.history().map(shiviz).unwrap_or_default(),
        Format::Perfetto | Format::Html => {
            let timeline = Timeline::of_run(&rt, &stop).map_err(|error| error.to_string())?;
            let mut timeline = timeline.ok_or("the run kept no history")?;
            timeline.repeat = Some(spec.reproduce(seed));
            if let Some(history) = rt.history().filter(|_| worth_investigating(&rt, &stop)) {
                timeline.forensics = Some(FailureSummary::of(&investigate(|| spec.build(seed)), history));
            }
            if let Some(title) = &args.title {
                timeline.title.clone_from(title);
            }
            if args.format == Format::Html {
                timeline.page()
            } else {
                serde_json::to_string(&timeline.perfetto())
            }
            .map_err(|error| error.to_string())?
        }
    };
    let default = match args.format {
        Format::Html => "run.html",
        Format::Perfetto => "run.json",
        Format::Shiviz => "run.log",
    };
    let out = args.out.clone().unwrap_or_else(|| default.into());
    if out.as_os_str() == "-" {
        println!("{text}");
    } else {
        std::fs::write(&out, text).map_err(|error| format!("cannot write {}: {error}", out.display()))?;
        println!("{}: {stop}; written to {}", typed(&spec.reproduce(seed)), out.display());
    }
    Ok(if stop == StopCondition::Converged { Ending::Good } else { Ending::Finding })
}
