//! `syncline sweep --protocol each`.

use crate::options::{Protocol, SimArgs};
use crate::report::{bytes, grouped, numbers_from, table, verdict};
use crate::sweep::{Plan, SweepArgs};
use crate::totals::{SweepReport, print_failures};
use crate::{Ending, interrupt};
use serde::Serialize;
use sync_sim::prelude::SyncProtocolKind;

/// The sweeps, as machines read them. Field names are stable.
#[derive(Serialize)]
struct EachReport {
    /// Failures of all of them.
    failures: u64,
    protocols: Vec<SweepReport>,
}

/// Runs the same seeds once for each protocol that can be run.
pub(crate) fn sweep(args: &SweepArgs, plan: &Plan) -> Result<Ending, String> {
    let of = |protocol| plan.run(&SimArgs { protocol: Some(protocol), ..args.sim.clone() });
    let protocols: Vec<SweepReport> = Protocol::executable().map(of).collect::<Result<_, _>>()?;
    let failures = protocols.iter().map(|report| report.failures.len() as u64).sum();
    let report = EachReport { failures, protocols };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        print(&report, plan.jobs);
    }
    if interrupt::asked() {
        return Ok(interrupt::said("interrupted: the last of these protocols have not run all seeds"));
    }
    Ok(if failures == 0 { Ending::Good } else { Ending::Finding })
}

fn print(report: &EachReport, jobs: usize) {
    let mut rows = table(&[
        "protocol",
        "converged",
        "median",
        "longest",
        "sessions",
        "that ran it",
        "that walked",
        "bytes sent",
        "seeds/s",
    ]);
    let ms = |us: u64| format!("{} ms", grouped(us / 1_000));
    for (protocol, sweep) in Protocol::executable().zip(&report.protocols) {
        rows.add_row([
            protocol.name(),
            format!("{}/{}", grouped(sweep.converged), grouped(sweep.seeds)),
            ms(sweep.virtual_time_us_median),
            ms(sweep.virtual_time_us_max),
            grouped(sweep.counts.sessions_started),
            grouped(ran(protocol, sweep)),
            grouped(sweep.counts.hash_comparisons),
            bytes(sweep.counts.bytes_sent),
            format!("{:.0}", sweep.seeds_per_second),
        ]);
    }
    numbers_from(&mut rows, 1);
    println!("{rows}\n");
    let good = report.failures == 0;
    let outcome = if good { "ALL CONVERGED".to_owned() } else { format!("{} FAILED", report.failures) };
    let seconds: f64 = report.protocols.iter().map(|sweep| sweep.seconds).sum();
    println!("{} in {seconds:.1} s on {jobs} threads", verdict(good, &outcome));
    for sweep in &report.protocols {
        print_failures(&sweep.failures, 3);
    }
}

/// How many sessions of a sweep ran the protocol that was asked for.
fn ran(protocol: Protocol, sweep: &SweepReport) -> u64 {
    match protocol.kind() {
        Some(SyncProtocolKind::DeltaSync) => sweep.counts.delta_syncs,
        Some(SyncProtocolKind::HashComparison) => sweep.counts.hash_comparisons,
        Some(SyncProtocolKind::Snapshot) => sweep.counts.snapshots,
        Some(SyncProtocolKind::BloomFilter) => sweep.counts.bloom_filters,
        Some(SyncProtocolKind::SubtreePrefetch) => sweep.counts.subtree_prefetches,
        Some(SyncProtocolKind::LevelWise) => sweep.counts.level_walks,
        Some(SyncProtocolKind::RatelessIblt) => sweep.counts.sketches,
        Some(SyncProtocolKind::None) | None => 0,
    }
}
