//! `syncline sweep`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::{ProtocolArg, SweepArgs};
use crate::interrupt;
use crate::output::failures::print_failures;
use crate::output::json;
use crate::output::sweep_report::{SweepReport, print};
use crate::output::text::{bytes, grouped, numbers_from, table, verdict};
use crate::output::writer::Output;
use crate::sweeping::isolated;
use crate::sweeping::plan::{SweepPlan, SweepRun};
use serde::Serialize;
use std::path::Path;
use sync_sim::prelude::SyncProtocolKind;

/// How many causes of one protocol are printed in a sweep of each.
const CAUSES_SHOWN: usize = 3;

/// Runs many seeds. Without any flag of a simulation, each seed draws its own case.
pub(crate) fn sweep(args: &SweepArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let mut args = args.clone();
    if !args.sim.narrows_swarm() {
        args.sim.set_swarm();
    }
    let plan = SweepPlan::of(&args)?;
    if args.part.is_some() {
        isolated::run_part(&args.sim.simulation()?, &plan, out)?;
        return Ok(Ending::Good);
    }
    if args.sim.protocol == Some(ProtocolArg::Each) {
        if args.resume.is_some() {
            return Err("--resume stores the progress of one sweep; --protocol each runs several".into());
        }
        if args.report.is_some() || plan.shard.is_some() {
            return Err("a shard is part of one sweep; --protocol each runs several".into());
        }
        return each_protocol(&args, &plan, out);
    }
    let SweepRun { report, unsaved, next } = plan.run(&args.sim)?;
    if args.json {
        json::print(&report, out)?;
    } else {
        print(&report, &format!("{} threads", plan.jobs), out)?;
    }
    if let Some(problem) = unsaved {
        return Err(problem.into());
    }
    if report.interrupted {
        let part = plan.part();
        let seeds = part.end - part.start;
        return interrupted(report.seeds, seeds, next, args.resume.as_deref(), out);
    }
    Ok(Ending::of(report.is_good()))
}

fn interrupted(
    done: u64,
    seeds: u64,
    next: Option<u64>,
    resume: Option<&Path>,
    out: &mut Output,
) -> Result<Ending, CommandError> {
    let how = match resume {
        Some(path) => format!("the same command continues from the state in {}", path.display()),
        None => "a sweep that is started with --resume FILE can be continued".to_owned(),
    };
    let next = next.map_or_else(String::new, |seed| format!("; the next is {seed}"));
    let done = format!("{} of {} seeds", grouped(done), grouped(seeds));
    interrupt::report(&format!("interrupted after {done}{next}; {how}"), out)
}

/// The sweeps of all protocols. The JSON keys are stable.
#[derive(Serialize)]
struct EachReport {
    /// The number of failures in all sweeps.
    failures: u64,
    protocols: Vec<SweepReport>,
}

/// Runs the same seeds once for each protocol.
fn each_protocol(args: &SweepArgs, plan: &SweepPlan, out: &mut Output) -> Result<Ending, CommandError> {
    let protocols = ProtocolArg::executable().map(|protocol| plan.run(&args.sim.with_protocol(protocol)));
    let protocols = protocols.map(|ran| ran.and_then(|ran| ran.unsaved.map_or(Ok(ran.report), Err)));
    let protocols: Vec<SweepReport> = protocols.collect::<Result<_, _>>()?;
    let failures = protocols.iter().map(|report| report.failures.len() as u64).sum();
    let report = EachReport { failures, protocols };
    if args.json {
        json::print(&report, out)?;
    } else {
        print_each(&report, plan.jobs, out)?;
    }
    if interrupt::requested() {
        return interrupt::report("interrupted: the last protocols have not run all seeds", out);
    }
    Ok(Ending::of(failures == 0))
}

fn print_each(report: &EachReport, jobs: usize, out: &mut Output) -> Result<(), CommandError> {
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
    for (protocol, sweep) in ProtocolArg::executable().zip(&report.protocols) {
        rows.add_row([
            protocol.name(),
            format!("{}/{}", grouped(sweep.converged), grouped(sweep.seeds)),
            ms(sweep.virtual_time_us_median),
            ms(sweep.virtual_time_us_max),
            grouped(sweep.counts.sessions_started),
            grouped(sessions_of(protocol, sweep)),
            grouped(sweep.counts.hash_comparisons),
            bytes(sweep.counts.bytes_sent),
            format!("{:.0}", sweep.seeds_per_second),
        ]);
    }
    numbers_from(&mut rows, 1);
    writeln!(out, "{rows}\n")?;
    let good = report.failures == 0;
    let outcome = match report.failures {
        0 if report.protocols.iter().any(|sweep| sweep.interrupted) => "NO FAILURE SO FAR".to_owned(),
        0 => "ALL CONVERGED".to_owned(),
        failed => format!("{failed} FAILED"),
    };
    let seconds: f64 = report.protocols.iter().map(|sweep| sweep.seconds).sum();
    writeln!(out, "{} in {seconds:.1} s on {jobs} threads", verdict(good, &outcome))?;
    for (protocol, sweep) in ProtocolArg::executable().zip(&report.protocols) {
        if sweep.known.total() > 0 || !sweep.causes.is_empty() {
            writeln!(out, "\n{}:", protocol.name())?;
        }
        sweep.known.print("seed", out)?;
        print_failures(&sweep.failures, &sweep.causes, CAUSES_SHOWN, out)?;
    }
    Ok(())
}

/// How many sessions of a sweep ran the protocol that the sweep asked for.
const fn sessions_of(protocol: ProtocolArg, sweep: &SweepReport) -> u64 {
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
