//! One run of replicas of one's own.

use crate::case::{Case, Ended};
use crate::custom::disk_shim::Probe;
use crate::custom::{Acknowledged, Subject, Wrong};
use sync_sim_cluster::liveness::{Storm, Watch};
use sync_sim_cluster::verdict::{Check, Debt, Owed, Property, StopCondition};
use sync_sim_engine::history::Note;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::run::{Observer, RunLimits, StopReason};
use sync_sim_engine::world::{StepReport, World};
use syncline_types::{SimDuration, SimTime};

/// For how long all may be up and linked, with nothing to do and different states, before they are
/// taken to be done with each other.
const PATIENCE: SimDuration = SimDuration::from_secs(10);

/// A run: nodes, network, clock, and the checks over all of them.
pub struct Run<'a, S: Subject> {
    pub(super) subject: &'a S,
    pub(super) case: Case,
    pub(super) world: World<Probe<S::Node>>,
    pub(super) names: Vec<String>,
    pub(super) calm_at: SimTime,
    pub(super) acknowledged: Vec<Acknowledged<S::Op>>,
    /// Of what each node did, how much is known to be lost.
    pub(super) undone: Vec<usize>,
    pub(super) watch: Watch,
    /// When it last moved, or what was on its way then will have arrived.
    pub(super) moved_at: SimTime,
    pub(super) violation: Option<Check>,
}

/// A run as the engine runs it. It is apart from [`Run`], so that the probes around the nodes stay private.
struct Observed<'r, 'a, S: Subject>(&'r mut Run<'a, S>);

impl<S: Subject> Observer for Observed<'_, '_, S> {
    type Actor = Probe<S::Node>;

    fn world(&self) -> &World<Probe<S::Node>> {
        &self.0.world
    }

    fn world_mut(&mut self) -> &mut World<Probe<S::Node>> {
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

impl<S: Subject> Run<'_, S> {
    /// Runs until everything has converged, time or events run out, or something is wrong.
    pub fn run(&mut self) -> Ended {
        let caught = Ended::caught(|| self.go());
        Ended { at: self.world.now(), events: self.world.events(), trace: self.world.trace(), ..caught }
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
            StopReason::Diverged => StopCondition::Diverged(self.owed()),
            StopReason::MaxEvents => StopCondition::MaxEvents(self.owed()),
            StopReason::MaxTime => StopCondition::MaxTime(self.owed()),
            StopReason::Deadlock => StopCondition::Deadlock(self.owed()),
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
            let (nodes, done) = (self.world.len() as u64, self.acknowledged.len() as u64);
            if let Some(Storm { of, count, span }) = self.watch.changes_without_end(now, nodes, done) {
                self.violation.get_or_insert(Check::Storm { of, count, span });
            }
        }
        let Some(node) = stepped.node else { return };
        for op in stepped.notices {
            if self.world.history().is_some() {
                let what = serde_json::to_string(&op).unwrap_or_default();
                self.world.note_in_history(node, Note::Done { what });
            }
            self.acknowledged.push(Acknowledged { at: now, node, op, lost: false });
        }
        let Some(actor) = self.world.actor(node) else { return };
        let lost = actor.undone - self.undone.get(node.index()).copied().unwrap_or_default();
        if let Err(Wrong { name, detail }) = self.subject.invariant(&actor.node) {
            let detail = format!("{}: {detail}", self.name(node));
            self.violation.get_or_insert(Check::Own { name, detail });
        }
        if lost > 0 {
            self.undone.resize(self.world.len(), 0);
            self.undone.iter_mut().skip(node.index()).take(1).for_each(|undone| *undone += lost);
            let own = self.acknowledged.iter_mut().rev().filter(|done| done.node == node && !done.lost);
            own.take(lost).for_each(|done| done.lost = true);
        }
    }

    /// Whether nothing but the nodes keeps them from agreeing, and for long enough none of them changed.
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
            Err(Wrong { name, detail }) => StopCondition::Violated(Check::Own { name, detail }),
        }
    }

    /// What is unfinished, and by whom. O(nodes).
    pub fn owed(&self) -> Owed {
        let tally = self.world.pending_work();
        let mut debts = Vec::new();
        if tally.frames > 0 {
            let what = format!("{} frames on their way", tally.frames);
            debts.push(Debt { node: None, who: "the network".into(), what });
        }
        for (node, _) in self.world.actors() {
            let (unfinished, timers) = self.world.unfinished(node);
            let said = [
                (!self.world.is_up(node), "is down".to_owned()),
                (self.world.is_away(node), "is away".to_owned()),
                (unfinished.sessions > 0, format!("{} exchanges under way", unfinished.sessions)),
                (unfinished.waiting > 0, format!("{} things waiting", unfinished.waiting)),
                (timers > 0, format!("{timers} timers set")),
                (tally.distinct_digests() > 1, format!("digest {}", self.world.digest(node))),
            ];
            for (_, what) in said.into_iter().filter(|(holds, _)| *holds) {
                debts.push(Debt { node: Some(node), who: self.name(node), what });
            }
        }
        Owed { blocking: Property::blocking(tally), debts, left_out: Vec::new() }
    }

    /// What was acknowledged so far, in order.
    pub fn acknowledged(&self) -> &[Acknowledged<S::Op>] {
        &self.acknowledged
    }

    /// The nodes, in the order of joining.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &S::Node)> {
        self.world.actors().map(|(node, actor)| (node, &actor.node))
    }

    /// A node's name.
    pub fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }
}
