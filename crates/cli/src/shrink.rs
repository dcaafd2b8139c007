//! `syncline shrink`.

use crate::report::{grouped, typed};
use crate::spec::quoted;
use crate::{Ending, cases, interrupt, values};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sync_sim::case::{Class, Size};
use sync_sim::prelude::SimDuration;
use sync_sim::shrink::{Shrunk, shrink as make_small};

/// The flags of `shrink`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShrinkArgs {
    /// The case file, as a finding leaves it.
    #[arg(value_name = "CASE")]
    file: PathBuf,

    /// Where the small case goes; beside the other, as NAME.small.toml, if not given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// After how many runs to stop with what was reached.
    #[arg(long, value_name = "N", default_value_t = RUNS, value_parser = clap::value_parser!(u64).range(4..))]
    runs: u64,

    /// After what time of yours to stop with what was reached.
    #[arg(long, value_name = "TIME", value_parser = values::span)]
    time: Option<SimDuration>,

    /// Print the case as a Rust test, and nothing else.
    #[arg(long, conflicts_with = "json")]
    rust: bool,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

const RUNS: u64 = 20_000;

impl ShrinkArgs {
    /// The defaults for a file.
    pub(crate) const fn of(file: PathBuf, json: bool) -> Self {
        Self { file, output: None, runs: RUNS, time: None, rust: false, json }
    }
}

/// What shrinking came to, as machines read it. Field names are stable.
#[derive(Serialize)]
struct ShrinkReport {
    case: String,
    class: Class,
    from: Size,
    to: Size,
    /// Events of cause in the small case.
    causes: usize,
    runs: u64,
    /// Whether nothing more can be taken away; if not, runs or time were used up.
    finished: bool,
    rust: String,
}

/// Makes a failing case small.
pub(crate) fn shrink(args: &ShrinkArgs) -> Result<Ending, String> {
    let case = cases::load(&args.file)?;
    let quiet = args.json || args.rust;
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(args.runs) };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {pos} runs, {msg}") {
        bar.set_style(style);
    }
    interrupt::watch();
    let started = Instant::now();
    let deadline = args.time.map(|time| Duration::from_micros(time.as_micros()));
    // The code under test may panic in every single run; once is enough to be told.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let shrunk = make_small(&case, args.runs, &mut |progress| {
        bar.set_position(progress.runs);
        bar.set_message(format!("{}: {}", progress.doing, progress.size));
        !interrupt::asked() && deadline.is_none_or(|deadline| started.elapsed() < deadline)
    });
    std::panic::set_hook(hook);
    bar.finish_and_clear();
    let shrunk = shrunk.map_err(|error| format!("in {}: {error}", args.file.display()))?;
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("small.toml"));
    cases::save(&shrunk.case, &output)?;
    report(args, shrunk, output.display().to_string(), started.elapsed())?;
    if interrupt::asked() {
        let again = typed(&format!("syncline shrink {}", quoted(&output.display().to_string())));
        return Ok(interrupt::said(&format!("interrupted; go on with: {again}")));
    }
    Ok(Ending::Good)
}

fn report(args: &ShrinkArgs, shrunk: Shrunk, path: String, took: Duration) -> Result<(), String> {
    let rust = shrunk.case.to_rust().map_err(|error| error.to_string())?;
    let (Shrunk { case, from, runs, finished }, to) = (shrunk.clone(), shrunk.case.size());
    let class = case.found.clone().ok_or("a shrunk case says how it fails")?;
    if args.json {
        let report = ShrinkReport { case: path, class, from, to, causes: to.causes(), runs, finished, rust };
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else if args.rust {
        print!("{rust}");
    } else {
        println!("{class}");
        println!("from {from}\n  to {to}\nin {} runs and {took:.1?}", grouped(runs));
        if !finished {
            println!("there was no time for more: give it more --runs or --time");
        }
        println!("\n{case}\nas a test:\n\n{rust}");
        println!("the small case: {path}");
        println!("  replay it with: {}", typed(&format!("syncline replay {}", quoted(&path))));
    }
    Ok(())
}
