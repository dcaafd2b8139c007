//! `syncline run`.

use crate::case_files;
use crate::commands::{Ending, shrink};
use crate::flags::{RunArgs, ShrinkArgs};
use crate::interrupt;
use crate::output::event_log::EventPrinter;
use crate::output::run_report::RunReport;
use crate::output::text::grouped;
use crate::output::{json, progress, run_text};
use crate::simulation::Simulation;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use sync_sim::case::RunResult;
use sync_sim::prelude::*;
use syncline_disk::DiskStore;
use syncline_store::{ReadView, Store, StoreError};

/// Runs one simulation, or one after another until one fails.
pub(crate) fn run(args: &RunArgs) -> Result<Ending, String> {
    let mut sim = args.sim.clone();
    if let Some(path) = &args.file {
        sim.set_case(path.clone());
    }
    let simulation = sim.simulation()?;
    if args.trace_only {
        let mut rt = simulation.build(args.seed.unwrap_or(simulation.case.seed));
        println!("{}", RunResult::of(&mut rt).trace);
        return Ok(Ending::Good);
    }
    if args.until_failure {
        return until_failure(args, &simulation);
    }
    let seed = match (args.seed, &sim.case) {
        (Some(seed), _) => seed,
        (None, Some(_)) => simulation.case.seed,
        (None, None) => fresh_seed(),
    };
    run_seed(args, &simulation.at_seed(seed), seed)
}

/// Runs one seed, reports the result, and writes the case of a finding.
fn run_seed(args: &RunArgs, simulation: &Simulation, seed: u64) -> Result<Ending, String> {
    let finished = if args.trace || args.follow {
        FinishedRun::with_log(simulation, seed, args.follow)
    } else {
        FinishedRun::of(simulation, seed, !args.json)
    };
    if let Some(folder) = &args.keep {
        save_states(&finished.rt, folder)
            .map_err(|error| format!("cannot write the states to {}: {error}", folder.display()))?;
    }
    if finished.ended.class.is_converged() {
        finished.show(simulation, None, args.json)?;
        return Ok(Ending::Good);
    }
    let path = case_files::save_finding(simulation.case(seed), &finished.ended.class, &args.cases)?;
    finished.show(simulation, Some(&path), args.json)?;
    if args.shrink {
        shrink::shrink(&ShrinkArgs::of(path, args.json))?;
    }
    Ok(Ending::Finding)
}

/// Runs seeds one after another until one fails.
fn until_failure(args: &RunArgs, simulation: &Simulation) -> Result<Ending, String> {
    let bar = progress::spinner("{spinner} {elapsed} {pos} seeds converged, {per_sec}", !args.json);
    let mut seeds = args.from..u64::MAX;
    interrupt::watch();
    let failing = seeds.find(|seed| {
        bar.inc(1);
        interrupt::requested() || !RunResult::of(&mut simulation.build(*seed)).class.is_converged()
    });
    bar.finish_and_clear();
    let seed = failing.ok_or("every seed converged")?;
    let converged = grouped(seed - args.from);
    let from = args.from;
    if interrupt::requested() {
        return Ok(interrupt::report(&format!(
            "interrupted: {converged} seeds from {from} on converged; continue with --until-failure --from {seed}"
        )));
    }
    if !args.json {
        println!("{converged} seeds from {from} on converged before this one\n");
    }
    run_seed(args, &simulation.at_seed(seed), seed)
}

/// A run that has stopped.
pub(crate) struct FinishedRun {
    rt: SimRuntime,
    pub(crate) ended: RunResult,
    /// The real time that the run took.
    took: Duration,
}

impl FinishedRun {
    /// Runs a seed to its end, with a spinner on a terminal if `spinner` is set.
    pub(crate) fn of(simulation: &Simulation, seed: u64, spinner: bool) -> Self {
        let mut shown = Instant::now();
        let spinner = progress::spinner("{spinner} {elapsed} {msg}", spinner);
        let finished = Self::observed(|| simulation.build(seed), &mut |rt| {
            let events = rt.events_processed();
            // Reading the clock costs more than an event; most events do without.
            if events.is_multiple_of(4_096) && shown.elapsed() > Duration::from_millis(100) {
                shown = Instant::now();
                spinner.set_message(format!("virtual time {}, {} events", rt.now(), grouped(events)));
                spinner.tick();
            }
        });
        spinner.finish_and_clear();
        finished
    }

    /// Runs a seed to its end and prints its events, while it runs if `follow` is set or else at the end.
    fn with_log(simulation: &Simulation, seed: u64, follow: bool) -> Self {
        let mut log = EventPrinter::new();
        let build = || simulation.build_with_history(seed, usize::MAX);
        let finished = Self::observed(build, &mut |rt| {
            if follow {
                log.follow(rt.history());
            }
        });
        log.follow(finished.rt.history());
        finished
    }

    /// Runs to the end and calls `observe` before each event.
    fn observed(build: impl FnOnce() -> SimRuntime, observe: &mut dyn FnMut(&SimRuntime)) -> Self {
        let started = Instant::now();
        let mut rt = build();
        let ended = RunResult::with_runner(&mut rt, |rt| {
            rt.run_until(|rt| {
                observe(rt);
                false
            })
        });
        Self { rt, ended, took: started.elapsed() }
    }

    /// Prints the run, and the file of its case if there is one.
    pub(crate) fn show(
        &self,
        simulation: &Simulation,
        path: Option<&Path>,
        json: bool,
    ) -> Result<(), String> {
        let mut report = RunReport::of(&self.rt, &self.ended, simulation);
        report.case = path.map(|path| path.display().to_string());
        if json {
            return json::print(&report);
        }
        run_text::print(&report, simulation, &self.rt, &self.ended, self.took);
        Ok(())
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
