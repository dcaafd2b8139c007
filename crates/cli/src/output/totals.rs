//! The totals of a sweep so far, added up seed after seed, so that a sweep can be interrupted and resumed.

use crate::flags::ProcessLimits;
use crate::output::coverage_report::CoverageReport;
use crate::output::failures::{Failures, KnownRuns};
use crate::output::fates_report::FatesReport;
use crate::output::sweep_report::SweepReport;
use crate::simulation::Simulation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use sync_sim::case::Class;
use sync_sim::coverage::Coverage;
use sync_sim::engine::TraceDigest;
use sync_sim::hostile::HostileMetrics;
use sync_sim::known::KnownFinding;
use sync_sim::network::LinkMetrics;
use sync_sim::prelude::*;

/// The outcome of one seed.
pub(crate) struct SeedOutcome {
    pub(crate) seed: u64,
    /// The stop condition in one word.
    pub(crate) stop: &'static str,
    pub(crate) class: Class,
    pub(crate) reason: String,
    /// The known finding that explains the failure, if there is one.
    pub(crate) known: Option<&'static KnownFinding>,
    /// The trace digest as a number.
    pub(crate) trace: u64,
    /// The virtual time at the end.
    pub(crate) time: SimTime,
    pub(crate) events: u64,
    pub(crate) metrics: SimMetrics,
    /// The coverage targets that the run reached, if the sweep counts coverage.
    pub(crate) coverage: Option<Coverage>,
    /// How the second run differed, if there was one and it did.
    pub(crate) differs: Option<String>,
    /// Whether there was a second run.
    pub(crate) twice: bool,
}

impl SeedOutcome {
    /// Whether the run is a finding that is not known yet.
    pub(crate) fn is_failure(&self) -> bool {
        !self.class.is_converged() && self.known.is_none() || self.differs.is_some()
    }
}

/// Counts over all runs. The JSON keys are stable.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SweepCounts {
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

impl SweepCounts {
    /// Adds the counts of one run.
    fn add(&mut self, run: &SeedOutcome) {
        let protocol = &run.metrics.protocol;
        let effects = &run.metrics.effects;
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

    /// Adds the counts of other runs.
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

/// The results of a sweep's first seeds. Adding the seeds one by one and merging parts in order give the same.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SweepTotals {
    seeds: u64,
    stops: BTreeMap<String, u64>,
    checked_twice: u64,
    /// The wrapping sum of a digest for each seed and its trace. A sum does not depend on the order.
    trace: u64,
    /// The virtual time at which each converged run ended, in microseconds.
    times: Vec<u64>,
    counts: SweepCounts,
    fates: FatesReport,
    failures: Failures,
    #[serde(default)]
    known: KnownRuns,
    #[serde(default)]
    coverage: Coverage,
}

/// The stop of a run that ended its process.
const ENDED_PROCESS: &str = "ended_process";

impl SweepTotals {
    /// Adds the outcome of the next seed.
    pub(crate) fn add(&mut self, run: &SeedOutcome, simulation: &Simulation) {
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
        } else if let Some(finding) = run.known {
            self.known.add(finding, run.seed);
        } else {
            self.failures.add(run.seed, &run.class, run.stop, &run.reason, simulation, None);
        }
        if let Some(differs) = &run.differs {
            self.failures.add(run.seed, &run.class, "not_deterministic", differs, simulation, None);
        }
    }

    /// Adds the next seed, whose run ended its process, which had these limits. Its trace is not known.
    pub(crate) fn add_abnormal(
        &mut self,
        seed: u64,
        class: &Class,
        reason: &str,
        simulation: &Simulation,
        limits: &ProcessLimits,
    ) {
        self.seeds += 1;
        *self.stops.entry(ENDED_PROCESS.to_owned()).or_default() += 1;
        match KnownFinding::of(&simulation.case(seed), class, reason) {
            Some(finding) => self.known.add(finding, seed),
            None => self.failures.add(seed, class, ENDED_PROCESS, reason, simulation, Some(limits)),
        }
    }

    /// Writes a case of each new cause into `folder`, unless there are too many of them.
    pub(crate) fn save_cases(&mut self, simulation: &Simulation, folder: &Path) -> Result<(), String> {
        self.failures.save_cases(simulation, folder)
    }

    /// The number of failures that no known finding explains.
    pub(crate) const fn failed(&self) -> u64 {
        self.failures.count()
    }

    /// The number of seeds that were added.
    pub(crate) const fn seeds(&self) -> u64 {
        self.seeds
    }

    /// The largest of the numbers that [`SweepTotals::merge`] adds up.
    pub(crate) fn largest_count(&self) -> Result<u64, String> {
        let Self { seeds, stops, checked_twice, counts, fates, failures, known, coverage, .. } = self;
        let counts = (seeds, stops, checked_twice, counts, fates, failures, known, coverage);
        let counts = serde_json::to_value(counts).map_err(|error| error.to_string())?;
        Ok(largest_but_seeds(&counts))
    }

    /// Whether each seed has ended once, and each converged one at some time.
    pub(crate) fn is_consistent(&self) -> bool {
        let ended = self.stops.values().copied().fold(0, u64::saturating_add);
        let converged = self.stops.get("converged").copied().unwrap_or_default();
        ended == self.seeds && converged == self.times.len() as u64
    }

    /// Adds the totals of the seeds that follow.
    pub(crate) fn merge(&mut self, next: Self) {
        let Self { seeds, stops, checked_twice, trace, times, counts, fates, failures, known, coverage } =
            next;
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
        self.failures.merge(failures);
        self.known.merge(known);
    }

    /// The report of the sweep. It shows coverage if `demanded` is given, which says whether the sweep fails
    /// without full coverage.
    pub(crate) fn report(
        mut self,
        simulation: &Simulation,
        seconds: f64,
        demanded: Option<bool>,
    ) -> SweepReport {
        self.times.sort_unstable();
        SweepReport {
            protocol: None,
            topology: simulation.swarm.is_none().then_some(simulation.case.topology),
            seeds: self.seeds,
            interrupted: false,
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
            causes: self.failures.causes(),
            failures: self.failures.into_seeds(),
            known: self.known,
        }
    }
}

/// The largest number in a JSON value, apart from seeds, which may be as large as numbers are.
fn largest_but_seeds(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Array(values) => values.iter().map(largest_but_seeds).max().unwrap_or(0),
        Value::Object(fields) => {
            let counts = fields.iter().filter(|(name, _)| !["seed", "first"].contains(&name.as_str()));
            counts.map(|(_, value)| largest_but_seeds(value)).max().unwrap_or(0)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
    }
}
