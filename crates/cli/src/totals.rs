//! What a sweep has learnt: added up seed after seed, so that it can be written down and gone on with.

use crate::reach::CoverageReport;
use crate::report::{bytes, fates, grouped, numbers_from, table, typed, verdict};
use crate::spec::{FatesReport, Spec};
use crate::{cases, host_flags, hostile_flags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use sync_sim::case::Class;
use sync_sim::coverage::Coverage;
use sync_sim::engine::TraceDigest;
use sync_sim::hostile::HostileMetrics;
use sync_sim::network::LinkMetrics;
use sync_sim::prelude::*;

/// What is kept of one run.
pub(crate) struct Run {
    pub(crate) seed: u64,
    /// How it stopped, in one word.
    pub(crate) stop: &'static str,
    pub(crate) class: Class,
    pub(crate) reason: String,
    pub(crate) trace: u64,
    pub(crate) time: SimTime,
    pub(crate) events: u64,
    pub(crate) metrics: SimMetrics,
    /// What it reached, if that is counted.
    pub(crate) coverage: Option<Coverage>,
    /// What is wrong with the second run, if there was one and it did something else.
    pub(crate) differs: Option<String>,
    /// Whether there was a second run.
    pub(crate) twice: bool,
}

/// A run that did not go well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    seed: u64,
    stop: String,
    reason: String,
    reproduce: String,
    /// The file that holds its case.
    case: Option<String>,
}

/// What is counted over all runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
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
    pub(crate) links: LinkMetrics,
    pub(crate) hosts: HostEffects,
    #[serde(default)]
    pub(crate) hostile: HostileMetrics,
}

impl Counts {
    fn add(&mut self, run: &Run) {
        let (protocol, effects) = (&run.metrics.protocol, &run.metrics.effects);
        self.events += run.events;
        self.bytes_sent += protocol.bytes_sent;
        self.sessions_started += protocol.sessions_started;
        self.delta_syncs += protocol.delta_syncs;
        self.hash_comparisons += protocol.hash_comparisons;
        self.bloom_filters += protocol.bloom_filters;
        self.subtree_prefetches += protocol.subtree_prefetches;
        self.level_walks += protocol.level_walks;
        self.sketches += protocol.sketches;
        self.snapshots += protocol.snapshots;
        self.writes_accepted += protocol.writes_accepted;
        self.crashes += effects.node_crashes;
        self.departures += effects.departures;
        self.late_joins += effects.late_joins;
        self.partitions += effects.partitions;
        self.messages_corrupted += effects.messages_corrupted;
        self.links.merge(&effects.links);
        self.hosts.add(&effects.hosts);
        self.hostile.add(&run.metrics.hostile);
    }
}

impl Counts {
    /// Adds what was counted over other runs.
    fn merge(&mut self, other: &Self) {
        let Self {
            events,
            bytes_sent,
            sessions_started,
            delta_syncs,
            hash_comparisons,
            bloom_filters,
            subtree_prefetches,
            level_walks,
            sketches,
            snapshots,
            writes_accepted,
            crashes,
            departures,
            late_joins,
            partitions,
            messages_corrupted,
            links,
            hosts,
            hostile,
        } = other;
        self.events += events;
        self.bytes_sent += bytes_sent;
        self.sessions_started += sessions_started;
        self.delta_syncs += delta_syncs;
        self.hash_comparisons += hash_comparisons;
        self.bloom_filters += bloom_filters;
        self.subtree_prefetches += subtree_prefetches;
        self.level_walks += level_walks;
        self.sketches += sketches;
        self.snapshots += snapshots;
        self.writes_accepted += writes_accepted;
        self.crashes += crashes;
        self.departures += departures;
        self.late_joins += late_joins;
        self.partitions += partitions;
        self.messages_corrupted += messages_corrupted;
        self.links.merge(links);
        self.hosts.add(hosts);
        self.hostile.add(hostile);
    }
}

/// What the seeds so far have shown, in their order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    seeds: u64,
    stops: BTreeMap<String, u64>,
    checked_twice: u64,
    /// The sum of the digests of each seed and its trace, which comes to the same in any order.
    trace: u64,
    /// When each run converged, in microseconds.
    times: Vec<u64>,
    counts: Counts,
    fates: FatesReport,
    failures: Vec<Failure>,
    #[serde(default)]
    coverage: Coverage,
}

/// So many cases are written to files; the others have their seeds.
const MOST_CASES: usize = 100;

impl Totals {
    /// Adds the run of the next seed. If it is a finding, its case goes to `folder`.
    pub(crate) fn add(&mut self, run: &Run, spec: &Spec, folder: &Path) -> Result<(), String> {
        self.seeds += 1;
        *self.stops.entry(run.stop.to_owned()).or_default() += 1;
        self.checked_twice += u64::from(run.twice);
        let mut trace = TraceDigest::default();
        trace.event([run.seed, run.trace, 0, 0]);
        self.trace = self.trace.wrapping_add(trace.value());
        self.counts.add(run);
        if let Some(reached) = &run.coverage {
            self.coverage.add(reached);
        }
        self.fates.add(&run.metrics.fates);
        if run.class.is_converged() {
            self.times.push(run.time.as_micros());
        } else {
            self.fail(run, run.stop, &run.reason, spec, folder)?;
        }
        match &run.differs {
            Some(differs) => self.fail(run, "not_deterministic", differs, spec, folder),
            None => Ok(()),
        }
    }

    fn fail(
        &mut self,
        run: &Run,
        stop: &str,
        reason: &str,
        spec: &Spec,
        folder: &Path,
    ) -> Result<(), String> {
        let mut case = None;
        if self.failures.len() < MOST_CASES {
            let path = cases::keep(spec.case(run.seed), &run.class, folder)?;
            case = Some(path.display().to_string());
        }
        self.failures.push(Failure {
            seed: run.seed,
            stop: stop.to_owned(),
            reason: reason.to_owned(),
            reproduce: spec.reproduce(run.seed),
            case,
        });
        Ok(())
    }

    /// How many seeds these are of.
    pub(crate) const fn seeds(&self) -> u64 {
        self.seeds
    }

    /// Adds those of the seeds that come next.
    pub(crate) fn merge(&mut self, next: Self) {
        let Self { seeds, stops, checked_twice, trace, times, counts, fates, failures, coverage } = next;
        self.seeds += seeds;
        for (stop, count) in stops {
            *self.stops.entry(stop).or_default() += count;
        }
        self.checked_twice += checked_twice;
        self.trace = self.trace.wrapping_add(trace);
        self.times.extend(times);
        self.counts.merge(&counts);
        self.coverage.add(&coverage);
        self.fates.merge(fates);
        self.failures.extend(failures);
        // One sweep would have written no more.
        for failure in self.failures.iter_mut().skip(MOST_CASES) {
            failure.case = None;
        }
    }

    /// All of it, as a report; with what was reached if it is said whether that is demanded.
    pub(crate) fn report(mut self, spec: &Spec, seconds: f64, demanded: Option<bool>) -> SweepReport {
        self.times.sort_unstable();
        SweepReport {
            protocol: None,
            topology: spec.swarm.is_none().then_some(spec.case.topology),
            seeds: self.seeds,
            converged: self.times.len() as u64,
            stops: self.stops,
            checked_twice: self.checked_twice,
            trace_digest: TraceDigest::resumed(self.trace).to_string(),
            virtual_time_us_median: self.times.get(self.times.len() / 2).copied().unwrap_or(0),
            virtual_time_us_max: self.times.last().copied().unwrap_or(0),
            coverage: demanded.map(|demanded| CoverageReport::of(self.coverage, demanded)),
            counts: self.counts,
            fates: self.fates,
            seconds,
            seeds_per_second: self.seeds as f64 / seconds.max(1e-9),
            failures: self.failures,
        }
    }
}

/// A sweep, as machines read it. Field names are stable. Nothing in it but `seconds` and
/// `seeds_per_second` depends on the machine, or on whether the sweep was interrupted.
#[derive(Serialize)]
pub(crate) struct SweepReport {
    /// The protocol that was asked for, if one was.
    pub(crate) protocol: Option<String>,
    /// The shape of the network, if all runs have the same.
    pub(crate) topology: Option<Topology>,
    pub(crate) seeds: u64,
    pub(crate) converged: u64,
    pub(crate) stops: BTreeMap<String, u64>,
    pub(crate) checked_twice: u64,
    /// One digest over the seeds and their traces, whichever order they are taken in.
    pub(crate) trace_digest: String,
    pub(crate) virtual_time_us_median: u64,
    pub(crate) virtual_time_us_max: u64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    pub(crate) fates: FatesReport,
    pub(crate) seconds: f64,
    pub(crate) seeds_per_second: f64,
    pub(crate) failures: Vec<Failure>,
    /// What was reached, if that was counted.
    pub(crate) coverage: Option<CoverageReport>,
}

impl SweepReport {
    /// Whether there is no finding.
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.coverage.as_ref().is_none_or(CoverageReport::is_good)
    }
}

/// Prints it, and on what it was run.
pub(crate) fn print(report: &SweepReport, on: &str) {
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
        ("… that exchanged filters", grouped(report.counts.bloom_filters)),
        ("… that asked for whole subtrees", grouped(report.counts.subtree_prefetches)),
        ("… that went level by level", grouped(report.counts.level_walks)),
        ("… that read sketches", grouped(report.counts.sketches)),
        ("… that took a snapshot", grouped(report.counts.snapshots)),
        ("crashes", grouped(report.counts.crashes)),
        ("departures", grouped(report.counts.departures)),
        ("late joiners", grouped(report.counts.late_joins)),
        ("partitions", grouped(report.counts.partitions)),
        ("frames corrupted", grouped(report.counts.messages_corrupted)),
    ];
    for row in rows {
        summary.add_row([row.0.to_owned(), row.1]);
    }
    for (name, count) in report.counts.links.rows().into_iter().filter(|(_, count)| *count > 0) {
        summary.add_row([name.to_owned(), grouped(count)]);
    }
    let hosts = host_flags::rows(&report.counts.hosts);
    for (name, count) in hosts.into_iter().chain(hostile_flags::rows(&report.counts.hostile)) {
        summary.add_row([name, count]);
    }
    numbers_from(&mut summary, 1);
    println!("{summary}\n\n{}\n", fates(&report.fates));
    let good = report.is_good();
    if let Some(coverage) = &report.coverage {
        coverage.print();
    }
    let outcome = if good {
        "ALL CONVERGED".to_owned()
    } else if report.failures.is_empty() {
        "NOT ALL REACHED".to_owned()
    } else {
        format!("{} FAILED", report.failures.len())
    };
    println!(
        "{} in {:.1} s: {:.0} seeds a second on {on}, trace {}",
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
        if let Some(path) = &failure.case {
            println!("{}", cases::offers(path));
        }
    }
    if failures.len() > shown {
        println!("\n… and {} more; --json lists them all", failures.len() - shown);
    }
}
