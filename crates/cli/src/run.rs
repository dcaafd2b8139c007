//! `syncline run`.

use crate::Ending;
use crate::host_flags;
use crate::options::SimArgs;
use crate::report::{bytes, fates, grouped, numbers_from, table, typed, verdict};
use crate::spec::{RunReport, Spec};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use sync_sim::prelude::*;
use syncline_disk::DiskStore;
use syncline_store::{ReadView, Store, StoreError};

/// The flags of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Decides everything that is left to chance; drawn from the clock, and printed, if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    seed: Option<u64>,

    #[command(flatten)]
    sim: SimArgs,

    /// Keep what each replica ends with, in a store of its own in this folder; see `syncline inspect`.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

/// Runs one simulation.
pub(crate) fn run(args: &RunArgs) -> Result<Ending, String> {
    let spec = args.sim.spec()?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let started = Instant::now();
    let mut rt = spec.build(seed);
    let stop = run_watched(&mut rt, !args.json);
    let report = RunReport::of(&rt, &stop, &spec);
    if let Some(folder) = &args.keep {
        keep(&rt, folder)
            .map_err(|error| format!("cannot keep the states in {}: {error}", folder.display()))?;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        println!("{json}");
    } else {
        print(&report, &rt, &spec, started.elapsed());
    }
    Ok(if report.converged { Ending::Good } else { Ending::Finding })
}

/// Writes what each node has on its disk to a store of its own.
fn keep(rt: &SimRuntime, folder: &Path) -> Result<(), StoreError> {
    for node in rt.node_ids() {
        let mut store = DiskStore::open(folder.join(rt.name(node)))?;
        if store.commits() > 0 {
            let what = format!("there is a state of {} already", rt.name(node));
            return Err(StoreError::Io { operation: "write a state", reason: what });
        }
        let rows = rt.node(node).disk().range(&[], &[0xff], usize::MAX)?;
        store.apply(&rows.into_iter().map(|(key, value)| (key, Some(value))).collect())?;
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

fn print(report: &RunReport, rt: &SimRuntime, spec: &Spec, took: Duration) {
    println!(
        "seed {}: {} replicas in a {}, scenario {}, {} entities each, {} writes",
        report.seed,
        spec.nodes,
        spec.topology.name(),
        spec.scenario.name,
        spec.entities,
        spec.writes
    );
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
            node.entities.to_string(),
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
        "{} after {} of virtual time and {} events ({:.1?} of yours), trace {}",
        verdict(report.converged, outcome),
        rt.now(),
        grouped(report.events),
        took,
        report.trace_digest
    );
    if !report.converged {
        let reason = report.reason.as_deref().unwrap_or(report.stop);
        println!("\nwhy: {}\n", reason.replace("; ", "\n  "));
        // The first line of the explanation says the same; what follows is where the states differ.
        for difference in rt.explain().lines().skip(1) {
            println!("{difference}");
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
        ("… that owe another, nothing being wrong", protocol.sessions_owed),
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
    for (name, count) in host_flags::rows(&effects.hosts) {
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
