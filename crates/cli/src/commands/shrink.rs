//! `syncline shrink`.

use crate::case_files;
use crate::commands::Ending;
use crate::flags::ShrinkArgs;
use crate::flags::TimeSpan;
use crate::interrupt;
use crate::isolation;
use crate::output::text::{grouped, quoted, typed};
use crate::output::{json, progress};
use serde::Serialize;
use std::time::{Duration, Instant};
use sync_sim::case::{Case, CaseError, Class, Size};
use sync_sim::shrink::{ShrinkProgress, Shrunk, shrink as shrink_case, shrink_with};

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
pub(crate) fn shrink(args: &ShrinkArgs) -> Result<Ending, String> {
    let case = case_files::load(&args.file)?;
    let bar = progress::bar("{spinner} {elapsed} {pos} runs, {msg}", args.runs, !args.json && !args.rust);
    interrupt::watch();
    let started = Instant::now();
    let deadline = args.time.map(|TimeSpan(time)| Duration::from_micros(time.as_micros()));
    // If the failure is a panic, nearly every run panics; thousands of messages would bury the result.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut go_on = |progress: &ShrinkProgress| {
        bar.set_position(progress.runs);
        bar.set_message(format!("{}: {}", progress.doing, progress.size));
        !interrupt::requested() && deadline.is_none_or(|deadline| started.elapsed() < deadline)
    };
    let shrunk = match &case.found {
        Some(class) if class.is_abnormal() => shrink_apart(args, &case, &mut go_on),
        _ => shrink_case(&case, args.runs, &mut go_on),
    };
    std::panic::set_hook(hook);
    bar.finish_and_clear();
    let shrunk = shrunk.map_err(|error| format!("in {}: {error}", args.file.display()))?;
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("small.toml"));
    case_files::save(&shrunk.case, &output)?;
    let path = output.display().to_string();
    report(args, shrunk, &path, started.elapsed())?;
    if interrupt::requested() {
        let again = typed(&format!("syncline shrink {}", quoted(&path)));
        return Ok(interrupt::report(&format!("interrupted; continue with: {again}")));
    }
    Ok(Ending::Good)
}

/// Minimizes a case whose run ends its process: each candidate runs in a process of its own.
fn shrink_apart(
    args: &ShrinkArgs,
    case: &Case,
    go_on: &mut dyn FnMut(&ShrinkProgress) -> bool,
) -> Result<Shrunk, CaseError> {
    let run = |case: &Case| isolation::run_apart(case, &args.limits);
    let class = run(case)?.class;
    if class.is_converged() {
        return Err(CaseError::NothingWrong);
    }
    if !class.is_abnormal() {
        return shrink_case(case, args.runs, go_on);
    }
    let pinned = isolation::pinned_apart(case, &class, &args.limits);
    shrink_with(&run, pinned, class, args.runs, go_on)
}

fn report(args: &ShrinkArgs, shrunk: Shrunk, path: &str, took: Duration) -> Result<(), String> {
    let Shrunk { case, from, runs, finished } = shrunk;
    let rust = case.to_rust().map_err(|error| error.to_string())?;
    let class = case.found.clone().ok_or("a shrunk case records how it fails")?;
    let to = case.size();
    if args.json {
        let case = path.to_owned();
        let report = ShrinkReport { case, class, from, to, causes: to.causes(), runs, finished, rust };
        return json::print(&report);
    }
    if args.rust {
        print!("{rust}");
        return Ok(());
    }
    println!("{class}");
    println!("from {from}\n  to {to}\nin {} runs and {took:.1?}", grouped(runs));
    if !finished {
        println!("the search reached its limit; a larger --runs or --time lets it go on");
    }
    println!("\n{case}\nas a test:\n\n{rust}");
    println!("the small case: {path}");
    println!("  replay it with: {}", typed(&format!("syncline replay {}", quoted(path))));
    Ok(())
}
