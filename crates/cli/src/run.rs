//! `syncline run`.

use crate::options::SimArgs;
use crate::report::{bytes, fates, grouped, numbers_from, table, typed, verdict};
use crate::spec::{RunReport, Spec};
use crate::trace::Log;
use crate::view::worth_investigating;
use crate::{Ending, cases, interrupt, shrink};
use crate::{host_flags, hostile_flags};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use sync_sim::case::Ended;
use sync_sim::prelude::*;
use syncline_disk::DiskStore;
use syncline_store::{ReadView, Store, StoreError};

/// The flags of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// A case file: what to run, but for what flags say.
    #[arg(value_name = "CASE", conflicts_with = "case")]
    file: Option<PathBuf>,

    /// Decides everything that is left to chance; drawn from the clock, and printed, if neither given nor
    /// told by a case.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    seed: Option<u64>,

    /// Run one seed after another until one fails.
    #[arg(long, conflicts_with_all = ["seed", "keep"])]
    until_failure: bool,

    /// The first of those seeds.
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "until_failure")]
    #[arg(value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    from: u64,

    /// Make the case small if the run fails; see `syncline shrink`.
    #[arg(long)]
    shrink: bool,

    /// The folder to which the case of a run that fails is written.
    #[arg(long, value_name = "FOLDER", default_value = cases::FOLDER)]
    cases: PathBuf,

    /// Print the digest of what happened, and nothing else; write nothing.
    #[arg(long, hide = true)]
    trace_only: bool,

    #[command(flatten)]
    pub(crate) sim: SimArgs,

    /// Keep what each replica ends with, in a store of its own in this folder (`alice`; `alice.1` in its second
    /// context); see `syncline inspect`.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,

    /// Print what happened, event by event, with a column for each replica, before the result.
    #[arg(long, conflicts_with = "json")]
    trace: bool,

    /// As --trace, while it happens.
    #[arg(long, conflicts_with_all = ["json", "trace"])]
    follow: bool,
}

/// Runs one simulation, or one after another until one fails.
pub(crate) fn run(args: &RunArgs) -> Result<Ending, String> {
    let mut sim = args.sim.clone();
    sim.case = args.file.clone().or(sim.case);
    let spec = sim.spec()?;
    if args.trace_only {
        let mut rt = spec.build(args.seed.unwrap_or(spec.case.seed));
        println!("{}", Ended::of(&mut rt).trace);
        return Ok(Ending::Good);
    }
    if args.until_failure {
        return until_failure(args, &spec);
    }
    let seed = match (args.seed, &sim.case) {
        (Some(seed), _) => seed,
        (None, Some(_)) => spec.case.seed,
        (None, None) => fresh_seed(),
    };
    execute(args, &spec.settled(seed), seed)
}

/// Runs one seed, says what happened, and writes down what was found.
fn execute(args: &RunArgs, spec: &Spec, seed: u64) -> Result<Ending, String> {
    let ran = if args.trace || args.follow {
        Ran::logged(spec, seed, args.follow)
    } else {
        Ran::of(spec, seed, !args.json)
    };
    if let Some(folder) = &args.keep {
        keep(&ran.rt, folder)
            .map_err(|error| format!("cannot keep the states in {}: {error}", folder.display()))?;
    }
    if ran.ended.class.is_converged() {
        ran.show(spec, None, args.json)?;
        return Ok(Ending::Good);
    }
    let path = cases::keep(spec.case(seed), &ran.ended.class, &args.cases)?;
    ran.show(spec, Some(&path), args.json)?;
    if args.shrink {
        shrink::shrink(&shrink::ShrinkArgs::of(path, args.json))?;
    }
    Ok(Ending::Finding)
}

/// Runs seeds one after another until one fails.
fn until_failure(args: &RunArgs, spec: &Spec) -> Result<Ending, String> {
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {pos} seeds converged, {per_sec}") {
        bar.set_style(style);
    }
    let mut seeds = args.from..u64::MAX;
    interrupt::watch();
    let failing = seeds.find(|seed| {
        bar.inc(1);
        interrupt::asked() || !Ended::of(&mut spec.build(*seed)).class.is_converged()
    });
    bar.finish_and_clear();
    let seed = failing.ok_or("every seed converged")?;
    if interrupt::asked() {
        let (done, from) = (grouped(seed - args.from), args.from);
        return Ok(interrupt::said(&format!(
            "interrupted: {done} seeds, from {from} on, converged; go on with --until-failure --from {seed}"
        )));
    }
    if !args.json {
        println!("{} seeds, from {} on, converged before this one\n", grouped(seed - args.from), args.from);
    }
    execute(args, &spec.settled(seed), seed)
}

/// A run that has stopped.
pub(crate) struct Ran {
    rt: SimRuntime,
    /// How.
    pub(crate) ended: Ended,
    took: Duration,
}

impl Ran {
    /// Runs a seed to its end.
    pub(crate) fn of(spec: &Spec, seed: u64, watched: bool) -> Self {
        let started = Instant::now();
        let mut rt = spec.build(seed);
        let ended = Ended::watched(&mut rt, |rt| run_watched(rt, watched));
        Self { rt, ended, took: started.elapsed() }
    }

    /// Runs a seed to its end and prints what happened, while it does or afterwards.
    fn logged(spec: &Spec, seed: u64, follow: bool) -> Self {
        let started = Instant::now();
        let mut rt = spec.build_with(seed, Some(usize::MAX));
        let mut log = Log::new();
        let ended = Ended::watched(&mut rt, |rt| {
            rt.run_until(|rt| {
                if follow {
                    log.follow(rt.history());
                }
                false
            })
        });
        log.follow(rt.history());
        Self { rt, ended, took: started.elapsed() }
    }

    /// Prints it, and the file that holds its case if there is one.
    pub(crate) fn show(&self, spec: &Spec, path: Option<&Path>, json: bool) -> Result<(), String> {
        let path = path.map(|path| path.display().to_string());
        let report = RunReport { case: path.clone(), ..RunReport::of(&self.rt, &self.ended, spec) };
        if json {
            let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
            println!("{json}");
            return Ok(());
        }
        print(&report, self, spec);
        if let Some(path) = path {
            println!("the case: {path}\n{}", cases::offers(&path));
        }
        Ok(())
    }
}

/// Writes what each node has on its disk, in each of its contexts, to a store of its own.
fn keep(rt: &SimRuntime, folder: &Path) -> Result<(), StoreError> {
    for node in rt.node_ids() {
        for replica in rt.node(node).replicas() {
            let name = match replica.number() {
                0 => rt.name(node),
                context => format!("{}.{context}", rt.name(node)),
            };
            let mut store = DiskStore::open(folder.join(&name))?;
            if store.commits() > 0 {
                let what = format!("there is a state of {name} already");
                return Err(StoreError::Io { operation: "write a state", reason: what });
            }
            let rows = replica.disk().range(&[], &[0xff], usize::MAX)?;
            store.apply(rows.into_iter().map(|(key, value)| (key, Some(value))).collect())?;
        }
    }
    Ok(())
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Short enough to type, different enough each time.
    (now.as_micros() % 1_000_000_007) as u64
}

/// Runs with a spinner on a terminal, for runs that take a while.
fn run_watched(rt: &mut SimRuntime, wanted: bool) -> StopCondition {
    let spinner = if wanted { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        spinner.set_style(style);
    }
    let mut shown = Instant::now();
    let stop = rt.run_until(|rt| {
        if rt.events_processed().is_multiple_of(4_096) && shown.elapsed() > Duration::from_millis(100) {
            shown = Instant::now();
            spinner.set_message(format!(
                "virtual time {}, {} events",
                rt.now(),
                grouped(rt.events_processed())
            ));
            spinner.tick();
        }
        false
    });
    spinner.finish_and_clear();
    stop
}

fn print(report: &RunReport, ran: &Ran, spec: &Spec) {
    let (rt, case) = (&ran.rt, &spec.case);
    let shape = case.topology.name();
    let contexts = match case.contexts {
        1 => String::new(),
        several => format!(" with {several} contexts"),
    };
    match &case.scenario {
        Some(beginning) => println!(
            "seed {}: {} replicas{contexts} in a {shape}, scenario {}, {} entities each, {} writes",
            report.seed, beginning.nodes, beginning.name, beginning.entities, case.workload.writes
        ),
        None => println!("seed {}: {} in a {shape}", report.seed, case.size()),
    }
    println!();
    const SHOWN: usize = 12;
    let mut nodes = table(&["replica", "state", "starts", "entities", "sent", "received", "syncs", "root"]);
    for node in report.nodes.iter().take(SHOWN) {
        let root: String = node.root.chars().take(16).collect();
        let state = match (node.up, node.away) {
            (true, false) => "up",
            (true, true) => "away",
            (false, _) => "down",
        };
        nodes.add_row([
            node.name.clone(),
            state.into(),
            node.starts.to_string(),
            match node.contexts.as_slice() {
                [] => node.entities.to_string(),
                several => {
                    let each: Vec<String> = several.iter().map(|own| own.entities.to_string()).collect();
                    each.join("+")
                }
            },
            grouped(node.metrics.messages_sent),
            grouped(node.metrics.messages_received),
            format!("{}/{}", node.metrics.syncs_completed, node.metrics.syncs_initiated),
            root,
        ]);
    }
    println!("{nodes}");
    if report.nodes.len() > SHOWN {
        println!("… and {} more", report.nodes.len() - SHOWN);
    }
    println!("\n{}\n", fates(&report.fates));
    println!("{}\n", work(report));
    let outcome = if report.converged { "CONVERGED" } else { "NOT CONVERGED" };
    println!(
        "{}{} after {} of virtual time and {} events ({:.1?} of yours), trace {}",
        verdict(report.converged, outcome),
        report.phase.map_or_else(String::new, |phase| format!(" in its {} phase", phase.name())),
        rt.now(),
        grouped(report.events),
        ran.took,
        report.trace_digest
    );
    if !report.converged {
        let reason = report.reason.as_deref().unwrap_or(report.stop);
        println!("\nwhy: {}\n", reason.replace("; ", "\n  "));
        // What a panic left behind explains nothing.
        match &ran.ended.stop {
            Some(stop) if worth_investigating(rt, stop) => {
                println!("{}", sync_sim::forensics::investigate(|| spec.build(report.seed)).details());
            }
            // The first line of the explanation is the reason; what follows is where the states differ.
            Some(_) => rt.explain().lines().skip(1).for_each(|line| println!("{line}")),
            None => {}
        }
    }
    println!("repeat it with: {}", typed(&report.reproduce));
}

fn work(report: &RunReport) -> comfy_table::Table {
    let (protocol, effects) = (&report.protocol, &report.effects);
    let mut table = table(&["what happened", ""]);
    let rows = [
        ("writes accepted", protocol.writes_accepted),
        ("writes refused (their replica was down, or of another type)", protocol.writes_refused),
        ("deltas applied", protocol.deltas_applied),
        ("sessions started", protocol.sessions_started),
        ("… that compared roots and found them equal", protocol.sessions_converged),
        ("… that exchanged deltas (DeltaSync)", protocol.delta_syncs),
        ("… that walked the index (HashComparison)", protocol.hash_comparisons),
        ("… that exchanged filters (BloomFilter)", protocol.bloom_filters),
        ("… that asked for whole subtrees (SubtreePrefetch)", protocol.subtree_prefetches),
        ("… that went level by level (LevelWise)", protocol.level_walks),
        ("… that read sketches (RatelessIblt)", protocol.sketches),
        ("… that took a snapshot", protocol.snapshots),
        ("… that owe another, nothing being wrong", protocol.sessions_pending),
        ("… that failed", protocol.sessions_failed),
        ("records moved by sessions", protocol.entities_transferred),
        ("requests sent again", effects.retries_performed),
        ("frames overtaken", effects.messages_reordered),
        ("frames corrupted", effects.messages_corrupted),
        ("partitions", effects.partitions),
        ("crashes", effects.node_crashes),
        ("departures", effects.departures),
        ("late joiners", effects.late_joins),
    ];
    for (name, count) in rows {
        table.add_row([name.to_owned(), grouped(count)]);
    }
    for (name, count) in effects.links.rows().into_iter().filter(|(_, count)| *count > 0) {
        table.add_row([name.to_owned(), grouped(count)]);
    }
    let hosts = host_flags::rows(&effects.hosts);
    for (name, count) in hosts.into_iter().chain(hostile_flags::rows(&report.hostile)) {
        table.add_row([name, count]);
    }
    let work = [
        ("rows read", report.work.storage_reads),
        ("rows written", report.work.storage_writes),
        ("hashes computed", report.work.hash_computations),
        ("deltas looked up", report.work.dag_lookups),
    ];
    for (name, count) in work {
        table.add_row([name.to_owned(), grouped(count)]);
    }
    table.add_row(["bytes sent".to_owned(), bytes(protocol.bytes_sent)]);
    numbers_from(&mut table, 1);
    table
}
