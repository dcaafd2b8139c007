//! One run of custom replicas.

use crate::case::{Case, RunResult};
use crate::custom::disk_shim::DiskShim;
use crate::custom::{Acknowledged, Subject, Violation};
use sync_sim_cluster::liveness::{LivenessMonitor, Storm};
use sync_sim_cluster::verdict::{Blocker, Check, ConvergenceBlockers, Property, StopCondition};
use sync_sim_engine::history::Note;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::run::{Observer, RunLimits, StopReason};
use sync_sim_engine::world::{StepReport, World};
use syncline_types::{SimDuration, SimTime};

/// The time after which a run counts as diverged: all nodes are up and linked, nothing is pending, and their
/// states differ without any change.
const PATIENCE: SimDuration = SimDuration::from_secs(10);

/// A run: nodes, network, clock, and the checks over all of them.
pub struct LabRun<'a, S: Subject> {
    pub(super) subject: &'a S,
    pub(super) case: Case,
    pub(super) world: World<DiskShim<S::Node>>,
    pub(super) names: Vec<String>,
    pub(super) calm_at: SimTime,
    pub(super) acknowledged: Vec<Acknowledged<S::Op>>,
    /// By node: how many of its acknowledged operations are marked as lost.
    pub(super) undone: Vec<usize>,
    /// Detects endless changes.
    pub(super) watch: LivenessMonitor,
    /// The time of the last change, or that at which the frames then in flight have arrived, if it is later.
    pub(super) moved_at: SimTime,
    pub(super) violation: Option<Check>,
}

/// A run as the engine runs it. It is apart from [`LabRun`], so that the disk shims around the nodes stay private.
struct Observed<'r, 'a, S: Subject>(&'r mut LabRun<'a, S>);

impl<S: Subject> Observer for Observed<'_, '_, S> {
    type Actor = DiskShim<S::Node>;

    fn world(&self) -> &World<DiskShim<S::Node>> {
        &self.0.world
    }

    fn world_mut(&mut self) -> &mut World<DiskShim<S::Node>> {
        &mut self.0.world
    }

    fn observe(&mut self, report: StepReport<S::Op>) {
        self.0.observe(report);
    }

    fn is_violated(&self) -> bool {
        self.0.violation.is_some()
    }

    fn is_stuck(&self) -> bool {
        self.0.is_stuck() && !self.0.world.has_scripted_before(self.0.case.max_time)
    }

    fn before_event(&mut self, at: SimTime) {
        if at >= self.0.calm_at {
            self.0.world.heal_at(std::mem::replace(&mut self.0.calm_at, SimTime::MAX));
        }
    }
}

impl<S: Subject> LabRun<'_, S> {
    /// Runs until all nodes have converged, the time or the events run out, or an invariant is violated.
    pub fn run(&mut self) -> RunResult {
        let caught = RunResult::catching(|| self.go());
        RunResult { at: self.world.now(), events: self.world.events(), trace: self.world.trace(), ..caught }
    }

    fn go(&mut self) -> StopCondition {
        let limits = RunLimits { max_time: self.case.max_time, max_events: self.case.max_events };
        let stop = match sync_sim_engine::run::run(&mut Observed(self), limits) {
            StopReason::Violated => match self.violation.take() {
                Some(check) => StopCondition::Violated(check),
                None => unreachable!("a run is violated by a check that failed"),
            },
            StopReason::Done => StopCondition::Manual,
            StopReason::Converged => self.judged(),
            StopReason::Diverged => StopCondition::Diverged(self.blockers()),
            StopReason::MaxEvents => StopCondition::MaxEvents(self.blockers()),
            StopReason::MaxTime => StopCondition::MaxTime(self.blockers()),
            StopReason::Deadlock => StopCondition::Deadlock(self.blockers()),
        };
        let fates = self.world.router().fates();
        if fates.is_balanced() || matches!(stop, StopCondition::Violated(_)) {
            return stop;
        }
        let out = fates.delivered + fates.dropped_total() + fates.in_flight;
        StopCondition::Violated(Check::FatesUnbalanced { in_: fates.sent + fates.duplicated, out })
    }

    fn observe(&mut self, stepped: StepReport<S::Op>) {
        let now = self.world.now();
        let moves = self.world.progress();
        if moves != self.watch.moves() {
            self.watch.on_move(moves, now, self.world.last_arrival());
            self.moved_at = now.max(self.world.last_arrival());
            let nodes = self.world.len() as u64;
            let done = self.acknowledged.len() as u64;
            if let Some(Storm { of, count, span }) = self.watch.changes_without_end(now, nodes, done) {
                self.violation.get_or_insert(Check::Storm { of, count, span });
            }
        }
        // Events of the network, such as a partition, are of no node and show no operation.
        let Some(node) = stepped.node else { return };
        for op in stepped.notices {
            if self.world.history().is_some() {
                let what = serde_json::to_string(&op).unwrap_or_default();
                self.world.note_in_history(node, Note::Done { what });
            }
            self.acknowledged.push(Acknowledged { at: now, node, op, lost: false });
        }
        let actor = self.world.actor(node).expect("a node that took a step has an actor");
        let marked = self.undone.get(node.index()).copied().unwrap_or_default();
        assert!(marked <= actor.undone, "crashes only ever undo more operations");
        let lost = actor.undone - marked;
        if let Err(Violation { name, detail }) = self.subject.invariant(&actor.node) {
            let detail = format!("{}: {detail}", self.name(node));
            self.violation.get_or_insert(Check::Custom { name, detail });
        }
        if lost > 0 {
            self.undone.resize(self.world.len(), 0);
            self.undone[node.index()] += lost;
            // A crash undoes the latest operations: those since the last durable sync.
            let own = self.acknowledged.iter_mut().rev().filter(|done| done.node == node && !done.lost);
            own.take(lost).for_each(|done| done.lost = true);
        }
    }

    /// Whether the nodes have differed for [`PATIENCE`] although nothing is pending and no link is cut.
    fn is_stuck(&self) -> bool {
        let now = self.world.now();
        self.world.pending_work().is_quiet()
            && !self.world.router().partitions().any_up(now)
            && now.since(self.moved_at) >= PATIENCE
    }

    fn judged(&self) -> StopCondition {
        let nodes: Vec<&S::Node> = self.world.actors().map(|(_, actor)| &actor.node).collect();
        match self.subject.judge(&self.acknowledged, &nodes) {
            Ok(()) => StopCondition::Converged,
            Err(Violation { name, detail }) => StopCondition::Violated(Check::Custom { name, detail }),
        }
    }

    /// What keeps the run from converging, by node. O(nodes).
    pub fn blockers(&self) -> ConvergenceBlockers {
        let tally = self.world.pending_work();
        let mut items = Vec::new();
        if tally.frames > 0 {
            let what = format!("{} frames in flight", tally.frames);
            items.push(Blocker { node: None, who: "the network".into(), what });
        }
        for (node, _) in self.world.actors() {
            let (unfinished, timers) = self.world.unfinished(node);
            let reasons = [
                (!self.world.is_up(node), "is down".to_owned()),
                (self.world.is_away(node), "is away".to_owned()),
                (unfinished.sessions > 0, format!("{} sessions in progress", unfinished.sessions)),
                (unfinished.waiting > 0, format!("{} things waiting", unfinished.waiting)),
                (timers > 0, format!("{timers} timers set")),
                (tally.distinct_digests() > 1, format!("digest {}", self.world.digest(node))),
            ];
            for (_, what) in reasons.into_iter().filter(|(holds, _)| *holds) {
                items.push(Blocker { node: Some(node), who: self.name(node), what });
            }
        }
        ConvergenceBlockers { blocking: Property::blocking(tally), items, ..ConvergenceBlockers::default() }
    }

    /// The operations that were acknowledged so far, in order.
    pub fn acknowledged(&self) -> &[Acknowledged<S::Op>] {
        &self.acknowledged
    }

    /// The nodes, in the order in which they joined.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &S::Node)> {
        self.world.actors().map(|(node, actor)| (node, &actor.node))
    }

    /// The name of a node in case files and reports.
    pub fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }
}
