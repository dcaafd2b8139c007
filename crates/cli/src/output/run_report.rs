//! The report of one run, for machines.

use crate::output::fates_report::FatesReport;
use crate::output::shrink_report::ShrinkReport;
use crate::simulation::Simulation;
use serde::Serialize;
use sync_sim::case::RunResult;
use sync_sim::hostile::HostileMetrics;
use sync_sim::known::KnownFinding;
use sync_sim::metrics::{EffectMetrics, NodeMetrics, ProtocolMetrics, WorkMetrics};
use sync_sim::oracle::{AckedWrite, ValueMismatch};
use sync_sim::prelude::*;

/// How a run stopped that Ctrl-C stopped.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// One run. The JSON keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) seed: u64,
    pub(crate) converged: bool,
    /// `converged`, `diverged`, `deadlock`, `max_time`, `max_events`, `violated`, `panicked` or `interrupted`.
    pub(crate) stop: &'static str,
    /// The phase in which the run stopped, if it has two.
    pub(crate) phase: Option<Phase>,
    /// The reason why the run did not converge, in words.
    pub(crate) reason: Option<String>,
    /// The name of the known finding that explains the failure.
    pub(crate) known: Option<&'static str>,
    /// The entity whose value differs from what was written, if that is the reason.
    wrong: Option<ValueMismatch>,
    /// The acknowledged write that is missing from the entity, or the latest one that affects it.
    write: Option<AckedWrite>,
    virtual_time_us: u64,
    pub(crate) events: u64,
    pub(crate) trace_digest: String,
    topology: Topology,
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) protocol: ProtocolMetrics,
    pub(crate) effects: EffectMetrics,
    pub(crate) hostile: HostileMetrics,
    pub(crate) work: WorkMetrics,
    pub(crate) fates: FatesReport,
    /// The command that repeats the run.
    pub(crate) reproduce: String,
    /// The file of the case, if one was read or written.
    pub(crate) case: Option<String>,
    /// The minimized case, if the run failed and was to be shrunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shrunk: Option<ShrinkReport>,
}

/// One node at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) away: bool,
    /// How many times the replica has started.
    pub(crate) starts: u64,
    /// Visible entities, in all contexts together.
    pub(crate) entities: usize,
    /// The root hash; with several contexts, a digest of all of their roots.
    pub(crate) root: String,
    /// Each context, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contexts: Vec<ContextReport>,
    pub(crate) metrics: NodeMetrics,
}

/// The state of a node in one context at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ContextReport {
    /// Visible entities in this context.
    pub(crate) entities: usize,
    root: String,
}

impl ContextReport {
    /// The contexts of a node; none if it has only one.
    fn of(rt: &SimRuntime, node: NodeId) -> Vec<Self> {
        if rt.contexts() <= 1 {
            return Vec::new();
        }
        let report = |replica: &SimReplica| Self {
            entities: replica.visible_entities().unwrap_or_default(),
            root: format!("{:#}", replica.root()),
        };
        rt.node(node).replicas().map(report).collect()
    }
}

/// The known finding that explains how a run of this simulation ended, if there is one.
pub(crate) fn known_finding(simulation: &Simulation, ended: &RunResult) -> Option<&'static KnownFinding> {
    let is_failure = !ended.class.is_converged();
    is_failure.then(|| KnownFinding::of(&simulation.case, &ended.class, &ended.reason)).flatten()
}

impl RunReport {
    /// The report of a run that has stopped.
    pub(crate) fn of(rt: &SimRuntime, ended: &RunResult, simulation: &Simulation) -> Self {
        let metrics = rt.metrics();
        let node = |node: NodeId| NodeReport {
            name: rt.name(node),
            up: rt.is_up(node),
            away: rt.is_away(node),
            starts: rt.node(node).replica().map_or(0, |replica| replica.incarnation()),
            entities: rt.entity_count(node),
            root: format!("{:#}", rt.digest(node)),
            contexts: ContextReport::of(rt, node),
            metrics: rt.node_metrics(node),
        };
        let (wrong, write) = match &ended.stop {
            Some(StopCondition::Violated(Check::Lost { wrong, write })) => {
                (Some(wrong.clone()), Some(write.clone()))
            }
            Some(StopCondition::Violated(Check::WrongValue { wrong, latest })) => {
                (Some(wrong.clone()), latest.clone())
            }
            _ => (None, None),
        };
        Self {
            wrong,
            write,
            seed: rt.config().seed,
            converged: ended.class.is_converged(),
            stop: ended.name(),
            phase: rt.phase(),
            reason: (!ended.class.is_converged()).then(|| ended.reason.clone()),
            known: known_finding(simulation, ended).map(|finding| finding.name),
            virtual_time_us: rt.now().as_micros(),
            events: rt.events_processed(),
            trace_digest: rt.trace_digest().to_string(),
            topology: simulation.case.topology,
            nodes: rt.node_ids().into_iter().map(node).collect(),
            fates: FatesReport::of(&metrics.fates),
            work: metrics.work,
            protocol: metrics.protocol,
            effects: metrics.effects,
            hostile: metrics.hostile,
            reproduce: simulation.reproduce(rt.config().seed),
            case: None,
            shrunk: None,
        }
    }
}
