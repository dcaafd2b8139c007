//! The report of one run, for people.

use crate::case_files;
use crate::error::CommandError;
use crate::output::fault_rows;
use crate::output::run_report::{INTERRUPTED, NodeReport, RunReport, known_finding};
use crate::output::text::{bytes, grouped, numbers_from, table, typed, verdict};
use crate::output::writer::Output;
use crate::simulation::Simulation;
use comfy_table::Table;
use std::time::Duration;
use sync_sim::case::RunResult;
use sync_sim::known::KnownFinding;
use sync_sim::prelude::SimRuntime;

/// How many replicas the table lists.
const MAX_NODES_SHOWN: usize = 12;

/// How many digits of a root hash the table shows.
const ROOT_DIGITS: usize = 16;

/// Prints the report: the simulation, its replicas, what happened, and the verdict with its reason.
pub(crate) fn print(
    report: &RunReport,
    simulation: &Simulation,
    rt: &SimRuntime,
    ended: &RunResult,
    took: Duration,
    out: &mut Output,
) -> Result<(), CommandError> {
    writeln!(out, "{}\n", heading(report, simulation))?;
    writeln!(out, "{}", nodes(&report.nodes))?;
    if report.nodes.len() > MAX_NODES_SHOWN {
        writeln!(out, "… and {} more", report.nodes.len() - MAX_NODES_SHOWN)?;
    }
    writeln!(out, "\n{}\n", report.fates.table())?;
    writeln!(out, "{}\n", activity(report))?;
    let outcome = match (report.stop, report.known) {
        (INTERRUPTED, _) => "INTERRUPTED".to_owned(),
        _ if report.converged => "CONVERGED".to_owned(),
        (_, Some(known)) => format!("NOT CONVERGED, known finding {known},"),
        (_, None) => "NOT CONVERGED".to_owned(),
    };
    writeln!(
        out,
        "{}{} after {} of virtual time and {} events ({took:.1?} of real time), trace {}",
        verdict(report.converged, &outcome),
        report.phase.map_or_else(String::new, |phase| format!(" in its {} phase", phase.name())),
        rt.now(),
        grouped(report.events),
        report.trace_digest
    )?;
    if !report.converged {
        explain(report, simulation, rt, ended, out)?;
    }
    // The investigation above is long, and this is what decides whether the reader goes on.
    if let Some(finding) = known_finding(simulation, ended) {
        writeln!(out)?;
        name_known(finding, out)?;
    }
    writeln!(out, "repeat it with: {}", typed(&report.reproduce))?;
    if let Some(path) = &report.case {
        // Only a failure can be minimized.
        let is_failure = !report.converged && report.stop != INTERRUPTED;
        let steps = if is_failure { case_files::failure_steps } else { case_files::replay_step };
        writeln!(out, "the case: {path}\n{}", steps(path, &[]))?;
    }
    Ok(())
}

fn heading(report: &RunReport, simulation: &Simulation) -> String {
    let case = &simulation.case;
    let shape = case.topology.name();
    let Some(beginning) = &case.scenario else {
        return format!("seed {}: {} in a {shape}", report.seed, case.size());
    };
    let contexts = match case.contexts {
        1 => String::new(),
        several => format!(" with {several} contexts"),
    };
    format!(
        "seed {}: {} replicas{contexts} in a {shape}, scenario {}, {} entities each, {} writes",
        report.seed, beginning.nodes, beginning.name, beginning.entities, case.workload.writes
    )
}

fn nodes(nodes: &[NodeReport]) -> Table {
    let mut rows = table(&["replica", "state", "starts", "entities", "sent", "received", "syncs", "root"]);
    for node in nodes.iter().take(MAX_NODES_SHOWN) {
        let state = match (node.up, node.away) {
            (true, false) => "up",
            (true, true) => "away",
            (false, _) => "down",
        };
        let entities = if node.contexts.is_empty() {
            node.entities.to_string()
        } else {
            let each = node.contexts.iter().map(|context| context.entities.to_string());
            each.collect::<Vec<_>>().join("+")
        };
        rows.add_row([
            node.name.clone(),
            state.into(),
            node.starts.to_string(),
            entities,
            grouped(node.metrics.messages_sent),
            grouped(node.metrics.messages_received),
            format!("{}/{}", node.metrics.syncs_completed, node.metrics.syncs_initiated),
            node.root.chars().take(ROOT_DIGITS).collect(),
        ]);
    }
    rows
}

/// Says which known finding a failure is.
pub(crate) fn name_known(finding: &KnownFinding, out: &mut Output) -> Result<(), CommandError> {
    let KnownFinding { name, about, issue, .. } = finding;
    writeln!(out, "This is the known finding {name}: {about}. Issue {issue} repairs it (docs/found.md).\n")
}

fn explain(
    report: &RunReport,
    simulation: &Simulation,
    rt: &SimRuntime,
    ended: &RunResult,
    out: &mut Output,
) -> Result<(), CommandError> {
    let reason = report.reason.as_deref().unwrap_or(report.stop);
    writeln!(out, "\nwhy: {}\n", reason.replace("; ", "\n  "))?;
    // After a panic there is no stop condition, and the state that is left explains nothing.
    let Some(stop) = &ended.stop else { return Ok(()) };
    // The investigation takes many runs; what is known already is shown before.
    out.flush()?;
    match simulation.investigate(report.seed, rt, stop) {
        Some(investigation) => writeln!(out, "{}", investigation.details()),
        // The first line of the explanation is the reason again; the lines after it say where states differ.
        None => rt.explain().lines().skip(1).try_for_each(|line| writeln!(out, "{line}")),
    }
}

fn activity(report: &RunReport) -> Table {
    let protocol = &report.protocol;
    let effects = &report.effects;
    let mut table = table(&["what happened", ""]);
    let counts = [
        ("writes accepted", protocol.writes_accepted),
        ("writes refused (replica down, or entity of another type)", protocol.writes_refused),
        ("deltas applied", protocol.deltas_applied),
        ("sessions started", protocol.sessions_started),
        ("… that found equal roots", protocol.sessions_converged),
        ("… that exchanged deltas (DeltaSync)", protocol.delta_syncs),
        ("… that walked the index (HashComparison)", protocol.hash_comparisons),
        ("… that exchanged Bloom filters (BloomFilter)", protocol.bloom_filters),
        ("… that requested whole subtrees (SubtreePrefetch)", protocol.subtree_prefetches),
        ("… that compared level by level (LevelWise)", protocol.level_walks),
        ("… that decoded sketches (RatelessIblt)", protocol.sketches),
        ("… that took a snapshot (Snapshot)", protocol.snapshots),
        ("… that left a sync pending, without a fault", protocol.sessions_pending),
        ("… that failed", protocol.sessions_failed),
        ("records transferred by sessions", protocol.entities_transferred),
        ("requests retransmitted", effects.retries_performed),
        ("frames reordered", effects.messages_reordered),
        ("frames corrupted", effects.messages_corrupted),
        ("partitions", effects.partitions),
        ("crashes", effects.node_crashes),
        ("departures", effects.departures),
        ("late joiners", effects.late_joins),
    ];
    for (name, count) in counts {
        table.add_row([name.to_owned(), grouped(count)]);
    }
    fault_rows::add_to(&mut table, &effects.links, &effects.hosts, &report.hostile);
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
