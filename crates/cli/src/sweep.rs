//! `syncline sweep`.

use crate::options::{Protocol, SimArgs};
use crate::report::{bytes, fates, grouped, numbers_from, table, typed, verdict};
use crate::spec::{FatesReport, Spec};
use crate::values::{self, Seeds};
use crate::{Ending, each, host_flags};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use sync_sim::network::Fates;
use sync_sim::prelude::*;

/// The flags of `sweep`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SweepArgs {
    /// Which seeds: 0..1000, or 3,7,9, or @FILE with one seed or range a line.
    #[arg(long, value_name = "SEEDS", default_value = "0..1000", value_parser = values::seeds)]
    seeds: Seeds,

    /// How many runs at a time; as many as there are cores if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    jobs: Option<u32>,

    /// Run every N-th seed a second time and compare every event; 0 compares none.
    #[arg(long, value_name = "N", default_value_t = 100)]
    check_every: u64,

    #[command(flatten)]
    pub(crate) sim: SimArgs,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is kept of one run.
struct Run {
    seed: u64,
    /// `None`: it panicked.
    stop: Option<StopCondition>,
    trace: u64,
    time: SimTime,
    events: u64,
    metrics: SimMetrics,
    /// The trace of the second run, if it was another.
    differs: Option<u64>,
}

/// A run that did not go well.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    seed: u64,
    stop: &'static str,
    reason: String,
    reproduce: String,
}

/// A sweep, as machines read it. Field names are stable. Nothing in it but `seconds` and
/// `seeds_per_second` depends on the machine.
#[derive(Serialize)]
pub(crate) struct SweepReport {
    /// The protocol that was asked for, if one was.
    pub(crate) protocol: Option<String>,
    pub(crate) topology: Topology,
    pub(crate) seeds: u64,
    pub(crate) converged: u64,
    pub(crate) stops: BTreeMap<&'static str, u64>,
    pub(crate) checked_twice: u64,
    /// One digest over the traces of all seeds, in order.
    pub(crate) trace_digest: String,
    pub(crate) virtual_time_us_median: u64,
    pub(crate) virtual_time_us_max: u64,
    pub(crate) events: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) sessions_started: u64,
    pub(crate) delta_syncs: u64,
    pub(crate) hash_comparisons: u64,
    pub(crate) bloom_filters: u64,
    pub(crate) subtree_prefetches: u64,
    pub(crate) level_walks: u64,
    pub(crate) sketches: u64,
    pub(crate) snapshots: u64,
    pub(crate) writes_accepted: u64,
    pub(crate) crashes: u64,
    pub(crate) departures: u64,
    pub(crate) late_joins: u64,
    pub(crate) partitions: u64,
    pub(crate) messages_corrupted: u64,
    pub(crate) hosts: HostEffects,
    pub(crate) fates: FatesReport,
    pub(crate) seconds: f64,
    pub(crate) seeds_per_second: f64,
    pub(crate) failures: Vec<Failure>,
}

/// What one sweep keeps in memory.
const MAX_SEEDS: u64 = 10_000_000;

/// Runs many seeds.
pub(crate) fn sweep(args: &SweepArgs) -> Result<Ending, String> {
    let plan = Plan::of(args)?;
    if args.sim.protocol == Some(Protocol::Each) {
        return each::sweep(args, &plan);
    }
    let report = plan.run(&args.sim)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        print(&report, plan.jobs);
    }
    Ok(if report.failures.is_empty() { Ending::Good } else { Ending::Finding })
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
}

impl Plan {
    fn of(args: &SweepArgs) -> Result<Self, String> {
        let ranges = args.seeds.ranges()?;
        let total = ranges.iter().try_fold(0u64, |sum, range| sum.checked_add(range.end - range.start));
        let total = total.filter(|total| *total <= MAX_SEEDS);
        let total = total.ok_or_else(|| format!("a sweep holds at most {MAX_SEEDS} seeds; split it"))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = args.jobs.map_or(cores, |jobs| jobs as usize);
        Ok(Self { ranges, total, jobs, check_every: args.check_every, silent: args.json })
    }

    /// Runs all seeds of one simulation.
    pub(crate) fn run(&self, sim: &SimArgs) -> Result<SweepReport, String> {
        let spec = sim.spec()?;
        let bar = bar(self.total, self.silent);
        if let Some(protocol) = sim.protocol {
            bar.set_prefix(format!("{}: ", protocol.name()));
        }
        let started = Instant::now();
        let runs = run_all(&spec, self, &bar);
        bar.finish_and_clear();
        let report = summarise(runs, &spec, self.check_every, started.elapsed().as_secs_f64());
        Ok(SweepReport { protocol: sim.protocol.map(Protocol::name), ..report })
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

/// Runs all seeds on `jobs` threads. Each run is one thread's; the results come in seed order, so
/// that nothing depends on how many threads there are.
fn run_all(spec: &Spec, plan: &Plan, bar: &ProgressBar) -> Vec<Run> {
    let &Plan { ref ranges, total, jobs, check_every, .. } = plan;
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    let done = Mutex::new(Vec::with_capacity(total.min(1 << 24) as usize));
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(total as usize).max(1) {
            scope.spawn(|| {
                let mut own = Vec::new();
                while let Some((at, seed)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    seed_at(ranges, at).map(|seed| (at, seed))
                } {
                    let run = run_one(spec, seed, check_every > 0 && at.is_multiple_of(check_every));
                    if run.stop != Some(StopCondition::Converged) || run.differs.is_some() {
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

fn run_one(spec: &Spec, seed: u64, twice: bool) -> Run {
    // A panic is a finding like any other: it must not take the rest of the sweep with it.
    let simulate = || {
        std::panic::catch_unwind(|| {
            let mut rt = spec.build(seed);
            let stop = rt.run();
            (rt, stop)
        })
    };
    let Ok((rt, stop)) = simulate() else {
        return Run {
            seed,
            stop: None,
            trace: 0,
            time: SimTime::ZERO,
            events: 0,
            metrics: SimMetrics::default(),
            differs: None,
        };
    };
    let trace = rt.trace_digest().value();
    let again = if twice { simulate().ok().map(|(again, _)| again.trace_digest().value()) } else { None };
    Run {
        seed,
        stop: Some(stop),
        trace,
        time: rt.now(),
        events: rt.events_processed(),
        metrics: rt.metrics(),
        differs: again.filter(|again| *again != trace),
    }
}

fn summarise(runs: Vec<Run>, spec: &Spec, check_every: u64, seconds: f64) -> SweepReport {
    let seeds = runs.len() as u64;
    let mut fates = Fates::default();
    let mut hosts = HostEffects::default();
    let mut stops = BTreeMap::new();
    let mut failures = Vec::new();
    let mut times = Vec::with_capacity(runs.len());
    let mut trace = sync_sim::engine::TraceDigest::default();
    let sum = |of: fn(&SimMetrics) -> u64| runs.iter().map(|run| of(&run.metrics)).sum();
    for run in &runs {
        fates.merge(&run.metrics.fates);
        hosts.add(&run.metrics.effects.hosts);
        let stop = run.stop.as_ref().map_or("panicked", StopCondition::name);
        *stops.entry(stop).or_insert(0) += 1;
        trace.event([run.seed, run.trace, 0, 0]);
        let reproduce = spec.reproduce(run.seed);
        if run.stop == Some(StopCondition::Converged) {
            times.push(run.time.as_micros());
        } else {
            let reason = run.stop.as_ref().map_or_else(|| "the run panicked".to_owned(), ToString::to_string);
            failures.push(Failure { seed: run.seed, stop, reason, reproduce });
        }
        if let Some(again) = run.differs {
            let reason = format!("two runs differ: traces {:016x} and {again:016x}", run.trace);
            failures.push(Failure {
                seed: run.seed,
                stop: "not_deterministic",
                reason,
                reproduce: spec.reproduce(run.seed),
            });
        }
    }
    times.sort_unstable();
    SweepReport {
        protocol: None,
        topology: spec.topology,
        seeds,
        converged: times.len() as u64,
        stops,
        checked_twice: if check_every == 0 { 0 } else { seeds.div_ceil(check_every) },
        trace_digest: trace.to_string(),
        virtual_time_us_median: times.get(times.len() / 2).copied().unwrap_or(0),
        virtual_time_us_max: times.last().copied().unwrap_or(0),
        events: runs.iter().map(|run| run.events).sum(),
        bytes_sent: sum(|metrics| metrics.protocol.bytes_sent),
        sessions_started: sum(|metrics| metrics.protocol.sessions_started),
        delta_syncs: sum(|metrics| metrics.protocol.delta_syncs),
        hash_comparisons: sum(|metrics| metrics.protocol.hash_comparisons),
        bloom_filters: sum(|metrics| metrics.protocol.bloom_filters),
        subtree_prefetches: sum(|metrics| metrics.protocol.subtree_prefetches),
        level_walks: sum(|metrics| metrics.protocol.level_walks),
        sketches: sum(|metrics| metrics.protocol.sketches),
        snapshots: sum(|metrics| metrics.protocol.snapshots),
        writes_accepted: sum(|metrics| metrics.protocol.writes_accepted),
        crashes: sum(|metrics| metrics.effects.node_crashes),
        departures: sum(|metrics| metrics.effects.departures),
        late_joins: sum(|metrics| metrics.effects.late_joins),
        partitions: sum(|metrics| metrics.effects.partitions),
        messages_corrupted: sum(|metrics| metrics.effects.messages_corrupted),
        hosts,
        fates: FatesReport::of(&fates),
        seconds,
        seeds_per_second: seeds as f64 / seconds.max(1e-9),
        failures,
    }
}

fn print(report: &SweepReport, jobs: usize) {
    let ms = |us: u64| format!("{} ms", grouped(us / 1_000));
    let mut summary = table(&["sweep", ""]);
    let rows = [
        ("seeds", grouped(report.seeds)),
        ("converged", grouped(report.converged)),
        ("run twice and compared", grouped(report.checked_twice)),
        ("virtual time to converge, median", ms(report.virtual_time_us_median)),
        ("virtual time to converge, longest", ms(report.virtual_time_us_max)),
        ("events", grouped(report.events)),
        ("bytes sent", bytes(report.bytes_sent)),
        ("writes accepted", grouped(report.writes_accepted)),
        ("sessions", grouped(report.sessions_started)),
        ("… that exchanged deltas", grouped(report.delta_syncs)),
        ("… that walked the index", grouped(report.hash_comparisons)),
        ("… that exchanged filters", grouped(report.bloom_filters)),
        ("… that asked for whole subtrees", grouped(report.subtree_prefetches)),
        ("… that went level by level", grouped(report.level_walks)),
        ("… that read sketches", grouped(report.sketches)),
        ("… that took a snapshot", grouped(report.snapshots)),
        ("crashes", grouped(report.crashes)),
        ("departures", grouped(report.departures)),
        ("late joiners", grouped(report.late_joins)),
        ("partitions", grouped(report.partitions)),
        ("frames corrupted", grouped(report.messages_corrupted)),
    ];
    for row in rows {
        summary.add_row([row.0.to_owned(), row.1]);
    }
    for (name, count) in host_flags::rows(&report.hosts) {
        summary.add_row([name, count]);
    }
    numbers_from(&mut summary, 1);
    println!("{summary}\n\n{}\n", fates(&report.fates));
    let good = report.failures.is_empty();
    let outcome = if good { "ALL CONVERGED".to_owned() } else { format!("{} FAILED", report.failures.len()) };
    println!(
        "{} in {:.1} s: {:.0} seeds a second on {jobs} threads, trace {}",
        verdict(good, &outcome),
        report.seconds,
        report.seeds_per_second,
        report.trace_digest
    );
    print_failures(&report.failures, 10);
}

/// Prints up to `shown` failures, and how to repeat them.
pub(crate) fn print_failures(failures: &[Failure], shown: usize) {
    for failure in failures.iter().take(shown) {
        println!(
            "\nseed {} {}: {}\n  repeat it with: {}",
            failure.seed,
            failure.stop,
            failure.reason,
            typed(&failure.reproduce)
        );
    }
    if failures.len() > shown {
        println!("\n… and {} more; --json lists them all", failures.len() - shown);
    }
}
