//! The threads that run the seeds of a sweep.

use crate::interrupt;
use crate::output::totals::{SeedOutcome, SweepTotals};
use crate::panics;
use crate::simulation::{Simulation, run_unless_interrupted};
use crate::sweeping::plan::SweepPlan;
use indicatif::ProgressBar;
use std::io::Read;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use sync_sim::coverage::Coverage;
use sync_sim::known::KnownFinding;
use sync_sim::prelude::StopCondition;

/// The outcomes of the seeds that were run, in the order of their indices.
pub(super) struct SeedRuns {
    /// The index and the outcome of each seed that ran to its end.
    done: Vec<(u64, SeedOutcome)>,
    /// The index of the first seed that was not run to its end.
    next: u64,
}

impl SeedRuns {
    /// The totals of what ran; of the seeds before the first that was not run to its end if `in_order`.
    pub(super) fn totals(&self, simulation: &Simulation, in_order: bool) -> BatchTotals {
        let mut totals = SweepTotals::default();
        for (index, outcome) in &self.done {
            if *index < self.next || !in_order {
                totals.add(outcome, simulation);
            }
        }
        BatchTotals { totals, next: self.next }
    }
}

/// The totals of seeds that were run.
pub(super) struct BatchTotals {
    pub(super) totals: SweepTotals,
    /// The index of the first seed that was not run to its end.
    pub(super) next: u64,
}

/// What the workers share.
struct WorkQueue<'a> {
    simulation: &'a Simulation,
    plan: &'a SweepPlan,
    bar: &'a ProgressBar,
    end: u64,
    /// The next index to take.
    next: AtomicU64,
    done: Mutex<Vec<(u64, SeedOutcome)>>,
    /// The seeds that failed so far.
    failed: Mutex<Vec<u64>>,
}

/// Runs the seeds at the indices in `part`, as far as the command is not interrupted.
///
/// Each seed runs on one thread, and the outcomes are returned in the order of the indices, so that the result
/// does not depend on the number of threads.
pub(super) fn run_all(
    simulation: &Simulation,
    plan: &SweepPlan,
    part: Range<u64>,
    bar: &ProgressBar,
) -> SeedRuns {
    let count = part.end - part.start;
    let queue = WorkQueue {
        simulation,
        plan,
        bar,
        end: part.end,
        next: AtomicU64::new(part.start),
        done: Mutex::new(Vec::with_capacity(count.min(1 << 24) as usize)),
        failed: Mutex::new(Vec::new()),
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.min(count as usize).max(1) {
            scope.spawn(|| queue.work());
        }
    });
    let mut done = queue.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    // Indices are taken in order, and a seed that was begun is run to its end: no seed before the first failure is
    // missing.
    let failure = done.iter().position(|(_, outcome)| outcome.is_failure()).filter(|_| plan.fail_fast);
    if let Some(at) = failure {
        done.truncate(at + 1);
    }
    let gap = (part.start..).zip(&done).find(|(expected, (index, _))| expected != index);
    let next = gap.map_or(part.start + done.len() as u64, |(expected, _)| expected);
    assert!(
        next == part.end || interrupt::requested() || failure.is_some(),
        "a seed is left out only if the sweep is interrupted or ends at a failure"
    );
    SeedRuns { done, next }
}

impl WorkQueue<'_> {
    /// Runs seeds until none is left or the command is interrupted.
    fn work(&self) {
        let mut outcomes = Vec::new();
        while !interrupt::requested() && !self.stops_at_failure() {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = self.plan.seed_at(index).filter(|_| index < self.end) else { break };
            let Some(outcome) = run_index(self.simulation, self.plan, index, seed) else { break };
            if outcome.is_failure() {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(seed);
                self.bar.set_message(format!(", {} failed", failed.len()));
            }
            outcomes.push((index, outcome));
            self.bar.inc(1);
            interrupt::learned(self.so_far());
        }
        self.done.lock().unwrap_or_else(PoisonError::into_inner).extend(outcomes);
    }

    /// Whether the sweep ends because a seed has failed.
    fn stops_at_failure(&self) -> bool {
        self.plan.fail_fast && !self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The progress in words.
    fn so_far(&self) -> String {
        const SHOWN: usize = 10;
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let shown: Vec<String> = failed.iter().take(SHOWN).map(u64::to_string).collect();
        let more = if failed.len() > SHOWN { ", …" } else { "" };
        let shown = if shown.is_empty() { String::new() } else { format!(": {}{more}", shown.join(", ")) };
        format!("{} seeds ran, {} of them failed{shown}", self.bar.position(), failed.len())
    }
}

/// Runs the seed at an index, twice if it is to be compared. `None` if the command is interrupted before its end.
pub(super) fn run_index(
    simulation: &Simulation,
    plan: &SweepPlan,
    index: u64,
    seed: u64,
) -> Option<SeedOutcome> {
    let twice = plan.check_every > 0 && index.is_multiple_of(plan.check_every);
    run_one(simulation, seed, twice, plan.counts_coverage(simulation))
}

/// Runs a seed, and `None` if the command is interrupted before its end. A panic of the code under test is a finding
/// like any other and does not end the sweep.
fn run_one(simulation: &Simulation, seed: u64, twice: bool, covers: bool) -> Option<SeedOutcome> {
    let (case, mut rt) = simulation.build_with_case(seed);
    let ended = panics::quietly(|| run_unless_interrupted(&mut rt));
    if ended.stop == Some(StopCondition::Manual) {
        return None;
    }
    let trace = ended.trace.to_string();
    let differs = match twice.then(|| run_in_fresh_process(simulation, seed)) {
        None => None,
        Some(Ok(Some(again))) => {
            (again != trace).then(|| format!("two runs differ: traces {trace} and {again}"))
        }
        Some(Ok(None)) => return None,
        Some(Err(error)) => Some(format!("the seed could not be run again in another process: {error}")),
    };
    let known =
        if ended.class.is_converged() { None } else { KnownFinding::of(&case, &ended.class, &ended.reason) };
    Some(SeedOutcome {
        seed,
        known,
        coverage: covers.then(|| Coverage::of(&case, &rt, &ended)),
        stop: ended.name(),
        trace: ended.trace.value(),
        time: rt.now(),
        events: rt.events_processed(),
        metrics: rt.metrics(),
        class: ended.class,
        reason: ended.reason,
        differs,
        twice,
    })
}

/// How often the end of another process is looked for.
const POLL: Duration = Duration::from_millis(2);

/// The trace digest of a seed in a fresh process, where no state of earlier runs can influence it. `None` if the
/// command is interrupted meanwhile.
fn run_in_fresh_process(simulation: &Simulation, seed: u64) -> Result<Option<String>, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    command.args(["run", "--trace-only", "--seed", &seed.to_string()]).args(&simulation.flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A process group of its own keeps Ctrl-C from the child: this process ends it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut said = child.stdout.take().map(read_aside);
    let mut complained = child.stderr.take().map(read_aside);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if interrupt::requested() {
            // It may have ended meanwhile; either way its result is not needed.
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(POLL);
    };
    let text = |read: &mut Option<JoinHandle<String>>| {
        read.take().and_then(|read| read.join().ok()).unwrap_or_default().trim().to_owned()
    };
    match status.code() {
        Some(0) => Ok(Some(text(&mut said))),
        _ => Err(text(&mut complained)),
    }
}

/// Reads a pipe to its end on a thread of its own, so that its writer never waits.
fn read_aside(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all that there is.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
