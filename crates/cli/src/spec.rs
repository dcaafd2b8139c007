//! A simulation that is ready to be run with any seed.

use crate::options::SimArgs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim::case::{Case, Ended};
use sync_sim::hostile::HostileMetrics;
use sync_sim::metrics::{EffectMetrics, NodeMetrics, ProtocolMetrics, WorkMetrics};
use sync_sim::network::Fates;
use sync_sim::oracle::{AckedWrite, ValueMismatch};
use sync_sim::prelude::*;
use sync_sim::swarm;

/// Everything about a simulation but its seed.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The case, which was checked.
    pub(crate) case: Case,
    /// The flags that describe it.
    pub(crate) flags: Vec<String>,
    /// What flags say of cases that are drawn from their seeds, if they are.
    pub(crate) swarm: Option<Box<SimArgs>>,
}

impl Spec {
    /// The case with a seed.
    pub(crate) fn case(&self, seed: u64) -> Case {
        match &self.swarm {
            None => Case { seed, found: None, ..self.case.clone() },
            Some(args) => args.pinned(swarm::draw(seed)).expect("the flags were checked on a plain case"),
        }
    }

    /// The simulation with a seed, and no other any more.
    pub(crate) fn settled(&self, seed: u64) -> Self {
        Self { case: self.case(seed), flags: self.flags.clone(), swarm: None }
    }

    /// The simulation with a seed, about to begin.
    pub(crate) fn build(&self, seed: u64) -> SimRuntime {
        self.case(seed).build().expect("the case was checked, and which seed it has does not matter for that")
    }

    /// The same, keeping so many entries of its history.
    pub(crate) fn build_with(&self, seed: u64, history: Option<usize>) -> SimRuntime {
        let mut rt = self.build(seed);
        if let Some(entries) = history {
            rt.keep_history(entries);
        }
        rt
    }

    /// The command that repeats the run of a seed.
    pub(crate) fn reproduce(&self, seed: u64) -> String {
        let flags: String = self.flags.iter().map(|flag| format!(" {}", quoted(flag))).collect();
        format!("syncline run --seed {seed}{flags}")
    }
}

/// A word as a shell takes it for one.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:@=+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// One run, as machines read it. Field names are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) seed: u64,
    pub(crate) converged: bool,
    /// `converged`, `diverged`, `deadlock`, `max_time`, `max_events`, `violated` or `panicked`.
    pub(crate) stop: &'static str,
    /// The phase in which it stopped, if the run has two.
    pub(crate) phase: Option<Phase>,
    /// Why it did not converge, in words.
    pub(crate) reason: Option<String>,
    /// The value that is not what was written, if that is why.
    pub(crate) wrong: Option<ValueMismatch>,
    /// The acknowledged write that is missing from it, or the latest that bears on it.
    pub(crate) write: Option<AckedWrite>,
    pub(crate) virtual_time_us: u64,
    pub(crate) events: u64,
    pub(crate) trace_digest: String,
    pub(crate) topology: Topology,
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) protocol: ProtocolMetrics,
    pub(crate) effects: EffectMetrics,
    pub(crate) hostile: HostileMetrics,
    pub(crate) work: WorkMetrics,
    pub(crate) fates: FatesReport,
    /// The command that repeats the run.
    pub(crate) reproduce: String,
    /// The file that holds the case, if one was written or read.
    pub(crate) case: Option<String>,
}

/// One node at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) away: bool,
    pub(crate) starts: u64,
    pub(crate) entities: usize,
    /// Of all contexts together, if there are several.
    pub(crate) root: String,
    /// Each of its contexts, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contexts: Vec<ContextReport>,
    pub(crate) metrics: NodeMetrics,
}

/// What a node has in one of its contexts at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ContextReport {
    pub(crate) entities: usize,
    pub(crate) root: String,
}

/// What became of every frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FatesReport {
    pub(crate) sent: u64,
    pub(crate) duplicated: u64,
    pub(crate) delivered: u64,
    pub(crate) in_flight: u64,
    pub(crate) balanced: bool,
    /// By cause; causes that did not occur are left out.
    pub(crate) dropped: BTreeMap<DropCause, u64>,
}

impl Default for FatesReport {
    /// No frames: their account balances.
    fn default() -> Self {
        Self::of(&Fates::default())
    }
}

impl FatesReport {
    /// Adds those of another run.
    pub(crate) fn add(&mut self, other: &Fates) {
        self.merge(Self::of(other));
    }

    /// Adds those of other runs.
    pub(crate) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.duplicated += other.duplicated;
        self.delivered += other.delivered;
        self.in_flight += other.in_flight;
        self.balanced &= other.balanced;
        for (cause, count) in other.dropped {
            *self.dropped.entry(cause).or_default() += count;
        }
    }

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

impl ContextReport {
    /// Those of a node that keeps several.
    fn of(rt: &SimRuntime, node: NodeId) -> Vec<Self> {
        let report = |replica: &SimReplica| Self {
            entities: replica.visible_entities().unwrap_or_default(),
            root: format!("{:#}", replica.root()),
        };
        let all = rt.node(node).replicas().map(report);
        if rt.contexts() > 1 { all.collect() } else { Vec::new() }
    }
}

impl RunReport {
    /// The report of a run that has stopped.
    pub(crate) fn of(rt: &SimRuntime, ended: &Ended, spec: &Spec) -> Self {
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
            virtual_time_us: rt.now().as_micros(),
            events: rt.events_processed(),
            trace_digest: rt.trace_digest().to_string(),
            topology: spec.case.topology,
            nodes: rt.node_ids().into_iter().map(node).collect(),
            fates: FatesReport::of(&metrics.fates),
            work: metrics.work,
            protocol: metrics.protocol,
            effects: metrics.effects,
            hostile: metrics.hostile,
            reproduce: spec.reproduce(rt.config().seed),
            case: None,
        }
    }
}
