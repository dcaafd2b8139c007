//! A simulation that is ready to be run with any seed.

use serde::Serialize;
use std::collections::BTreeMap;
use sync_sim::metrics::{EffectMetrics, NodeMetrics, ProtocolMetrics, WorkMetrics};
use sync_sim::network::Fates;
use sync_sim::oracle::{AckedWrite, WrongPlace};
use sync_sim::prelude::*;
use sync_sim::scenarios::NamedScenario;

/// Everything about a simulation but its seed.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) nodes: usize,
    pub(crate) entities: usize,
    pub(crate) writes: usize,
    pub(crate) workload: Workload,
    pub(crate) scenario: NamedScenario,
    pub(crate) topology: Topology,
    pub(crate) faults: FaultConfig,
    pub(crate) selection: Selection,
    pub(crate) protocol: Option<SyncProtocolKind>,
    pub(crate) max_time: SimDuration,
    pub(crate) max_events: u64,
    pub(crate) flags: String,
}

impl Spec {
    /// The simulation with a seed, about to begin.
    pub(crate) fn build(&self, seed: u64) -> SimRuntime {
        self.build_with(seed, None)
    }

    /// The same, keeping so many entries of its history.
    pub(crate) fn build_with(&self, seed: u64, history: Option<usize>) -> SimRuntime {
        let config = SimConfig {
            history,
            max_time: SimTime::ZERO + self.max_time,
            max_events: self.max_events,
            faults: self.faults.clone(),
            topology: self.topology,
            selection: self.selection,
            protocol: self.protocol,
            ..SimConfig::with_seed(seed)
        };
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario((self.scenario.build)(self.nodes, self.entities, seed));
        rt.apply_workload(&self.workload);
        rt
    }

    /// The command that repeats the run of a seed.
    pub(crate) fn reproduce(&self, seed: u64) -> String {
        format!("syncline run --seed {seed}{}", self.flags)
    }
}

/// One run, as machines read it. Field names are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) seed: u64,
    pub(crate) converged: bool,
    /// `converged`, `diverged`, `deadlock`, `max_time`, `max_events` or `violated`.
    pub(crate) stop: &'static str,
    /// Why it did not converge, in words.
    pub(crate) reason: Option<String>,
    /// The value that is not what was written, if that is why.
    pub(crate) wrong: Option<WrongPlace>,
    /// The acknowledged write that is missing from it, or the latest that bears on it.
    pub(crate) write: Option<AckedWrite>,
    pub(crate) virtual_time_us: u64,
    pub(crate) events: u64,
    pub(crate) trace_digest: String,
    pub(crate) topology: Topology,
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) protocol: ProtocolMetrics,
    pub(crate) effects: EffectMetrics,
    pub(crate) work: WorkMetrics,
    pub(crate) fates: FatesReport,
    /// The command that repeats the run.
    pub(crate) reproduce: String,
}

/// One node at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) away: bool,
    pub(crate) starts: u64,
    pub(crate) entities: usize,
    pub(crate) root: String,
    pub(crate) metrics: NodeMetrics,
}

/// What became of every frame.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FatesReport {
    pub(crate) sent: u64,
    pub(crate) duplicated: u64,
    pub(crate) delivered: u64,
    pub(crate) in_flight: u64,
    pub(crate) balanced: bool,
    /// By cause; causes that did not occur are left out.
    pub(crate) dropped: BTreeMap<DropCause, u64>,
}

impl FatesReport {
    pub(crate) fn of(fates: &Fates) -> Self {
        let dropped = DropCause::ALL.into_iter().map(|cause| (cause, fates.dropped(cause)));
        Self {
            sent: fates.sent,
            duplicated: fates.duplicated,
            delivered: fates.delivered,
            in_flight: fates.in_flight,
            balanced: fates.is_balanced(),
            dropped: dropped.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl RunReport {
    /// The report of a run that has stopped.
    pub(crate) fn of(rt: &SimRuntime, stop: &StopCondition, spec: &Spec) -> Self {
        let metrics = rt.metrics();
        let (wrong, write) = match stop {
            StopCondition::Violated(Check::Lost { wrong, write }) => {
                (Some(wrong.clone()), Some(write.clone()))
            }
            StopCondition::Violated(Check::WrongValue { wrong, latest }) => {
                (Some(wrong.clone()), latest.clone())
            }
            _ => (None, None),
        };
        let node = |node: NodeId| NodeReport {
            name: rt.name(node),
            up: rt.is_up(node),
            away: rt.is_away(node),
            starts: rt.node(node).replica().map_or(0, |replica| replica.incarnation()),
            entities: rt.entity_count(node),
            root: format!("{:#}", rt.digest(node)),
            metrics: rt.node_metrics(node),
        };
        Self {
            seed: rt.config().seed,
            converged: *stop == StopCondition::Converged,
            stop: stop.name(),
            reason: metrics.convergence.failure_reason.clone(),
            wrong,
            write,
            virtual_time_us: rt.now().as_micros(),
            events: rt.events_processed(),
            trace_digest: rt.trace_digest().to_string(),
            topology: spec.topology,
            nodes: rt.node_ids().into_iter().map(node).collect(),
            fates: FatesReport::of(&metrics.fates),
            work: metrics.work,
            protocol: metrics.protocol,
            effects: metrics.effects,
            reproduce: spec.reproduce(rt.config().seed),
        }
    }
}
