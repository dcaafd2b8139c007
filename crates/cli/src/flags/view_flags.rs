//! The flags of `syncline view`.

use crate::flags::SimArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The format that `view` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ViewFormat {
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
    /// A case file to start from; flags override what the file says.
    #[arg(value_name = "CASE", conflicts_with = "case")]
    pub(crate) file: Option<PathBuf>,

    /// The seed of all randomness in the run. Without it, the seed of the case file; without a case file, 0.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(crate) seed: Option<u64>,

    /// The format to write.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ViewFormat::Html)]
    pub(crate) format: ViewFormat,

    /// The file to write, or - for the standard output; run.html, run.json or run.log by default.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// The heading of the page; it names the seed by default.
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,

    /// Retain only the last N events, for runs that would not fit a page.
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keep: u64,

    // Last, because its groups have headings in the help.
    #[command(flatten)]
    pub(crate) sim: SimArgs,
}
