//! The report of a sweep.

use crate::error::CommandError;
use crate::output::coverage_report::CoverageReport;
use crate::output::failures::{CauseReport, FailedSeed, KnownRuns, print_failures};
use crate::output::fates_report::FatesReport;
use crate::output::fault_rows;
use crate::output::text::{bytes, grouped, numbers_from, table, verdict};
use crate::output::totals::SweepCounts;
use crate::output::writer::Output;
use serde::Serialize;
use std::collections::BTreeMap;
use sync_sim::prelude::Topology;

/// A sweep. The JSON keys are stable. Apart from `seconds` and `seeds_per_second`, the values depend neither on
/// the machine nor on interruptions of the sweep.
#[derive(Serialize)]
pub(crate) struct SweepReport {
    /// The protocol that `--protocol` fixes, if it does.
    pub(crate) protocol: Option<String>,
    /// The topology, if all runs have the same.
    pub(crate) topology: Option<Topology>,
    pub(crate) seeds: u64,
    /// Whether Ctrl-C stopped the sweep before its last seed.
    pub(crate) interrupted: bool,
    pub(crate) converged: u64,
    pub(crate) stops: BTreeMap<String, u64>,
    pub(crate) checked_twice: u64,
    /// A digest of all seeds and their traces, which does not depend on their order.
    pub(crate) trace_digest: String,
    /// Over the converged runs.
    pub(crate) virtual_time_us_median: u64,
    pub(crate) virtual_time_us_max: u64,
    #[serde(flatten)]
    pub(crate) counts: SweepCounts,
    pub(crate) fates: FatesReport,
    pub(crate) seconds: f64,
    pub(crate) seeds_per_second: f64,
    /// The failures that no known finding explains.
    pub(crate) failures: Vec<FailedSeed>,
    /// The same failures, grouped by cause.
    pub(crate) causes: Vec<CauseReport>,
    /// The runs that known findings explain.
    pub(crate) known: KnownRuns,
    /// Absent if the sweep does not count coverage.
    pub(crate) coverage: Option<CoverageReport>,
}

impl SweepReport {
    /// Whether the sweep has no finding.
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.coverage.as_ref().is_none_or(CoverageReport::is_good)
    }
}

/// Prints the report. `workers` names what ran the seeds, such as "2 threads".
pub(crate) fn print(report: &SweepReport, workers: &str, out: &mut Output) -> Result<(), CommandError> {
    let ms = |us: u64| format!("{} ms", grouped(us / 1_000));
    let mut summary = table(&["sweep", ""]);
    let rows = [
        ("seeds", grouped(report.seeds)),
        ("converged", grouped(report.converged)),
        ("run again in a fresh process and compared", grouped(report.checked_twice)),
        ("virtual time to converge, median", ms(report.virtual_time_us_median)),
        ("virtual time to converge, longest", ms(report.virtual_time_us_max)),
        ("events", grouped(report.counts.events)),
        ("bytes sent", bytes(report.counts.bytes_sent)),
        ("writes accepted", grouped(report.counts.writes_accepted)),
        ("sessions", grouped(report.counts.sessions_started)),
        ("… that exchanged deltas", grouped(report.counts.delta_syncs)),
        ("… that walked the index", grouped(report.counts.hash_comparisons)),
        ("… that exchanged Bloom filters", grouped(report.counts.bloom_filters)),
        ("… that requested whole subtrees", grouped(report.counts.subtree_prefetches)),
        ("… that compared level by level", grouped(report.counts.level_walks)),
        ("… that decoded sketches", grouped(report.counts.sketches)),
        ("… that took a snapshot", grouped(report.counts.snapshots)),
        ("crashes", grouped(report.counts.crashes)),
        ("departures", grouped(report.counts.departures)),
        ("late joiners", grouped(report.counts.late_joins)),
        ("partitions", grouped(report.counts.partitions)),
        ("frames corrupted", grouped(report.counts.messages_corrupted)),
    ];
    for (name, value) in rows {
        summary.add_row([name.to_owned(), value]);
    }
    fault_rows::add_to(&mut summary, &report.counts.links, &report.counts.hosts, &report.counts.hostile);
    numbers_from(&mut summary, 1);
    writeln!(out, "{summary}\n\n{}\n", report.fates.table())?;
    let good = report.is_good();
    if let Some(coverage) = &report.coverage {
        coverage.print(out)?;
    }
    report.known.print("seed", out)?;
    let outcome = match report.failures.len() {
        0 if report.interrupted => "INTERRUPTED, NO FAILURE SO FAR".to_owned(),
        0 if good && report.known.total() > 0 => "NO NEW FINDING".to_owned(),
        0 if good => "ALL CONVERGED".to_owned(),
        0 => "COVERAGE INCOMPLETE".to_owned(),
        failed if report.interrupted => format!("INTERRUPTED, {failed} FAILED SO FAR"),
        failed => format!("{failed} FAILED"),
    };
    writeln!(
        out,
        "{} in {:.1} s: {:.0} seeds per second on {workers}, trace {}",
        verdict(good && !report.interrupted, &outcome),
        report.seconds,
        report.seeds_per_second,
        report.trace_digest
    )?;
    print_failures(&report.failures, &report.causes, 10, out)
}
