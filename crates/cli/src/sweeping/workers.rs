//! The threads that run the seeds of a sweep.

use crate::interrupt;
use crate::output::totals::SeedOutcome;
use crate::simulation::Simulation;
use crate::sweeping::plan::SweepPlan;
use indicatif::ProgressBar;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use sync_sim::case::RunResult;
use sync_sim::coverage::Coverage;

/// Runs the seeds at the indices in `part`, or a prefix of them if the command is interrupted.
///
/// Each seed runs on one thread, and the outcomes are returned in the order of the indices, so that the result
/// does not depend on the number of threads.
pub(super) fn run_all(
    simulation: &Simulation,
    plan: &SweepPlan,
    part: Range<u64>,
    bar: &ProgressBar,
) -> Vec<SeedOutcome> {
    let count = part.end - part.start;
    let next = AtomicU64::new(part.start);
    let failed = AtomicU64::new(0);
    let done = Mutex::new(Vec::with_capacity(count.min(1 << 24) as usize));
    // The interruption is checked before an index is taken: every taken index is run, so that the indices that
    // were run are a prefix of the part even then.
    let take = || {
        if interrupt::requested() {
            return None;
        }
        let index = next.fetch_add(1, Ordering::Relaxed);
        plan.seed_at(index).filter(|_| index < part.end).map(|seed| (index, seed))
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.min(count as usize).max(1) {
            scope.spawn(|| {
                let mut outcomes = Vec::new();
                while let Some((index, seed)) = take() {
                    let outcome = run_index(simulation, plan, index, seed);
                    if !outcome.class.is_converged() || outcome.differs.is_some() {
                        let failed = failed.fetch_add(1, Ordering::Relaxed) + 1;
                        bar.set_message(format!(", {failed} failed"));
                    }
                    outcomes.push((index, outcome));
                    bar.inc(1);
                }
                done.lock().unwrap_or_else(PoisonError::into_inner).extend(outcomes);
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    assert!(done.iter().map(|(index, _)| *index).eq(part.start..part.start + done.len() as u64));
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Runs the seed at an index, twice if it is to be compared.
pub(super) fn run_index(simulation: &Simulation, plan: &SweepPlan, index: u64, seed: u64) -> SeedOutcome {
    let twice = plan.check_every > 0 && index.is_multiple_of(plan.check_every);
    run_one(simulation, seed, twice, plan.counts_coverage(simulation))
}

/// Runs a seed. A panic of the code under test is a finding like any other and does not end the sweep.
fn run_one(simulation: &Simulation, seed: u64, twice: bool, covers: bool) -> SeedOutcome {
    let mut rt = simulation.build(seed);
    let ended = RunResult::of(&mut rt);
    let trace = ended.trace.to_string();
    let differs = match twice.then(|| run_in_fresh_process(simulation, seed)) {
        None => None,
        Some(Ok(again)) => (again != trace).then(|| format!("two runs differ: traces {trace} and {again}")),
        Some(Err(error)) => Some(format!("the seed could not be run again in another process: {error}")),
    };
    SeedOutcome {
        seed,
        coverage: covers.then(|| Coverage::of(&simulation.case(seed), &rt, &ended)),
        stop: ended.name(),
        trace: ended.trace.value(),
        time: rt.now(),
        events: rt.events_processed(),
        metrics: rt.metrics(),
        class: ended.class,
        reason: ended.reason,
        differs,
        twice,
    }
}

/// The trace digest of a seed in a fresh process, where no state of earlier runs can influence it.
fn run_in_fresh_process(simulation: &Simulation, seed: u64) -> Result<String, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    command.args(["run", "--trace-only", "--seed", &seed.to_string()]).args(&simulation.flags);
    // A process group of its own keeps Ctrl-C from the child: a seed that has begun is run to its end.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
