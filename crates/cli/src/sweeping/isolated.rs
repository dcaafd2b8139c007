//! The seeds of a sweep in batches, each batch in a child process.

use crate::error::CommandError;
use crate::interrupt;
use crate::isolation::{ChildEnd, begin_run, limit_memory, on_stack, run_child};
use crate::output::totals::SweepTotals;
use crate::output::writer::Output;
use crate::simulation::Simulation;
use crate::sweeping::plan::SweepPlan;
use crate::sweeping::workers::{self, BatchTotals};
use indicatif::ProgressBar;
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

/// The totals of the batches that were run.
pub(super) struct BatchRuns {
    /// The index of the first seed of each batch, in order, and the totals of the batch: of all its seeds or, if the
    /// command was interrupted, of the first ones.
    done: Vec<(u64, SweepTotals)>,
    /// The index of the first seed that was not run to its end.
    next: u64,
}

impl BatchRuns {
    /// The totals of all that ran; of the seeds before the first that was not run to its end if `in_order`.
    pub(super) fn totals(self, in_order: bool) -> BatchTotals {
        let mut totals = SweepTotals::default();
        for (start, batch) in self.done {
            if start < self.next || !in_order {
                totals.merge(batch);
            }
        }
        BatchTotals { totals, next: self.next }
    }
}

/// What the threads share that run batches.
struct BatchQueue<'a> {
    simulation: &'a Simulation,
    plan: &'a SweepPlan,
    bar: &'a ProgressBar,
    part: Range<u64>,
    size: u64,
    /// The first index of the next batch.
    next: AtomicU64,
    failed: AtomicU64,
    done: Mutex<Vec<(u64, Result<SweepTotals, String>)>>,
}

/// Runs the seeds at the indices in `part` in child processes, as far as the command is not interrupted.
pub(super) fn run_batches(
    simulation: &Simulation,
    plan: &SweepPlan,
    part: Range<u64>,
    bar: &ProgressBar,
) -> Result<BatchRuns, String> {
    // Every thread gets work, however few seeds there are.
    let shared = (part.end - part.start).div_ceil(plan.jobs as u64).max(1);
    let start = part.start;
    let queue = BatchQueue {
        simulation,
        plan,
        bar,
        size: batch_size(simulation).min(shared),
        next: AtomicU64::new(start),
        failed: AtomicU64::new(0),
        done: Mutex::new(Vec::new()),
        part,
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.min((queue.part.end - start) as usize).max(1) {
            scope.spawn(|| queue.work());
        }
    });
    let mut done = queue.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(start, _)| *start);
    let done = done.into_iter().map(|(start, totals)| Ok((start, totals?)));
    let done = done.collect::<Result<Vec<_>, String>>()?;
    let mut done = done;
    // Batches are taken in order, and one that was begun runs to its end or its first failure.
    let failure = done.iter().position(|(_, totals)| totals.failed() > 0).filter(|_| plan.fail_fast);
    if let Some(at) = failure {
        done.truncate(at + 1);
    }
    let mut next = start;
    for (start, totals) in &done {
        if *start == next {
            next += totals.seeds();
        }
    }
    assert!(
        next == queue.part.end || interrupt::requested() || failure.is_some(),
        "a seed is left out only if the sweep is interrupted or ends at a failure"
    );
    Ok(BatchRuns { done, next })
}

impl BatchQueue<'_> {
    /// Runs batches until none is left or the command is interrupted.
    fn work(&self) {
        while !interrupt::requested() && !self.stops_at_failure() {
            let start = self.next.fetch_add(self.size, Ordering::Relaxed);
            if start >= self.part.end {
                break;
            }
            let totals = self.run(start..self.part.end.min(start + self.size));
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push((start, totals));
        }
    }

    /// Runs one batch; the first seeds of it if the command is interrupted. A seed whose run ends its process runs
    /// again alone.
    fn run(&self, batch: Range<u64>) -> Result<SweepTotals, String> {
        let mut totals = SweepTotals::default();
        // The parts of the batch that are to run, the first last.
        let mut parts = vec![batch.clone()];
        let mut counted = batch.start;
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let mut begun = part.start;
            let mut reported = None;
            let words = self.plan.words_for(self.simulation, &part);
            let mut each = |line: &str| {
                if let Some(index) = line.strip_prefix(BEGIN).and_then(|index| index.parse().ok()) {
                    begun = index;
                    // A seed that runs again has been counted already.
                    if index >= counted {
                        counted = index + 1;
                        self.bar.inc(1);
                    }
                    interrupt::learned(self.so_far());
                } else if let Some(json) = line.strip_prefix(TOTALS) {
                    reported = serde_json::from_str::<SweepTotals>(json).ok();
                }
            };
            let end = run_child(&words, None, &self.plan.limits, &mut each, &mut || true)?;
            match (end, reported) {
                (ChildEnd::Done | ChildEnd::Interrupted, Some(found)) => {
                    let whole = found.seeds() == part.end - part.start;
                    self.count_failed(found.failed());
                    totals.merge(found);
                    if !whole || self.plan.fail_fast && totals.failed() > 0 {
                        return Ok(totals);
                    }
                }
                (ChildEnd::Interrupted, None) => return Ok(totals),
                (ChildEnd::Done, None) => return Err("a child process has not reported its seeds".into()),
                (ChildEnd::Abnormal(class), _) if part.end - part.start == 1 => {
                    let limits = self.plan.limits.flags().join(" ");
                    let reason = format!("the process of the run ended: {class}; {limits}");
                    let seed = self.plan.seed_at(begun).ok_or("a child process ran a seed of no plan")?;
                    let failed = totals.failed();
                    totals.add_abnormal(seed, &class, &reason, self.simulation, &self.plan.limits);
                    self.count_failed(totals.failed() - failed);
                    if self.plan.fail_fast && totals.failed() > 0 {
                        return Ok(totals);
                    }
                }
                // What came before the seed has not been reported; the seed itself is to fail alone.
                (ChildEnd::Abnormal(_), _) => {
                    parts.extend([begun + 1..part.end, begun..begun + 1, part.start..begun]);
                }
            }
        }
        Ok(totals)
    }

    /// Whether the sweep ends because a seed has failed.
    fn stops_at_failure(&self) -> bool {
        self.plan.fail_fast && self.failed.load(Ordering::Relaxed) > 0
    }

    fn count_failed(&self, more: u64) {
        let failed = self.failed.fetch_add(more, Ordering::Relaxed) + more;
        if failed > 0 {
            self.bar.set_message(format!(", {failed} failed"));
        }
    }

    /// The progress in words.
    fn so_far(&self) -> String {
        let failed = self.failed.load(Ordering::Relaxed);
        format!("{} seeds began, and {failed} of those that were reported failed", self.bar.position())
    }
}

/// The child: runs the seeds of its plan one after another, and reports their totals, which are those of the first
/// seeds if its parent interrupts it.
pub(crate) fn run_part(
    simulation: &Simulation,
    plan: &SweepPlan,
    out: &mut Output,
) -> Result<(), CommandError> {
    limit_memory(&plan.limits)?;
    interrupt::watch();
    on_stack(plan.limits.stack_bytes(), || {
        let mut totals = SweepTotals::default();
        for index in plan.part_of_child() {
            let seed = plan.seed_at(index).ok_or("an index of no plan")?;
            say(&format!("{BEGIN}{index}"), out)?;
            begin_run(&plan.limits);
            let Some(outcome) = workers::run_index(simulation, plan, index, seed) else { break };
            totals.add(&outcome, simulation);
            if plan.fail_fast && totals.failed() > 0 {
                break;
            }
        }
        let report = serde_json::to_string(&totals).map_err(|error| error.to_string())?;
        say(&format!("{TOTALS}{report}"), out)
    })?
}

/// Says a line at once.
fn say(line: &str, out: &mut Output) -> Result<(), CommandError> {
    writeln!(out, "{line}")?;
    out.flush()
}
