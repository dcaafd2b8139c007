//! `syncline view`.

use crate::Ending;
use crate::options::SimArgs;
use crate::report::typed;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use sync_sim::film::{Film, shiviz};
use sync_sim::prelude::*;

pub(crate) const HELP: &str = "\
Examples:
  syncline view --seed 42 --faults heavy               the run as a page: run.html
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
    /// Decides everything that is left to chance.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    seed: u64,

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

/// Runs a simulation and writes what happened as a picture.
pub(crate) fn view(args: &ViewArgs) -> Result<Ending, String> {
    let spec = args.sim.spec()?;
    let mut rt = spec.build_with(args.seed, Some(args.keep as usize));
    let stop = rt.run();
    let text = match args.format {
        Format::Shiviz => rt.history().map(shiviz).unwrap_or_default(),
        Format::Perfetto | Format::Html => {
            let film = Film::of_run(&rt, &stop).map_err(|error| error.to_string())?;
            let mut film = film.ok_or("the run kept no history")?;
            film.repeat = Some(spec.reproduce(args.seed));
            if let Some(title) = &args.title {
                film.title.clone_from(title);
            }
            if args.format == Format::Html { film.page() } else { serde_json::to_string(&film.perfetto()) }
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
        println!("{}: {stop}; written to {}", typed(&spec.reproduce(args.seed)), out.display());
    }
    Ok(if stop == StopCondition::Converged { Ending::Good } else { Ending::Finding })
}
