//! `syncline run`.

use crate::case_files;
use crate::commands::Ending;
use crate::commands::shrink::{self, SmallCase};
use crate::error::CommandError;
use crate::flags::{RunArgs, ShrinkArgs};
use crate::interrupt;
use crate::output::event_log::EventPrinter;
use crate::output::run_report::{INTERRUPTED, RunReport, known_finding};
use crate::output::text::grouped;
use crate::output::writer::Output;
use crate::output::{json, progress, run_text};
use crate::panics;
use crate::simulation::Simulation;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use sync_sim::case::RunResult;
use sync_sim::prelude::*;
use syncline_disk::DiskStore;
use syncline_store::{ReadView, Store, StoreError};

/// Runs one simulation, or one after another until one fails.
pub(crate) fn run(args: &RunArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let mut sim = args.sim.clone();
    if let Some(path) = &args.file {
        sim.set_case(path.clone());
    }
    let simulation = sim.simulation()?;
    if args.trace_only {
        let mut rt = simulation.build(args.seed.unwrap_or(simulation.case.seed));
        writeln!(out, "{}", RunResult::of(&mut rt).trace)?;
        return Ok(Ending::Good);
    }
    if args.until_failure {
        return until_failure(args, &simulation, out);
    }
    let seed = match (args.seed, &sim.case) {
        (Some(seed), _) => seed,
        (None, Some(_)) => simulation.case.seed,
        (None, None) => fresh_seed(),
    };
    run_seed(args, &simulation.at_seed(seed), seed, out)
}

/// Runs one seed, reports the result, and writes the case of a finding.
fn run_seed(
    args: &RunArgs,
    simulation: &Simulation,
    seed: u64,
    out: &mut Output,
) -> Result<Ending, CommandError> {
    let finished = if args.trace || args.follow {
        FinishedRun::with_log(simulation, seed, args.follow, out)?
    } else {
        FinishedRun::of(simulation, seed, !args.json)
    };
    if let Some(folder) = &args.keep {
        save_states(&finished.rt, folder)
            .map_err(|error| format!("cannot write the states to {}: {error}", folder.display()))?;
    }
    if finished.is_interrupted {
        finished.show(simulation, None, args.json, out)?;
        return interrupt::report(STOPPED_EARLY, out);
    }
    if finished.ended.class.is_converged() {
        finished.show(simulation, None, args.json, out)?;
        return Ok(Ending::Good);
    }
    let saved = case_files::save_finding(simulation.case(seed), &finished.ended.class, &args.cases);
    let Ok(path) = saved else {
        // What was found is shown even if it cannot be stored.
        finished.show(simulation, None, args.json, out)?;
        return saved.map(|_| Ending::Finding).map_err(CommandError::from);
    };
    let is_shrinking = args.shrink && !interrupt::requested();
    if is_shrinking && args.json {
        return shrink_in_report(&finished, simulation, &path, out);
    }
    finished.show(simulation, Some(&path), args.json, out)?;
    if is_shrinking {
        return match shrink::shrink(&ShrinkArgs::of(path, false), out)? {
            Ending::Interrupted => Ok(Ending::Interrupted),
            _ => Ok(Ending::Finding),
        };
    }
    Ok(Ending::Finding)
}

/// Shrinks the case of a finding, and prints the run and the small case as one JSON document.
fn shrink_in_report(
    finished: &FinishedRun,
    simulation: &Simulation,
    path: &Path,
    out: &mut Output,
) -> Result<Ending, CommandError> {
    let small = SmallCase::search(&ShrinkArgs::of(path.to_owned(), true));
    let mut report = finished.report(simulation, Some(path));
    if let Ok(Some(small)) = &small {
        report.shrunk = Some(small.report()?);
    }
    // The run is reported even if its case cannot be shrunk.
    json::print(&report, out)?;
    match small? {
        Some(small) if interrupt::requested() => small.report_interruption(out),
        Some(_) => Ok(Ending::Finding),
        None => interrupt::report("interrupted: nothing was removed from the case", out),
    }
}

/// What is said after the report of a run that Ctrl-C stopped.
pub(crate) const STOPPED_EARLY: &str = "interrupted: the run was stopped before its end";

/// Runs seeds one after another until one fails in a way that no known finding explains.
fn until_failure(args: &RunArgs, simulation: &Simulation, out: &mut Output) -> Result<Ending, CommandError> {
    let bar = progress::spinner("{spinner} {elapsed} {pos} seeds ran, {per_sec}", !args.json);
    let from = args.from;
    interrupt::watch();
    let mut failing = None;
    let mut known = 0;
    for seed in from..u64::MAX {
        let so_far = || {
            let ran = converged(from, seed, known);
            format!("{ran}; continue with --until-failure --from {seed}")
        };
        interrupt::learned(so_far());
        let ended = panics::quietly(|| simulation.run_unless_interrupted(seed));
        if interrupt::requested() {
            bar.finish_and_clear();
            return interrupt::report(&format!("interrupted: {}", so_far()), out);
        }
        if known_finding(&simulation.at_seed(seed), &ended).is_some() {
            known += 1;
        } else if !ended.class.is_converged() {
            failing = Some(seed);
            break;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let seed = failing.ok_or("every seed converged")?;
    if !args.json {
        writeln!(out, "{} before this one\n", converged(from, seed, known))?;
    }
    run_seed(args, &simulation.at_seed(seed), seed, out)
}

/// How many of the seeds before `seed` converged, in words. The others show a known finding.
fn converged(from: u64, seed: u64, known: u64) -> String {
    let converged = format!("{} seeds from {from} on converged", grouped(seed - from - known));
    match known {
        0 => converged,
        known => format!("{converged} and {} showed known findings", grouped(known)),
    }
}

/// A run that has stopped.
pub(crate) struct FinishedRun {
    pub(crate) rt: SimRuntime,
    pub(crate) ended: RunResult,
    /// Whether Ctrl-C stopped it.
    pub(crate) is_interrupted: bool,
    /// The real time that the run took.
    took: Duration,
}

impl FinishedRun {
    /// Runs a seed to its end, with a spinner on a terminal if `spinner` is set.
    pub(crate) fn of(simulation: &Simulation, seed: u64, spinner: bool) -> Self {
        Self::shown(|| simulation.build(seed), spinner)
    }

    /// Runs what `build` gives to its end, with a spinner on a terminal if `spinner` is set.
    pub(crate) fn shown(build: impl FnOnce() -> SimRuntime, spinner: bool) -> Self {
        let mut shown = Instant::now();
        let spinner = progress::spinner("{spinner} {elapsed} {msg}", spinner);
        let finished = Self::observed(build, &mut |rt| {
            let events = rt.events_processed();
            // Reading the clock costs more than an event; most events do without.
            if events.is_multiple_of(4_096) && shown.elapsed() > Duration::from_millis(100) {
                shown = Instant::now();
                let so_far = format!("virtual time {}, {} events", rt.now(), grouped(events));
                interrupt::learned(format!("no finding so far: {so_far}"));
                spinner.set_message(so_far);
                spinner.tick();
            }
            true
        });
        spinner.finish_and_clear();
        finished
    }

    /// Runs a seed to its end and prints its events, while it runs if `follow` is set or else at the end.
    fn with_log(
        simulation: &Simulation,
        seed: u64,
        follow: bool,
        out: &mut Output,
    ) -> Result<Self, CommandError> {
        let mut log = EventPrinter::new();
        let build = || simulation.build_with_history(seed, usize::MAX);
        let mut printed = Ok(());
        let finished = Self::observed(build, &mut |rt| {
            if follow {
                printed = log.follow(rt.history(), out).and_then(|()| out.flush());
            }
            printed.is_ok()
        });
        printed?;
        log.follow(finished.rt.history(), out)?;
        Ok(finished)
    }

    /// Runs to the end and calls `observe` before each event; stops when that returns false, or for Ctrl-C.
    fn observed(build: impl FnOnce() -> SimRuntime, observe: &mut dyn FnMut(&SimRuntime) -> bool) -> Self {
        interrupt::watch();
        let started = Instant::now();
        let mut rt = build();
        let ended =
            RunResult::with_runner(&mut rt, |rt| rt.run_until(|rt| !observe(rt) || interrupt::requested()));
        let is_interrupted = ended.stop == Some(StopCondition::Manual) && interrupt::requested();
        Self { rt, ended, is_interrupted, took: started.elapsed() }
    }

    /// The report of the run, with the file of its case if there is one.
    fn report(&self, simulation: &Simulation, path: Option<&Path>) -> RunReport {
        let mut report = RunReport::of(&self.rt, &self.ended, simulation);
        report.case = path.map(|path| path.display().to_string());
        if self.is_interrupted {
            report.stop = INTERRUPTED;
            report.reason = Some(self.rt.blockers().to_string());
        }
        report
    }

    /// Prints the run, and the file of its case if there is one.
    pub(crate) fn show(
        &self,
        simulation: &Simulation,
        path: Option<&Path>,
        json: bool,
        out: &mut Output,
    ) -> Result<(), CommandError> {
        let report = self.report(simulation, path);
        if json {
            return json::print(&report, out);
        }
        run_text::print(&report, simulation, &self.rt, &self.ended, self.took, out)
    }
}

/// Writes the disk of each node, in each of its contexts, to a store of its own. An existing state is an error.
fn save_states(rt: &SimRuntime, folder: &Path) -> Result<(), StoreError> {
    for node in rt.node_ids() {
        for replica in rt.node(node).replicas() {
            let name = match replica.number() {
                0 => rt.name(node),
                context => format!("{}.{context}", rt.name(node)),
            };
            let mut store = DiskStore::open(folder.join(&name))?;
            if store.commits() > 0 {
                let reason = format!("there is a state of {name} already");
                return Err(StoreError::Io { operation: "write a state", reason });
            }
            let rows = replica.disk().range(&[], &[0xff], usize::MAX)?;
            store.apply(rows.into_iter().map(|(key, value)| (key, Some(value))).collect())?;
        }
    }
    Ok(())
}

/// A seed that differs between calls and is short enough to type.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_micros() % 1_000_000_007) as u64
}
