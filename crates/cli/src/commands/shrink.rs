//! `syncline shrink`.

use crate::case_files;
use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::ShrinkArgs;
use crate::flags::TimeSpan;
use crate::interrupt;
use crate::isolation;
use crate::output::shrink_report::ShrinkReport;
use crate::output::text::grouped;
use crate::output::writer::Output;
use crate::output::{json, progress};
use std::time::{Duration, Instant};
use sync_sim::case::{Case, CaseError};
use sync_sim::shrink::{ShrinkProgress, Shrunk, shrink as shrink_case, shrink_with};

/// Minimizes a failing case.
pub(crate) fn shrink(args: &ShrinkArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let Some(small) = SmallCase::search(args)? else {
        return interrupt::report(
            "interrupted: the case was not run to its end yet, so nothing was removed",
            out,
        );
    };
    small.print(args, out)?;
    if interrupt::requested() {
        return small.report_interruption(out);
    }
    Ok(Ending::Good)
}

/// Minimizes a case whose run ends its process, or under limits: each candidate runs in a process of its own.
fn shrink_apart(
    args: &ShrinkArgs,
    case: &Case,
    go_on: &mut dyn FnMut(&ShrinkProgress) -> bool,
) -> Result<Shrunk, CaseError> {
    let run = |case: &Case, go_on: &mut dyn FnMut() -> bool| isolation::run_apart(case, &args.limits, go_on);
    let begin = ShrinkProgress { runs: 1, doing: "the case itself", size: case.size() };
    let mut may_run = || go_on(&begin);
    let class = run(case, &mut may_run)?.class;
    if class.is_converged() {
        return Err(CaseError::NothingWrong);
    }
    if !class.is_abnormal() && !args.limits.are_given() {
        return shrink_case(case, args.runs, go_on);
    }
    let pinned = isolation::pinned_apart(case, &class, &args.limits, &mut may_run);
    shrink_with(&run, pinned, class, args.runs, go_on)
}

/// A case that was minimized and written to its file.
pub(crate) struct SmallCase {
    shrunk: Shrunk,
    path: String,
    /// The flags of the limits under which it fails.
    limits: Vec<String>,
    took: Duration,
}

impl SmallCase {
    /// Minimizes the case of the arguments and writes the result. `None` if Ctrl-C stopped the search before anything
    /// was removed.
    pub(crate) fn search(args: &ShrinkArgs) -> Result<Option<Self>, CommandError> {
        let case = case_files::load(&args.file)?;
        let bar = progress::bar("{spinner} {elapsed} {pos} runs, {msg}", args.runs, !args.json && !args.rust);
        interrupt::watch();
        let started = Instant::now();
        let TimeSpan(limit) = args.time;
        let limit = Duration::from_micros(limit.as_micros());
        // If the failure is a panic, nearly every run panics; thousands of messages would bury the result.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let mut runs = None;
        let mut go_on = |progress: &ShrinkProgress| {
            // This is called in the middle of a run, too, where there is no other progress.
            if runs != Some(progress.runs) {
                runs = Some(progress.runs);
                let so_far = format!("{}: {}", progress.doing, progress.size);
                interrupt::learned(format!("nothing was saved after {} runs, {so_far}", progress.runs));
                bar.set_position(progress.runs);
                bar.set_message(so_far);
            }
            !interrupt::requested() && started.elapsed() < limit
        };
        let shrunk = if isolation::runs_apart(&case, &args.limits) {
            shrink_apart(args, &case, &mut go_on)
        } else {
            shrink_case(&case, args.runs, &mut go_on)
        };
        std::panic::set_hook(hook);
        bar.finish_and_clear();
        if shrunk == Err(CaseError::Stopped) {
            if interrupt::requested() {
                return Ok(None);
            }
            let file = args.file.display();
            let problem = format!("{file}: the case does not run to its end within {}", args.time);
            return Err(format!("{problem}, so nothing was removed; allow more with --time").into());
        }
        let shrunk = shrunk.map_err(|error| format!("in {}: {error}", args.file.display()))?;
        let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("small.toml"));
        case_files::save(&shrunk.case, &output)?;
        let path = output.display().to_string();
        Ok(Some(Self { shrunk, path, limits: args.limits.given(), took: started.elapsed() }))
    }

    /// The result for machines.
    pub(crate) fn report(&self) -> Result<ShrinkReport, CommandError> {
        ShrinkReport::of(&self.shrunk, &self.path).map_err(CommandError::from)
    }

    fn print(&self, args: &ShrinkArgs, out: &mut Output) -> Result<(), CommandError> {
        let report = self.report()?;
        if args.json {
            return json::print(&report, out);
        }
        let ShrinkReport { class, from, to, from_bytes, to_bytes, runs, rust, .. } = &report;
        if args.rust {
            return write!(out, "{rust}");
        }
        let bytes = |bytes: usize| grouped(bytes as u64);
        writeln!(out, "{class}")?;
        writeln!(out, "from {from}: {} causes, {} bytes", from.causes(), bytes(*from_bytes))?;
        writeln!(out, "  to {to}: {} causes, {} bytes", report.causes, bytes(*to_bytes))?;
        writeln!(out, "in {} runs and {:.1?}", grouped(*runs), self.took)?;
        if !report.finished {
            writeln!(out, "the search ended before these were done: {}", report.unfinished.join(", "))?;
            if !interrupt::requested() {
                writeln!(out, "a larger --runs or --time lets it go on")?;
            }
        }
        writeln!(out, "\n{}\nas a test:\n\n{rust}", self.shrunk.case)?;
        writeln!(out, "the small case: {}", self.path)?;
        writeln!(out, "{}", case_files::replay_step(&self.path, &self.limits))
    }

    /// Says how to continue after Ctrl-C.
    pub(crate) fn report_interruption(&self, out: &mut Output) -> Result<Ending, CommandError> {
        let again = case_files::step("shrink", &self.path, &self.limits);
        interrupt::report(&format!("interrupted; continue with: {again}"), out)
    }
}
