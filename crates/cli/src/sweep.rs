//! `syncline sweep`.

use crate::options::{Protocol, SimArgs};
use crate::shards::{self, Piece, Shard};
use crate::spec::Spec;
use crate::totals::{Run, SweepReport, Totals, print};
use crate::values::{self, Seeds};
use crate::{Ending, cases, each, interrupt};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use sync_sim::case::RunResult;
use sync_sim::coverage::Coverage;

/// The flags of `sweep`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SweepArgs {
    /// Which seeds: 0..1000, or 3,7,9, or @FILE with one seed or range a line.
    #[arg(long, value_name = "SEEDS", default_value = "0..1000", value_parser = values::seeds)]
    seeds: Seeds,

    /// How many runs at a time; as many as there are cores if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    jobs: Option<u32>,

    /// Run every N-th seed a second time, in a process of its own, and compare every event; 0 compares none.
    #[arg(long, value_name = "N", default_value_t = 100)]
    check_every: u64,

    /// Keep in this file how far the sweep has come. If it is there already, go on from where it says.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,

    /// Run one part of the seeds, as in 2/4. Array jobs of Kubernetes and SLURM say by themselves which.
    #[arg(long, value_name = "I/N", value_parser = shards::shard)]
    shard: Option<Shard>,

    /// How many shards there are, where it is told which is ours; SYNCLINE_SHARDS says it too.
    #[arg(long, value_name = "N", conflicts_with = "shard", value_parser = clap::value_parser!(u64).range(1..))]
    shards: Option<u64>,

    /// Write what was learnt to this file, for `syncline merge`.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// The folder to which the cases of runs that fail are written.
    #[arg(long, value_name = "FOLDER", default_value = cases::FOLDER)]
    cases: PathBuf,

    /// Fail if the sweep never reached something that large sweeps reach: a fault that struck nobody, a protocol
    /// that nobody ran. On by default from 10000 drawn seeds on, if no flag narrows what is drawn.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    demand_coverage: Option<bool>,

    #[command(flatten)]
    pub(crate) sim: SimArgs,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What one sweep keeps in memory.
const MAX_SEEDS: u64 = 10_000_000;

/// Runs many seeds.
pub(crate) fn sweep(args: &SweepArgs) -> Result<Ending, String> {
    let mut args = args.clone();
    args.sim.swarm |= args.sim.pins().is_empty();
    let args = &args;
    let plan = Plan::of(args)?;
    if args.sim.protocol == Some(Protocol::Each) {
        if args.resume.is_some() {
            return Err("--resume keeps one sweep; --protocol each is several".into());
        }
        if args.report.is_some() || plan.shard.is_some() {
            return Err("a shard is of one sweep; --protocol each is several".into());
        }
        return each::sweep(args, &plan);
    }
    let report = plan.run(&args.sim)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        print(&report, &format!("{} threads", plan.jobs));
    }
    let part = plan.part();
    if report.seeds < part.end - part.start {
        let next = seed_at(&plan.ranges, part.start + report.seeds);
        return Ok(shards::interrupted(report.seeds, part.end - part.start, next, args.resume.as_deref()));
    }
    Ok(if report.is_good() { Ending::Good } else { Ending::Finding })
}

/// A progress bar over so many things, on a terminal.
pub(crate) fn progress(total: u64, things: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{{bar:40}} {{pos}}/{{len}} {things}, {{eta}} left"))
    {
        bar.set_style(style);
    }
    bar
}

/// Which seeds, and how many at a time.
pub(crate) struct Plan {
    ranges: Vec<Range<u64>>,
    total: u64,
    pub(crate) jobs: usize,
    check_every: u64,
    silent: bool,
    cases: PathBuf,
    resume: Option<PathBuf>,
    shard: Option<Shard>,
    report: Option<PathBuf>,
    /// Whether the sweep fails if it never reaches something, where that is said.
    demand_coverage: Option<bool>,
}

/// From so many drawn seeds on everything is expected to be reached.
const ENOUGH_TO_DEMAND: u64 = 10_000;

impl Plan {
    fn of(args: &SweepArgs) -> Result<Self, String> {
        let ranges = args.seeds.ranges()?;
        let total = ranges.iter().try_fold(0u64, |sum, range| sum.checked_add(range.end - range.start));
        let total = total.filter(|total| *total <= MAX_SEEDS);
        let total = total.ok_or_else(|| format!("a sweep holds at most {MAX_SEEDS} seeds; split it"))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = args.jobs.map_or(cores, |jobs| jobs as usize);
        let shard = match args.shard {
            Some(shard) => Some(shard),
            None => Shard::ours(args.shards, |name| std::env::var(name).ok())?,
        };
        Ok(Self {
            ranges,
            total,
            jobs,
            check_every: args.check_every,
            silent: args.json,
            cases: args.cases.clone(),
            resume: args.resume.clone(),
            shard,
            report: args.report.clone(),
            demand_coverage: args.demand_coverage,
        })
    }

    /// Which of the seeds are ours, by their place.
    fn part(&self) -> Range<u64> {
        self.shard.map_or(0..self.total, |shard| shard.part(self.total))
    }

    /// Runs all seeds of one simulation.
    pub(crate) fn run(&self, sim: &SimArgs) -> Result<SweepReport, String> {
        let spec = sim.spec()?;
        interrupt::watch();
        let part = self.part();
        let bar = bar(part.end - part.start, self.silent);
        if let Some(protocol) = sim.protocol {
            bar.set_prefix(format!("{}: ", protocol.name()));
        }
        let started = Instant::now();
        let totals = match &self.resume {
            None => self.add(&spec, part.clone(), Totals::default(), &bar)?,
            Some(path) => self.resumed(&spec, path, &bar)?,
        };
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        let enough = sim.swarm && self.total >= ENOUGH_TO_DEMAND && sim.pins().is_empty();
        let demanded = self.demand_coverage.unwrap_or(enough);
        let shown = self.covers(&spec).then_some(demanded);
        if let Some(path) = self.report.as_ref().filter(|_| totals.seeds() == part.end - part.start) {
            let piece = self.write_down(&spec, sim, seconds, &totals)?;
            Piece { demanded: shown, ..piece }.save(path)?;
        }
        // What one shard does not reach another may.
        let shown = shown.map(|demanded| demanded && self.shard.is_none());
        let report = totals.report(&spec, seconds, shown);
        Ok(SweepReport { protocol: sim.protocol.map(Protocol::name), ..report })
    }

    /// Whether what runs reach is counted.
    fn covers(&self, spec: &Spec) -> bool {
        spec.swarm.is_some() || self.demand_coverage == Some(true)
    }

    /// What is merged.
    fn write_down(&self, spec: &Spec, sim: &SimArgs, seconds: f64, totals: &Totals) -> Result<Piece, String> {
        let case = spec.case(0).to_text().map_err(|error| error.to_string())?;
        let (protocol, totals) = (sim.protocol.map(Protocol::name), totals.clone());
        Ok(Piece {
            plan: self.sweep(spec)?,
            shard: Piece::whole(self.shard),
            case,
            drawn: spec.swarm.is_some(),
            demanded: None,
            protocol,
            seconds,
            totals,
        })
    }

    /// Adds a part of the seeds to what is known of those before.
    fn add(
        &self,
        spec: &Spec,
        part: Range<u64>,
        mut totals: Totals,
        bar: &ProgressBar,
    ) -> Result<Totals, String> {
        for run in run_all(spec, self, part, bar) {
            totals.add(&run, spec, &self.cases)?;
        }
        Ok(totals)
    }

    /// Goes on where the state file says that a sweep was, and writes it down as it comes along.
    fn resumed(&self, spec: &Spec, path: &Path, bar: &ProgressBar) -> Result<Totals, String> {
        let (plan, whole) = (self.fingerprint(spec)?, self.part());
        let mut state = State::load(path)?.unwrap_or_else(|| State {
            plan: plan.clone(),
            done: whole.start,
            ..State::default()
        });
        if state.plan != plan {
            return Err(format!(
                "{} is the state of another sweep; take another file, or remove it",
                path.display()
            ));
        }
        bar.set_position(state.done - whole.start);
        let (mut written, mut pause) = (Instant::now(), BETWEEN_SAVES);
        while state.done < whole.end && !interrupt::asked() {
            let part = state.done..whole.end.min(state.done + PART * self.jobs as u64);
            state.totals = self.add(spec, part, state.totals, bar)?;
            state.done = whole.start + state.totals.seeds();
            if state.done == whole.end || interrupt::asked() || written.elapsed() > pause {
                let began = Instant::now();
                state.save(path)?;
                // Writing is to cost a twentieth of the time at most, however much there is to write.
                (written, pause) = (Instant::now(), BETWEEN_SAVES.max(began.elapsed() * 20));
            }
        }
        Ok(state.totals)
    }

    /// What decides a sweep, or a shard of one: two of the same come to the same totals.
    fn fingerprint(&self, spec: &Spec) -> Result<String, String> {
        let shard = self.shard.map_or_else(String::new, |shard| format!("shard {shard}; "));
        Ok(shard + &self.sweep(spec)?)
    }

    /// What decides the sweep of which this may be a shard.
    fn sweep(&self, spec: &Spec) -> Result<String, String> {
        let mut case = spec.case(0).to_text().map_err(|error| error.to_string())?;
        if spec.swarm.is_some() {
            case += &spec.flags.join(" ");
        }
        Ok(format!(
            "syncline {}; seeds {:?}; every {}\n{case}",
            env!("CARGO_PKG_VERSION"),
            self.ranges,
            self.check_every
        ))
    }
}

/// Seeds that each thread runs before what they showed is added up, in a sweep that can be resumed.
const PART: u64 = 64;

/// The least time between two writings of the state.
const BETWEEN_SAVES: Duration = Duration::from_secs(1);

/// How far a sweep has come.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// What decides the sweep.
    plan: String,
    /// Seeds that are done, from the first.
    done: u64,
    totals: Totals,
}

impl State {
    fn load(path: &Path) -> Result<Option<Self>, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| format!("{} is no state of a sweep: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read the state {}: {error}", path.display())),
        }
    }

    /// Writes it beside the old one and then puts it in its place, so that there is always a whole one.
    fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        let new = path.with_extension("new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|error| format!("cannot write the state {}: {error}", path.display()))
    }
}

fn bar(total: u64, hidden: bool) -> ProgressBar {
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(total) };
    let shown = "{prefix}{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left{msg}";
    if let Ok(style) = ProgressStyle::with_template(shown) {
        bar.set_style(style);
    }
    bar
}

/// The `at`-th seed of the ranges.
fn seed_at(ranges: &[Range<u64>], mut at: u64) -> Option<u64> {
    for range in ranges {
        let len = range.end - range.start;
        if at < len {
            return Some(range.start + at);
        }
        at -= len;
    }
    None
}

/// Runs a part of the seeds on `jobs` threads, or the first of them if it is interrupted. Each run is one thread's; the results come in seed order, so
/// that nothing depends on how many threads there are.
fn run_all(spec: &Spec, plan: &Plan, part: Range<u64>, bar: &ProgressBar) -> Vec<Run> {
    let &Plan { ref ranges, jobs, check_every, .. } = plan;
    let covers = plan.covers(spec);
    let next = AtomicU64::new(part.start);
    let failed = AtomicU64::new(0);
    let done = Mutex::new(Vec::with_capacity((part.end - part.start).min(1 << 24) as usize));
    std::thread::scope(|scope| {
        for _ in 0..jobs.min((part.end - part.start) as usize).max(1) {
            scope.spawn(|| {
                let mut own = Vec::new();
                while let Some((at, seed)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    seed_at(ranges, at)
                        .filter(|_| at < part.end && !interrupt::asked())
                        .map(|seed| (at, seed))
                } {
                    let run = run_one(spec, seed, check_every > 0 && at.is_multiple_of(check_every), covers);
                    if !run.class.is_converged() || run.differs.is_some() {
                        let failed = failed.fetch_add(1, Ordering::Relaxed) + 1;
                        bar.set_message(format!(", {failed} failed"));
                    }
                    own.push((at, run));
                    bar.inc(1);
                }
                match done.lock() {
                    Ok(mut done) => done.extend(own),
                    Err(poisoned) => poisoned.into_inner().extend(own),
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, run)| run).collect()
}

/// Runs a seed. A panic is a finding like any other: it does not take the rest of the sweep with it.
fn run_one(spec: &Spec, seed: u64, twice: bool, covers: bool) -> Run {
    let mut rt = spec.build(seed);
    let ended = RunResult::of(&mut rt);
    let trace = ended.trace.to_string();
    let differs = match twice.then(|| elsewhere(spec, seed)) {
        None => None,
        Some(Ok(again)) => (again != trace).then(|| format!("two runs differ: traces {trace} and {again}")),
        Some(Err(error)) => Some(format!("it could not be run again in another process: {error}")),
    };
    Run {
        seed,
        coverage: covers.then(|| Coverage::of(&spec.case(seed), &rt, &ended)),
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

/// The trace of a seed that is run in a fresh process, where nothing is left from other runs.
fn elsewhere(spec: &Spec, seed: u64) -> Result<String, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    command.args(["run", "--trace-only", "--seed", &seed.to_string()]).args(&spec.flags);
    // Ctrl-C is ours to answer: a seed that has begun is run to its end.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
