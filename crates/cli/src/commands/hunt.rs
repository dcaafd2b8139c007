//! `syncline hunt`: a coverage-guided search.

use crate::case_files;
use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::{HuntArgs, TimeSpan};
use crate::interrupt;
use crate::output::failures::KnownRuns;
use crate::output::text::{grouped, verdict};
use crate::output::writer::Output;
use crate::output::{json, progress};
use crate::panics;
use crate::simulation::run_unless_interrupted;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use sync_sim::case::{Case, Cause, Class};
use sync_sim::guided::{Genome, GuidedSearch, RunFeatures};
use sync_sim::known::KnownFinding;
use sync_sim::prelude::StopCondition;

/// Runs between two times of learning. It is part of the meaning of a seed: the worlds of a batch do not depend on each
/// other, whatever the number of threads.
const BATCH: u64 = 64;

/// A hunt. The JSON keys are stable. Apart from `seconds`, the values do not depend on the machine, unless the time ran
/// out or Ctrl-C came.
#[derive(Serialize)]
struct HuntReport {
    runs: u64,
    interrupted: bool,
    /// How many features the runs have reached.
    features: usize,
    /// How many worlds reached a new one.
    retained: usize,
    /// The failures that no known finding explains, by cause, in the order in which they occurred first.
    causes: Vec<HuntedCause>,
    /// The runs that known findings explain. Their first seed is the number of the run.
    known: KnownRuns,
    seconds: f64,
}

/// The failures with one cause. The JSON keys are stable.
#[derive(Serialize)]
struct HuntedCause {
    cause: Cause,
    reason: String,
    /// How many runs failed so.
    count: u64,
    /// The number of the first run that did, from 0.
    first: u64,
    /// The case file of that run, if it could be written.
    case: Option<String>,
}

/// The result of one run of a batch.
struct HuntedRun {
    case: Case,
    genome: Genome,
    class: Class,
    reason: String,
    reached: RunFeatures,
}

/// What a hunt has found so far.
#[derive(Default)]
struct Hunted {
    runs: u64,
    causes: BTreeMap<Cause, HuntedCause>,
    known: KnownRuns,
    /// Why the case of a finding could not be written, if it could not.
    unsaved: Option<String>,
}

impl Hunted {
    /// Takes in the next run. The case of a new cause is written into the folder of the flags.
    fn add(&mut self, run: &HuntedRun, args: &HuntArgs) {
        let HuntedRun { case, class, reason, .. } = run;
        let number = self.runs;
        self.runs += 1;
        if class.is_converged() {
            return;
        }
        if let Some(finding) = KnownFinding::of(case, class, reason) {
            self.known.add(finding, number);
            return;
        }
        let cause = Cause::of(case, class, reason);
        if let Some(known) = self.causes.get_mut(&cause) {
            known.count += 1;
            return;
        }
        let case = match case_files::save_finding(case.clone(), class, &args.cases) {
            Ok(path) => Some(path.display().to_string()),
            Err(problem) => {
                self.unsaved.get_or_insert(problem);
                None
            }
        };
        let hunted =
            HuntedCause { cause: cause.clone(), reason: reason.clone(), count: 1, first: number, case };
        self.causes.insert(cause, hunted);
    }

    fn so_far(&self, search: &GuidedSearch) -> String {
        format!(
            "{} runs reached {} features, and failed for {} causes",
            grouped(self.runs),
            grouped(search.features() as u64),
            self.causes.len()
        )
    }
}

/// Searches for failures in worlds that are drawn, and in mutations of those that reached something new.
pub(crate) fn hunt(args: &HuntArgs, out: &mut Output) -> Result<Ending, CommandError> {
    interrupt::watch();
    let started = Instant::now();
    let deadline = args.time.map(|TimeSpan(time)| Duration::from_micros(time.as_micros()));
    let jobs = args
        .jobs
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |jobs| jobs as usize);
    let bar = progress::bar("{bar:40} {pos}/{len} runs, {per_sec}, {eta} left, {msg}", args.runs, !args.json);
    let mut search = GuidedSearch::new(args.seed);
    let mut hunted = Hunted::default();
    let is_over = |hunted: &Hunted| {
        interrupt::requested()
            || hunted.runs >= args.runs
            || args.until_failure && !hunted.causes.is_empty()
            || deadline.is_some_and(|deadline| started.elapsed() >= deadline)
    };
    while !is_over(&hunted) {
        let size = BATCH.min(args.runs - hunted.runs) as usize;
        let genomes: Vec<Genome> = (0..size).map(|_| search.propose()).collect();
        for run in run_all(genomes, jobs) {
            hunted.add(&run, args);
            search.learn(run.genome, run.reached);
            bar.inc(1);
        }
        let so_far = hunted.so_far(&search);
        bar.set_message(format!("{} features", grouped(search.features() as u64)));
        interrupt::learned(so_far);
    }
    bar.finish_and_clear();
    let so_far = hunted.so_far(&search);
    let unsaved = hunted.unsaved;
    let mut causes: Vec<HuntedCause> = hunted.causes.into_values().collect();
    causes.sort_by_key(|cause| cause.first);
    let report = HuntReport {
        runs: hunted.runs,
        interrupted: interrupt::requested(),
        features: search.features(),
        retained: search.retained(),
        causes,
        known: hunted.known,
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.json {
        json::print(&report, out)?;
    } else {
        print(&report, jobs, out)?;
    }
    if let Some(problem) = unsaved {
        return Err(problem.into());
    }
    if report.interrupted {
        return interrupt::report(&format!("interrupted: {so_far}"), out);
    }
    Ok(Ending::of(report.causes.is_empty()))
}

/// Runs the genomes of a batch on several threads and returns the results in the order of the genomes. After Ctrl-C,
/// those that were not run to their end are left out.
fn run_all(genomes: Vec<Genome>, jobs: usize) -> Vec<HuntedRun> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(genome) = genomes.get(place) else { return };
            let case = genome.case();
            let Ok(mut rt) = panics::quietly(|| case.build_to_run()) else {
                unreachable!("a drawn case is valid")
            };
            let ended = panics::quietly(|| run_unless_interrupted(&mut rt));
            if ended.stop == Some(StopCondition::Manual) {
                return;
            }
            let reached = RunFeatures::of(&case, &rt, &ended);
            let run =
                HuntedRun { case, genome: genome.clone(), class: ended.class, reason: ended.reason, reached };
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(place, run);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(genomes.len()).max(1) {
            scope.spawn(work);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// How many causes are printed.
const CAUSES_SHOWN: usize = 10;

fn print(report: &HuntReport, jobs: usize, out: &mut Output) -> Result<(), CommandError> {
    report.known.print("run", out)?;
    let outcome = match report.causes.len() {
        0 if report.interrupted => "INTERRUPTED, NO NEW FINDING SO FAR".to_owned(),
        0 => "NO NEW FINDING".to_owned(),
        1 => "1 CAUSE OF FAILURE".to_owned(),
        causes => format!("{causes} CAUSES OF FAILURE"),
    };
    writeln!(
        out,
        "{} in {} runs and {:.1} s on {jobs} threads; {} features were reached, by {} worlds first",
        verdict(report.causes.is_empty() && !report.interrupted, &outcome),
        grouped(report.runs),
        report.seconds,
        grouped(report.features as u64),
        grouped(report.retained as u64)
    )?;
    for cause in report.causes.iter().take(CAUSES_SHOWN) {
        let HuntedCause { reason, count, first, case, .. } = cause;
        writeln!(out, "\nrun {first}, and {} more like it: {reason}", grouped(count - 1))?;
        if let Some(path) = case {
            writeln!(out, "{}", case_files::failure_steps(path, &[]))?;
        }
    }
    if report.causes.len() > CAUSES_SHOWN {
        writeln!(out, "\n… and {} more causes; --json lists them all", report.causes.len() - CAUSES_SHOWN)?;
    }
    Ok(())
}
