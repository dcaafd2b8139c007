//! The plan of a sweep, and its execution.

use crate::flags::{MAX_SEEDS, ProcessLimits, ProtocolArg, SimArgs, SweepArgs};
use crate::interrupt;
use crate::output::progress;
use crate::output::sweep_report::SweepReport;
use crate::output::totals::SweepTotals;
use crate::simulation::Simulation;
use crate::sweeping::checkpoint::{ShardReport, SweepCheckpoint};
use crate::sweeping::shard::Shard;
use crate::sweeping::workers::BatchTotals;
use crate::sweeping::{isolated, workers};
use indicatif::ProgressBar;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// From this many drawn seeds on, a sweep is expected to reach every demanded coverage target.
const SEEDS_FOR_FULL_COVERAGE: u64 = 10_000;

/// How many seeds each thread runs between two updates of the totals, in a sweep that can be resumed.
const SEEDS_PER_BATCH: u64 = 64;

/// The shortest time between two checkpoints.
const MIN_TIME_BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(1);

/// The results of a sweep, of all its seeds or of those that ran before an interruption.
pub(crate) struct SweepRun {
    pub(crate) report: SweepReport,
    /// Why the case of a finding could not be written, if it could not.
    pub(crate) unsaved: Option<String>,
    /// The first seed that was not run to its end; `None` if all were.
    pub(crate) next: Option<u64>,
}

/// Which seeds a sweep runs, and how.
pub(crate) struct SweepPlan {
    /// Half-open ranges of seeds, in the order in which they run.
    pub(super) ranges: Vec<Range<u64>>,
    /// The number of seeds in all ranges.
    total: u64,
    /// The index of the first seed: not zero in a child that runs a part of a sweep.
    first: u64,
    /// Whether seeds run in child processes; `None` decides by the simulation.
    isolates: Option<bool>,
    /// The limits of runs in child processes.
    pub(crate) limits: ProcessLimits,
    /// How many threads run seeds.
    pub(crate) jobs: usize,
    /// Every seed whose index is a multiple of this is run again in a fresh process; 0 for none.
    pub(super) check_every: u64,
    /// Whether the sweep stops at its first failure.
    pub(super) fail_fast: bool,
    show_progress: bool,
    /// The folder for the cases of findings.
    pub(crate) cases: PathBuf,
    /// The checkpoint of a sweep that can be resumed.
    resume: Option<PathBuf>,
    pub(crate) shard: Option<Shard>,
    /// The file for this shard's report.
    report: Option<PathBuf>,
    /// Whether the sweep fails if it misses a demanded coverage target; `None` decides by its size.
    demand_coverage: Option<bool>,
}

impl SweepPlan {
    /// The plan that flags and the environment describe.
    pub(crate) fn of(args: &SweepArgs) -> Result<Self, String> {
        let ranges = args.seeds.ranges()?;
        let total = ranges.iter().try_fold(0u64, |sum, range| sum.checked_add(range.end - range.start));
        let total = total.filter(|total| *total <= MAX_SEEDS);
        let total = total.ok_or_else(|| format!("a sweep runs at most {MAX_SEEDS} seeds; split it"))?;
        if args.isolate == Some(false) && args.limits.are_given() {
            let limits = args.limits.given().join(" ");
            return Err(format!(
                "only processes of their own have limits; leave out either --isolate=false or {limits}"
            ));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shard = match args.shard {
            Some(shard) => Some(shard),
            None => Shard::from_environment(args.shards, |name| std::env::var(name).ok())?,
        };
        Ok(Self {
            ranges,
            total,
            first: args.part.unwrap_or(0),
            isolates: args.isolate,
            limits: args.limits,
            jobs: args.jobs.map_or(cores, |jobs| jobs as usize),
            check_every: args.check_every,
            fail_fast: args.fail_fast,
            show_progress: !args.json,
            cases: args.cases.clone(),
            resume: args.resume.clone(),
            shard,
            report: args.report.clone(),
            demand_coverage: args.demand_coverage,
        })
    }

    /// The indices of the seeds that this process runs, among all seeds of the sweep.
    pub(crate) fn part(&self) -> Range<u64> {
        self.shard.map_or(0..self.total, |shard| shard.part(self.total))
    }

    /// The indices of a child that runs a part of a sweep: its shard is the whole of it.
    pub(crate) fn part_of_child(&self) -> Range<u64> {
        self.first..self.first + self.total
    }

    /// The seed at an index; `None` beyond the last.
    pub(crate) fn seed_at(&self, index: u64) -> Option<u64> {
        let mut index = index.checked_sub(self.first)?;
        for range in &self.ranges {
            let len = range.end - range.start;
            if index < len {
                return Some(range.start + index);
            }
            index -= len;
        }
        None
    }

    /// Runs the seeds of one simulation, or those before an interruption.
    pub(crate) fn run(&self, sim: &SimArgs) -> Result<SweepRun, String> {
        let simulation = sim.simulation()?;
        interrupt::watch();
        let part = self.part();
        let template = "{prefix}{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left{msg}";
        let bar = progress::bar(template, part.end - part.start, self.show_progress);
        if let Some(protocol) = sim.protocol {
            bar.set_prefix(format!("{}: ", protocol.name()));
        }
        let started = Instant::now();
        let mut unsaved = None;
        let (totals, next) = match &self.resume {
            None => {
                let ran = self.run_batch(&simulation, part.clone(), &bar, false)?;
                let BatchTotals { mut totals, next } = ran;
                unsaved = totals.save_cases(&simulation, &self.cases).err();
                // Nothing is left to do after the failure that ends the sweep.
                let next = if self.fail_fast && totals.failed() > 0 { part.end } else { next };
                (totals, next)
            }
            Some(path) => self.run_resumably(&simulation, path, &bar)?,
        };
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        assert!(totals.seeds() <= part.end - part.start, "a sweep counts each of its seeds once");
        let large = sim.swarm
            && self.total >= SEEDS_FOR_FULL_COVERAGE
            && !sim.narrows_swarm()
            && !simulation.is_large();
        let demanded = self.demand_coverage.unwrap_or(large);
        let shown = self.counts_coverage(&simulation).then_some(demanded);
        if let Some(path) = self.report.as_ref().filter(|_| totals.seeds() == part.end - part.start) {
            self.shard_report(&simulation, sim, seconds, shown, &totals)?.save(path)?;
        }
        // A target that one shard does not reach may be reached by another, so only the merged report can
        // demand it.
        let shown = shown.map(|demanded| demanded && self.shard.is_none());
        let report = totals.report(&simulation, seconds, shown);
        let protocol = sim.protocol.map(ProtocolArg::name);
        let report = SweepReport { protocol, interrupted: next < part.end, ..report };
        Ok(SweepRun { report, unsaved, next: self.seed_at(next).filter(|_| next < part.end) })
    }

    /// Whether seeds run in child processes. A drawn world may be such that its run ends its process.
    fn isolates(&self, simulation: &Simulation) -> bool {
        cfg!(unix) && self.isolates.unwrap_or_else(|| simulation.swarm.is_some() || self.limits.are_given())
    }

    /// The command line of a child that runs the seeds at the indices in `part`.
    pub(crate) fn words_for(&self, simulation: &Simulation, part: &Range<u64>) -> Vec<String> {
        let seeds: Vec<String> =
            part.clone().filter_map(|index| self.seed_at(index)).map(|seed| seed.to_string()).collect();
        let mut words = vec!["sweep".to_owned(), "--seeds".to_owned(), seeds.join(",")];
        // Without a shard, the variables of a batch system would name one.
        words.extend(["--shard".to_owned(), "1/1".to_owned()]);
        words.extend(["--part".to_owned(), part.start.to_string()]);
        words.extend(["--check-every".to_owned(), self.check_every.to_string()]);
        words.extend(self.fail_fast.then(|| "--fail-fast".to_owned()));
        words.extend(self.demand_coverage.map(|demanded| format!("--demand-coverage={demanded}")));
        words.extend(self.limits.flags());
        words.extend(simulation.flags.iter().cloned());
        words
    }

    /// Whether the sweep records which coverage targets its runs reach.
    pub(super) fn counts_coverage(&self, simulation: &Simulation) -> bool {
        simulation.swarm.is_some() || self.demand_coverage == Some(true)
    }

    fn shard_report(
        &self,
        simulation: &Simulation,
        sim: &SimArgs,
        seconds: f64,
        demanded: Option<bool>,
        totals: &SweepTotals,
    ) -> Result<ShardReport, String> {
        Ok(ShardReport {
            plan: self.sweep_identity(simulation)?,
            shard: self.shard.unwrap_or(Shard::WHOLE),
            case: simulation.case(0).to_text().map_err(|error| error.to_string())?,
            drawn: simulation.swarm.is_some(),
            demanded,
            protocol: sim.protocol.map(ProtocolArg::name),
            seconds,
            totals: totals.clone(),
        })
    }

    /// Runs the seeds at the indices in `part`, or those before an interruption: only those before the first that was not
    /// run to its end if `in_order`.
    fn run_batch(
        &self,
        simulation: &Simulation,
        part: Range<u64>,
        bar: &ProgressBar,
        in_order: bool,
    ) -> Result<BatchTotals, String> {
        if self.isolates(simulation) {
            return Ok(isolated::run_batches(simulation, self, part, bar)?.totals(in_order));
        }
        Ok(workers::run_all(simulation, self, part, bar).totals(simulation, in_order))
    }

    /// Continues from the checkpoint in `path`, if there is one, and writes checkpoints there.
    fn run_resumably(
        &self,
        simulation: &Simulation,
        path: &Path,
        bar: &ProgressBar,
    ) -> Result<(SweepTotals, u64), String> {
        let plan = self.identity(simulation)?;
        let whole = self.part();
        let new = || SweepCheckpoint { plan: plan.clone(), done: whole.start, ..SweepCheckpoint::default() };
        let mut state = SweepCheckpoint::load(path)?.unwrap_or_else(new);
        if state.plan != plan {
            return Err(format!(
                "{} is the state of another sweep; use another file, or remove this one",
                path.display()
            ));
        }
        bar.set_position(state.done - whole.start);
        let mut saved = Instant::now();
        let mut pause = MIN_TIME_BETWEEN_CHECKPOINTS;
        while state.done < whole.end && !interrupt::requested() {
            let part = state.done..whole.end.min(state.done + SEEDS_PER_BATCH * self.jobs as u64);
            // The seeds that are counted come before all others, so that their number says which one is next.
            state.totals.merge(self.run_batch(simulation, part, bar, true)?.totals);
            state.totals.save_cases(simulation, &self.cases)?;
            state.done = whole.start + state.totals.seeds();
            if state.done == whole.end || interrupt::requested() || saved.elapsed() > pause {
                let began = Instant::now();
                state.save(path)?;
                saved = Instant::now();
                // Checkpoints grow with the sweep; they may take a twentieth of the time.
                pause = MIN_TIME_BETWEEN_CHECKPOINTS.max(began.elapsed() * 20);
            }
        }
        Ok((state.totals, state.done))
    }

    /// A text that two sweeps, or two shards, share only if their totals are equal.
    fn identity(&self, simulation: &Simulation) -> Result<String, String> {
        let shard = self.shard.map_or_else(String::new, |shard| format!("shard {shard}; "));
        Ok(shard + &self.sweep_identity(simulation)?)
    }

    /// As [`SweepPlan::identity`], for the sweep of which this may be a shard.
    fn sweep_identity(&self, simulation: &Simulation) -> Result<String, String> {
        let mut case = simulation.case(0).to_text().map_err(|error| error.to_string())?;
        if simulation.swarm.is_some() {
            case += &simulation.flags.join(" ");
        }
        Ok(format!(
            "syncline {}; seeds {:?}; every {}\n{case}",
            env!("CARGO_PKG_VERSION"),
            self.ranges,
            self.check_every
        ))
    }
}
