//! `syncline shrink`.

use crate::case_files;
use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::ShrinkArgs;
use crate::flags::TimeSpan;
use crate::interrupt;
use crate::output::text::{grouped, quoted, typed};
use crate::output::writer::Output;
use crate::output::{json, progress};
use serde::Serialize;
use std::time::{Duration, Instant};
use sync_sim::case::{CaseError, Class, Size};
use sync_sim::shrink::{Shrunk, shrink as shrink_case};

/// The result of shrinking. The JSON keys are stable.
#[derive(Serialize)]
struct ShrinkReport {
    /// The file of the minimized case.
    case: String,
    class: Class,
    from: Size,
    to: Size,
    /// How many writes, faults and other causes the minimized case contains.
    causes: usize,
    runs: u64,
    /// Whether nothing more can be removed; if not, the limit of runs or of time was reached.
    finished: bool,
    rust: String,
}

/// Minimizes a failing case.
pub(crate) fn shrink(args: &ShrinkArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let case = case_files::load(&args.file)?;
    let bar = progress::bar("{spinner} {elapsed} {pos} runs, {msg}", args.runs, !args.json && !args.rust);
    interrupt::watch();
    let started = Instant::now();
    let deadline = args.time.map(|TimeSpan(time)| Duration::from_micros(time.as_micros()));
    // If the failure is a panic, nearly every run panics; thousands of messages would bury the result.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut runs = None;
    let shrunk = shrink_case(&case, args.runs, &mut |progress| {
        // This is called in the middle of a run, too, where there is no other progress.
        if runs != Some(progress.runs) {
            runs = Some(progress.runs);
            let so_far = format!("{}: {}", progress.doing, progress.size);
            interrupt::learned(format!("nothing was saved after {} runs, {so_far}", progress.runs));
            bar.set_position(progress.runs);
            bar.set_message(so_far);
        }
        !interrupt::requested() && deadline.is_none_or(|deadline| started.elapsed() < deadline)
    });
    std::panic::set_hook(hook);
    bar.finish_and_clear();
    if shrunk == Err(CaseError::Stopped) && interrupt::requested() {
        return interrupt::report(
            "interrupted: the case was not run to its end yet, so nothing was removed",
            out,
        );
    }
    let shrunk = shrunk.map_err(|error| format!("in {}: {error}", args.file.display()))?;
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("small.toml"));
    case_files::save(&shrunk.case, &output)?;
    let path = output.display().to_string();
    report(args, shrunk, &path, started.elapsed(), out)?;
    if interrupt::requested() {
        let again = typed(&format!("syncline shrink {}", quoted(&path)));
        return interrupt::report(&format!("interrupted; continue with: {again}"), out);
    }
    Ok(Ending::Good)
}

fn report(
    args: &ShrinkArgs,
    shrunk: Shrunk,
    path: &str,
    took: Duration,
    out: &mut Output,
) -> Result<(), CommandError> {
    let Shrunk { case, from, runs, finished } = shrunk;
    let rust = case.to_rust().map_err(|error| error.to_string())?;
    let class = case.found.clone().ok_or("a shrunk case records how it fails")?;
    let to = case.size();
    if args.json {
        let case = path.to_owned();
        let report = ShrinkReport { case, class, from, to, causes: to.causes(), runs, finished, rust };
        return json::print(&report, out);
    }
    if args.rust {
        return write!(out, "{rust}");
    }
    writeln!(out, "{class}")?;
    writeln!(out, "from {from}\n  to {to}\nin {} runs and {took:.1?}", grouped(runs))?;
    if !finished && !interrupt::requested() {
        writeln!(out, "the search reached its limit; a larger --runs or --time lets it go on")?;
    }
    writeln!(out, "\n{case}\nas a test:\n\n{rust}")?;
    writeln!(out, "the small case: {path}")?;
    writeln!(out, "  replay it with: {}", typed(&format!("syncline replay {}", quoted(path))))
}
