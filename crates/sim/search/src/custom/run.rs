//! One run of custom replicas.

use crate::case::{Case, RunResult};
use crate::custom::disk_shim::DiskShim;
use crate::custom::{Acknowledged, Subject, Violation};
use sync_sim_cluster::liveness::{LivenessMonitor, Storm};
use sync_sim_cluster::verdict::{Blocker, Check, ConvergenceBlockers, Property, StopCondition};
use sync_sim_engine::history::Note;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::{Stepped, World};
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
    /// Detects changes without end.
    pub(super) watch: LivenessMonitor,
    /// The time of the last change, or that at which the frames then in flight have arrived, if it is later.
    pub(super) moved_at: SimTime,
    pub(super) violation: Option<Check>,
}

impl<S: Subject> LabRun<'_, S> {
    /// Runs until all nodes have converged, the time or the events run out, or an invariant is violated.
    pub fn run(&mut self) -> RunResult {
        let caught = RunResult::catching(|| self.go());
        RunResult {
            at: self.world.clock.now(),
            events: self.world.events(),
            trace: self.world.trace(),
            ..caught
        }
    }

    fn go(&mut self) -> StopCondition {
        for stepped in self.world.start_added() {
            self.observe(stepped);
        }
        let stop = loop {
            if let Some(check) = self.violation.take() {
                break StopCondition::Violated(check);
            }
            let is_told_more = self.world.next_told().is_some_and(|at| at < self.case.max_time);
            if self.world.tally().is_converged() && !is_told_more {
                break self.judged();
            }
            if self.is_stuck() && !is_told_more {
                break StopCondition::Diverged(self.blockers());
            }
            if self.world.events() >= self.case.max_events {
                break StopCondition::MaxEvents(self.blockers());
            }
            match self.world.next_time() {
                None if self.world.tally().is_quiet() => break StopCondition::Diverged(self.blockers()),
                None => break StopCondition::Deadlock(self.blockers()),
                Some(at) if at >= self.case.max_time => break StopCondition::MaxTime(self.blockers()),
                Some(at) => self.advance(at),
            }
        };
        let fates = self.world.router.fates();
        if fates.is_balanced() || matches!(stop, StopCondition::Violated(_)) {
            return stop;
        }
        let out = fates.delivered + fates.dropped_total() + fates.in_flight;
        StopCondition::Violated(Check::FatesUnbalanced { in_: fates.sent + fates.duplicated, out })
    }

    fn advance(&mut self, next: SimTime) {
        if next >= self.calm_at {
            self.world.clock.advance_to(self.calm_at);
            self.calm_at = SimTime::MAX;
            self.world.heal();
        }
        if let Some(stepped) = self.world.step() {
            self.observe(stepped);
        }
    }

    fn observe(&mut self, stepped: Stepped<S::Op>) {
        let now = self.world.clock.now();
        let moves = self.world.moves();
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
            self.violation.get_or_insert(Check::Own { name, detail });
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
        let now = self.world.clock.now();
        self.world.tally().is_quiet()
            && !self.world.router.partitions.any_up(now)
            && now.since(self.moved_at) >= PATIENCE
    }

    fn judged(&self) -> StopCondition {
        let nodes: Vec<&S::Node> = self.world.actors().map(|(_, actor)| &actor.node).collect();
        match self.subject.judge(&self.acknowledged, &nodes) {
            Ok(()) => StopCondition::Converged,
            Err(Violation { name, detail }) => StopCondition::Violated(Check::Own { name, detail }),
        }
    }

    /// What keeps the run from converging, by node. O(nodes).
    pub fn blockers(&self) -> ConvergenceBlockers {
        let tally = self.world.tally();
        let mut debts = Vec::new();
        if tally.frames > 0 {
            let what = format!("{} frames in flight", tally.frames);
            debts.push(Blocker { node: None, who: "the network".into(), what });
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
                debts.push(Blocker { node: Some(node), who: self.name(node), what });
            }
        }
        ConvergenceBlockers { blocking: Property::blocking(tally), items: debts, excluded: Vec::new() }
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
