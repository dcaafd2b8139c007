//! The seeds of a sweep in batches, each batch in a child process.

use crate::interrupt;
use crate::isolation::{ChildEnd, begin_run, limit_memory, on_stack, run_child};
use crate::output::totals::SweepTotals;
use crate::simulation::Simulation;
use crate::sweeping::plan::SweepPlan;
use crate::sweeping::workers;
use indicatif::ProgressBar;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most seeds that run in one process: starting a process costs as much as several small runs.
const SMALL_BATCH: u64 = 256;

/// How many seeds of a simulation run in one process. A large run has a process of its own, so that the limit of
/// memory holds for it alone.
fn batch_size(simulation: &Simulation) -> u64 {
    if simulation.is_large() { 1 } else { SMALL_BATCH }
}

/// Before each seed, a child says the word and the index of the seed.
const BEGIN: &str = "begin ";
/// In the end, a child says the word and the totals of its seeds as JSON.
const TOTALS: &str = "totals ";

/// Runs the seeds at the indices in `part` in child processes, or a prefix of them if the command is interrupted.
/// Gives their totals.
pub(crate) fn run_batches(
    simulation: &Simulation,
    plan: &SweepPlan,
    part: Range<u64>,
    bar: &ProgressBar,
) -> Result<SweepTotals, String> {
    // Every thread gets work, however few seeds there are.
    let shared = (part.end - part.start).div_ceil(plan.jobs as u64).max(1);
    let size = batch_size(simulation).min(shared);
    let next = AtomicU64::new(part.start);
    let done = Mutex::new(Vec::new());
    let take = || {
        if interrupt::requested() {
            return None;
        }
        let start = next.fetch_add(size, Ordering::Relaxed);
        (start < part.end).then(|| start..part.end.min(start + size))
    };
    let failed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.min((part.end - part.start) as usize).max(1) {
            scope.spawn(|| {
                while let Some(batch) = take() {
                    let start = batch.start;
                    let totals = run_batch(simulation, plan, batch, bar);
                    if let Ok(Some(totals)) = &totals {
                        let failed = failed.fetch_add(totals.failed(), Ordering::Relaxed) + totals.failed();
                        if failed > 0 {
                            bar.set_message(format!(", {failed} failed"));
                        }
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((start, totals));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(start, _)| *start);
    let mut all = SweepTotals::default();
    for (_, totals) in done {
        match totals? {
            // A batch that was interrupted ends the prefix.
            None => break,
            Some(totals) => all.merge(totals),
        }
    }
    Ok(all)
}

/// Runs one batch; `None` if the command was interrupted. A seed whose run ends its process runs again alone.
fn run_batch(
    simulation: &Simulation,
    plan: &SweepPlan,
    batch: Range<u64>,
    bar: &ProgressBar,
) -> Result<Option<SweepTotals>, String> {
    let mut totals = SweepTotals::default();
    // Parts of the batch that are to run, the first last.
    let mut parts = vec![batch];
    let mut counted = 0;
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let mut begun = part.start;
        let mut reported = None;
        let end = run_child(&plan.words_for(simulation, &part), None, &plan.limits, &mut |line| {
            if let Some(index) = line.strip_prefix(BEGIN).and_then(|index| index.parse().ok()) {
                begun = index;
                // A seed that runs again has been counted already.
                if index >= counted {
                    counted = index + 1;
                    bar.inc(1);
                }
            } else if let Some(json) = line.strip_prefix(TOTALS) {
                reported = serde_json::from_str::<SweepTotals>(json).ok();
            }
        })?;
        match (end, reported) {
            (ChildEnd::Interrupted, _) => return Ok(None),
            (ChildEnd::Done, Some(found)) => totals.merge(found),
            (ChildEnd::Done, None) => return Err("a child process has not reported its seeds".into()),
            (ChildEnd::Abnormal(class), _) if part.end - part.start == 1 => {
                let seed = plan.seed_at(begun).ok_or("a child process ran a seed of no plan")?;
                let reason =
                    format!("the process of the run ended: {class}; {}", plan.limits.flags().join(" "));
                totals.add_abnormal(seed, &class, reason, simulation, &plan.cases)?;
            }
            // What came before the seed has not been reported; the seed itself is to fail alone.
            (ChildEnd::Abnormal(_), _) => {
                parts.extend([begun + 1..part.end, begun..begun + 1, part.start..begun]);
            }
        }
    }
    Ok(Some(totals))
}

/// The child: runs the seeds of its plan one after another, and reports their totals.
pub(crate) fn run_part(simulation: &Simulation, plan: &SweepPlan) -> Result<(), String> {
    limit_memory(&plan.limits)?;
    on_stack(plan.limits.stack_bytes(), || {
        let mut totals = SweepTotals::default();
        for index in plan.part_of_child() {
            let seed = plan.seed_at(index).ok_or("an index of no plan")?;
            say(&format!("{BEGIN}{index}"))?;
            begin_run(&plan.limits);
            totals.add(&workers::run_index(simulation, plan, index, seed), simulation, &plan.cases)?;
        }
        say(&format!("{TOTALS}{}", serde_json::to_string(&totals).map_err(|error| error.to_string())?))
    })?
}

fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| format!("the parent is gone: {error}"))
}
